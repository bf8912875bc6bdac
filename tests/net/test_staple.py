"""StapledStream and aclose_forcefully."""

import pytest

import uringtrio
from uringtrio.abc import AsyncResource, ReceiveStream, SendStream
from uringtrio.testing import MemoryReceiveStream, MemorySendStream


class Sending(SendStream):
    def __init__(self, record):
        self.record = record

    async def send_all(self, data):
        self.record("send_all", data)

    async def wait_send_all_might_not_block(self):
        self.record("wait_send_all_might_not_block")

    async def aclose(self):
        self.record("aclose send")
        raise KeyError


class SendingWithEof(Sending):
    async def send_eof(self):
        self.record("send_eof")


class Receiving(ReceiveStream):
    def __init__(self, record):
        self.record = record

    async def receive_some(self, max_bytes=None):
        self.record("receive_some", max_bytes)
        return b"x"

    async def aclose(self):
        self.record("aclose receive")


@pytest.fixture
def events():
    return []


@pytest.fixture
def note(events):
    return lambda *event: events.append(event)


def test_each_call_goes_to_the_stream_of_its_direction(events, note):
    async def main():
        stream = uringtrio.StapledStream(SendingWithEof(note), Receiving(note))
        await stream.send_all(b"abc")
        await stream.wait_send_all_might_not_block()
        assert await stream.receive_some() == b"x"
        assert await stream.receive_some(5) == b"x"
        await stream.send_eof()

    uringtrio.run(main)

    assert events == [
        ("send_all", b"abc"),
        ("wait_send_all_might_not_block",),
        ("receive_some", None),
        ("receive_some", 5),
        ("send_eof",),
    ]


def test_send_eof_closes_a_stream_that_has_none(events, note):
    async def main():
        stream = uringtrio.StapledStream(Sending(note), Receiving(note))
        with pytest.raises(KeyError):
            await stream.send_eof()

    uringtrio.run(main)

    assert events == [("aclose send",)]


def test_aclose_closes_both_even_if_the_first_fails(events, note):
    async def main():
        stream = uringtrio.StapledStream(Sending(note), Receiving(note))
        with pytest.raises(KeyError):
            await stream.aclose()

    uringtrio.run(main)

    assert events == [("aclose send",), ("aclose receive",)]


def test_cancelled_aclose_closes_both():
    async def main():
        stream = uringtrio.StapledStream(MemorySendStream(), MemoryReceiveStream())
        await uringtrio.aclose_forcefully(stream)
        with pytest.raises(uringtrio.ClosedResourceError):
            await stream.send_all(b"x")
        with pytest.raises(uringtrio.ClosedResourceError):
            await stream.receive_some()

    uringtrio.run(main)


def test_stapled_stream_is_final_and_shows_its_parts():
    send, receive = MemorySendStream(), MemoryReceiveStream()
    stream = uringtrio.StapledStream(send, receive)

    assert stream.send_stream is send
    assert stream.receive_stream is receive
    assert repr(send) in repr(stream)
    with pytest.raises(TypeError, match="final"):
        type("Mine", (uringtrio.StapledStream,), {})


def test_forceful_close_does_not_wait(record):
    class Slow(AsyncResource):
        async def aclose(self):
            try:
                await uringtrio.sleep_forever()
            finally:
                record("closed")

    async def main():
        await uringtrio.aclose_forcefully(Slow())

    uringtrio.run(main)

    assert record.events == ["closed"]
