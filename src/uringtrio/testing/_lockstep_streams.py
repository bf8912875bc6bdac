"""Streams without a buffer: sending lasts until everything has been received."""

from __future__ import annotations

from typing import TYPE_CHECKING

from uringtrio._abc import ReceiveStream, SendStream
from uringtrio._errors import BrokenResourceError, ClosedResourceError
from uringtrio._scheduler.parking import ParkingLot
from uringtrio._scheduler.traps import checkpoint

from ._conflicts import OneTask, check_max_bytes
from ._memory_streams import staple_pair

if TYPE_CHECKING:
    from uringtrio._abc import Buffer
    from uringtrio._net.staple import StapledStream


class _Handover:
    """What the two sides of one direction share.

    Each change wakes both sides, which look again: there are two tasks at most.
    """

    __slots__ = (
        "_data", "_is_wanted", "_lot", "_receiving", "_sending", "receiver_is_closed",
        "sender_is_closed",
    )  # fmt: skip

    def __init__(self) -> None:
        # What the sender that is waiting has not got rid of; empty while there is none.
        self._data = bytearray()
        # Whether a task waits for data.
        self._is_wanted = False
        self._lot = ParkingLot()
        self._sending = OneTask("sending through this stream")
        self._receiving = OneTask("receiving from this stream")
        self.sender_is_closed = False
        self.receiver_is_closed = False

    def close_sender(self) -> None:
        self.sender_is_closed = True
        self._lot.unpark_all()

    def close_receiver(self) -> None:
        self.receiver_is_closed = True
        self._lot.unpark_all()

    def _is_closed(self) -> bool:
        return self.sender_is_closed or self.receiver_is_closed

    def _check_sender(self) -> None:
        if self.sender_is_closed:
            raise ClosedResourceError("this stream was closed")

    def _check_receiver(self) -> None:
        if self.receiver_is_closed:
            raise ClosedResourceError("this stream was closed")

    async def send(self, data: Buffer) -> None:
        with self._sending:
            await checkpoint()
            self._check_sender()
            if self.receiver_is_closed:
                raise BrokenResourceError("the receiving side was closed")
            self._data += memoryview(data)
            self._lot.unpark_all()
            try:
                while self._data and not self._is_closed():
                    await self._lot.park()
                if self._data:
                    self._check_sender()
                    raise BrokenResourceError("the receiving side was closed")
            finally:
                # Cancelled or closed: nobody is to receive what was reported as not sent.
                self._data.clear()

    async def wait_wanted(self) -> None:
        with self._sending:
            await checkpoint()
            self._check_sender()
            while not self._is_wanted and not self._is_closed():
                await self._lot.park()
            self._check_sender()

    async def receive(self, max_bytes: int | None) -> bytes:
        with self._receiving:
            check_max_bytes(max_bytes)
            await checkpoint()
            self._check_receiver()
            self._is_wanted = True
            self._lot.unpark_all()
            try:
                while not self._data and not self._is_closed():
                    await self._lot.park()
            finally:
                self._is_wanted = False
            self._check_receiver()
            chunk = bytes(self._data[:max_bytes])
            del self._data[:max_bytes]
            self._lot.unpark_all()
            return chunk


class _LockstepSendStream(SendStream):
    """The sending side."""

    __slots__ = ("__weakref__", "_handover")

    def __init__(self, handover: _Handover) -> None:
        self._handover = handover

    async def send_all(self, data: Buffer) -> None:
        await self._handover.send(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._handover.wait_wanted()

    def close(self) -> None:
        self._handover.close_sender()

    async def aclose(self) -> None:
        self.close()
        await checkpoint()


class _LockstepReceiveStream(ReceiveStream):
    """The receiving side."""

    __slots__ = ("__weakref__", "_handover")

    def __init__(self, handover: _Handover) -> None:
        self._handover = handover

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        return await self._handover.receive(max_bytes)

    def close(self) -> None:
        self._handover.close_receiver()

    async def aclose(self) -> None:
        self.close()
        await checkpoint()


def lockstep_stream_one_way_pair() -> tuple[SendStream, ReceiveStream]:
    """Return two streams: what is sent on the first is received from the second, unbuffered.

    Each `send_all` lasts until all its bytes have been received: for tests of flow control, and
    as a clogged stream for `check_one_way_stream`. Both also have a `close()` that is not async.
    """
    handover = _Handover()
    return _LockstepSendStream(handover), _LockstepReceiveStream(handover)


def lockstep_stream_pair() -> tuple[
    StapledStream[SendStream, ReceiveStream], StapledStream[SendStream, ReceiveStream]
]:
    """Return two streams that are connected with each other, in both directions, unbuffered.

    Each is made of the sides of two `lockstep_stream_one_way_pair`.
    """
    return staple_pair(lockstep_stream_one_way_pair)
