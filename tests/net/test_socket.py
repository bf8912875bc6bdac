"""Sockets of `uringtrio.socket`: bytes and connections. Closing and messages: beside this."""

import errno
import os
import socket as stdlib
import threading

import pytest

import uringtrio
from uringtrio import lowlevel, socket


async def receive_exactly(sock, size):
    data = b""
    while len(data) < size:
        part = await sock.recv(size - len(data))
        assert part, f"end of stream after {len(data)} bytes"
        data += part
    return data


# Streams.


def test_bytes_arrive_in_both_directions(run, stream_pair):
    async def main():
        async with stream_pair() as (left, right):
            assert await left.send(b"ping") == 4
            assert await right.recv(100) == b"ping"
            assert await right.send(b"pong") == 4
            assert await left.recv(100) == b"pong"

    run(main)


def test_receive_waits_until_there_is_something(run, settle, stream_pair):
    async def main():
        async with stream_pair() as (left, right):
            seen = []

            async def receive():
                seen.append(await left.recv(100))

            async with uringtrio.open_nursery() as nursery:
                nursery.start_soon(receive)
                await settle()
                assert seen == []
                await right.send(b"late")
            assert seen == [b"late"]

    run(main)


def test_receive_returns_at_most_what_is_asked_for_and_keeps_the_rest(run, stream_pair):
    async def main():
        async with stream_pair() as (left, right):
            await right.send(b"0123456789")
            assert await left.recv(4) == b"0123"
            assert await left.recv(1) == b"4"
            assert await receive_exactly(left, 5) == b"56789"

    run(main)


def test_receive_of_nothing_takes_nothing(run, stream_pair):
    async def main():
        async with stream_pair() as (left, right):
            await right.send(b"data")
            assert await left.recv(0) == b""
            assert await left.recv(100) == b"data"

    run(main)


def test_end_of_stream_is_empty_again_and_again(run, stream_pair):
    async def main():
        async with stream_pair() as (left, right):
            await right.send(b"last")
            right.shutdown(socket.SHUT_WR)
            assert await left.recv(100) == b"last"
            for _ in range(3):
                assert await left.recv(100) == b""

    run(main)


def test_receive_into_fills_the_front_of_a_buffer(run, stream_pair):
    async def main():
        async with stream_pair() as (left, right):
            await right.send(b"abcdefgh")
            buffer = bytearray(b"-" * 6)
            assert await left.recv_into(buffer, 2) == 2
            assert buffer == b"ab----"
            assert await left.recv_into(memoryview(buffer)[1:4]) == 3
            assert buffer == b"acde--"
            assert await left.recv_into(buffer) == 3
            assert buffer == b"fghe--"

    run(main)


@pytest.mark.parametrize(
    "data", [b"data", bytearray(b"data"), memoryview(b"data"), memoryview(b"xdatax")[1:5]]
)
def test_every_kind_of_bytes_can_be_sent(run, stream_pair, data):
    async def main():
        async with stream_pair() as (left, right):
            assert await left.send(data) == 4
            assert await right.recv(100) == b"data"
            assert await left.sendmsg([data, data]) == 8
            assert await receive_exactly(right, 8) == b"datadata"

    run(main)


def test_send_of_nothing_sends_nothing(run, stream_pair):
    async def main():
        async with stream_pair() as (left, right):
            assert await left.send(b"") == 0
            assert not right.is_readable()

    run(main)


def test_send_is_partial_when_the_peer_is_slow_and_no_byte_is_lost(run, stream_pair, big):
    async def main():
        async with stream_pair() as (left, right):
            sent_at_once = []

            async def send_all():
                rest = memoryview(big)
                while rest:
                    sent = await left.send(rest)
                    assert 0 < sent <= len(rest)
                    sent_at_once.append(sent)
                    rest = rest[sent:]
                left.shutdown(socket.SHUT_WR)

            received = bytearray()
            async with uringtrio.open_nursery() as nursery:
                nursery.start_soon(send_all)
                while data := await right.recv(100_000):
                    received += data
            assert received == big
            assert len(sent_at_once) > 1

    run(main)


def test_bulk_in_both_directions_at_once(run, stream_pair, big):
    async def main():
        async with stream_pair() as (left, right):
            results = {}

            async def send_all(sock):
                rest = memoryview(big)
                while rest:
                    rest = rest[await sock.send(rest) :]

            async def receive_all(name, sock):
                buffer = bytearray(len(big))
                rest = memoryview(buffer)
                while rest:
                    rest = rest[await sock.recv_into(rest) :]
                results[name] = buffer

            async with uringtrio.open_nursery() as nursery:
                for name, sock in (("left", left), ("right", right)):
                    nursery.start_soon(send_all, sock)
                    nursery.start_soon(receive_all, name, sock)
            assert results == {"left": big, "right": big}

    run(main)


def test_peer_that_is_gone_is_an_os_error(run, stream_pair):
    async def main():
        async with stream_pair() as (left, right):
            right.close()
            with pytest.raises(OSError) as caught:  # noqa: PT011, PT012
                for _ in range(100):
                    await left.send(b"x" * 1000)
            assert caught.value.errno in (errno.EPIPE, errno.ECONNRESET)

    run(main)


def test_reset_is_an_os_error_of_the_receiver(run, tcp_pair):
    async def main():
        async with tcp_pair() as (left, right):
            right.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            right.close()
            with pytest.raises(ConnectionResetError):
                await left.recv(1)

    run(main)


def test_peek_leaves_the_bytes(run, stream_pair):
    async def main():
        async with stream_pair() as (left, right):
            await right.send(b"data")
            assert await left.recv(2, socket.MSG_PEEK) == b"da"
            assert await left.recv(100) == b"data"

    run(main)


# Cancellation.


def test_cancelled_receive_loses_no_byte(run, settle, stream_pair):
    async def main():
        async with stream_pair() as (left, right):
            for number in range(50):
                received = []

                async def receive(received=received):
                    received.append(await left.recv(100))

                data = b"%d;" % number
                async with uringtrio.open_nursery() as nursery:
                    nursery.start_soon(receive)
                    await settle()
                    # Which comes first is the kernel's business; what arrives is ours.
                    await right.send(data)
                    nursery.cancel_scope.cancel()
                if not received:
                    received.append(await left.recv(100))
                assert received == [data]

    run(main)


def test_receive_in_a_cancelled_scope_takes_nothing(run, stream_pair):
    async def main():
        async with stream_pair() as (left, right):
            await right.send(b"data")
            with uringtrio.CancelScope() as scope:
                scope.cancel()
                await left.recv(100)
            assert scope.cancelled_caught
            assert await left.recv(100) == b"data"

    run(main)


def test_socket_works_on_after_a_cancelled_receive(run, settle, stream_pair):
    async def main():
        async with stream_pair() as (left, right):
            for _ in range(10):
                async with uringtrio.open_nursery() as nursery:
                    nursery.start_soon(left.recv, 1)
                    await settle()
                    nursery.cancel_scope.cancel()
            await right.send(b"x")
            assert await left.recv(1) == b"x"

    run(main)


def test_timeout_ends_a_receive(run, stream_pair):
    async def main():
        async with stream_pair() as (left, _right):
            with uringtrio.move_on_after(0.01) as scope:
                await left.recv(1)
            assert scope.cancelled_caught
            assert lowlevel.current_statistics().io_statistics.in_flight == {}

    run(main)


# Connections.


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_accept_returns_a_socket_and_the_peers_address(run, family):
    async def main():
        with socket.socket(family) as listener, socket.socket(family) as client:
            await listener.bind(("127.0.0.1" if family == socket.AF_INET else "::1", 0))
            listener.listen()
            async with uringtrio.open_nursery() as nursery:
                nursery.start_soon(client.connect, listener.getsockname())
                server, address = await listener.accept()
            with server:
                assert isinstance(server, socket.SocketType)
                assert address == client.getsockname() == server.getpeername()
                assert server.family == family
                assert server.type == socket.SOCK_STREAM
                assert not server.get_inheritable()
                assert os.get_blocking(server.fileno()) is False

    run(main)


def test_cancelled_accept_loses_no_connection(run, settle):
    async def main():
        with socket.socket() as listener:
            await listener.bind(("127.0.0.1", 0))
            listener.listen()
            for _ in range(20):
                accepted = []

                async def accept(accepted=accepted):
                    accepted.append((await listener.accept())[0])

                async with uringtrio.open_nursery() as nursery:
                    nursery.start_soon(accept)
                    await settle()
                    client = stdlib.create_connection(listener.getsockname(), 10)
                    nursery.cancel_scope.cancel()
                if not accepted:
                    await accept()
                (server,) = accepted
                with client, server:
                    client.sendall(b"hello")
                    assert await server.recv(5) == b"hello"

    run(main)


def test_refused_connection_names_the_address(run):
    async def main():
        with socket.socket() as sock:
            await sock.bind(("127.0.0.1", 0))
            address = sock.getsockname()
        with socket.socket() as client:
            with pytest.raises(ConnectionRefusedError) as caught:
                await client.connect(address)
            assert str(address) in str(caught.value)
            assert caught.value.errno == errno.ECONNREFUSED

    run(main)


def test_cancelled_connect_closes_the_socket(run):
    async def main():
        with socket.socket() as listener:
            await listener.bind(("127.0.0.1", 0))
            # A backlog that is full lets connections hang.
            listener.listen(0)
            filling = [socket.socket() for _ in range(4)]
            hanging = []
            for sock in filling:
                with uringtrio.move_on_after(0.05) as scope:
                    await sock.connect(listener.getsockname())
                if scope.cancelled_caught:
                    hanging.append(sock)
            assert hanging
            for sock in hanging:
                assert sock.fileno() == -1
            for sock in filling:
                sock.close()

    run(main)


def test_connect_in_a_cancelled_scope_connects_nothing(run):
    async def main():
        with socket.socket() as listener, socket.socket() as client:
            await listener.bind(("127.0.0.1", 0))
            listener.listen()
            with uringtrio.CancelScope() as scope:
                scope.cancel()
                await client.connect(listener.getsockname())
            assert scope.cancelled_caught
            assert not listener.is_readable()

    run(main)


def test_connect_looks_names_up(run):
    async def main():
        with socket.socket() as listener, socket.socket() as client:
            await listener.bind(("localhost", 0))
            listener.listen()
            await client.connect(("localhost", listener.getsockname()[1]))
            assert client.getpeername() == listener.getsockname()

    run(main)


def test_full_unix_listener_never_makes_connect_claim_success(run, tmp_path):
    async def main():
        path = str(tmp_path / "s")
        with socket.socket(socket.AF_UNIX) as listener:
            await listener.bind(path)
            listener.listen(0)
            for _ in range(3):
                with socket.socket(socket.AF_UNIX) as client:
                    with uringtrio.move_on_after(0.02) as scope:
                        try:
                            await client.connect(path)
                        except BlockingIOError:
                            continue
                    if not scope.cancelled_caught:
                        assert client.getpeername() == path

    run(main)


def test_unix_stream_by_path_and_by_abstract_name(run, tmp_path):
    async def main():
        for name in (
            tmp_path / "path",
            str(tmp_path / "text"),
            b"\0uringtrio-test-%d" % os.getpid(),
        ):
            with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as client:
                await listener.bind(name)
                listener.listen()
                async with uringtrio.open_nursery() as nursery:
                    nursery.start_soon(client.connect, name)
                    server, address = await listener.accept()
                with server:
                    assert address == ""
                    expected = name if isinstance(name, bytes) else str(name)
                    assert client.getpeername() == expected
                    await client.send(b"x")
                    assert await server.recv(1) == b"x"

    run(main)


def test_socket_from_a_blocking_listener_in_a_thread_interoperates(run, big):
    """The peer is the standard library's own, in a thread: nothing here can be wrong twice."""

    async def main():
        with stdlib.create_server(("127.0.0.1", 0)) as listener, socket.socket() as client:
            received = bytearray()

            def serve():
                server, _ = listener.accept()
                with server:
                    while data := server.recv(65536):
                        received.extend(data)
                    server.sendall(received)

            thread = threading.Thread(target=serve)
            thread.start()
            await client.connect(listener.getsockname())
            rest = memoryview(big)
            while rest:
                rest = rest[await client.send(rest) :]
            client.shutdown(socket.SHUT_WR)
            back = bytearray()
            while data := await client.recv(65536):
                back += data
            thread.join(10)
            assert bytes(received) == big == bytes(back)

    run(main)
