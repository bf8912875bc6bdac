"""SocketStream: first what every half-closeable stream promises, then what is its own."""

import contextlib
import socket as stdlib

import pytest

import uringtrio
from uringtrio import lowlevel, socket


@pytest.fixture
def streams(stream_pair):
    """Opens two connected streams: `async with streams() as (left, right)`."""

    @contextlib.asynccontextmanager
    async def open_streams():
        async with stream_pair() as (left, right):
            yield uringtrio.SocketStream(left), uringtrio.SocketStream(right)

    return open_streams


async def receive_all(stream):
    data = b""
    async for chunk in stream:
        data += chunk
    return data


# The contract: bytes.


def test_everything_sent_arrives_in_order(run, streams, big):
    async def main():
        async with streams() as (left, right):

            async def send():
                await left.send_all(big)
                await left.send_all(b"and")
                await left.send_all(bytearray(b" th"))
                await left.send_all(memoryview(b"-e end-")[1:6])
                await left.send_eof()

            async with uringtrio.open_nursery() as nursery:
                nursery.start_soon(send)
                assert await receive_all(right) == big + b"and the end"

    run(main)


def test_send_waits_for_a_slow_reader(run, settle, streams, big):
    async def main():
        async with streams() as (left, right):
            done = []

            async def send():
                await left.send_all(big)
                done.append(True)

            async with uringtrio.open_nursery() as nursery:
                nursery.start_soon(send)
                await settle()
                assert not done
                received = 0
                while received < len(big):
                    received += len(await right.receive_some())
                await settle()
            assert done

    run(main)


def test_receive_returns_one_to_max_bytes(run, streams):
    async def main():
        async with streams() as (left, right):
            await left.send_all(b"0123456789")
            assert await right.receive_some(1) == b"0"
            assert await right.receive_some(4) == b"1234"
            assert await right.receive_some(100) == b"56789"
            await left.send_all(b"x")
            assert await right.receive_some() == b"x"

    run(main)


@pytest.mark.parametrize("max_bytes", [0, -1])
def test_receive_of_less_than_a_byte_is_refused(run, streams, max_bytes):
    async def main():
        async with streams() as (left, _right):
            with pytest.raises(ValueError, match="max_bytes"):
                await left.receive_some(max_bytes)

    run(main)


@pytest.mark.parametrize("wrong", ["1", 1.5, b"1"])
def test_receive_of_something_else_than_a_number_is_refused(run, streams, wrong):
    async def main():
        async with streams() as (left, right):
            await right.send_all(b"x")
            with pytest.raises(TypeError):
                await left.receive_some(wrong)
            # It is not in the way of the next.
            assert await left.receive_some(1) == b"x"

    run(main)


def test_end_of_stream_is_empty_again_and_again(run, streams):
    async def main():
        async with streams() as (left, right):
            await left.send_all(b"last")
            await left.aclose()
            assert await right.receive_some(10) == b"last"
            for _ in range(3):
                assert await right.receive_some(10) == b""
            assert [chunk async for chunk in right] == []

    run(main)


def test_half_close_ends_one_direction_only(run, streams):
    async def main():
        async with streams() as (left, right):
            await left.send_all(b"question")
            await left.send_eof()
            await left.send_eof()
            assert await receive_all(right) == b"question"
            with pytest.raises(uringtrio.ClosedResourceError):
                await left.send_all(b"more")
            with pytest.raises(uringtrio.ClosedResourceError):
                await left.send_all(b"")
            await right.send_all(b"answer")
            await right.send_eof()
            assert await receive_all(left) == b"answer"

    run(main)


def test_peer_that_is_gone_breaks_the_sender_with_the_cause(run, streams):
    async def main():
        async with streams() as (left, right):
            await right.aclose()
            with pytest.raises(uringtrio.BrokenResourceError) as caught:  # noqa: PT012  # the block is what is tested
                for _ in range(1000):
                    await left.send_all(b"x" * 1000)
            assert isinstance(caught.value.__cause__, OSError)

    run(main)


def test_peer_that_goes_away_breaks_a_waiting_sender(run, settle, streams, big):
    async def main():
        async with streams() as (left, right):

            async def send():
                with pytest.raises(uringtrio.BrokenResourceError):
                    await left.send_all(big)

            async with uringtrio.open_nursery() as nursery:
                nursery.start_soon(send)
                await settle()
                await right.aclose()

    run(main)


# The contract: two tasks in one direction.


def test_receiving_twice_at_once_is_refused(run, settle, streams):
    async def main():
        async with streams() as (left, right):
            async with uringtrio.open_nursery() as nursery:
                nursery.start_soon(left.receive_some, 1)
                await settle()
                with pytest.raises(uringtrio.BusyResourceError):
                    await left.receive_some(1)
                await right.send_all(b"x")

    run(main)


@pytest.mark.parametrize("first", ["send_all", "wait"])
@pytest.mark.parametrize("second", ["send_all", "send_nothing", "wait", "send_eof"])
def test_sending_twice_at_once_is_refused(run, settle, streams, big, first, second):
    async def main():
        async with streams() as (left, right):
            calls = {
                "send_all": lambda: left.send_all(big),
                "send_nothing": lambda: left.send_all(b""),
                "wait": left.wait_send_all_might_not_block,
                "send_eof": left.send_eof,
            }
            with uringtrio.move_on_after(0.02):
                await left.send_all(big)
            async with uringtrio.open_nursery() as nursery:
                nursery.start_soon(calls[first])
                await settle()
                with pytest.raises(uringtrio.BusyResourceError):
                    await calls[second]()
                # The first is still at it.
                assert len(nursery.child_tasks) == 1
                nursery.cancel_scope.cancel()
            assert not left.socket.did_shutdown_SHUT_WR
            assert right.socket.is_readable()

    run(main)


def test_the_directions_are_independent(run, settle, streams):
    async def main():
        async with streams() as (left, right):
            async with uringtrio.open_nursery() as nursery:
                nursery.start_soon(left.receive_some, 1)
                await settle()
                await left.send_all(b"x")
                await left.wait_send_all_might_not_block()
                assert await right.receive_some(1) == b"x"
                await right.send_all(b"y")

    run(main)


# The contract: closing.


def test_close_wakes_the_receiver(run, settle, streams):
    async def main():
        async with streams() as (left, right):

            async def receive():
                with pytest.raises(uringtrio.ClosedResourceError):
                    await left.receive_some(1)

            async with uringtrio.open_nursery() as nursery:
                nursery.start_soon(receive)
                await settle()
                await left.aclose()
            assert await right.receive_some(1) == b""

    run(main)


@pytest.mark.parametrize("call", ["send_all", "wait"])
def test_close_wakes_the_sender(run, settle, streams, big, call):
    async def main():
        async with streams() as (left, _right):
            with uringtrio.move_on_after(0.02):
                await left.send_all(big)

            async def send():
                with pytest.raises(uringtrio.ClosedResourceError):  # noqa: PT012  # the block is what is tested
                    if call == "send_all":
                        await left.send_all(big)
                    else:
                        await left.wait_send_all_might_not_block()

            async with uringtrio.open_nursery() as nursery:
                nursery.start_soon(send)
                await settle()
                await left.aclose()

    run(main)


def test_closed_stream_refuses_everything_but_closing(run, streams):
    async def main():
        async with streams() as (left, _right):
            await left.aclose()
            await left.aclose()
            for call in (
                lambda: left.receive_some(1),
                lambda: left.send_all(b"x"),
                lambda: left.send_all(b""),
                left.wait_send_all_might_not_block,
                left.send_eof,
                left.__anext__,
            ):
                with pytest.raises(uringtrio.ClosedResourceError):
                    await call()

    run(main)


def test_close_in_a_cancelled_scope_still_closes(run, streams):
    async def main():
        async with streams() as (left, right):
            with uringtrio.CancelScope() as scope:
                scope.cancel()
                await left.aclose()
            assert scope.cancelled_caught
            assert left.socket.fileno() == -1
            assert await right.receive_some(1) == b""

    run(main)


def test_async_with_closes(run, streams):
    async def main():
        async with streams() as (left, right):
            async with left as same:
                assert same is left
            assert await right.receive_some(1) == b""

    run(main)


# The contract: checkpoints and cancellation.


def test_calls_that_need_not_wait_let_others_run(run, streams):
    async def main():
        async with streams() as (left, right):
            await right.send_all(b"xx")
            for call in (
                lambda: left.receive_some(1),
                lambda: left.send_all(b"x"),
                lambda: left.send_all(b""),
                left.wait_send_all_might_not_block,
                left.send_eof,
                left.aclose,
                left.aclose,
            ):
                others = []

                async def note(others=others):
                    others.append(True)

                async with uringtrio.open_nursery() as nursery:
                    nursery.start_soon(note)
                    await call()
                    if not others:
                        await lowlevel.checkpoint()
                    assert others

    run(main)


def test_cancelled_calls_do_nothing(run, streams):
    async def main():
        async with streams() as (left, right):
            await right.send_all(b"data")
            for call in (
                lambda: left.receive_some(10),
                lambda: left.send_all(b"x"),
                lambda: left.send_all(b""),
                left.wait_send_all_might_not_block,
                left.send_eof,
            ):
                with uringtrio.CancelScope() as scope:
                    scope.cancel()
                    await call()
                assert scope.cancelled_caught
            assert await left.receive_some(10) == b"data"
            assert not right.socket.is_readable()
            await left.send_all(b"still open")
            assert await right.receive_some(100) == b"still open"

    run(main)


def test_cancelled_send_has_sent_a_beginning_and_nothing_else(run, streams, big):
    async def main():
        async with streams() as (left, right):
            with uringtrio.move_on_after(0.02) as scope:
                await left.send_all(big)
            assert scope.cancelled_caught
            await left.aclose()
            received = await receive_all(right)
            assert 0 < len(received) < len(big)
            assert received == big[: len(received)]

    run(main)


def test_waiting_for_room_ends_when_the_peer_reads(run, settle, streams, big):
    async def main():
        async with streams() as (left, right):
            await left.wait_send_all_might_not_block()
            with uringtrio.move_on_after(0.02):
                await left.send_all(big)
            done = []

            async def wait():
                await left.wait_send_all_might_not_block()
                done.append(True)

            async with uringtrio.open_nursery() as nursery:
                nursery.start_soon(wait)
                await settle()
                assert not done
                while not done:
                    await right.receive_some()

    run(main)


# SocketStream's own.


def test_tcp_options_are_set(run, tcp_pair):
    async def main():
        async with tcp_pair() as (left, _right):
            stream = uringtrio.SocketStream(left)
            assert stream.socket is left
            assert stream.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            assert stream.getsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT) == 2**14
            stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 0)
            assert not left.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            assert stream.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 4) == bytes(4)

    run(main)


def test_what_is_no_connected_stream_socket_is_refused():
    with stdlib.socket() as plain, pytest.raises(TypeError, match="from_stdlib_socket"):
        uringtrio.SocketStream(plain)
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        with pytest.raises(ValueError, match="SOCK_STREAM"):
            uringtrio.SocketStream(sock)


def test_stream_uses_the_methods_of_a_socket_of_the_users_own(run):
    class Loopback(socket.SocketType):
        """Receives what it sends, in chunks of three bytes."""

        type = socket.SOCK_STREAM
        did_shutdown_SHUT_WR = False  # noqa: N815  # the standard name

        def __init__(self):
            super().__init__()
            self.data = b""
            self.is_closed = False

        def fileno(self):
            return -1 if self.is_closed else 1000

        def setsockopt(self, *_args):
            raise OSError

        async def send(self, data, _flags=0):
            await lowlevel.checkpoint()
            self.data += bytes(data[:3])
            return len(bytes(data[:3]))

        async def recv(self, size, _flags=0):
            await lowlevel.checkpoint()
            data, self.data = self.data[:size], self.data[size:]
            return data

        def close(self):
            self.is_closed = True

    async def main():
        stream = uringtrio.SocketStream(Loopback())
        await stream.send_all(b"0123456789")
        await stream.send_all(bytearray(b"abcd"))
        assert await stream.receive_some(100) == b"0123456789abcd"
        await stream.aclose()
        assert stream.socket.is_closed

    run(main)


def test_stream_is_what_the_contracts_say(run, tcp_pair):
    async def main():
        async with tcp_pair() as (left, _right):
            stream = uringtrio.SocketStream(left)
            assert isinstance(stream, uringtrio.abc.HalfCloseableStream)
            assert isinstance(stream, uringtrio.abc.AsyncResource)

    run(main)
