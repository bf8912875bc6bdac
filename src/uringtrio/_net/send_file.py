"""How a stream sends a file: from the kernel's memory of the file to the socket, uncopied.

On a ring the file is spliced into a pipe by a kernel worker, as it may have to come from the disk,
and from there to the socket when that has room. Elsewhere it is sendfile(2), which cannot wait for
a disk and lets the run wait instead. What neither can read is read into memory and sent.

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
from uringtrio._ops.transfer import SendFile, Splice
from uringtrio._scheduler.current import CURRENT

from .hold import WRITING, Hold
from .splice_pipe import HAS_SPLICE, SplicePipe
from .stream_error import as_stream_error

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

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
        with Hold(socket, WRITING) as hold:
            try:
                await self._spliced_or_sent(socket, hold)
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

    async def _spliced_or_sent(self, socket: Socket, hold: Hold) -> None:
        runner = CURRENT.runner
        assert runner is not None
        if HAS_SPLICE and runner.driver.splices_files:
            with SplicePipe() as pipe:
                while size := self._next_bytes(pipe.size):
                    op = Splice(self._fd, pipe.writer, size, offset=self._position())
                    left = await op
                    if not left:
                        return
                    while left:
                        left -= await self._spliced(socket, hold, pipe.reader, left)
            return
        while size := self._next_bytes(1 << 30):
            count = await self._sent(socket, hold, size)
            if not count:
                return
            self.sent_bytes += count

    async def _spliced(self, socket: Socket, hold: Hold, reader: int, size: int) -> int:
        fd = socket._sock.fileno()
        op = Splice(reader, fd, size, waits_for=fd, interest=POLLOUT)
        try:
            count: int = await hold.run(op)
        except OSError as exc:
            if exc.errno in NOT_JOINABLE:
                raise
            raise as_stream_error(exc) from exc
        self.sent_bytes += count
        return count

    async def _sent(self, socket: Socket, hold: Hold, size: int) -> Any:
        op = SendFile(socket._sock, self._fd, self._position(), size)
        try:
            return await hold.run(op)
        except OSError as exc:
            # One call, two descriptors: this is what the file says.
            is_unreadable = exc.errno == errno.EBADF and socket._sock.fileno() != -1
            if is_unreadable or exc.errno in NOT_JOINABLE or exc.errno in FILE_ERRNOS:
                raise
            raise as_stream_error(exc) from exc

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
