"""copy: everything from a source to a sink, through the kernel where both are descriptors.

With splice(2) the bytes go through a pipe of our own, so that each step concerns one foreign
descriptor: it waits for that one alone, and that one's closing ends it. The pipe is emptied before
it is filled again; so a step from it waits only for the sink, and one to it for the source.
"""

from __future__ import annotations

import contextlib
import os
import stat
from typing import TYPE_CHECKING, Any

from uringtrio._errors import ClosedResourceError
from uringtrio._ops.file import Read, Write
from uringtrio._ops.op import POLLIN, POLLOUT, Op
from uringtrio._ops.transfer import Splice
from uringtrio._scheduler.traps import checkpoint

from . import ahead
from .fd_stream import FdStream
from .hold import READING, WRITING, Hold
from .send_file import NOT_JOINABLE, descriptor
from .socket import Socket
from .splice_pipe import HAS_SPLICE, SplicePipe
from .stream import SocketStream
from .stream_error import as_stream_error

if TYPE_CHECKING:
    from uringtrio._abc import ReceiveStream, SendStream

    from .send_file import HasFileno

# How much is in memory at a time where there is no splice.
COPY_BYTES = 1 << 16


async def copy(
    source: ReceiveStream | HasFileno | int,
    sink: SendStream | HasFileno | int,
    count: int | None = None,
) -> int:
    """Move bytes from `source` to `sink` until the source ends; return how many.

    Where both are descriptors, as sockets, pipes and files are, the bytes do not pass through this
    process: Linux splices them, with a kernel worker or a thread for files on a disk. Otherwise,
    as with TLS, it is a loop of `receive_some` and `send_all`.

    Args:
        source: a stream; or a descriptor, or an object with `fileno()`, of a file, pipe or socket.
            A file is read from its position. Borrowed: it is neither closed nor may it be used
            for receiving meanwhile, and a bare descriptor not at all.
        sink: likewise, for sending. A file is written at its position, and must not be open for
            appending if it is to be spliced. The end of the source is not passed on:
            call `send_eof` or `aclose` for that.
        count: the most bytes to move; None is all to the end of the source.

    Returns:
        How many bytes the sink has taken, `count`, or fewer if the source ended before.

    Raises:
        BusyResourceError: another task uses the source or the sink, in this direction.
        BrokenResourceError: a connection is gone.
        ClosedResourceError: a stream was closed before or during the call.
        OSError: a file or a bare descriptor fails.
        TypeError: `source` or `sink` is nothing of the kind, or `count` no int.
        ValueError: it is closed, or `count` is negative.

    If it is cancelled or fails, what the sink has taken has been moved; the `sent_bytes` of a
    `SocketStream`, as sink, says how much. The position of a file, as source, is behind that, so
    nothing of it is lost. Of a stream or pipe, at most 512 KiB that came and did not go are gone.

    Checkpoint: always.

    Source: splice(2).
    """
    if count is not None and (isinstance(count, bool) or not isinstance(count, int)):
        raise TypeError(f"count must be an int or None for all, not {count!r}")
    if count is not None and count < 0:
        raise ValueError(f"count must be at least 0, not {count}")
    with contextlib.ExitStack() as stack:
        copying = Copying(_end(stack, source, READING), _end(stack, sink, WRITING), count)
        try:
            await copying.run()
        finally:
            copying.source.seek_behind(copying.copied_bytes)
            if isinstance(sink, SocketStream):
                sink.sent_bytes = copying.copied_bytes
    return copying.copied_bytes


class StreamEnd:
    """A stream that is no descriptor: receives and sends by its public methods."""

    __slots__ = ("stream",)

    def __init__(self, stream: Any) -> None:
        self.stream = stream

    async def receive(self, size: int) -> Any:
        """Return 1 to `size` bytes, or none at the end."""
        return await self.stream.receive_some(size)

    def receive_early(self, size: int) -> bytes:
        """Return up to `size` bytes that `receive` and `splice_to` would not find."""
        del size
        return b""

    async def send(self, data: Any) -> int:
        """Send the front of `data`; return how many bytes."""
        await self.stream.send_all(data)
        return len(data)

    def seek_behind(self, copied_bytes: int) -> None:
        """Leave what is behind the first `copied_bytes` to others, if that can be done."""


class DescriptorEnd:
    """A descriptor, in one direction.

    Args:
        fd: it; non-blocking if it has readiness.
        owner: the `Socket` or `FdStream` that owns it, None for a bare one.
        hold: the owner's, entered.

    Attributes:
        fd: the descriptor.
        is_file: whether it has no readiness, because it is on a disk.
    """

    __slots__ = ("_hold", "_owner", "_start", "fd", "is_file")

    def __init__(self, fd: int, owner: Socket | FdStream | None, hold: Hold | None) -> None:
        self.fd = fd
        self._owner = owner
        self._hold = hold
        mode = os.fstat(fd).st_mode
        self.is_file = stat.S_ISREG(mode) or stat.S_ISBLK(mode)
        self._start = os.lseek(fd, 0, os.SEEK_CUR) if self.is_file else 0

    def seek_behind(self, copied_bytes: int) -> None:
        """Leave what is behind the first `copied_bytes` to others, if that can be done."""
        if self.is_file:
            os.lseek(self.fd, self._start + copied_bytes, os.SEEK_SET)

    def receive_early(self, size: int) -> bytes:
        """Return up to `size` bytes that `receive` and `splice_to` would not find."""
        if not isinstance(self._owner, Socket):
            return b""
        try:
            return ahead.take(self._owner, size)
        except OSError as exc:
            raise as_stream_error(exc) from exc

    async def splice_to(self, pipe: SplicePipe, size: int) -> int:
        """Move up to `size` bytes to the empty `pipe`; return how many, 0 at the end."""
        if self.is_file:
            return await self._do(Splice(self.fd, pipe.writer, size))
        return await self._do(
            Splice(self.fd, pipe.writer, size, waits_for=self.fd, interest=POLLIN)
        )

    async def splice_from(self, pipe: SplicePipe, size: int) -> int:
        """Move some of the `size` bytes in `pipe` here; return how many."""
        if self.is_file:
            return await self._do(Splice(pipe.reader, self.fd, size))
        return await self._do(
            Splice(pipe.reader, self.fd, size, waits_for=self.fd, interest=POLLOUT)
        )

    async def receive(self, size: int) -> Any:
        """Return 1 to `size` bytes, or none at the end."""
        buffer = bytearray(size)
        return memoryview(buffer)[: await self._do(Read(self.fd, buffer))]

    async def send(self, data: Any) -> int:
        """Send the front of `data`; return how many bytes."""
        return await self._do(Write(self.fd, data))

    async def _do(self, op: Op) -> int:
        # The descriptor does not block: try before waiting.
        op.arms_first = False
        try:
            return await (op if self._hold is None else self._hold.run(op))  # type: ignore[no-any-return]
        except OSError as exc:
            if exc.errno in NOT_JOINABLE or self._owner is None:
                raise
            if isinstance(self._owner, FdStream):
                raise self._owner._as_stream_error(exc, self.fd) from exc
            raise as_stream_error(exc) from exc


class Copying:
    """Bytes on their way from `source` to `sink`.

    Attributes:
        source: where they come from.
        copied_bytes: how many the sink has taken.
    """

    __slots__ = ("_count", "_sink", "copied_bytes", "source")

    def __init__(
        self,
        source: DescriptorEnd | StreamEnd,
        sink: DescriptorEnd | StreamEnd,
        count: int | None,
    ) -> None:
        self.source = source
        self._sink = sink
        self._count = count
        self.copied_bytes = 0

    def _next_bytes(self, limit: int) -> int:
        """Return how many bytes to take next, at most `limit`; 0 when that is all."""
        return limit if self._count is None else min(self._count - self.copied_bytes, limit)

    async def run(self) -> None:
        """Move all of them."""
        if self._count == 0:
            await checkpoint()
            return
        source, sink = self.source, self._sink
        while data := source.receive_early(self._next_bytes(COPY_BYTES)):
            await self._send(data)
        if HAS_SPLICE and isinstance(source, DescriptorEnd) and isinstance(sink, DescriptorEnd):
            with SplicePipe() as pipe:
                if await self._splice(source, sink, pipe):
                    return
        while size := self._next_bytes(COPY_BYTES):
            data = await source.receive(size)
            if not data:
                return
            await self._send(data)

    async def _send(self, data: Any) -> None:
        while data:
            count = await self._sink.send(data)
            self.copied_bytes += count
            data = data[count:]

    async def _splice(self, source: DescriptorEnd, sink: DescriptorEnd, pipe: SplicePipe) -> bool:
        """Move what splices; say whether that was all."""
        while size := self._next_bytes(pipe.size):
            try:
                left = await source.splice_to(pipe, size)
            except OSError as exc:
                if exc.errno not in NOT_JOINABLE:
                    raise
                return False
            if not left:
                return True
            while left:
                try:
                    count = await sink.splice_from(pipe, left)
                except OSError as exc:
                    if exc.errno not in NOT_JOINABLE:
                        raise
                    # What is in the pipe has been taken, and has to go another way.
                    await self._send(os.read(pipe.reader, left))
                    return False
                left -= count
                self.copied_bytes += count
        return True


def _end(stack: contextlib.ExitStack, end: object, direction: str) -> DescriptorEnd | StreamEnd:
    """Return one end of a copy; `stack` lets go of it."""
    owner = end.socket if isinstance(end, SocketStream) else end
    if isinstance(owner, (Socket, FdStream)):
        if direction == READING and isinstance(owner, Socket):
            ahead.end_for_another(owner)
        hold = stack.enter_context(Hold(owner, direction))
        fd = (owner._sock if isinstance(owner, Socket) else owner).fileno()
        if fd == -1:
            raise ClosedResourceError("this stream was already closed")
        if direction == WRITING and isinstance(owner, Socket) and owner.did_shutdown_SHUT_WR:
            raise ClosedResourceError("can't send data after sending EOF")
        return DescriptorEnd(fd, owner, hold)
    if hasattr(end, "receive_some" if direction == READING else "send_all"):
        return StreamEnd(end)
    fd = os.dup(descriptor(end, "copy"))
    stack.callback(os.close, fd)
    bare = DescriptorEnd(fd, None, None)
    if not bare.is_file and os.get_blocking(fd):
        # For everybody who shares the open file, like FdStream, and as long as the copy lasts.
        os.set_blocking(fd, False)
        stack.callback(os.set_blocking, fd, True)
    return bare
