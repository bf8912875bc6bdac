"""check_one_way_stream and kin: they pass what keeps the contract, and notice what does not."""

import pytest

import uringtrio
from uringtrio.abc import HalfCloseableStream, ReceiveStream, SendStream
from uringtrio.testing import (
    check_half_closeable_stream,
    check_one_way_stream,
    check_two_way_stream,
    lockstep_stream_one_way_pair,
    lockstep_stream_pair,
    memory_stream_one_way_pair,
    memory_stream_pair,
)


def maker(make):
    async def stream_maker():
        return make()

    return stream_maker


def test_memory_streams_keep_the_contracts(run):
    run(check_one_way_stream, maker(memory_stream_one_way_pair), None)
    run(check_half_closeable_stream, maker(memory_stream_pair), None)


def test_lockstep_streams_keep_the_contracts(run):
    one_way, two_way = maker(lockstep_stream_one_way_pair), maker(lockstep_stream_pair)

    run(check_one_way_stream, one_way, one_way)
    run(check_two_way_stream, two_way, two_way)


class Send(SendStream):
    """Passes everything on; the tests break one promise each."""

    def __init__(self, stream):
        self.stream = stream

    async def send_all(self, data):
        await self.stream.send_all(data)

    async def wait_send_all_might_not_block(self):
        await self.stream.wait_send_all_might_not_block()

    async def aclose(self):
        await self.stream.aclose()


class Receive(ReceiveStream):
    def __init__(self, stream):
        self.stream = stream

    async def receive_some(self, max_bytes=None):
        return await self.stream.receive_some(max_bytes)

    async def aclose(self):
        await self.stream.aclose()


class EmptySendIsNoCheckpoint(Send):
    async def send_all(self, data):
        if data:
            await self.stream.send_all(data)


class SendReturnsSomething(Send):
    async def send_all(self, data):
        await self.stream.send_all(data)
        return len(data)


class WaitIsNoCheckpoint(Send):
    async def wait_send_all_might_not_block(self):
        pass


class ClosedSendIsBroken(Send):
    async def send_all(self, data):
        try:
            await self.stream.send_all(data)
        except uringtrio.ClosedResourceError:
            raise uringtrio.BrokenResourceError from None


class SendCloseIsNoCheckpoint(Send):
    async def aclose(self):
        self.stream.close()


class CancelledCloseDoesNotClose(Send):
    async def aclose(self):
        await uringtrio.lowlevel.checkpoint()
        await self.stream.aclose()


class TakesAnyMaxBytes(Receive):
    async def receive_some(self, max_bytes=None):
        if max_bytes is not None:
            max_bytes = max(1, int(max_bytes))
        with uringtrio.move_on_after(0.01):
            return await self.stream.receive_some(max_bytes)
        return b""


class ReceivesOtherBytes(Receive):
    async def receive_some(self, max_bytes=None):
        return (await self.stream.receive_some(max_bytes)).upper()


class RaisesAtEnd(Receive):
    async def receive_some(self, max_bytes=None):
        chunk = await self.stream.receive_some(max_bytes)
        if not chunk:
            raise uringtrio.EndOfChannel
        return chunk


class IgnoresCancellation(Receive):
    async def receive_some(self, max_bytes=None):
        with uringtrio.CancelScope(shield=True), uringtrio.move_on_after(0.01, shield=True):
            return await self.stream.receive_some(max_bytes)
        return b""


async def check_broken(send=Send, receive=Receive):
    async def stream_maker():
        sending, receiving = memory_stream_one_way_pair()
        return send(sending), receive(receiving)

    await check_one_way_stream(stream_maker, None)


def leaves(error):
    if isinstance(error, BaseExceptionGroup):
        return [leaf for part in error.exceptions for leaf in leaves(part)]
    return [error]


def test_wrappers_of_this_test_keep_the_contract(run):
    run(check_broken)


@pytest.mark.parametrize(
    "send",
    [
        EmptySendIsNoCheckpoint, SendReturnsSomething, WaitIsNoCheckpoint, ClosedSendIsBroken,
        SendCloseIsNoCheckpoint, CancelledCloseDoesNotClose,
    ],
)  # fmt: skip
def test_broken_promise_of_a_send_stream_is_noticed(run, send):
    with pytest.raises(BaseException) as caught:  # noqa: PT011  # a group, or not
        run(check_broken, send)

    assert any(
        isinstance(leaf, (AssertionError, uringtrio.BrokenResourceError))
        for leaf in leaves(caught.value)
    )


@pytest.mark.parametrize(
    "receive", [TakesAnyMaxBytes, ReceivesOtherBytes, RaisesAtEnd, IgnoresCancellation]
)
def test_broken_promise_of_a_receive_stream_is_noticed(run, receive):
    with pytest.raises(BaseException) as caught:  # noqa: PT011  # as above
        run(check_broken, Send, receive)

    assert any(
        isinstance(leaf, (AssertionError, uringtrio.EndOfChannel, uringtrio.BusyResourceError))
        for leaf in leaves(caught.value)
    )


def test_stream_without_eof_is_not_half_closeable(run):
    class NoEof(uringtrio.abc.Stream):
        def __init__(self, stream):
            self.stream = stream
            self.send_all = stream.send_all
            self.wait_send_all_might_not_block = stream.wait_send_all_might_not_block
            self.receive_some = stream.receive_some

        async def send_all(self, data): ...

        async def wait_send_all_might_not_block(self): ...

        async def receive_some(self, max_bytes=None): ...

        async def aclose(self):
            await self.stream.aclose()

    async def stream_maker():
        left, right = memory_stream_pair()
        return NoEof(left), NoEof(right)

    assert not issubclass(NoEof, HalfCloseableStream)
    run(check_two_way_stream, stream_maker, None)
    with pytest.raises(AssertionError):
        run(check_half_closeable_stream, stream_maker, None)
