"""What a stream tells of an unfinished send, sends of several buffers, receives into one's own."""

import array

import pytest

import uringtrio
from uringtrio import socket
from uringtrio._net.vector import IOV_MAX
from uringtrio.testing import assert_checkpoints


@pytest.fixture
def streams(stream_pair):
    """Opens two connected streams: `async with streams() as (left, right)`."""

    class Streams:
        async def __aenter__(self):
            self._sockets = stream_pair()
            pair = await self._sockets.__aenter__()
            return [uringtrio.SocketStream(sock) for sock in pair]

        async def __aexit__(self, *exc_info):
            return await self._sockets.__aexit__(*exc_info)

    return Streams


async def receive_all(stream):
    return b"".join([chunk async for chunk in stream])


# sent_bytes.


def test_finished_send_has_sent_all(run, streams, big):
    async def main():
        async with streams() as (left, right):
            assert left.sent_bytes == 0
            for data in (b"hello", bytearray(b"you"), memoryview(b"there"), b"", big):
                async with uringtrio.open_nursery() as nursery:
                    nursery.start_soon(left.send_all, data)
                    received = 0
                    while received < len(data):
                        received += len(await right.receive_some())
                assert left.sent_bytes == len(data)

    run(main)


@pytest.mark.parametrize(
    "make", [bytes, bytearray, memoryview, lambda data: [data[:70_000], data[70_000:]]]
)
def test_cancelled_send_tells_exactly_how_much_was_sent(run, streams, big, make):
    """What is sent again from there on arrives as if nothing had happened."""

    async def main():
        async with streams() as (left, right):
            received = bytearray()
            sent = 0
            cancels = 0

            async def receive():
                while True:
                    chunk = await right.receive_some()
                    received.extend(chunk)
                    if not chunk:
                        return
                    await uringtrio.sleep(0.0005)

            async with uringtrio.open_nursery() as nursery:
                nursery.start_soon(receive)
                while sent < len(big):
                    with uringtrio.move_on_after(0.01) as scope:
                        await left.send_all(make(big[sent:]))
                    cancels += scope.cancelled_caught
                    sent += left.sent_bytes
                await left.send_eof()
            assert sent == len(big)
            assert received == big
            assert cancels

    run(main)


def test_send_that_was_cancelled_before_it_began_sent_nothing(run, streams):
    async def main():
        async with streams() as (left, _right):
            await left.send_all(b"before")
            with uringtrio.CancelScope() as scope:
                scope.cancel()
                await left.send_all(b"hello")
            assert left.sent_bytes == 0
            await left.send_all(b"hello")
            with uringtrio.CancelScope() as scope:
                scope.cancel()
                await left.send_all([b"hello", b"world"])
            assert left.sent_bytes == 0

    run(main)


def test_send_that_fails_tells_how_much_was_sent(run, streams, settle, big):
    async def main():
        async with streams() as (left, right):
            received = []

            async def send():
                with pytest.raises((uringtrio.BrokenResourceError, uringtrio.ClosedResourceError)):
                    await left.send_all(big)

            async with uringtrio.open_nursery() as nursery:
                nursery.start_soon(send)
                await settle()
                received.append(await right.receive_some())
                await uringtrio.sleep(0.01)
                right.socket.close()
            assert len(received[0]) <= left.sent_bytes < len(big)

    run(main)


# Several buffers.


def test_buffers_are_sent_as_one(run, streams):
    async def main():
        async with streams() as (left, right):
            await left.send_all([b"one ", bytearray(b"two "), memoryview(b"three "), b""])
            assert left.sent_bytes == 14
            await left.send_all((array.array("B", b"four "),))
            await left.send_all([])
            assert left.sent_bytes == 0
            await left.send_all([b"", b""])
            await left.send_eof()
            assert await receive_all(right) == b"one two three four "

    run(main)


def test_more_buffers_than_one_call_takes_arrive_in_order(run, streams):
    buffers = [str(number).encode() * 30 for number in range(3 * IOV_MAX + 7)]

    async def main():
        async with streams() as (left, right):
            received = []

            async def receive():
                received.append(await receive_all(right))

            async with uringtrio.open_nursery() as nursery:
                nursery.start_soon(receive)
                await left.send_all(buffers)
                await left.send_eof()
            assert received == [b"".join(buffers)]

    run(main)


def test_large_buffers_arrive_whole_at_a_slow_reader(run, streams, big):
    async def main():
        async with streams() as (left, right):
            received = bytearray()

            async def receive():
                while chunk := await right.receive_some(100_000):
                    received.extend(chunk)

            async with uringtrio.open_nursery() as nursery:
                nursery.start_soon(receive)
                await left.send_all([big[:5], big[5:3_000_000], big[3_000_000:]])
                assert left.sent_bytes == len(big)
                await left.send_eof()
            assert received == big

    run(main)


def test_second_sender_is_refused_while_buffers_are_sent(run, streams, settle, big):
    async def main():
        async with streams() as (left, _right):
            async with uringtrio.open_nursery() as nursery:
                nursery.start_soon(left.send_all, [big, big])
                await settle()
                for call in (
                    lambda: left.send_all([b"x"]),
                    lambda: left.send_all([]),
                    lambda: left.send_all(b"x"),
                    left.send_eof,
                    left.wait_send_all_might_not_block,
                ):
                    with pytest.raises(uringtrio.BusyResourceError):
                        await call()
                nursery.cancel_scope.cancel()

    run(main)


def test_buffers_on_a_closed_or_ended_stream_are_refused(run, streams):
    async def main():
        async with streams() as (left, right):
            await left.send_eof()
            await right.aclose()
            for stream in (left, right):
                for data in ([b"x"], []):
                    with pytest.raises(uringtrio.ClosedResourceError):
                        await stream.send_all(data)

    run(main)


def test_buffers_for_a_peer_that_is_gone_break_the_stream(run, streams):
    async def main():
        async with streams() as (left, right):
            await right.aclose()

            async def send():
                while True:
                    await left.send_all([b"x" * 1000, b"y" * 1000])

            with pytest.raises(uringtrio.BrokenResourceError):
                await send()

    run(main)


@pytest.mark.parametrize("wrong", ["text", 5, None, [b"x", "text"], [[b"x"]], iter([b"x"])])
def test_what_is_no_buffer_is_refused_and_nothing_is_sent(run, streams, wrong):
    async def main():
        async with streams() as (left, right):
            with pytest.raises(TypeError):
                await left.send_all(wrong)
            assert not right.socket.is_readable()

    run(main)


def test_sending_buffers_lets_others_run(run, streams):
    async def main():
        async with streams() as (left, _right):
            for data in ([b"x"], [], [b""]):
                with assert_checkpoints():
                    await left.send_all(data)

    run(main)


# receive_into.


def test_receive_fills_the_front_of_the_buffer(run, streams):
    async def main():
        async with streams() as (left, right):
            buffer = bytearray(b".........")
            await left.send_all(b"hello")
            assert await right.receive_into(buffer) == 5
            assert buffer == b"hello...."
            await left.send_all(b"world")
            assert await right.receive_into(memoryview(buffer)[6:8]) == 2
            assert buffer == b"hello.wo."
            assert await right.receive_into(array.array("I", [0])) == 3
            await left.send_eof()
            assert await right.receive_into(buffer) == 0
            assert await right.receive_into(buffer) == 0

    run(main)


def test_receive_into_waits_and_is_cancelled_without_loss(run, streams, settle):
    async def main():
        async with streams() as (left, right):
            buffer = bytearray(10)
            async with uringtrio.open_nursery() as nursery:
                nursery.start_soon(right.receive_into, buffer)
                await settle()
                for call in (right.receive_some, lambda: right.receive_into(bytearray(1))):
                    with pytest.raises(uringtrio.BusyResourceError):
                        await call()
                nursery.cancel_scope.cancel()
            await left.send_all(b"hello")
            assert buffer == bytes(10)
            assert await right.receive_into(buffer) == 5

    run(main)


def test_receive_into_needs_room(run, streams):
    async def main():
        async with streams() as (left, _right):
            for empty in (bytearray(), memoryview(bytearray(5))[:0]):
                with pytest.raises(ValueError, match="at least 1 byte"):
                    await left.receive_into(empty)
            for wrong in (b"const", memoryview(b"const"), "text", 5):
                with pytest.raises(TypeError):
                    await left.receive_into(wrong)

    run(main)


def test_receive_into_tells_who_closed(run, tcp_pair, settle):
    async def main():
        async with tcp_pair() as pair:
            left, right = map(uringtrio.SocketStream, pair)
            left.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            await left.aclose()
            with pytest.raises(uringtrio.BrokenResourceError):
                await right.receive_into(bytearray(1))
        async with tcp_pair() as pair:
            left, _ = map(uringtrio.SocketStream, pair)

            async def receive():
                with pytest.raises(uringtrio.ClosedResourceError):
                    await left.receive_into(bytearray(1))

            async with uringtrio.open_nursery() as nursery:
                nursery.start_soon(receive)
                await settle()
                await left.aclose()
            await receive()

    run(main)
