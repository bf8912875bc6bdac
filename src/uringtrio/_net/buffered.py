"""BufferedStream: exact counts, delimiters and lines out of a stream of chunks.

What was received and not asked for stays in one bytearray, from whose front taking is cheap. No
call that fails or is cancelled takes anything out of it, so whatever happens no byte is lost, and
the call can be made again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Self, final

from uringtrio._abc import HalfCloseableStream, Sealed
from uringtrio._errors import (
    BusyResourceError,
    ClosedResourceError,
    IncompleteReceiveError,
    LimitExceededError,
)
from uringtrio._scheduler.traps import checkpoint

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from uringtrio._abc import Buffer, ReceiveStream, Stream

# Longest line by default. As asyncio's streams and HTTP servers have it.
LINE_BYTES_MAX: Final = 65536
# Least to ask the stream for: a call for some bytes costs as much as one for a page of them.
RECEIVE_BYTES_MIN: Final = 16384


@final
class BufferedStream(Sealed, HalfCloseableStream):
    """Receives exact counts, up to a delimiter, or lines from a stream, which it comes to own.

    It receives more than it is asked for, and keeps that for the next call: from here on nobody
    else may receive from the stream. Sending goes straight to the stream.

    A call that fails, or is cancelled, has taken nothing: what was received is there for the next.

    Args:
        transport_stream: a `Stream`; with a `ReceiveStream` alone the sending methods fail.

    Attributes:
        transport_stream: the stream.
    """

    __slots__ = ("__weakref__", "_buffer", "_is_closed", "_is_receiving", "transport_stream")

    def __init__(self, transport_stream: Stream | ReceiveStream) -> None:
        if not hasattr(transport_stream, "receive_some"):
            raise TypeError(
                f"BufferedStream needs a stream with receive_some, not {transport_stream!r}"
            )
        self.transport_stream: Any = transport_stream
        self._buffer = bytearray()
        self._is_receiving = False
        self._is_closed = False

    def __repr__(self) -> str:
        return f"BufferedStream({self.transport_stream!r}), with {len(self._buffer)} bytes buffered"

    @property
    def buffered_bytes(self) -> int:
        """How many bytes have been received and not taken yet."""
        return len(self._buffer)

    def unread(self, data: Buffer) -> None:
        """Put bytes back, in front of everything that is still to be received.

        Args:
            data: copied.

        Raises:
            BusyResourceError: a task is receiving from this stream.
        """
        if self._is_receiving:
            raise BusyResourceError("another task is receiving from this stream")
        self._buffer[:0] = data

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        if not self._buffer or (max_bytes is not None and max_bytes < 1):
            self._start()
            try:
                return await self.transport_stream.receive_some(max_bytes)  # type: ignore[no-any-return]  # either kind of stream
            finally:
                self._is_receiving = False
        await self._have(1)
        return self._take(len(self._buffer) if max_bytes is None else max_bytes)

    async def receive_exactly(self, count: int) -> bytes:
        """Receive exactly `count` bytes.

        Args:
            count: at least 0.

        Returns:
            `count` bytes, neither more nor less.

        Raises:
            IncompleteReceiveError: the stream ended before; what there was can still be received.
            ValueError: `count` is negative.
            BusyResourceError: another task is receiving from this stream.
            BrokenResourceError: the connection is gone.
            ClosedResourceError: this side was closed before or during the call.

        Checkpoint: always.
        """
        if count < 0:
            raise ValueError(f"count must be at least 0, not {count!r}")
        if not await self._have(count):
            raise IncompleteReceiveError(
                f"the stream ended after {len(self._buffer)} of {count} bytes"
            )
        return self._take(count)

    async def receive_until(self, delimiter: Buffer, max_bytes: int) -> bytes:
        """Receive what comes before `delimiter`, and take the delimiter away.

        Args:
            delimiter: at least one byte.
            max_bytes: at most this many bytes before the delimiter.

        Returns:
            0 to `max_bytes` bytes, without the delimiter.

        Raises:
            LimitExceededError: there is no delimiter within `max_bytes`.
            IncompleteReceiveError: the stream ended before a delimiter.
            ValueError: `delimiter` is empty, or `max_bytes` negative.

        Raises besides: what `receive_exactly` raises. After any error, what was received can
        still be received.

        Checkpoint: always.
        """
        found = await self._find(bytes(delimiter), max_bytes)
        if found < 0:
            raise IncompleteReceiveError(
                f"the stream ended after {len(self._buffer)} bytes, without {bytes(delimiter)!r}"
            )
        data = self._take(found)
        del self._buffer[: len(delimiter)]
        return data

    def lines(self, *, max_bytes: int = LINE_BYTES_MAX) -> AsyncIterator[bytes]:
        r"""Return an iterator over the lines until the end of the stream.

        It keeps nothing, so a loop may leave it at any line, and the stream goes on there.

        Args:
            max_bytes: at most this many bytes in a line.

        Returns:
            Each line, without its ``\n`` or ``\r\n``. What follows the last of them is a line if
            it is not empty.

        Raises, for each line:
            LimitExceededError: it is longer; it is still there.
            ValueError: `max_bytes` is negative.

        Raises besides: what `receive_exactly` raises.

        Checkpoint: before each line, and before the end.
        """
        return _Lines(self, max_bytes)

    async def _receive_line(self, max_bytes: int) -> bytes | None:
        found = await self._find(b"\n", max_bytes)
        if found < 0:
            return self._take(len(self._buffer)) if self._buffer else None
        line = self._take(found)
        del self._buffer[:1]
        return line.removesuffix(b"\r")

    async def send_all(self, data: Buffer) -> None:
        await self.transport_stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self.transport_stream.wait_send_all_might_not_block()

    async def send_eof(self) -> None:
        """End the sending side of the stream, which must be one that can be half-closed.

        Raises: what its `send_eof` raises.

        Checkpoint: always.
        """
        await self.transport_stream.send_eof()

    async def aclose(self) -> None:
        """Close the stream, and forget what was buffered.

        Checkpoint: always.
        """
        self._is_closed = True
        self._buffer.clear()
        await self.transport_stream.aclose()

    def _check_open(self) -> None:
        # After each wait: what has arrived since follows bytes that `aclose` has forgotten.
        if self._is_closed:
            raise ClosedResourceError("this stream was closed")

    def _start(self) -> None:
        if self._is_receiving:
            raise BusyResourceError("another task is already receiving from this stream")
        self._is_receiving = True

    def _take(self, count: int) -> bytes:
        data = bytes(memoryview(self._buffer)[:count])
        del self._buffer[:count]
        return data

    async def _have(self, count: int) -> bool:
        """Receive until `count` bytes are buffered; say whether they are. Checkpoint: always."""
        self._start()
        try:
            if len(self._buffer) >= count:
                await checkpoint()
                self._check_open()
                return True
            while len(self._buffer) < count:
                missing = max(count - len(self._buffer), RECEIVE_BYTES_MIN)
                data = await self.transport_stream.receive_some(missing)
                self._check_open()
                if not data:
                    return False
                self._buffer += data
            return True
        finally:
            self._is_receiving = False

    async def _find(self, delimiter: bytes, max_bytes: int) -> int:
        """Return how many bytes come before the first delimiter, -1 if the stream ends before."""
        if not delimiter:
            raise ValueError("delimiter must not be empty")
        if max_bytes < 0:
            raise ValueError(f"max_bytes must be at least 0, not {max_bytes!r}")
        wanted = len(delimiter)
        searched = 0
        while await self._have(wanted):
            found = self._buffer.find(delimiter, searched, max_bytes + len(delimiter))
            if found >= 0:
                return found
            if len(self._buffer) >= max_bytes + len(delimiter):
                raise LimitExceededError(f"no {delimiter!r} within {max_bytes} bytes")
            # The delimiter may have begun at the end of what there is.
            searched = len(self._buffer) - len(delimiter) + 1
            wanted = len(self._buffer) + 1
        return -1


class _Lines:
    """What `BufferedStream.lines` returns: no async generator, which a loop would have to close."""

    __slots__ = ("_max_bytes", "_stream")

    def __init__(self, stream: BufferedStream, max_bytes: int) -> None:
        self._stream = stream
        self._max_bytes = max_bytes

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        line = await self._stream._receive_line(self._max_bytes)
        if line is None:
            raise StopAsyncIteration
        return line
