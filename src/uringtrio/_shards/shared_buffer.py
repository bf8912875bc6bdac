"""SharedBuffer: a queue of bytes in memory that several processes map.

Facts. A process may be killed between any two instructions, and then nobody runs its `finally`.
A lock that stays locked, or a queue that is half changed, would stop all the others.

Choice. The locks are flock(2), which the kernel gives up for the dead; that takes 0.3 us for both
ways, and each process has its own open files, since a lock belongs to that. There are two: senders
hold the first, receivers the second, so that they do not wait for each other, and who does more
than to append or to take, for example to wait, holds both. Each side then reads a word that the
other one writes. On processors that keep the order of stores, what stands before the word is there
when the word is; on all others everybody holds both locks.

The queue changes by one store of one word: `TAIL` makes what was written before it part of the
queue, and `HEAD` lets go of what was copied out. Whatever else is in the header may be wrong after
a death and then only costs time: a count of waiters that is too high makes for needless wakes.

A word of `HEAD` or `TAIL` has two parts, so that both change in that one store: the number of the
object, modulo 2**28, above its place in bytes, modulo 2**36. So a queue holds up to 2**28 - 1
objects, and up to 32 GiB.

When an object finds no room, the queue moves to a larger area behind the present one. The header
has two descriptions of areas, and the lowest bit of `GENERATION` says which of them is in use.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import platform
import threading
from typing import TYPE_CHECKING, Self

from uringtrio._errors import ClosedResourceError

if TYPE_CHECKING:
    from types import TracebackType

# The words of the header, 8 bytes each.
HEAD = 0
TAIL = 1
GENERATION = 2
# Pairs of offset and capacity in bytes, for even and for odd generations.
AREAS = 3
# How many objects at most; the number of objects that there can be stands for no limit.
LIMIT = 7
# Tasks and threads that wait, and whether there is something in the pipe that wakes them.
RECEIVERS_WAITING, SENDERS_WAITING = 8, 9
ITEMS_SIGNALLED, ROOM_SIGNALLED = 10, 11
# Open handles, and whether any of the kind was ever closed.
SENDERS_OPEN, RECEIVERS_OPEN = 12, 13
SENDERS_LEFT, RECEIVERS_LEFT = 14, 15

HEADER_BYTES = 4096
FIRST_CAPACITY_BYTES = 1 << 16
# Of the length before each object.
PREFIX_BYTES = 4
OBJECT_BYTES_MAX = (1 << 32) - 1

PLACE_BITS = 36
PLACE_MASK = (1 << PLACE_BITS) - 1
WORD_MASK = (1 << 64) - 1
COUNT_MAX = (1 << 28) - 1
# Attempts to take a lock before sleeping until it is free.
SPINS = 100

# Whether stores become visible in their order.
KEEPS_ORDER = platform.machine() in {"x86_64", "AMD64", "i686", "i386"}

# So that places, modulo 2**36, still tell an empty queue from a full one.
CAPACITY_BYTES_MAX = 1 << (PLACE_BITS - 1)


class SharedBuffer:
    """The queue, as one process sees it, and as one of its two sides.

    `with buffer` is for appending as a sender, and for taking as a receiver; `with buffer.whole`
    is for all else. The methods are called inside of one of them.

    Args:
        fds: the memory file, whose lock is the senders', and a file whose lock is the receivers'.
            This becomes their owner; others may have copies.
        is_sender: which side this is.

    Raises:
        OSError: there is no descriptor left (EMFILE, ENFILE).

    Attributes:
        fds: the files.
        words: the header.
        whole: holds both locks.
        is_retired: set by the last user, who is about to close the buffer.
    """

    __slots__ = ("_area", "_capacity", "_generation", "_lock", "_map", "_mine", "_view", "fds",
                 "is_retired", "whole", "words")  # fmt: skip

    def __init__(self, fds: tuple[int, int], *, is_sender: bool) -> None:
        # Copies of descriptors would share their locks with the originals.
        self.fds = (_reopen(fds[0]), _reopen(fds[1]))
        self._mine = self.fds[not is_sender]
        # The threads of this process share the files, and so the locks.
        self._lock = threading.Lock()
        self.whole = _Whole(self)
        self.is_retired = False
        self._map: mmap.mmap | None = None
        self._remap()

    def _remap(self) -> None:
        """Map the file as long as it is now."""
        self._unmap()
        self._map = mmap.mmap(self.fds[0], 0)
        self._view = memoryview(self._map)
        self.words = self._view[:HEADER_BYTES].cast("Q")
        self._generation = self.words[GENERATION]
        area = AREAS + 2 * (self._generation & 1)
        self._area, self._capacity = self.words[area], self.words[area + 1]

    def _unmap(self) -> None:
        if self._map is not None:
            self.words.release()
            self._view.release()
            self._map.close()
            self._map = None

    def close(self) -> None:
        """Let go of the memory; the files are gone when the last process has."""
        self._unmap()
        for fd in self.fds:
            os.close(fd)

    def __enter__(self) -> Self:
        if not KEEPS_ORDER:
            self.enter_whole()
            return self
        self._lock_in_process()
        try:
            _lock_file(self._mine)
        except BaseException:
            self._lock.release()
            raise
        if self.words[GENERATION] != self._generation:
            self._remap()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if not KEEPS_ORDER:
            self.leave_whole()
            return
        fcntl.flock(self._mine, fcntl.LOCK_UN)
        self._lock.release()

    def _lock_in_process(self) -> None:
        self._lock.acquire()
        if self.is_retired:
            # Another thread has closed the last handle just now.
            self._lock.release()
            raise ClosedResourceError

    def enter_whole(self) -> None:
        """Take both locks; for `whole`."""
        self._lock_in_process()
        try:
            # Always in this order.
            for fd in self.fds:
                _lock_file(fd)
        except BaseException:
            self.leave_whole()
            raise
        if self.words[GENERATION] != self._generation:
            self._remap()

    def leave_whole(self) -> None:
        """Give up both locks, or as many as are held; for `whole`."""
        for fd in self.fds:
            fcntl.flock(fd, fcntl.LOCK_UN)
        self._lock.release()

    def fits(self, data: bytes) -> bool:
        """Say whether `append` needs no more memory; if not, it is for those who hold `whole`."""
        used = (self.words[TAIL] - self.words[HEAD]) & PLACE_MASK
        return used + PREFIX_BYTES + len(data) <= self._capacity

    def count(self) -> int:
        """Return how many objects there are."""
        return ((self.words[TAIL] >> PLACE_BITS) - (self.words[HEAD] >> PLACE_BITS)) & COUNT_MAX

    def append(self, data: bytes) -> None:
        """Add an object at the end.

        Raises:
            ValueError: it is too long.
            OSError: there is no memory for it (ENOSPC, ENOMEM).
        """
        size = len(data)
        if size > OBJECT_BYTES_MAX:
            raise ValueError(f"an object of {size} bytes is too big for a shared channel")
        tail = self.words[TAIL]
        if not self.fits(data):
            self._grow(((tail - self.words[HEAD]) & PLACE_MASK) + PREFIX_BYTES + size)
        place = tail & PLACE_MASK
        self._write(place, size.to_bytes(PREFIX_BYTES, "little") + data)
        place = (place + PREFIX_BYTES + size) & PLACE_MASK
        number = (tail >> PLACE_BITS) + 1
        self.words[TAIL] = (number << PLACE_BITS | place) & WORD_MASK

    def pop(self) -> bytes:
        """Remove the first object, of which there must be one, and return it."""
        head = self.words[HEAD]
        place = head & PLACE_MASK
        size = int.from_bytes(self._read(place, PREFIX_BYTES), "little")
        data = self._read(place + PREFIX_BYTES, size)
        place = (place + PREFIX_BYTES + size) & PLACE_MASK
        number = (head >> PLACE_BITS) + 1
        self.words[HEAD] = (number << PLACE_BITS | place) & WORD_MASK
        return data

    def _write(self, place: int, data: bytes | memoryview) -> None:
        start = self._area + place % self._capacity
        room = self._area + self._capacity - start
        if len(data) <= room:
            self._view[start : start + len(data)] = data
        else:
            self._view[start : start + room] = data[:room]
            self._view[self._area : self._area + len(data) - room] = data[room:]

    def _read(self, place: int, size: int) -> bytes:
        start = self._area + place % self._capacity
        room = self._area + self._capacity - start
        if size <= room:
            return bytes(self._view[start : start + size])
        return bytes(self._view[start : start + room]) + bytes(
            self._view[self._area : self._area + size - room]
        )

    def _grow(self, needed: int) -> None:
        """Move the queue to an area of at least `needed` bytes."""
        capacity = self._capacity
        while capacity < needed:
            capacity *= 2
        if capacity > CAPACITY_BYTES_MAX:
            raise MemoryError(f"a shared channel cannot hold {needed} bytes")
        head = self.words[HEAD] & PLACE_MASK
        old = self._read(head, (self.words[TAIL] - self.words[HEAD]) & PLACE_MASK)
        # Whatever others have added behind the area in use, as they died before they could use it.
        start = self._area + self._capacity
        # Now, and not when it is written to, which would be a signal.
        os.posix_fallocate(self.fds[0], start, capacity)
        generation = self._generation + 1
        area = AREAS + 2 * (generation & 1)
        self.words[area], self.words[area + 1] = start, capacity
        self._map_area(start, capacity)
        self._write(head, old)
        self.words[GENERATION] = self._generation = generation

    def _map_area(self, start: int, capacity: int) -> None:
        generation = self._generation
        self._remap()
        self._generation = generation
        self._area, self._capacity = start, capacity


class _Whole:
    """Holds both locks of a buffer."""

    __slots__ = ("_buffer",)

    def __init__(self, buffer: SharedBuffer) -> None:
        self._buffer = buffer

    def __enter__(self) -> SharedBuffer:
        self._buffer.enter_whole()
        return self._buffer

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._buffer.leave_whole()


def _reopen(fd: int) -> int:
    try:
        return os.open(f"/proc/self/fd/{fd}", os.O_RDWR | os.O_CLOEXEC)
    finally:
        os.close(fd)


def _lock_file(fd: int) -> None:
    # The others hold it for some microseconds only, and sleeping takes longer than that.
    for _ in range(SPINS):
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            continue
        return
    fcntl.flock(fd, fcntl.LOCK_EX)


def create(limit: float) -> tuple[int, int]:
    """Return the files of a new, empty queue.

    Args:
        limit: written to the header, for those who append.

    Raises:
        OSError: there is no memory, or no descriptor, for it.
    """
    fd = os.memfd_create("uringtrio shared channel", os.MFD_CLOEXEC)
    os.ftruncate(fd, HEADER_BYTES + FIRST_CAPACITY_BYTES)
    os.pwrite(fd, HEADER_BYTES.to_bytes(8, "little"), 8 * AREAS)
    os.pwrite(fd, FIRST_CAPACITY_BYTES.to_bytes(8, "little"), 8 * (AREAS + 1))
    os.pwrite(fd, int(min(limit, COUNT_MAX)).to_bytes(8, "little"), 8 * LIMIT)
    return fd, os.memfd_create("uringtrio shared channel's receivers", os.MFD_CLOEXEC)
