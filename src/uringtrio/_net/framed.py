"""Framed: a channel of messages over a stream of bytes; a codec says where a message ends.

A codec does no I/O: bytes in, messages out, and the other way round. What a peer may make it keep
has a limit, so that no length that it announces becomes memory.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Final, Generic, Literal, TypeVar, final

from uringtrio._abc import Channel, Sealed
from uringtrio._errors import (
    BrokenResourceError,
    BusyResourceError,
    ClosedResourceError,
    EndOfChannel,
    IncompleteReceiveError,
    LimitExceededError,
)
from uringtrio._scheduler.traps import checkpoint, checkpoint_if_cancelled

if TYPE_CHECKING:
    from uringtrio._abc import Buffer, Stream

T = TypeVar("T")

# Largest message by default: that of gRPC and of many message queues is some megabytes.
MESSAGE_BYTES_MAX: Final = 1 << 22
LINE_BYTES_MAX: Final = 65536


class Codec(ABC, Generic[T]):
    """How messages of type `T` become bytes, and bytes messages again. One may serve many streams.

    It keeps no state: `decode` is given all bytes that are not yet part of a message.
    """

    __slots__ = ()

    @abstractmethod
    def encode(self, message: T) -> Buffer:
        """Return the bytes of one frame.

        Raises:
            LimitExceededError: the message is too large for the peer to accept.
            TypeError: it is of the wrong type.
            ValueError: a frame cannot hold it, as a line that has its delimiter in it.
        """

    @abstractmethod
    def decode(self, buffer: bytearray) -> list[T]:
        """Take all whole frames off the front of `buffer`; return their messages, maybe none.

        Raises:
            LimitExceededError: the frame at the front is, or announces to be, too large. Frames
                before it must have been returned by then: raise only when there is none.
        """


class LengthPrefixCodec(Codec[bytes]):
    """Messages of bytes, each preceded by its length.

    Args:
        size_bytes: how many bytes the length takes, 1 to 8.
        byteorder: "big", which is network order, or "little".
        max_bytes: the largest message, in both directions.

    Raises:
        ValueError: one of them is out of range.
    """

    __slots__ = ("_byteorder", "_max_bytes", "_size_bytes")

    def __init__(
        self,
        *,
        size_bytes: int = 4,
        byteorder: Literal["big", "little"] = "big",
        max_bytes: int = MESSAGE_BYTES_MAX,
    ) -> None:
        if not 1 <= size_bytes <= 8:
            raise ValueError(f"size_bytes must be 1 to 8, not {size_bytes!r}")
        if byteorder not in ("big", "little"):
            raise ValueError(f"byteorder must be 'big' or 'little', not {byteorder!r}")
        if max_bytes < 0:
            raise ValueError(f"max_bytes must be at least 0, not {max_bytes!r}")
        self._size_bytes = size_bytes
        self._byteorder = byteorder
        self._max_bytes = min(max_bytes, (1 << 8 * size_bytes) - 1)

    def encode(self, message: Buffer) -> bytes:
        size = memoryview(message).nbytes
        if size > self._max_bytes:
            raise LimitExceededError(f"a message of {size} bytes; at most are {self._max_bytes}")
        return b"".join((size.to_bytes(self._size_bytes, self._byteorder), message))

    def decode(self, buffer: bytearray) -> list[bytes]:
        messages: list[bytes] = []
        position = 0
        with memoryview(buffer) as view:
            while len(view) - position >= self._size_bytes:
                begin = position + self._size_bytes
                size = int.from_bytes(view[position:begin], self._byteorder)
                if size > self._max_bytes:
                    if messages:
                        break
                    raise LimitExceededError(
                        f"the peer announces a message of {size} bytes; "
                        f"at most are {self._max_bytes}"
                    )
                if len(view) - begin < size:
                    break
                position = begin + size
                messages.append(bytes(view[begin:position]))
        del buffer[:position]
        return messages


class LineCodec(Codec[bytes]):
    r"""Messages that are lines of bytes, without the delimiter in them.

    Args:
        delimiter: what ends a line, at least one byte; with ``\n`` a ``\r`` before it is taken
            away too.
        max_bytes: the longest line without its delimiter, in both directions.

    Raises:
        ValueError: one of them is out of range.
    """

    __slots__ = ("_delimiter", "_max_bytes")

    def __init__(self, *, delimiter: bytes = b"\n", max_bytes: int = LINE_BYTES_MAX) -> None:
        if not delimiter:
            raise ValueError("delimiter must not be empty")
        if max_bytes < 0:
            raise ValueError(f"max_bytes must be at least 0, not {max_bytes!r}")
        self._delimiter = bytes(delimiter)
        self._max_bytes = max_bytes

    def encode(self, message: Buffer) -> bytes:
        line = bytes(message)
        if len(line) > self._max_bytes:
            raise LimitExceededError(f"a line of {len(line)} bytes; at most are {self._max_bytes}")
        frame = line + self._delimiter
        # The end of a line may also make a delimiter with what follows it: b"\n" before b"\n\n".
        if frame.find(self._delimiter) != len(line):
            raise ValueError(
                f"a line must not contain its delimiter {self._delimiter!r}, "
                "nor end in a way that makes it come early"
            )
        return frame

    def decode(self, buffer: bytearray) -> list[bytes]:
        *lines, rest = bytes(buffer).split(self._delimiter)
        too_long = next((i for i, line in enumerate(lines) if len(line) > self._max_bytes), None)
        if too_long is not None:
            lines = lines[:too_long]
        # The rest may end in a part of the delimiter.
        end_max = self._max_bytes + len(self._delimiter)
        if not lines and (too_long is not None or len(rest) >= end_max):
            raise LimitExceededError(f"the peer sends a line of over {self._max_bytes} bytes")
        del buffer[: sum(map(len, lines)) + len(lines) * len(self._delimiter)]
        if self._delimiter == b"\n":
            return [line.removesuffix(b"\r") for line in lines]
        return lines


@final
class Framed(Sealed, Channel[T]):
    """A channel of messages over a stream, of which it becomes the owner.

    Iterate over it to get messages until the peer ends the stream. One task may send while another
    receives.

    Args:
        transport_stream: where the frames travel. What it has received before must be empty.
        codec: how messages become frames.

    Attributes:
        transport_stream: the stream.
    """

    __slots__ = (
        "__weakref__",
        "_buffer",
        "_codec",
        "_is_closed",
        "_is_cut",
        "_is_receiving",
        "_is_sending",
        "_messages",
        "transport_stream",
    )

    def __init__(self, transport_stream: Stream, codec: Codec[T]) -> None:
        if not isinstance(codec, Codec):
            raise TypeError(f"codec must be a uringtrio.Codec, such as LineCodec(), not {codec!r}")
        self.transport_stream = transport_stream
        self._codec: Any = codec
        self._buffer = bytearray()
        # Decoded and not received yet, the next one last.
        self._messages: list[T] = []
        self._is_receiving = False
        self._is_sending = False
        # A frame was sent in part only, so that no other can follow it.
        self._is_cut = False
        self._is_closed = False

    async def send(self, value: T) -> None:
        """Send one message.

        Raises:
            LimitExceededError: it is larger than the codec allows; nothing was sent.
            BusyResourceError: another task is sending.
            BrokenResourceError: the connection is gone; or an earlier call was cancelled or failed
                in the middle of its frame, after which the peer could not tell where one ends.
            ClosedResourceError: this side was closed before or during the call.

        Raises besides: what the codec raises for what it cannot encode; nothing was sent.

        If it is cancelled, the message may have been sent in part, and this is the last one.

        Checkpoint: always.
        """
        if self._is_sending:
            raise BusyResourceError("another task is already sending through this channel")
        self._check_open()
        if self._is_cut:
            raise BrokenResourceError("an earlier message was sent in part only: close the channel")
        frame = self._codec.encode(value)
        # A cancellation that is pending already cuts no frame.
        await checkpoint_if_cancelled()
        self._is_sending = self._is_cut = True
        try:
            await self.transport_stream.send_all(frame)
            self._is_cut = False
        finally:
            self._is_sending = False

    async def receive(self) -> T:
        """Wait for the next message and return it.

        Raises:
            EndOfChannel: the peer has ended the stream, after a whole frame.
            IncompleteReceiveError: it has ended in the middle of one.
            LimitExceededError: the next message is larger than the codec allows.
            BusyResourceError: another task is receiving.
            BrokenResourceError: the connection is gone.
            ClosedResourceError: this side was closed before or during the call.

        Checkpoint: always. If it is cancelled, nothing was received.
        """
        if self._is_receiving:
            raise BusyResourceError("another task is already receiving from this channel")
        self._is_receiving = True
        try:
            if self._messages:
                await checkpoint()
                self._check_open()
                return self._messages.pop()
            # There may be bytes left of a call that was cancelled, or before a frame too large.
            while not self._decode():
                data = await self.transport_stream.receive_some()
                self._check_open()
                if not data:
                    self._refuse_rest()
                self._buffer += data
            return self._messages.pop()
        finally:
            self._is_receiving = False

    def _check_open(self) -> None:
        # After each wait too: what has arrived since follows bytes that `aclose` has forgotten.
        if self._is_closed:
            raise ClosedResourceError("this channel was closed")

    def _decode(self) -> bool:
        if self._buffer:
            self._messages = self._codec.decode(self._buffer)
            self._messages.reverse()
        return bool(self._messages)

    def _refuse_rest(self) -> None:
        if self._buffer:
            raise IncompleteReceiveError(
                f"the peer ended the stream {len(self._buffer)} bytes into a message"
            )
        raise EndOfChannel

    async def aclose(self) -> None:
        """Close the stream; messages that were not received are lost.

        Checkpoint: always.
        """
        self._is_closed = True
        self._messages.clear()
        self._buffer.clear()
        await self.transport_stream.aclose()
