"""RawFile: an `io.FileIO` that can be tried without waiting, and says what it lacked.

The buffers of `open_file` are Python's own, from `io`, and they call the raw file below them.
They were written for descriptors that do not block: a raw `readinto` or `write` that returns None
leaves them in order, and the call can be made again. So a task makes an attempt, in which the raw
file answers from the page cache or with None; then it awaits the op that was missing, and makes
the attempt again, in which the raw file hands over what the op has brought:

    attempt      BufferedReader.read(10)  ->  RawFile.readinto  ->  None; `missing` is a Read
    await        RawFile.supply: the Read, by the ring or in a thread; its bytes are the stash
    attempt      BufferedReader.read(10)  ->  RawFile.readinto  ->  the stash

The position is the kernel's, as with any file: ops at offset -1 use and move it.

Outside of attempts a RawFile is an ordinary raw file, whose methods wait: for those who use the
synchronous objects themselves.
"""

from __future__ import annotations

import errno
import fcntl
import io
import mmap
import os
import stat
import warnings
from typing import TYPE_CHECKING, Any, Final

from uringtrio._ops.file import Close, Read, Write

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

    from uringtrio._ops.op import Op
    from uringtrio._sync.event import Event

# A read of this much from the page cache takes 20 to 40 us (benchmarks/files.py): about as long as
# a worker needs to take it over. What one attempt reads beyond that goes to the driver.
INLINE_BYTES_MAX: Final = 1 << 20
# From here on it costs less to have one piece of memory than to copy between two.
LARGE_BYTES: Final = 1 << 16
# Reads what is in the page cache, and only that; 0 where there is no such thing.
NOWAIT: Final[int] = getattr(os, "RWF_NOWAIT", 0)
O_DIRECT: Final[int] = getattr(os, "O_DIRECT", 0)
# The file system does not know NOWAIT.
NOT_SUPPORTED: Final = frozenset({errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS})


def aligned_buffer(size: int) -> memoryview:
    """Return `size` zero bytes of memory that start at a page: what O_DIRECT needs.

    Args:
        size: at least 1; for O_DIRECT a multiple of the device's block size, which 4096 is.

    Returns:
        A writable view, the only owner of its memory.

    Source: open(2), O_DIRECT.
    """
    return memoryview(mmap.mmap(-1, size))


class RawFile(io.FileIO):
    """An unbuffered file.

    Args:
        fd: open, for `mode`.
        mode: as `io.FileIO` takes it.
        name: what was opened.
        closefd: whether `close` closes `fd`.
        status: what `os.fstat` says of it.

    Attributes:
        is_regular: whether each op ends by itself and soon, as on disks; not in pipes.
        block_bytes: the size of reads and writes that suits the file system.
        is_direct: whether it goes past the page cache (O_DIRECT).
        is_trying: whether an attempt is under way; set by whoever makes it.
        missing: the op that the last attempt lacked; None if it lacked nothing.
        in_flight: the ops on this file that tasks wait for. A thread that is about to make a call
            must find the same file under its descriptor: it must not be closed before.
        all_ended: set when `in_flight` is next empty; None if nobody waits for that.
        has_read: whether the last attempt has read from the kernel.
        spent_bytes: how much the last attempt has read inline.
    """

    def __init__(
        self, fd: int, mode: str, *, name: object, closefd: bool, status: os.stat_result
    ) -> None:
        # Closing is ours, because it may have to wait.
        self._closes = False
        self._fd = -1
        super().__init__(fd, mode, closefd=False)
        self.name = name
        self._fd = fd
        self._closes = closefd
        self._reads = self.readable()
        self._writes = self.writable()
        self.is_regular = stat.S_ISREG(status.st_mode) or stat.S_ISBLK(status.st_mode)
        self.is_direct = bool(fcntl.fcntl(fd, fcntl.F_GETFL) & O_DIRECT)
        # Without a cache there is nothing that would not wait.
        self._can_try = bool(NOWAIT) and self._reads and not self.is_direct
        # A file system that has answered to NOWAIT.
        self._knows_nowait = False
        self.block_bytes = status.st_blksize
        self.is_trying = False
        self.missing: Op | None = None
        self.in_flight: set[Op] = set()
        self.all_ended: Event | None = None
        self.has_read = False
        self.spent_bytes = 0
        # Read and not handed over: None is nothing, empty is the end of the file.
        self._stash: memoryview | None = None
        # The start of what the missing Read goes on with.
        self._begun = b""
        # How much of what was to be written has been; None is no answer yet.
        self._written: int | None = None

    @property
    def closefd(self) -> bool:
        """Whether closing the file closes the descriptor."""
        return self._closes

    async def supply(self) -> None:
        """Wait for what the last attempt lacked. If it is cancelled, nothing has happened.

        Raises:
            OSError: it failed; with the file's name.

        Checkpoint: always.
        """
        op, self.missing = self.missing, None
        assert op is not None
        begun, self._begun = self._begun, b""
        # The completion lets the op forget it.
        buffer = op.pins[0] if isinstance(op, Read) else None
        try:
            count = await self.carry_out(op)
        except OSError:
            if not begun:
                raise
            # The next read will find the error again.
            self._stash = memoryview(begun)
            return
        except BaseException:
            self.give_back(begun)
            raise
        if buffer is None:
            self._written = count
        else:
            data = memoryview(buffer)[:count]
            self._stash = memoryview(begun + data) if begun else data

    async def carry_out(self, op: Op) -> int:
        """Await an op on this file; return its result.

        Raises:
            OSError: it failed; with the file's name.

        Checkpoint: always.
        """
        self.in_flight.add(op)
        try:
            count: int = await op
        except OSError as exc:
            raise OSError(exc.errno, exc.strerror, self.name) from None
        finally:
            self.in_flight.discard(op)
            if self.all_ended is not None and not self.in_flight:
                self.all_ended.set()
        return count

    def begin(self) -> None:
        """Begin an attempt; whoever makes it ends it by setting `is_trying` to False."""
        self.missing = None
        self.has_read = False
        self.spent_bytes = 0
        self.is_trying = True

    def give_back(self, data: bytes) -> None:
        """Put bytes back in front of what is still to be read; nothing else may be in the stash."""
        if not data:
            return
        if self.is_regular:
            os.lseek(self._fd, -len(data), os.SEEK_CUR)
        else:
            self._stash = memoryview(data + bytes(self._stash or b""))

    def tell(self) -> int:
        """Return the position: what is in the stash has not been read."""
        return super().tell() - len(self._stash or b"")

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Move the position, and return it."""
        if self._stash is not None:
            ahead = len(self._stash)
            if whence == os.SEEK_CUR:
                if not offset:
                    # A buffer for both makes sure of where it is before it reads.
                    return super().seek(0, whence) - ahead
                offset -= ahead
            self._stash = None
        return super().seek(offset, whence)

    def readinto(self, buffer: WriteableBuffer, /) -> int | None:
        """Read into `buffer`; None in an attempt that would have to wait."""
        stash = self._stash
        if stash is None and not (self.is_trying and self._reads and self._fd >= 0):
            return super().readinto(buffer)
        view = memoryview(buffer).cast("B")
        if stash is not None:
            count = min(len(stash), len(view))
            view[:count] = stash[:count]
            self._stash = stash[count:] if count < len(stash) else None
            return count
        return self._read_now(view)

    def _read_now(self, view: memoryview) -> int | None:
        got = 0
        while self._can_try and self.spent_bytes < INLINE_BYTES_MAX:
            try:
                count = os.preadv(self._fd, [view[got : got + INLINE_BYTES_MAX]], -1, NOWAIT)
            except BlockingIOError:
                break
            except OSError as exc:
                if exc.errno in NOT_SUPPORTED:
                    self._can_try = False
                    break
                if got:
                    # It will be there for the next read.
                    return got
                raise
            self.has_read = self._knows_nowait = True
            self.spent_bytes += count
            got += count
            # A short one may mean that only so much was in the cache: ask again.
            if got == len(view) or not count or not self.is_regular:
                return got
        self._begun = bytes(view[:got])
        size = min(len(view) - got, INLINE_BYTES_MAX)
        self.missing = Read(self._fd, aligned_buffer(size) if self.is_direct else bytearray(size))
        return None

    def try_at(self, view: memoryview, offset: int) -> int:
        """Read what the page cache has at `offset`; return how many bytes that was."""
        if not (self._can_try and view):
            return 0
        try:
            return os.preadv(self._fd, [view[:INLINE_BYTES_MAX]], offset, NOWAIT)
        except OSError:
            # Why, the op will say that is due now.
            return 0

    def read(self, size: int | None = -1, /) -> bytes | None:  # type: ignore[override]  # None: see above
        """Read at most `size` bytes; None in an attempt that would have to wait."""
        if not (self.is_trying and self._reads) and self._stash is None:
            return super().read(size)
        if size is None or size < 0:
            return self.readall()
        if size >= LARGE_BYTES:
            return self._read_large(size)
        buffer = bytearray(size)
        count = self.readinto(buffer)
        if count is None:
            return None
        return bytes(buffer) if count == size else bytes(memoryview(buffer)[:count])

    def _read_large(self, size: int) -> bytes | None:
        # Its memory becomes the bytes that it returns, where a bytearray's has to be copied to
        # memory that is as fresh: 1 MiB in 40 us instead of 200 (benchmarks/files.py, sequential).
        memory = io.BytesIO()
        memory.seek(size - 1)
        memory.write(b"\0")
        with memory.getbuffer() as view:
            count = self.readinto(view)
        if count is None:
            return None
        memory.truncate(count)
        return memory.getvalue()

    def readall(self) -> bytes | None:  # type: ignore[override]  # None: see above
        """Read to the end. An attempt that would have to wait returns what it has, or None."""
        if not (self.is_trying and self._reads and self._fd >= 0) and self._stash is None:
            return super().readall()
        parts: list[bytes] = []
        while True:
            size = self._size_left()
            part = self.read(size)
            if not part:
                break
            parts.append(part)
            if self.is_regular and self.is_trying and len(part) < size:
                # The end was seen.
                break
        return b"".join(parts) if parts else part

    def _size_left(self) -> int:
        """Return how much to ask for, to have the rest and see the end."""
        left = 0
        if self.is_regular:
            left = os.fstat(self._fd).st_size - os.lseek(self._fd, 0, os.SEEK_CUR)
        # Files in /proc say that they are empty.
        return min(left + 1, INLINE_BYTES_MAX) if left > 0 else io.DEFAULT_BUFFER_SIZE

    def write(self, data: ReadableBuffer, /) -> int | None:  # type: ignore[override]  # None: see above
        """Write `data`; None in an attempt, until `supply` has written it."""
        if not (self.is_trying and self._writes and self._fd >= 0):
            return super().write(data)
        view = memoryview(data).cast("B")
        if self._written is not None:
            count, self._written = self._written, None
            return count
        if not view:
            return 0
        self.missing = Write(self._fd, bytes(view))
        return None

    def close(self) -> None:
        """Close the descriptor, if it is to be closed; an attempt leaves that to `supply`.

        But not on file systems that know NOWAIT, the local ones: they have nothing to do when a
        file is closed, and a ring would do that nothing in this thread (benchmarks/files.py, open).
        """
        fd, self._fd = self._fd, -1
        if fd < 0:
            super().close()
            return
        if self._closes and self._finalizing:  # type: ignore[attr-defined]  # FileIO's own
            self._dealloc_warn(self)
        super().close()
        self.missing = None
        if not self._closes:
            return
        if self.is_trying and not self._knows_nowait:
            self.missing = Close(fd)
        else:
            os.close(fd)

    def _dealloc_warn(self, source: Any) -> None:
        # What `io` calls when a file is collected that nobody has closed.
        if self._closes:
            warnings.warn(f"unclosed file {source!r}", ResourceWarning, stacklevel=2, source=source)
