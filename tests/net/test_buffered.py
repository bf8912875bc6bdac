"""BufferedStream: counts, delimiters and lines, whatever the chunks; and nothing lost."""

import itertools

import pytest
from hypothesis import given, settings, strategies as st

import uringtrio
from uringtrio import lowlevel
from uringtrio.testing import assert_checkpoints, memory_stream_pair


class Chunks(uringtrio.abc.ReceiveStream):
    """A stream that hands out the given chunks, whatever size it is asked for, then its end."""

    def __init__(self, chunks):
        self.chunks = [chunk for chunk in chunks if chunk]

    async def receive_some(self, max_bytes=None):
        del max_bytes
        await lowlevel.checkpoint()
        return self.chunks.pop(0) if self.chunks else b""

    async def aclose(self):
        await lowlevel.checkpoint()


class LateBytes(uringtrio.abc.ReceiveStream):
    """A stream whose bytes arrive in the moment of its close."""

    def __init__(self, data):
        self.data = data
        self.is_closed = uringtrio.Event()

    async def receive_some(self, max_bytes=None):
        del max_bytes
        await self.is_closed.wait()
        return self.data

    async def aclose(self):
        self.is_closed.set()
        await lowlevel.checkpoint()


def buffered(*chunks):
    return uringtrio.BufferedStream(Chunks(chunks))


async def rest_of(stream):
    return b"".join([bytes(chunk) async for chunk in stream])


# What comes out.


def test_exact_counts_across_chunks(run):
    async def main():
        stream = buffered(b"ab", b"cdef", b"g")
        assert await stream.receive_exactly(3) == b"abc"
        assert await stream.receive_exactly(0) == b""
        assert await stream.receive_exactly(4) == b"defg"
        assert await stream.receive_some() == b""

    run(main)


def test_delimiter_is_found_across_chunks_and_taken_away(run):
    async def main():
        stream = buffered(b"GET /\r", b"\n\r", b"\nbody")
        assert await stream.receive_until(b"\r\n", 100) == b"GET /"
        assert await stream.receive_until(b"\r\n", 100) == b""
        assert await rest_of(stream) == b"body"

    run(main)


def test_lines_without_their_ends_and_the_last_one_without_an_end(run):
    async def main():
        stream = buffered(b"one\ntw", b"o\r\n", b"\n", b"thr", b"ee")
        assert [line async for line in stream.lines()] == [b"one", b"two", b"", b"three"]

    run(main)


def test_loop_over_lines_may_be_left_and_gone_on_with(run):
    async def main():
        stream = buffered(b"head\n\nbody", b"\ntail\n")
        async for line in stream.lines():
            if not line:
                break
        assert await stream.receive_exactly(5) == b"body\n"
        lines = stream.lines(max_bytes=3)
        for _ in range(2):
            with pytest.raises(uringtrio.LimitExceededError):
                await anext(lines)
        assert [line async for line in stream.lines()] == [b"tail"]
        # The end stays the end.
        for _ in range(2):
            with pytest.raises(StopAsyncIteration):
                await anext(lines)

    run(main)


def test_cancelled_loop_over_lines_goes_on_with_the_same_iterator(run):
    async def main():
        left, right = memory_stream_pair()
        lines = uringtrio.BufferedStream(left).lines()
        await right.send_all(b"lin")
        with uringtrio.move_on_after(0.01):
            await anext(lines)
        await right.send_all(b"e\n")
        assert await anext(lines) == b"line"

    run(main)


def test_receive_some_gives_what_is_buffered_first(run):
    async def main():
        stream = buffered(b"abcdef", b"gh")
        assert await stream.receive_exactly(1) == b"a"
        assert stream.buffered_bytes == 5
        assert await stream.receive_some(2) == b"bc"
        assert await stream.receive_some() == b"def"
        assert await stream.receive_some() == b"gh"

    run(main)


def test_few_bytes_are_received_together_with_what_follows_them(run):
    async def main():
        left, right = memory_stream_pair()
        stream = uringtrio.BufferedStream(left)
        await right.send_all(b"abc")
        assert await stream.receive_exactly(1) == b"a"
        assert stream.buffered_bytes == 2

    run(main)


def test_unread_comes_first(run):
    async def main():
        stream = buffered(b"world")
        stream.unread(b"lo ")
        stream.unread(bytearray(b"hel"))
        assert await stream.receive_exactly(11) == b"hello world"

    run(main)


@settings(deadline=None, derandomize=True)
@given(
    data=st.lists(st.sampled_from([b"a", b"\n", b"\r\n", b"bc" * 20])).map(b"".join),
    cuts=st.lists(st.integers(0, 200), max_size=10),
    sizes=st.lists(st.integers(0, 30), max_size=10),
)
def test_any_chunks_give_the_same(data, cuts, sizes):
    bounds = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    chunks = [data[a:b] for a, b in itertools.pairwise(bounds)]

    async def main():
        stream = buffered(*chunks)
        taken = bytearray()
        for size in sizes:
            try:
                taken += await stream.receive_exactly(size)
            except uringtrio.IncompleteReceiveError:
                break
        assert data.startswith(taken)
        lines = [line async for line in stream.lines()]
        text = data[len(taken) :]
        assert lines == [line.removesuffix(b"\r") for line in text.split(b"\n")[:-1]] + (
            [text.rpartition(b"\n")[2]] if text.rpartition(b"\n")[2] else []
        )

    uringtrio.run(main)


# Limits and ends: errors that take nothing.


def test_end_before_the_count_or_the_delimiter_takes_nothing(run):
    async def main():
        stream = buffered(b"abc")
        with pytest.raises(uringtrio.IncompleteReceiveError, match="3 of 5 bytes"):
            await stream.receive_exactly(5)
        with pytest.raises(uringtrio.BrokenResourceError, match=r"after 3 bytes, without b'\\n'"):
            await stream.receive_until(b"\n", 10)
        assert await stream.receive_exactly(3) == b"abc"

    run(main)


@pytest.mark.parametrize("chunks", [[b"abcdef\n"], [b"abcd", b"ef", b"\n"], [b"abcdef"]])
def test_delimiter_beyond_the_limit_takes_nothing(run, chunks):
    async def main():
        stream = buffered(*chunks)
        with pytest.raises(uringtrio.LimitExceededError, match=r"no b'\\n' within 5 bytes"):
            await stream.receive_until(b"\n", 5)
        with pytest.raises(uringtrio.LimitExceededError):
            async for _ in stream.lines(max_bytes=5):
                pass
        assert await stream.receive_exactly(6) == b"abcdef"

    run(main)


def test_delimiter_at_the_limit_is_within_it(run):
    async def main():
        stream = buffered(b"abcde\r", b"\n")
        assert await stream.receive_until(b"\r\n", 5) == b"abcde"

    run(main)


def test_search_does_not_receive_beyond_its_limit(run):
    async def main():
        stream = buffered(*[b"x" * 10] * 1000)
        with pytest.raises(uringtrio.LimitExceededError):
            await stream.receive_until(b"\n", 100)
        assert stream.buffered_bytes < 120

    run(main)


@pytest.mark.parametrize(
    "call",
    [
        lambda stream: stream.receive_exactly(-1),
        lambda stream: stream.receive_until(b"", 10),
        lambda stream: stream.receive_until(b"x", -1),
        lambda stream: stream.receive_some(0),
    ],
)
def test_bad_arguments_are_refused(run, call):
    async def main():
        send, receive = uringtrio.testing.memory_stream_one_way_pair()
        stream = uringtrio.BufferedStream(receive)
        await send.send_all(b"data")
        stream.unread(b"some ")
        with pytest.raises(ValueError, match=r"must|max_bytes"):
            await call(stream)
        assert await stream.receive_exactly(9) == b"some data"

    run(main)


def test_what_is_no_stream_is_refused():
    with pytest.raises(TypeError, match="receive_some"):
        uringtrio.BufferedStream(b"bytes")


# Cancellation, and two tasks.


def test_cancelled_calls_lose_nothing(run, settle):
    async def main():
        left, right = memory_stream_pair()
        stream = uringtrio.BufferedStream(left)
        calls = (
            lambda: stream.receive_exactly(100),
            lambda: stream.receive_until(b"\n", 100),
            lambda: stream.lines().__anext__(),
        )
        for call in calls:
            async with uringtrio.open_nursery() as nursery:
                nursery.start_soon(call)
                await settle()
                await right.send_all(b"part ")
                await settle()
                nursery.cancel_scope.cancel()
        assert await stream.receive_exactly(15) == b"part part part "

    run(main)


def test_cancelled_before_it_began_takes_nothing_of_what_is_buffered(run):
    async def main():
        stream = buffered(b"abcdef")
        await stream.receive_exactly(1)
        with uringtrio.CancelScope() as scope:
            scope.cancel()
            await stream.receive_exactly(2)
        assert scope.cancelled_caught
        with uringtrio.CancelScope() as scope:
            scope.cancel()
            await stream.receive_some()
        assert scope.cancelled_caught
        assert await stream.receive_some() == b"bcdef"

    run(main)


def test_every_call_is_a_checkpoint(run):
    async def main():
        stream = buffered(b"ab\ncdef")
        with assert_checkpoints():
            await stream.receive_exactly(1)
        with assert_checkpoints():
            await stream.receive_exactly(0)
        with assert_checkpoints():
            await stream.receive_until(b"\n", 10)
        with assert_checkpoints():
            await stream.receive_some(1)
        with assert_checkpoints():
            await stream.aclose()

    run(main)


def test_second_task_is_refused_even_if_its_bytes_are_there(run, settle):
    async def main():
        left, right = memory_stream_pair()
        stream = uringtrio.BufferedStream(left)
        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(stream.receive_exactly, 10)
            await settle()
            await right.send_all(b"12345")
            await settle()
            for call in (stream.receive_exactly(1), stream.receive_some(), stream.receive_some(1)):
                with pytest.raises(uringtrio.BusyResourceError):
                    await call
            with pytest.raises(uringtrio.BusyResourceError):
                stream.unread(b"x")
            await right.send_all(b"67890")

    run(main)


@pytest.mark.parametrize("call", [("receive_exactly", 4), ("receive_some",), ("receive_some", 4)])
def test_call_that_finds_the_stream_closed_returns_nothing(run, call):
    """It returned fewer bytes than it was asked for, or none, which looks like the end."""
    name, *args = call

    async def main():
        left, _right = memory_stream_pair()
        for _ in range(20):  # The tasks run in either order.
            stream = uringtrio.BufferedStream(left)
            stream.unread(b"abcdef")
            results = []

            async def receive(stream=stream, results=results):
                try:
                    results.append(await getattr(stream, name)(*args))
                except uringtrio.ClosedResourceError:
                    results.append(None)

            async with uringtrio.open_nursery() as nursery:
                nursery.start_soon(receive)
                nursery.start_soon(stream.aclose)
            assert results in ([None], [b"abcdef"[: args[0] if args else None]])

    run(main)


def test_bytes_that_come_with_the_close_are_not_taken_for_those_before(run, settle):
    """The first bytes were forgotten, and the next ones returned in their place."""

    async def main():
        stream = uringtrio.BufferedStream(LateBytes(b"cdefgh"))
        stream.unread(b"ab")

        async def receive():
            with pytest.raises(uringtrio.ClosedResourceError):
                await stream.receive_exactly(4)

        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(receive)
            await settle()
            await stream.aclose()

    run(main)


def test_it_is_a_stream_in_both_directions(run):
    async def main():
        left, right = memory_stream_pair()
        async with uringtrio.BufferedStream(left) as stream:
            await stream.wait_send_all_might_not_block()
            await stream.send_all(b"hello")
            assert await right.receive_some() == b"hello"
            await stream.send_eof()
            assert await right.receive_some() == b""
            await right.send_all(b"bye")
            assert await stream.receive_exactly(1) == b"b"
        assert stream.buffered_bytes == 0
        with pytest.raises(uringtrio.ClosedResourceError):
            await stream.receive_some()

    run(main)


def test_promises_of_a_two_way_stream(run):
    async def make():
        left, right = memory_stream_pair()
        return uringtrio.BufferedStream(left), uringtrio.BufferedStream(right)

    async def make_clogged():
        left, right = uringtrio.testing.lockstep_stream_pair()
        return uringtrio.BufferedStream(left), uringtrio.BufferedStream(right)

    run(uringtrio.testing.check_half_closeable_stream, make, None)
    run(uringtrio.testing.check_two_way_stream, make, make_clogged)


def test_over_a_socket(run):
    async def main():
        left, right = uringtrio.socket.socketpair()
        stream = uringtrio.BufferedStream(uringtrio.SocketStream(left))
        async with stream, uringtrio.SocketStream(right) as peer:
            async with uringtrio.open_nursery() as nursery:
                nursery.start_soon(peer.send_all, b"x" * 100_000 + b"\nend")
                assert await stream.receive_until(b"\n", 100_000) == b"x" * 100_000
            assert await stream.receive_exactly(3) == b"end"

    run(main)
