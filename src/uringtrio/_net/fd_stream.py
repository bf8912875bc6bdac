"""FdStream: a stream over a descriptor that is no socket: a pipe, a terminal."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, final

from uringtrio._abc import Sealed, Stream
from uringtrio._errors import BrokenResourceError, BusyResourceError, ClosedResourceError
from uringtrio._ops.file import Read, Write
from uringtrio._ops.net import Poll
from uringtrio._ops.op import POLLOUT
from uringtrio._scheduler.traps import checkpoint

from .closing import check_run, close_after
from .stream import DEFAULT_RECEIVE_BYTES

if TYPE_CHECKING:
    from uringtrio._abc import Buffer
    from uringtrio._ops.op import Op


@final
class FdStream(Sealed, Stream):
    """A stream over a descriptor, of which it becomes the owner.

    It reads, writes, or both, as the descriptor allows. O_NONBLOCK is set as long as the stream is
    open, for everybody who shares the open file, and put back when it is closed.

    Args:
        fd: open, with readiness: not a file on a disk.

    Raises:
        TypeError: `fd` is no int.
        OSError: it is not open.
    """

    __slots__ = ("__dict__", "__weakref__", "_fd", "_reading", "_was_blocking", "_writing")

    def __init__(self, fd: int) -> None:
        if not isinstance(fd, int):
            raise TypeError(f"file descriptor must be an int, not {fd!r}")
        self._was_blocking = os.get_blocking(fd)
        os.set_blocking(fd, False)
        self._fd = fd
        self._reading: Op | None = None
        self._writing: Op | None = None

    def __del__(self) -> None:
        # Without it the construction failed, and the descriptor is not ours.
        if hasattr(self, "_fd"):
            self.close()

    def _check_open(self) -> int:
        if self._fd == -1:
            raise ClosedResourceError("this stream was closed")
        return self._fd

    @staticmethod
    def _check_free(op: Op | None, doing: str) -> None:
        if op is not None and (op.id or op.waiter is not None):
            raise BusyResourceError(f"another task is already {doing} this stream")

    async def send_all(self, data: Buffer) -> None:
        self._check_free(self._writing, "sending through")
        fd = self._check_open()
        view = memoryview(data).cast("B")
        sent = 0
        if not view:
            await checkpoint()
        while sent < len(view):
            self._writing = op = Write(self._check_open(), view[sent:])
            # The descriptor does not block: try before waiting.
            op.arms_first = False
            try:
                sent += await op
            except OSError as exc:
                raise self._as_stream_error(exc, fd) from exc

    async def wait_send_all_might_not_block(self) -> None:
        self._check_free(self._writing, "sending through")
        fd = self._check_open()
        self._writing = op = Poll(fd, POLLOUT)
        try:
            await op
        except OSError as exc:
            raise self._as_stream_error(exc, fd) from exc

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        self._check_free(self._reading, "receiving from")
        fd = self._check_open()
        if max_bytes is None:
            max_bytes = DEFAULT_RECEIVE_BYTES
        elif not isinstance(max_bytes, int):
            raise TypeError("max_bytes must be integer >= 1")
        elif max_bytes < 1:
            raise ValueError("max_bytes must be integer >= 1")
        buffer = bytearray(max_bytes)
        self._reading = op = Read(fd, buffer)
        # The descriptor does not block: try before waiting, which a sending end never ends.
        op.arms_first = False
        try:
            count = await op
        except OSError as exc:
            raise self._as_stream_error(exc, fd) from exc
        return bytes(memoryview(buffer)[:count])

    def _as_stream_error(self, exc: OSError, fd: int) -> Exception:
        if exc.errno == errno.EBADF or self._fd == -1:
            return ClosedResourceError("this stream was closed")
        return BrokenResourceError(f"stream over descriptor {fd} broken: {exc}")

    def fileno(self) -> int:
        """Return the descriptor, -1 when closed."""
        return self._fd

    def close(self) -> None:
        """Close the descriptor. Tasks that wait in the stream get ClosedResourceError.

        Raises:
            RuntimeError: tasks wait in it, and this is not the thread of their run.

        Checkpoint: never; this is no async function. Twice is allowed.
        """
        if self._fd == -1:
            return
        ops = [op for op in (self._reading, self._writing) if op is not None and op.id]
        if ops:
            check_run(ops)
        fd, self._fd = self._fd, -1
        os.set_blocking(fd, self._was_blocking)
        if ops:
            close_after(fd, ops)
        else:
            os.close(fd)

    async def aclose(self) -> None:
        """Close the descriptor, as `close`.

        Checkpoint: always.
        """
        self.close()
        await checkpoint()
