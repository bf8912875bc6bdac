"""Positional: reads and writes at offsets, many at once; and what makes them durable."""

from __future__ import annotations

import fcntl
import os
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Final

from uringtrio._net.vector import Vector
from uringtrio._ops.file import Fsync, Read, ReadV, Write, WriteV
from uringtrio._scheduler.cancel import CancelScope
from uringtrio._scheduler.traps import CHECKPOINT
from uringtrio._threads.to_thread import run_sync
from uringtrio._timeouts import sleep

from .raw import aligned_buffer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from uringtrio._abc import Buffer

    from .raw import RawFile

# How long `lock` waits between tries: doubled from the one to the other.
LOCK_SECONDS_MIN: Final = 0.001
LOCK_SECONDS_MAX: Final = 0.05


class Positional(ABC):
    """The methods of a file of bytes that take an offset, or are about the disk.

    Those with an offset neither use nor move the position, and go past the buffer: what was
    written before is flushed first, but what was read ahead is not read again. Any number of them
    may be under way at once, from several tasks, also on one file: what they submit in one turn
    of the run is one system call.
    """

    _raw: RawFile

    @abstractmethod
    async def flush(self) -> None:
        """Hand what is in the buffer to the kernel."""

    async def pread(self, size: int, offset: int, /) -> bytes:
        """Read `size` bytes at `offset`.

        Args:
            size: in bytes, at least 0.
            offset: from the start of the file, at least 0.

        Returns:
            As many bytes as were asked for, fewer only at the end of the file.

        Raises:
            OSError: the read failed (EIO), or this is no file with offsets (ESPIPE).
            ValueError: the file is closed, or an argument is negative.

        Checkpoint: always.

        Source: pread(2).
        """
        _check_at_least_0(size=size, offset=offset)
        buffer = aligned_buffer(size) if self._raw.is_direct else bytearray(size)
        count = await self.pread_into(buffer, offset)
        return bytes(memoryview(buffer)[:count]) if count < size else bytes(buffer)

    async def pread_into(self, buffer: Any, offset: int, /) -> int:
        """Read into `buffer` until it is full, from `offset` on; as `pread`.

        Args:
            buffer: writable; the kernel may write to it until this returns or raises.
            offset: from the start of the file, at least 0.

        Returns:
            How many bytes were read, fewer than it holds only at the end of the file.

        Checkpoint: always.
        """
        _check_at_least_0(offset=offset)
        raw = self._raw
        if raw.writable():
            await self.flush()
        fd = raw.fileno()
        view = memoryview(buffer).cast("B")
        done = raw.try_at(view, offset)
        if done == len(view):
            await CHECKPOINT
        while done < len(view):
            count = await raw.carry_out(Read(fd, view[done:], offset + done))
            done += count
            # Without a cache a short read is the end, as it is not at a block's start.
            if not count or raw.is_direct:
                break
        return done

    async def pwrite(self, data: Buffer, offset: int, /) -> int:
        """Write all of `data` at `offset`.

        Args:
            data: any bytes; the kernel may read them until this returns or raises.
            offset: from the start of the file, at least 0. What is between the end of the file
                and it reads as zeros. Files opened for appending append, on Linux.

        Returns:
            How many bytes, which is all of them.

        Raises:
            OSError: the write failed: ENOSPC, no room on the device; EIO; EBADF, not open for
                writing. Some of the data may have been written.

        Checkpoint: always looks for a cancellation first, and not while it writes.

        Source: pwrite(2).
        """
        return await self.writev([data], offset)

    async def readv(self, buffers: Iterable[Any], offset: int, /) -> int:
        """Read into each of `buffers` in turn until all are full; as `pread_into`.

        Checkpoint: always.

        Source: preadv(2).
        """
        _check_at_least_0(offset=offset)
        raw = self._raw
        if raw.writable():
            await self.flush()
        fd = raw.fileno()
        vector = Vector(buffers)
        if not vector.head():
            await CHECKPOINT
        while head := vector.head():
            count = await raw.carry_out(ReadV(fd, head, offset + vector.sent_bytes))
            if not count:
                break
            vector.advance(count)
        return vector.sent_bytes

    async def writev(self, buffers: Iterable[Buffer], offset: int, /) -> int:
        """Write all of `buffers`, one after the other, at `offset`; as `pwrite`.

        Checkpoint: always looks for a cancellation first, and not while it writes.

        Source: pwritev(2).
        """
        _check_at_least_0(offset=offset)
        await CHECKPOINT
        await self.flush()
        fd = self._raw.fileno()
        vector = Vector(buffers)
        with CancelScope(shield=True):
            while head := vector.head():
                at = offset + vector.sent_bytes
                # One buffer does without an array of them.
                op = Write(fd, head[0], at) if len(head) == 1 else WriteV(fd, head, at)
                vector.advance(await self._raw.carry_out(op))
        return vector.sent_bytes

    async def fsync(self, *, data_only: bool = False) -> None:
        """Flush, and wait until everything written is on the disk.

        Args:
            data_only: leave out what reading the data does not need, such as the time of change.

        Raises:
            OSError: EIO: data was lost, and which is unknown; EINVAL: this is no file on a disk.

        Checkpoint: always. Not cancelled once it has begun.

        Source: fsync(2), fdatasync(2).
        """
        await self.flush()
        await CHECKPOINT
        with CancelScope(shield=True):
            await self._raw.carry_out(Fsync(self._raw.fileno(), data_only=data_only))

    async def allocate(self, offset: int, size: int, /) -> None:
        """Reserve disk space, so that writing to it cannot fail for lack of it.

        Args:
            offset: from the start of the file, at least 0.
            size: in bytes, at least 1; the file is as long afterwards, if it was shorter.

        Raises:
            OSError: ENOSPC: there is not as much; ENOTSUP: the file system cannot.

        Checkpoint: always.

        Source: posix_fallocate(3).
        """
        await self._call(os.posix_fallocate, offset, size)

    async def advise(self, advice: int, offset: int = 0, size: int = 0, /) -> None:
        """Tell the kernel how the file will be used.

        Args:
            advice: os.POSIX_FADV_SEQUENTIAL, RANDOM, WILLNEED, DONTNEED, NOREUSE or NORMAL.
            offset: from the start of the file, at least 0.
            size: in bytes; 0 is up to the end.

        Checkpoint: always.

        Source: posix_fadvise(2).
        """
        await self._call(os.posix_fadvise, offset, size, advice)

    async def lock(self, *, shared: bool = False) -> None:
        """Take an advisory lock on the whole file, waiting until it is free.

        It keeps out others who lock the file after opening it themselves, in whichever process,
        until `unlock` or the end of this open file. It is tried again and again, at most 50 ms
        apart, so that waiting can be cancelled.

        Args:
            shared: together with others who do.

        Raises:
            OSError: the file system has no locks.

        Checkpoint: always. If it is cancelled, the lock was not taken.

        Source: flock(2).
        """
        seconds = LOCK_SECONDS_MIN
        kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        while True:
            try:
                await self._call(fcntl.flock, kind | fcntl.LOCK_NB)
            except BlockingIOError:
                await sleep(seconds)
                seconds = min(2 * seconds, LOCK_SECONDS_MAX)
            else:
                return

    async def unlock(self) -> None:
        """Flush, and give back the lock of `lock`.

        Checkpoint: always.
        """
        await self.flush()
        await self._call(fcntl.flock, fcntl.LOCK_UN)

    async def _call(self, fn: Any, *args: object) -> None:
        """Call `fn(fd, *args)` in a thread, and let its error name the file."""
        try:
            await run_sync(fn, self._raw.fileno(), *args)
        except OSError as exc:
            raise OSError(exc.errno, exc.strerror, self._raw.name) from None


def _check_at_least_0(**arguments: int) -> None:
    for name, value in arguments.items():
        if value < 0:
            raise ValueError(f"{name} must be at least 0, not {value!r}")
