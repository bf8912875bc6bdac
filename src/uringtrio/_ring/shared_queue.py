"""SharedQueue: what the queues between processes do in C."""

from __future__ import annotations

import functools
import os
from typing import TYPE_CHECKING, Any

from ._shim import ffi, lib

if TYPE_CHECKING:
    import mmap
    from collections.abc import Callable

# Of an object that `take` takes.
TAKE_BYTES_MAX = 1 << 14
# No queue gets there.
_NO_GENERATION = (1 << 64) - 1


class SharedQueue:
    """A queue as it is mapped in one generation, by one of its two sides in one process.

    There are no locks here between the threads of the process: what a call uses lives as long as
    the call, whatever the other threads do.

    Args:
        header: the start of the file; pinned as long as this lives.
        memory: the whole file; likewise.
        generation: in which it was mapped.

    Attributes:
        put: appends an object, given it and its size, and returns 1; or returns 0.
    """

    __slots__ = ("_generation", "_header", "_memory", "_takers", "put")

    def __init__(self, header: mmap.mmap, memory: mmap.mmap, generation: int) -> None:
        self._header = ffi.from_buffer("uint64_t[]", header)
        self._memory = ffi.from_buffer("char[]", memory)
        self._generation = ffi.new("uint64_t *", generation)
        self.put: Callable[[bytes, int], int] = functools.partial(
            lib.ut_queue_put, self._header, self._memory, self._generation
        )
        # Functions that take, and where each puts what it takes: for as many threads as there were.
        self._takers: list[tuple[Callable[[], int], Any]] = []

    def take(self) -> bytes | None:
        """Remove the first object and return it; or return None."""
        try:
            taker = self._takers.pop()
        except IndexError:
            taker = self._new_taker()
        take_size, taken = taker
        size = take_size()
        data: bytes | None = taken[:size] if size >= 0 else None
        self._takers.append(taker)
        return data

    def _new_taker(self) -> tuple[Callable[[], int], Any]:
        out = ffi.new("char[]", TAKE_BYTES_MAX)
        take_size = functools.partial(
            lib.ut_queue_take, self._header, self._memory, self._generation, out, TAKE_BYTES_MAX
        )
        return take_size, ffi.buffer(out)

    def retire(self) -> None:
        """Let `put` and `take` do nothing from now on. Both locks are held."""
        self._generation[0] = _NO_GENERATION


class SharedLocks:
    """The two locks of a queue, to be held by one thread at a time.

    Args:
        header: the start of the file; pinned as long as this lives.
    """

    __slots__ = ("_lock", "_unlock")

    def __init__(self, header: mmap.mmap) -> None:
        words = ffi.from_buffer("uint64_t[]", header)
        self._lock = functools.partial(lib.ut_queue_lock, words)
        self._unlock = functools.partial(lib.ut_queue_unlock, words)

    def lock(self) -> None:
        """Take both."""
        _check(self._lock(), "take")

    def unlock(self) -> None:
        """Give up both."""
        _check(self._unlock(), "give up")


def init_locks(header: mmap.mmap) -> None:
    """Make the locks of a new queue."""
    with ffi.from_buffer("uint64_t[]", header) as words:
        _check(lib.ut_queue_init(words), "make")


def _check(result: int, what: str) -> None:
    if result < 0:
        raise OSError(-result, f"cannot {what} a shared channel's locks: {os.strerror(-result)}")
