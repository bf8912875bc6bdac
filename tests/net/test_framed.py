"""Framed: messages over a stream, whatever the chunks; limits are errors, never memory."""

import itertools
import struct

import pytest
from hypothesis import given, settings, strategies as st

import uringtrio
from uringtrio import Framed, LengthPrefixCodec, LineCodec
from uringtrio.testing import (
    assert_checkpoints,
    lockstep_stream_pair,
    memory_stream_pair,
)

CODECS = [LengthPrefixCodec(), LengthPrefixCodec(size_bytes=2, byteorder="little"), LineCodec()]
every_codec = pytest.mark.parametrize("codec", CODECS, ids=["prefix4", "prefix2", "line"])


def framed_pair(codec):
    left, right = memory_stream_pair()
    return Framed(left, codec), Framed(right, codec)


@every_codec
def test_messages_arrive_in_order_until_the_end(run, codec):
    messages = [b"one", b"", b"three" * 1000, b"\x00\xff"]

    async def main():
        left, right = framed_pair(codec)
        async with left, right:
            for message in messages:
                await left.send(message)
            await left.transport_stream.send_eof()
            assert [message async for message in right] == messages
            with pytest.raises(uringtrio.EndOfChannel):
                await right.receive()

    run(main)


@settings(deadline=None, derandomize=True)
@given(
    messages=st.lists(st.binary(max_size=300).map(lambda data: data.replace(b"\n", b"n"))),
    cuts=st.lists(st.integers(1, 400), min_size=1, max_size=5),
    codec=st.sampled_from(CODECS),
)
def test_any_chunks_give_the_same_messages(messages, cuts, codec):
    messages = [message.rstrip(b"\r") for message in messages]
    data = b"".join(codec.encode(message) for message in messages)

    async def main():
        left, right = memory_stream_pair()
        channel = Framed(right, codec)
        received = []
        position = 0
        for size in itertools.cycle(cuts):
            if position >= len(data):
                break
            await left.send_all(data[position : position + size])
            position += size
            # Until nothing is left but, at most, the beginning of a message.
            with uringtrio.move_on_after(0):
                while True:
                    received.append(await channel.receive())
        await left.send_eof()
        received += [message async for message in channel]
        assert received == messages

    uringtrio.run(main)


def test_frame_on_the_wire(run):
    async def main():
        left, right = memory_stream_pair()
        await Framed(left, LengthPrefixCodec(size_bytes=3)).send(b"abc")
        assert await right.receive_some() == b"\x00\x00\x03abc"
        await Framed(left, LineCodec(delimiter=b"\x00")).send(b"abc")
        assert await right.receive_some() == b"abc\x00"

    run(main)


def test_carriage_return_before_a_line_feed_is_no_part_of_a_line(run):
    async def main():
        left, right = memory_stream_pair()
        await left.send_all(b"one\r\ntwo\n")
        channel = Framed(right, LineCodec())
        assert await channel.receive() == b"one"
        assert await channel.receive() == b"two"

    run(main)


# Limits and ends.


def test_announced_length_beyond_the_limit_is_an_error_and_no_memory(run):
    async def main():
        left, right = memory_stream_pair()
        channel = Framed(right, LengthPrefixCodec(max_bytes=1000))
        await left.send_all(struct.pack(">I2sI", 2, b"ok", 0xFFFFFFFF))
        assert await channel.receive() == b"ok"
        for _ in range(2):
            with pytest.raises(uringtrio.LimitExceededError, match="4294967295 bytes; at most are"):
                await channel.receive()

    run(main)


def test_line_without_an_end_is_an_error_at_the_limit(run):
    async def main():
        left, right = memory_stream_pair()
        channel = Framed(right, LineCodec(max_bytes=10))
        await left.send_all(b"short\n0123456789\nlonger than that\nshort\n")
        assert await channel.receive() == b"short"
        assert await channel.receive() == b"0123456789"
        with pytest.raises(uringtrio.LimitExceededError, match="over 10 bytes"):
            await channel.receive()

    run(main)


@pytest.mark.parametrize(
    ("codec", "message"),
    [
        (LengthPrefixCodec(size_bytes=1), b"x" * 256),
        (LengthPrefixCodec(max_bytes=10), b"x" * 11),
        (LineCodec(max_bytes=10), b"x" * 11),
    ],
)
def test_message_beyond_the_limit_is_not_sent(run, codec, message):
    async def main():
        left, right = framed_pair(codec)
        with pytest.raises(uringtrio.LimitExceededError, match="at most are"):
            await left.send(message)
        await left.send(b"still fine")
        assert await right.receive() == b"still fine"

    run(main)


def test_line_with_its_delimiter_in_it_is_not_sent(run):
    async def main():
        left, _ = framed_pair(LineCodec())
        with pytest.raises(ValueError, match="must not contain its delimiter"):
            await left.send(b"two\nlines")

    run(main)


def test_line_whose_end_would_complete_the_delimiter_early_is_not_sent(run):
    """The peer saw a shorter line, and the rest of the delimiter as the next one."""

    async def main():
        left, right = framed_pair(LineCodec(delimiter=b"\r\n\r\n"))
        with pytest.raises(ValueError, match="come early"):
            await left.send(b"one\r\n")
        await left.send(b"one\r")
        assert await right.receive() == b"one\r"

    run(main)


def test_longest_line_may_be_cut_inside_its_delimiter():
    """It was an error, as the first half of the delimiter was counted as a part of the line."""
    codec = LineCodec(delimiter=b"\r\n", max_bytes=4)
    buffer = bytearray(b"abcd\r")
    assert codec.decode(buffer) == []
    buffer += b"\n"
    assert codec.decode(buffer) == [b"abcd"]
    with pytest.raises(uringtrio.LimitExceededError):
        codec.decode(bytearray(b"abcde\r"))


@every_codec
def test_end_inside_a_message_is_an_error(run, codec):
    async def main():
        left, right = memory_stream_pair()
        await left.send_all(codec.encode(b"whole") + codec.encode(b"cut")[:-1])
        await left.send_eof()
        channel = Framed(right, codec)
        assert await channel.receive() == b"whole"
        with pytest.raises(uringtrio.IncompleteReceiveError, match="into a message"):
            await channel.receive()

    run(main)


@pytest.mark.parametrize(
    "make",
    [
        lambda: LengthPrefixCodec(size_bytes=0),
        lambda: LengthPrefixCodec(size_bytes=9),
        lambda: LengthPrefixCodec(byteorder="middle"),
        lambda: LengthPrefixCodec(max_bytes=-1),
        lambda: LineCodec(delimiter=b""),
        lambda: LineCodec(max_bytes=-1),
    ],
)
def test_bad_codec_is_refused_when_it_is_made(make):
    with pytest.raises(ValueError, match="must"):
        make()


def test_what_is_no_codec_is_refused():
    left, _ = memory_stream_pair()
    with pytest.raises(TypeError, match="codec"):
        Framed(left, b"\n")


# Cancellation, and two tasks.


@every_codec
def test_cancelled_receive_loses_nothing(run, settle, codec):
    frame = codec.encode(b"a message in parts")

    async def main():
        left, right = memory_stream_pair()
        channel = Framed(right, codec)
        for begin in range(len(frame)):
            async with uringtrio.open_nursery() as nursery:
                nursery.start_soon(channel.receive)
                await settle()
                if begin < len(frame) - 1:
                    await left.send_all(frame[begin : begin + 1])
                    await settle()
                nursery.cancel_scope.cancel()
        await left.send_all(frame[-1:])
        assert await channel.receive() == b"a message in parts"

    run(main)


def test_cancelled_send_cuts_its_frame_and_says_so_afterwards(run, settle):
    async def main():
        left, right = lockstep_stream_pair()
        channel = Framed(left, LengthPrefixCodec())
        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(channel.send, b"never taken as a whole")
            await settle()
            await right.receive_some(5)
            nursery.cancel_scope.cancel()
        with pytest.raises(uringtrio.BrokenResourceError, match="in part only"):
            await channel.send(b"next")

    run(main)


def test_send_in_a_cancelled_scope_sends_nothing_and_cuts_nothing(run):
    async def main():
        left, right = framed_pair(LineCodec())
        with uringtrio.CancelScope() as scope:
            scope.cancel()
            await left.send(b"not sent")
        assert scope.cancelled_caught
        await left.send(b"sent")
        assert await right.receive() == b"sent"

    run(main)


def test_receive_that_finds_the_channel_closed_says_so(run):
    """It raised IndexError."""

    async def main():
        for _ in range(20):  # The tasks run in either order.
            left, right = framed_pair(LineCodec())
            await left.transport_stream.send_all(b"one\ntwo\n")
            assert await right.receive() == b"one"
            results = []

            async def receive(channel=right, results=results):
                try:
                    results.append(await channel.receive())
                except uringtrio.ClosedResourceError:
                    results.append(None)

            async with uringtrio.open_nursery() as nursery:
                nursery.start_soon(receive)
                nursery.start_soon(right.aclose)
            assert results in ([None], [b"two"])

    run(main)


def test_bytes_that_come_with_the_close_are_no_message(run, settle):
    """The beginning of the frame was forgotten, and the rest of it taken for a frame."""

    class Late(uringtrio.abc.Stream):
        def __init__(self):
            self.chunks = [b"\x04\x01"]
            self.is_closed = uringtrio.Event()

        async def receive_some(self, max_bytes=None):
            del max_bytes
            if self.chunks:
                await uringtrio.lowlevel.checkpoint()
                return self.chunks.pop()
            await self.is_closed.wait()
            return b"\x01ab"

        async def aclose(self):
            self.is_closed.set()
            await uringtrio.lowlevel.checkpoint()

        async def send_all(self, data): ...

        async def wait_send_all_might_not_block(self): ...

    async def main():
        channel = Framed(Late(), LengthPrefixCodec(size_bytes=1))

        async def receive():
            with pytest.raises(uringtrio.ClosedResourceError):
                await channel.receive()

        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(receive)
            await settle()
            await channel.aclose()

    run(main)


def test_send_after_the_close_says_so_each_time(run):
    async def main():
        left, _right = framed_pair(LineCodec())
        await left.aclose()
        for _ in range(2):
            with pytest.raises(uringtrio.ClosedResourceError):
                await left.send(b"x")

    run(main)


def test_second_task_is_refused_in_each_direction(run, settle):
    async def main():
        left, right = lockstep_stream_pair()
        one, other = Framed(left, LineCodec()), Framed(right, LineCodec())
        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(one.send, b"x")
            nursery.start_soon(one.receive)
            await settle()
            with pytest.raises(uringtrio.BusyResourceError, match="sending"):
                await one.send(b"y")
            with pytest.raises(uringtrio.BusyResourceError, match="receiving"):
                await one.receive()
            nursery.start_soon(other.send, b"z")
            assert await other.receive() == b"x"

    run(main)


def test_every_call_is_a_checkpoint(run):
    async def main():
        left, right = framed_pair(LineCodec())
        with assert_checkpoints():
            await left.send(b"one")
        await left.send(b"two")
        for message in (b"one", b"two"):
            with assert_checkpoints():
                assert await right.receive() == message
        with assert_checkpoints():
            await left.aclose()

    run(main)


def test_own_codec(run):
    class Numbers(uringtrio.Codec):
        def encode(self, message):
            return struct.pack("!d", message)

        def decode(self, buffer):
            count = len(buffer) // 8
            numbers = list(struct.unpack_from(f"!{count}d", buffer))
            del buffer[: count * 8]
            return numbers

    async def main():
        left, right = framed_pair(Numbers())
        await left.send(1.5)
        await left.send(-2.0)
        assert [await right.receive(), await right.receive()] == [1.5, -2.0]

    run(main)
