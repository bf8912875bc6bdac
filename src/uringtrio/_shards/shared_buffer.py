"""SharedBuffer: a queue of bytes in memory that several processes map.

Facts. A process may be killed between any two instructions, and then nobody runs its `finally`.
A lock that stays locked, or a queue that is half changed, would stop all the others.

Choice. The queue changes by one store of one word: `TAIL` makes what was written before it part of
the queue, and `HEAD` lets go of what was copied out. What else is in the header may be too high
after a death, and only `..._SIGNALLED` must not be: each is set after its byte was written, and
cleared before it is read. A count of waiters that is too high makes for needless wakes and, where
the limit is 0, for room that nobody has asked for. The locks are given up for the dead. There are
two ways:

* in C, `SharedQueue` appends and takes as long as there is nothing else to do. The senders have a
  lock, and the receivers another one; who does more, for example waits, holds both. They are robust
  mutexes in the header, and cost less than calling them does;
* where the C module was not built, there is one lock, flock(2) of the file, and everybody holds it
  for all that is done. Each process has its own open file, since the lock belongs to that.

A word of `HEAD` or `TAIL` has two parts, so that both change in that one store: the number of the
object, modulo 2**28, above its place in bytes, modulo 2**36. So a queue holds up to 2**28 - 1
objects, and up to 32 GiB.

When an object finds no room, the queue moves to a larger area behind the present one. The header
has two descriptions of areas, and the lowest bit of `GENERATION` says which of them is in use.
"""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import sys
import threading
from typing import TYPE_CHECKING, Self

from uringtrio._errors import ClosedResourceError

try:
    from uringtrio._ring.shared_queue import SharedLocks, SharedQueue, init_locks
except ImportError:
    HAS_QUEUE_IN_C = False
else:
    HAS_QUEUE_IN_C = True

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

# The words of the header, 8 bytes each; `_ring/shared_queue.h` has the same, and its locks behind.
GENERATION = 0
# Pairs of offset and capacity in bytes, for even and for odd generations.
AREAS = 1
# How many objects at most; the number of objects that there can be stands for no limit.
LIMIT = 5
# Whether it is used in C, and its locks are those in the header.
IS_IN_C = 6
# Of the queue, and whether there is something in the pipe that wakes those who wait.
TAIL, ITEMS_SIGNALLED = 8, 9
HEAD, ROOM_SIGNALLED = 16, 17
# Tasks and threads that wait, and open handles.
RECEIVERS_WAITING, SENDERS_WAITING = 24, 25
SENDERS_OPEN, RECEIVERS_OPEN = 26, 27

HEADER_BYTES = 4096
FIRST_CAPACITY_BYTES = 1 << 16
# Of the length before each object.
PREFIX_BYTES = 4
OBJECT_BYTES_MAX = (1 << 32) - 1

# Without a wait, senders look this seldom whether the receivers have died.
LOOK_EVERY = 64

PLACE_BITS = 36
PLACE_MASK = (1 << PLACE_BITS) - 1
WORD_MASK = (1 << 64) - 1
COUNT_MAX = (1 << 28) - 1
# So that places, modulo 2**36, still tell an empty queue from a full one.
CAPACITY_BYTES_MAX = 1 << (PLACE_BITS - 1)
# Attempts to lock the file before sleeping until it is free.
SPINS = 100


class SharedBuffer:
    """The queue, as one process sees it.

    `with buffer` locks it; the methods are called inside of that.

    Args:
        fd: the memory file. This becomes its owner; others may have copies.

    Raises:
        OSError: there is no descriptor left (EMFILE, ENFILE).
        RuntimeError: the queue is used in C, and this process cannot do that.

    Attributes:
        fd: the file.
        words: the header.
        put: called with an object and its size, without the lock: appends the object and returns 1,
            or does nothing and returns 0.
        take: removes the first object and returns it, likewise, or does nothing and returns None.
    """

    __slots__ = ("_area", "_capacity", "_generation", "_header", "_is_retired", "_lock", "_locks",
                 "_queue", "_view", "fd", "put", "take", "words")  # fmt: skip

    def __init__(self, fd: int) -> None:
        # A copy of a descriptor would share its lock with the original.
        self.fd = _reopen(fd)
        try:
            self._open()
        except BaseException:
            os.close(self.fd)
            raise

    def _open(self) -> None:
        self._header = mmap.mmap(self.fd, HEADER_BYTES)
        self.words = memoryview(self._header).cast("Q")
        # For the threads of this process: flock(2) does not tell them apart, and no lock in the
        # header tells who comes after the last user that this is retired.
        self._lock = threading.Lock()
        self._is_retired = False
        is_in_c = self.words[IS_IN_C]
        if is_in_c and not HAS_QUEUE_IN_C:
            raise RuntimeError(
                "this shared channel comes from a process that has uringtrio's C module, and this "
                "one has not: install the same build for both"
            )
        self._locks = SharedLocks(self._header) if is_in_c else _FileLock(self.fd)
        self._queue: SharedQueue | None = None
        self.put: Callable[[bytes, int], int] = _put_nothing
        self.take: Callable[[], bytes | None] = _take_nothing
        self._generation = -1
        self._follow()

    def _follow(self) -> None:
        """Map the file as long as it is now, if another process has moved the queue."""
        generation = self.words[GENERATION]
        if generation != self._generation:
            area = AREAS + 2 * (generation & 1)
            self._map_area(generation, self.words[area], self.words[area + 1])

    def _map_area(self, generation: int, start: int, capacity: int) -> None:
        # What was mapped before goes when the last thread has done with it.
        memory = mmap.mmap(self.fd, 0)
        self._view = memoryview(memory)
        self._area, self._capacity = start, capacity
        self._generation = generation
        if self.words[IS_IN_C]:
            self._queue = SharedQueue(self._header, memory, generation)
            self.put, self.take = self._queue.put, self._queue.take

    def retire(self) -> None:
        """Let nobody use it any more. It is locked, and its last user is about to close it."""
        self._is_retired = True
        if self._queue is not None:
            self._queue.retire()

    def close(self) -> None:
        """Let go of the memory; the file is gone when the last process has."""
        self._queue, self.put, self.take = None, _put_nothing, _take_nothing
        del self._locks, self._view, self.words, self._header
        os.close(self.fd)

    def __enter__(self) -> Self:
        self._lock.acquire()
        try:
            self._enter_locked()
        except BaseException:
            self._lock.release()
            raise
        return self

    def _enter_locked(self) -> None:
        if self._is_retired:
            # Another thread has closed the last handle just now.
            raise ClosedResourceError
        try:
            self._locks.lock()
        except BaseException:
            # They cannot be had; or a signal handler raises, KeyboardInterrupt for one, when they
            # are ours already.
            with contextlib.suppress(PermissionError):
                self._locks.unlock()
            raise

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self._locks.unlock()
        finally:
            self._lock.release()

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
        self._follow()
        tail = self.words[TAIL]
        used = (tail - self.words[HEAD]) & PLACE_MASK
        if used + PREFIX_BYTES + size > self._capacity:
            self._grow(used + PREFIX_BYTES + size)
        place = tail & PLACE_MASK
        self._write(place, size.to_bytes(PREFIX_BYTES, sys.byteorder) + data)
        place = (place + PREFIX_BYTES + size) & PLACE_MASK
        number = (tail >> PLACE_BITS) + 1
        self.words[TAIL] = (number << PLACE_BITS | place) & WORD_MASK

    def pop(self) -> bytes:
        """Remove the first object, of which there must be one, and return it.

        Raises:
            OSError: there is no descriptor left to map it with (EMFILE, ENFILE); it stays there.
        """
        self._follow()
        head = self.words[HEAD]
        place = head & PLACE_MASK
        size = int.from_bytes(self._read(place, PREFIX_BYTES), sys.byteorder)
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
        os.posix_fallocate(self.fd, start, capacity)
        generation = self._generation + 1
        area = AREAS + 2 * (generation & 1)
        self.words[area], self.words[area + 1] = start, capacity
        self._map_area(generation, start, capacity)
        self._write(head, old)
        self.words[GENERATION] = generation


def _put_nothing(_data: bytes, _size: int) -> int:
    return 0


def _take_nothing() -> None:
    return None


class _FileLock:
    """What `SharedLocks` is, where there is no C."""

    __slots__ = ("_fd",)

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def lock(self) -> None:
        # The others hold it for some microseconds only, and sleeping takes longer than that.
        for _ in range(SPINS):
            try:
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            return
        fcntl.flock(self._fd, fcntl.LOCK_EX)

    def unlock(self) -> None:
        fcntl.flock(self._fd, fcntl.LOCK_UN)


def _reopen(fd: int) -> int:
    try:
        return os.open(f"/proc/self/fd/{fd}", os.O_RDWR | os.O_CLOEXEC)
    finally:
        os.close(fd)


def create(limit: float) -> int:
    """Return the file of a new, empty queue.

    Args:
        limit: written to the header, for those who append.

    Raises:
        OSError: there is no memory, or no descriptor, for it.
    """
    fd = os.memfd_create("uringtrio shared channel", os.MFD_CLOEXEC)
    try:
        # As in `_grow`.
        os.posix_fallocate(fd, 0, HEADER_BYTES + FIRST_CAPACITY_BYTES)
        with mmap.mmap(fd, HEADER_BYTES) as header, memoryview(header).cast("Q") as words:
            words[AREAS], words[AREAS + 1] = HEADER_BYTES, FIRST_CAPACITY_BYTES
            words[LIMIT] = int(min(limit, COUNT_MAX))
            words[IS_IN_C] = HAS_QUEUE_IN_C
            if HAS_QUEUE_IN_C:
                init_locks(header)
    except BaseException:
        os.close(fd)
        raise
    return fd
