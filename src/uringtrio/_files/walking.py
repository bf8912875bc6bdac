"""Long listings: made in threads, piece by piece, so that a cancellation counts in between."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final, TypeVar

from uringtrio._threads.to_thread import run_sync

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T = TypeVar("T")

# How long a thread works at one piece: long against the 17 us of going there and back.
PIECE_SECONDS: Final = 0.01


async def collect(begin: Callable[[], Iterator[T]]) -> list[T]:
    """Return everything that the iterator from `begin()` yields.

    Checkpoint: always; a cancellation counts between pieces.
    """
    found: list[T] = []
    iterator = await run_sync(begin)
    while not await run_sync(_take_piece, iterator, found):
        pass
    return found


def _take_piece(iterator: Iterator[T], found: list[T]) -> bool:
    """Append to `found` for some time; say whether that was all."""
    give_up = time.monotonic() + PIECE_SECONDS
    for item in iterator:
        found.append(item)
        if time.monotonic() > give_up:
            return False
    return True


class Walk:
    """An async iterator over directories, one after the other, as `pathlib.Path.walk`.

    Args:
        steps: the synchronous iterator.
        path_class: what each directory's path is made into.
    """

    __slots__ = ("_path_class", "_steps")

    def __init__(self, steps: Iterator[tuple[Any, list[str], list[str]]], path_class: Any) -> None:
        self._steps = steps
        self._path_class = path_class

    def __aiter__(self) -> Walk:
        return self

    async def __anext__(self) -> tuple[Any, list[str], list[str]]:
        step = await run_sync(next, self._steps, None)
        if step is None:
            raise StopAsyncIteration
        path, directories, files = step
        return self._path_class(path), directories, files
