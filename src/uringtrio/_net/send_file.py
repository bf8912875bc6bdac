"""How a stream sends a file: from the kernel's memory of the file to the socket, uncopied.

What is in memory goes to the socket at once, and when the socket is full, as soon as it has room.
What may have to come from a disk is spliced into a pipe by a kernel worker or a thread before, so
that the run does not wait for the disk. Which of the two it is, the file says, by a read of one
byte that must not wait; a file system that cannot say (tmpfs, overlayfs, NFS, FUSE) costs the trip
to the worker. What the kernel cannot join to a socket is read into memory and sent.

The position in the file counts only what the socket has taken: what is left in the pipe by a
cancellation is still in the file.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING, Any, Protocol

from uringtrio._ops.file import Read
from uringtrio._ops.net import MSG_NOSIGNAL, MSG_WAITALL, Send
from uringtrio._ops.op import POLLOUT
from uringtrio._ops.transfer import SEND_FILE_BYTES, SENDFILE_PIPE_BYTES, SendFile, Splice

from .hold import WRITING, Hold
from .splice_pipe import HAS_SPLICE, RunPipe, SplicePipe, run_pipe
from .stream_error import as_stream_error

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from uringtrio._ops.op import Op

    from .socket import Socket

# How much of the file is in memory at a time where it has to be read.
READ_BYTES = 1 << 18

# What splice(2) and sendfile(2) say of a descriptor that they cannot take from or give to.
NOT_JOINABLE = frozenset({errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP})
# What a disk or its file system says, and no socket.
FILE_ERRNOS = frozenset({errno.EIO, errno.EOVERFLOW})


class HasFileno(Protocol):
    """An open file."""

    def fileno(self) -> int:
        """Return its descriptor."""


class FileSending:
    """One file on its way.

    Args:
        fd: of a file on a disk; stays open and is not closed here.
        offset: where in it to begin.
        count: the most bytes to send; None is to the end.

    Attributes:
        sent_bytes: how many bytes the socket has taken.
    """

    __slots__ = ("_count", "_fd", "_offset", "sent_bytes")

    def __init__(self, fd: int, offset: int, count: int | None) -> None:
        self._fd = fd
        self._offset = offset
        self._count = count
        self.sent_bytes = 0

    def _next_bytes(self, limit: int) -> int:
        """Return how many bytes to send next, at most `limit`; 0 when all is sent."""
        return limit if self._count is None else min(self._count - self.sent_bytes, limit)

    def _position(self) -> int:
        return self._offset + self.sent_bytes

    async def through(self, socket: Socket) -> None:
        """Send it all.

        Raises: what the stream raises, and OSError if the file cannot be read.
        """
        with Hold(socket, WRITING) as hold, run_pipe() as pipe:
            try:
                await self._uncopied(socket, hold, pipe)
            except OSError as exc:
                # This file, or this socket, is none that the kernel can join to another.
                if exc.errno not in NOT_JOINABLE:
                    raise
            else:
                return

            async def send(data: memoryview) -> int:
                op = Send(socket._sock, data, MSG_WAITALL | MSG_NOSIGNAL)
                return await hold.run(op)  # type: ignore[no-any-return]

            await self.copied(send)

    async def _uncopied(self, socket: Socket, hold: Hold, pipe: RunPipe) -> None:
        limit, is_full = SEND_FILE_BYTES, False
        while size := self._next_bytes(limit):
            start, end = self._position(), self._end()
            if HAS_SPLICE and not self._is_in_memory(start, min(start + size, end)):
                count = await self._spliced(socket, hold, size, end)
            else:
                op = SendFile(
                    socket._sock,
                    self._fd,
                    start,
                    size,
                    pipe.descriptors() if size > SENDFILE_PIPE_BYTES and HAS_SPLICE else None,
                    is_more=start + size < end,
                )
                op.arms_first = is_full
                count = await self._taken(socket, hold, op)
                is_full = count < min(size, end - start)
                # To look up pages that the socket does not take costs as much as to send them.
                limit = min(max(2 * count, SENDFILE_PIPE_BYTES), SEND_FILE_BYTES)
            if not count:
                return

    def _end(self) -> int:
        """Return where in the file to end, as it is now; 0 for what does not tell its size."""
        file_bytes = os.fstat(self._fd).st_size
        return file_bytes if self._count is None else min(file_bytes, self._offset + self._count)

    def _is_in_memory(self, start: int, end: int) -> bool:
        """Say whether the bytes from `start` to `end` would not have to come from a disk.

        That is guessed from the first and the last of them.
        """
        byte = bytearray(1)
        try:
            for position in (start, max(start, end - 1)):
                os.preadv(self._fd, [byte], position, os.RWF_NOWAIT)
        except OSError:
            # It is not, or this file cannot say so; or it fails, and so will what comes now.
            return False
        return True

    async def _spliced(self, socket: Socket, hold: Hold, size: int, end: int) -> int:
        """Send by a pipe that is filled while others run, and emptied when the socket has room."""
        fd = socket._sock.fileno()
        with SplicePipe() as pipe:
            op = Splice(self._fd, pipe.writer, min(size, pipe.size), offset=self._position())
            count: int = await op
            left = count
            while left:
                is_more = self._position() + left < end
                op = Splice(pipe.reader, fd, left, waits_for=fd, interest=POLLOUT, is_more=is_more)
                left -= await self._taken(socket, hold, op)
        return count

    async def _taken(self, socket: Socket, hold: Hold, op: Op) -> int:
        """Do what gives something to the socket; return how many bytes."""
        try:
            count: int = await hold.run(op)
        except OSError as exc:
            # One call, two descriptors: this is what the file says.
            is_unreadable = exc.errno == errno.EBADF and socket._sock.fileno() != -1
            if is_unreadable or exc.errno in NOT_JOINABLE or exc.errno in FILE_ERRNOS:
                raise
            raise as_stream_error(exc) from exc
        self.sent_bytes += count
        return count

    async def copied(self, send: Callable[[memoryview], Awaitable[int]]) -> None:
        """Read it into memory and `send` it, a part at a time."""
        buffer = bytearray(self._next_bytes(READ_BYTES))
        while size := self._next_bytes(READ_BYTES):
            view = memoryview(buffer)[:size]
            rest = view[: await Read(self._fd, view, self._position())]
            if not rest:
                return
            while rest:
                try:
                    count = await send(rest)
                except OSError as exc:
                    raise as_stream_error(exc) from exc
                self.sent_bytes += count
                rest = rest[count:]


def open_file(file: Any, offset: int, count: int | None) -> int:
    """Return a descriptor of our own for `file`, after looking at all arguments of `send_file`.

    Of our own, so that the number means this file to the end, whoever closes the other.

    Raises: as `SocketStream.send_file` says.
    """
    if isinstance(offset, bool) or not isinstance(offset, int):
        raise TypeError(f"offset must be an int, not {offset!r}")
    if offset < 0:
        raise ValueError(f"offset must be at least 0, not {offset}")
    if count is not None and (isinstance(count, bool) or not isinstance(count, int)):
        raise TypeError(f"count must be an int or None for all, not {count!r}")
    if count is not None and count < 0:
        raise ValueError(f"count must be at least 0, not {count}")
    fd = descriptor(file, "send_file")
    mode = os.fstat(fd).st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISBLK(mode)):
        raise ValueError(
            f"send_file needs a file on a disk, which has offsets, and {file!r} is none; "
            "for pipes and sockets there is uringtrio.copy(source, sink)"
        )
    return os.dup(fd)


def descriptor(file: Any, caller: str) -> int:
    """Return the descriptor of `file`, an int or an object with `fileno`.

    Raises:
        TypeError: it is neither.
        ValueError: it is closed.
        OSError: it has no descriptor, as an `io.BytesIO`.
    """
    if isinstance(file, int) and not isinstance(file, bool):
        fd = file
    elif hasattr(file, "fileno"):
        fd = file.fileno()
    else:
        raise TypeError(
            f"{caller} takes an open file with a fileno() method, or a descriptor, not {file!r}"
        )
    if fd < 0:
        raise ValueError(f"{caller} got the descriptor {fd} of {file!r}: it is closed")
    return fd
