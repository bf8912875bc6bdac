"""Streams without a kernel: what is sent stays in a buffer until the test, or a pump, moves it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar, final

from uringtrio._abc import ReceiveStream, Sealed, SendStream
from uringtrio._errors import BrokenResourceError, ClosedResourceError, WouldBlock
from uringtrio._net.staple import StapledStream
from uringtrio._scheduler.parking import ParkingLot
from uringtrio._scheduler.traps import checkpoint

from ._conflicts import OneTask, check_max_bytes

if TYPE_CHECKING:
    from uringtrio._abc import Buffer

SendStreamT = TypeVar("SendStreamT", bound=SendStream)
ReceiveStreamT = TypeVar("ReceiveStreamT", bound=ReceiveStream)

AsyncHook = Callable[[], Awaitable[object]]
SyncHook = Callable[[], object]


class _Bytes:
    """A buffer without a bound, and the task that waits for its bytes.

    Attributes:
        is_ended: nothing more will be put into it.
    """

    __slots__ = ("_data", "_getting", "_lot", "is_ended")

    def __init__(self) -> None:
        self._data = bytearray()
        self._getting = OneTask("fetching data from this stream")
        self._lot = ParkingLot()
        self.is_ended = False

    def is_drained(self) -> bool:
        return self.is_ended and not self._data

    def put(self, data: Buffer) -> None:
        if self.is_ended:
            raise ClosedResourceError("virtual connection closed")
        self._data += memoryview(data)
        self._lot.unpark_all()

    def end(self) -> None:
        self.is_ended = True
        self._lot.unpark_all()

    def clear(self) -> None:
        self._data.clear()

    def get_nowait(self, max_bytes: int | None) -> bytearray:
        with self._getting:
            check_max_bytes(max_bytes)
            if not self._data and not self.is_ended:
                raise WouldBlock
            return self._take(max_bytes)

    async def get(self, max_bytes: int | None) -> bytearray:
        with self._getting:
            check_max_bytes(max_bytes)
            await checkpoint()
            while not self._data and not self.is_ended:
                await self._lot.park()
            return self._take(max_bytes)

    def _take(self, max_bytes: int | None) -> bytearray:
        chunk = self._data[:max_bytes]
        del self._data[:max_bytes]
        return chunk


async def _linger() -> None:
    """Let others run for two turns.

    So a second task that makes the same call by mistake, a turn later, still finds the first.
    """
    await checkpoint()
    await checkpoint()


@final
class MemorySendStream(Sealed, SendStream):
    """The sending side of a stream in memory: `get_data` returns what was sent.

    Nothing moves the data unless a hook does, see `memory_stream_one_way_pair`.

    Args:
        send_all_hook: called and awaited at the end of each `send_all`; None for nothing.
        wait_send_all_might_not_block_hook: the same for `wait_send_all_might_not_block`, which
            does not wait otherwise.
        close_hook: called at the end of each `close` and `aclose`; None for nothing.

    Attributes:
        send_all_hook: as given; may be replaced at any time.
        wait_send_all_might_not_block_hook: likewise.
        close_hook: likewise.
    """

    __slots__ = (
        "__dict__", "__weakref__", "_outgoing", "_sending", "close_hook", "send_all_hook",
        "wait_send_all_might_not_block_hook",
    )  # fmt: skip

    def __init__(
        self,
        send_all_hook: AsyncHook | None = None,
        wait_send_all_might_not_block_hook: AsyncHook | None = None,
        close_hook: SyncHook | None = None,
    ) -> None:
        self._sending = OneTask("using this stream")
        self._outgoing = _Bytes()
        self.send_all_hook = send_all_hook
        self.wait_send_all_might_not_block_hook = wait_send_all_might_not_block_hook
        self.close_hook = close_hook

    async def send_all(self, data: Buffer) -> None:
        with self._sending:
            await _linger()
            self._outgoing.put(data)
            if self.send_all_hook is not None:
                await self.send_all_hook()

    async def wait_send_all_might_not_block(self) -> None:
        with self._sending:
            await _linger()
            if self._outgoing.is_ended:
                raise ClosedResourceError("virtual connection closed")
            if self.wait_send_all_might_not_block_hook is not None:
                await self.wait_send_all_might_not_block_hook()

    def close(self) -> None:
        """Close the stream; what was sent can still be taken out of it.

        A task that waits in one of the hooks is left to them.
        """
        self._outgoing.end()
        if self.close_hook is not None:
            self.close_hook()

    async def aclose(self) -> None:
        self.close()
        await checkpoint()

    async def get_data(self, max_bytes: int | None = None) -> bytearray:
        """Wait until something was sent, and take it out of the buffer.

        Args:
            max_bytes: at most this many bytes, at least 1; None takes all there are.

        Returns:
            1 to `max_bytes` bytes; empty once the stream is closed and everything was taken.

        Raises:
            BusyResourceError: another task is waiting for data.
            ValueError: `max_bytes` is less than 1.

        Checkpoint: always.
        """
        return await self._outgoing.get(max_bytes)

    def get_data_nowait(self, max_bytes: int | None = None) -> bytearray:
        """Take what was sent out of the buffer, as `get_data`, without waiting.

        Args:
            max_bytes: see `get_data`.

        Raises:
            WouldBlock: there is nothing.
        """
        return self._outgoing.get_nowait(max_bytes)


@final
class MemoryReceiveStream(Sealed, ReceiveStream):
    """The receiving side of a stream in memory: it receives what `put_data` is given.

    Args:
        receive_some_hook: called and awaited at the beginning of each `receive_some`; None for
            nothing.
        close_hook: called at the end of each `close` and `aclose`; None for nothing.

    Attributes:
        receive_some_hook: as given; may be replaced at any time.
        close_hook: likewise.
    """

    __slots__ = (
        "__dict__", "__weakref__", "_incoming", "_is_closed", "_receiving", "close_hook",
        "receive_some_hook",
    )  # fmt: skip

    def __init__(
        self,
        receive_some_hook: AsyncHook | None = None,
        close_hook: SyncHook | None = None,
    ) -> None:
        self._receiving = OneTask("using this stream")
        # It is ended at end of stream, and when this side is closed, to wake who waits.
        self._incoming = _Bytes()
        self._is_closed = False
        self.receive_some_hook = receive_some_hook
        self.close_hook = close_hook

    async def receive_some(self, max_bytes: int | None = None) -> bytearray:
        with self._receiving:
            check_max_bytes(max_bytes)
            await _linger()
            self._check_open()
            if self.receive_some_hook is not None:
                await self.receive_some_hook()
            data = await self._incoming.get(max_bytes)
            self._check_open()
            return data

    def _check_open(self) -> None:
        if self._is_closed:
            raise ClosedResourceError("this stream was closed")

    def close(self) -> None:
        """Close the stream, and drop what was not received."""
        self._is_closed = True
        self._incoming.clear()
        self._incoming.end()
        if self.close_hook is not None:
            self.close_hook()

    async def aclose(self) -> None:
        self.close()
        await checkpoint()

    def put_data(self, data: Buffer) -> None:
        """Let `data` be received.

        Args:
            data: any number of bytes; copied.

        Raises:
            ClosedResourceError: the stream is closed, or `put_eof` was called.
        """
        self._incoming.put(data)

    def put_eof(self) -> None:
        """Let the stream end after what was put so far. Twice is allowed."""
        self._incoming.end()


def memory_stream_pump(
    memory_send_stream: MemorySendStream,
    memory_receive_stream: MemoryReceiveStream,
    *,
    max_bytes: int | None = None,
) -> bool:
    """Move what was sent on one stream to where another receives it.

    Args:
        memory_send_stream: where to take it from. If it is closed, its end is moved too, after
            the last byte.
        memory_receive_stream: where to put it.
        max_bytes: at most this many bytes, at least 1; None moves all there are.

    Returns:
        Whether there was anything to move.

    Raises:
        BrokenResourceError: the receiving side is closed.
    """
    try:
        data = memory_send_stream.get_data_nowait(max_bytes)
    except WouldBlock:
        return False
    if data:
        try:
            memory_receive_stream.put_data(data)
        except ClosedResourceError:
            raise BrokenResourceError("MemoryReceiveStream was closed") from None
    if memory_send_stream._outgoing.is_drained():
        memory_receive_stream.put_eof()
    return True


def memory_stream_one_way_pair() -> tuple[MemorySendStream, MemoryReceiveStream]:
    """Return two streams: what is sent on the first is received from the second.

    The buffer has no bound, so that sending never waits. The first has a `send_all_hook` and a
    `close_hook` that call `memory_stream_pump`; with another hook, or none, the data flows as the
    test wants.
    """
    send_stream = MemorySendStream()
    receive_stream = MemoryReceiveStream()

    def pump() -> None:
        memory_stream_pump(send_stream, receive_stream)

    async def pump_soon() -> None:
        pump()

    send_stream.send_all_hook = pump_soon
    send_stream.close_hook = pump
    return send_stream, receive_stream


def memory_stream_pair() -> tuple[
    StapledStream[MemorySendStream, MemoryReceiveStream],
    StapledStream[MemorySendStream, MemoryReceiveStream],
]:
    """Return two streams that are connected with each other, in both directions.

    Each is made of the sending side of one `memory_stream_one_way_pair` and the receiving side of
    another, whose hooks are at `stream.send_stream` and `stream.receive_stream`.
    """
    return staple_pair(memory_stream_one_way_pair)


def staple_pair(
    one_way_pair: Callable[[], tuple[SendStreamT, ReceiveStreamT]],
) -> tuple[StapledStream[SendStreamT, ReceiveStreamT], StapledStream[SendStreamT, ReceiveStreamT]]:
    """Return two streams that are connected by two pairs, one for each direction."""
    send_to_right, receive_from_left = one_way_pair()
    send_to_left, receive_from_right = one_way_pair()
    left = StapledStream(send_to_right, receive_from_right)
    right = StapledStream(send_to_left, receive_from_left)
    return left, right
