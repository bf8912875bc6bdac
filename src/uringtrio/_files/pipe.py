"""Pipes, and the standard streams of the process: streams over descriptors of any kind."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, final

from uringtrio._abc import Sealed, Stream
from uringtrio._errors import BrokenResourceError, BusyResourceError, ClosedResourceError
from uringtrio._net.fd_stream import FdStream
from uringtrio._net.stream import DEFAULT_RECEIVE_BYTES
from uringtrio._ops.file import Read, Write
from uringtrio._scheduler.traps import checkpoint

if TYPE_CHECKING:
    from uringtrio._abc import Buffer, ReceiveStream, SendStream
    from uringtrio._ops.op import Op

_PRIVATE = object()


def open_pipe() -> tuple[FdStream, FdStream]:
    """Open a pipe.

    Returns:
        (the end to send into, the end to receive from), streams with `fileno()`, to be closed;
        children do not inherit them. Closing the one that sends is the end of the other.

    Raises:
        OSError: no descriptors are left.

    Source: pipe(2).
    """
    receive_fd, send_fd = os.pipe()
    return FdStream(send_fd), FdStream(receive_fd)


class _Closing:
    """The interruption of an op on a stream that another task closes."""

    def exception(self) -> BaseException:
        return ClosedResourceError("another task closed this stream")

    def ended(self) -> None:
        pass


@final
class StandardStream(Sealed, Stream):
    """A stream over a descriptor that belongs to the process: a file, a pipe, a terminal.

    It sets nothing on the open file, which other processes share, and leaves it open when it is
    closed. Do not use it together with the buffers of `sys.stdin` and its like.
    """

    __slots__ = ("_fd", "_reading", "_writing")

    def __init__(self, private: object = None, fd: int = -1) -> None:
        if private is not _PRIVATE:
            raise TypeError(
                "uringtrio.StandardStream has no public constructor: use uringtrio.open_stdin(), "
                "open_stdout() or open_stderr()"
            )
        self._fd = fd
        self._reading: Op | None = None
        self._writing: Op | None = None

    def fileno(self) -> int:
        """Return the descriptor, -1 when closed."""
        return self._fd

    def _check(self, op: Op | None) -> int:
        if op is not None:
            raise BusyResourceError("another task is using this stream in the same direction")
        if self._fd < 0:
            raise ClosedResourceError("this stream was closed")
        return self._fd

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        fd = self._check(self._reading)
        size = DEFAULT_RECEIVE_BYTES if max_bytes is None else max_bytes
        if size < 1:
            raise ValueError(f"max_bytes must be at least 1, not {max_bytes!r}")
        buffer = bytearray(size)
        self._reading = op = Read(fd, buffer)
        try:
            count = await op
        except OSError as exc:
            # A terminal that has gone says EIO.
            raise BrokenResourceError(f"reading from descriptor {fd} failed: {exc}") from exc
        finally:
            self._reading = None
        return bytes(memoryview(buffer)[:count])

    async def send_all(self, data: Buffer) -> None:
        fd = self._check(self._writing)
        view = memoryview(data).cast("B")
        if not view:
            await checkpoint()
        while view:
            self._writing = op = Write(self._check(None), view)
            try:
                view = view[await op :]
            except OSError as exc:
                if exc.errno not in {errno.EPIPE, errno.EIO}:
                    raise
                raise BrokenResourceError(f"writing to descriptor {fd} failed: {exc}") from exc
            finally:
                self._writing = None

    async def wait_send_all_might_not_block(self) -> None:
        self._check(self._writing)
        # What it is, and so whether it can be waited for, is anybody's guess.
        await checkpoint()

    async def aclose(self) -> None:
        """Stop using the descriptor, which stays open. Tasks in the stream get ClosedResourceError.

        Checkpoint: always.
        """
        self._fd = -1
        for op in (self._reading, self._writing):
            if op is not None and op.waiter is not None:
                op.abort(op.waiter, _Closing())
        await checkpoint()


def open_stdin() -> ReceiveStream:
    """Return the standard input as a stream, whatever it is: a file, a pipe, a terminal."""
    return StandardStream(_PRIVATE, 0)


def open_stdout() -> SendStream:
    """Return the standard output as a stream, whatever it is: a file, a pipe, a terminal."""
    return StandardStream(_PRIVATE, 1)


def open_stderr() -> SendStream:
    """Return the standard error as a stream, whatever it is: a file, a pipe, a terminal."""
    return StandardStream(_PRIVATE, 2)
