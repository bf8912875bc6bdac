"""Receiving ahead, seen from outside: each byte reaches who asks for it next, on every driver.

Where a driver receives ahead, `early` waits until it has; elsewhere the bytes are in the kernel.
"""

import contextlib
import functools
import os
import random
import socket as stdlib
import struct
import sys
import warnings

import pytest

import uringtrio
from uringtrio import lowlevel, socket, to_thread
from uringtrio._ops.receive_ahead import AHEAD_BYTES_MAX, RecvMultishot

RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close resets the connection


def is_armed():
    return "RecvMultishot" in lowlevel.current_statistics().io_statistics.in_flight


def can_receive_ahead():
    return lowlevel.current_statistics().io_statistics.driver == "io_uring" and (
        lowlevel.current_task()._runner.driver.has_multishot
    )


@pytest.fixture
def connection(tcp_pair):
    """Opens (a standard library socket that blocks, a stream that has received twice)."""

    @contextlib.asynccontextmanager
    async def open_connection():
        async with tcp_pair() as (left, right):
            stream = uringtrio.SocketStream(right)
            for data in (b"1", b"2"):
                await left.send(data)
                assert await stream.receive_some() == data
            peer = stdlib.socket(fileno=left.detach())
            peer.setblocking(True)
            with peer:
                yield peer, stream

    return open_connection


async def early(peer, stream, data):
    """Send `data` while nobody receives, and let a driver that can receive it."""
    assert is_armed() == can_receive_ahead()
    peer.sendall(data)
    ahead = stream.socket._ahead
    while ahead is not None and ahead.ahead != data:
        await uringtrio.sleep(0.001)


def test_first_receive_does_not_receive_ahead(run, tcp_pair):
    async def main():
        async with tcp_pair() as (left, right):
            stream = uringtrio.SocketStream(right)
            await left.send(b"1")
            assert await stream.receive_some() == b"1"
            assert not is_armed()

    run(main)


def test_unix_sockets_never_receive_ahead(run):
    """Descriptors that come along with the bytes are for `recvmsg` only."""

    async def main():
        left, right = socket.socketpair()
        with left, right:
            stream = uringtrio.SocketStream(right)
            for _ in range(3):
                await left.send(b"x")
                assert await stream.receive_some() == b"x"
            assert not is_armed()
            with open(os.devnull, "rb") as file:
                socket_fds = struct.pack("i", file.fileno())
                await left.sendmsg([b"y"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, socket_fds)])
            await uringtrio.sleep(0.01)
            data, control, _, _ = await right.recvmsg(10, socket.CMSG_SPACE(4))
            (fd,) = struct.unpack("i", control[0][2])
            os.close(fd)
            assert data == b"y"

    run(main)


def test_stream_gets_what_came_early_at_once(run, connection):
    async def main():
        async with connection() as (peer, stream):
            await early(peer, stream, b"early")
            assert await stream.receive_some(2) == b"ea"
            assert await stream.receive_some() == b"rly"
            peer.close()
            assert await stream.receive_some() == b""
            assert await stream.receive_some() == b""

    run(main)


async def recv(sock, size, flags=0):
    return await sock.recv(size, flags)


async def recv_into(sock, size, flags=0):
    buffer = bytearray(size)
    return bytes(buffer[: await sock.recv_into(buffer, 0, flags)])


async def recvfrom(sock, size, flags=0):
    data, _ = await sock.recvfrom(size, flags)
    return data


async def recvfrom_into(sock, size, flags=0):
    buffer = bytearray(size)
    count, _ = await sock.recvfrom_into(buffer, 0, flags)
    return bytes(buffer[:count])


async def recvmsg(sock, size, flags=0):
    data, control, seen, _ = await sock.recvmsg(size, 0, flags)
    assert (control, seen) == ([], 0)
    return data


async def recvmsg_into(sock, size, flags=0):
    buffers = [bytearray(size - size // 2), bytearray(size // 2)]
    count, *_ = await sock.recvmsg_into(buffers, 0, flags)
    return b"".join(buffers)[:count]


METHODS = [recv, recv_into, recvfrom, recvfrom_into, recvmsg, recvmsg_into]


@pytest.mark.parametrize("method", METHODS)
def test_every_method_of_the_socket_begins_with_what_came_early(run, connection, method):
    async def main():
        async with connection() as (peer, stream):
            await early(peer, stream, b"abcdef")
            assert await method(stream.socket, 2, socket.MSG_PEEK) == b"ab"
            assert await method(stream.socket, 2) == b"ab"
            assert await method(stream.socket, 100, socket.MSG_PEEK) == b"cdef"
            assert await method(stream.socket, 100) == b"cdef"
            assert not is_armed()
            peer.sendall(b"gh")
            assert await method(stream.socket, 100) == b"gh"
            peer.sendall(b"ij")
            assert await stream.receive_some() == b"ij"
            assert not is_armed()

    run(main)


@pytest.mark.parametrize("method", METHODS)
def test_methods_of_the_socket_are_checkpoints_that_lose_nothing(run, connection, method):
    async def main():
        async with connection() as (peer, stream):
            await early(peer, stream, b"data")
            with uringtrio.CancelScope() as scope:
                scope.cancel()
                await method(stream.socket, 100)
            assert scope.cancelled_caught
            assert await method(stream.socket, 100) == b"data"
            with uringtrio.move_on_after(0.01) as scope:
                await method(stream.socket, 100)
            assert scope.cancelled_caught
            peer.sendall(b"more")
            assert await method(stream.socket, 100) == b"more"

    run(main)


def test_receive_into_begins_with_what_came_early(run, connection):
    async def main():
        async with connection() as (peer, stream):
            await early(peer, stream, b"abc")
            buffer = bytearray(2)
            assert await stream.receive_into(buffer) == 2
            assert buffer == b"ab"
            assert await stream.receive_some() == b"c"

    run(main)


def test_waiting_for_all_takes_the_rest_from_the_kernel(run, connection):
    async def main():
        async with connection() as (peer, stream):
            await early(peer, stream, b"abc")
            data = b""
            # Cancelled, it has taken nothing, or says what.
            with uringtrio.move_on_after(0.01):
                data = await stream.socket.recv(6, socket.MSG_WAITALL)
            async with uringtrio.open_nursery() as nursery:
                nursery.start_soon(to_thread.run_sync, peer.sendall, b"def")
                data += await stream.socket.recv(6 - len(data), socket.MSG_WAITALL)
            assert data == b"abcdef"

    run(main)


def test_is_readable_when_something_came_early(run, connection):
    async def main():
        async with connection() as (peer, stream):
            assert not stream.socket.is_readable()
            peer.sendall(b"0")
            assert stream.socket.is_readable()
            assert await stream.receive_some() == b"0"
            assert not stream.socket.is_readable()
            with uringtrio.move_on_after(0.01):
                await stream.receive_some()
            await early(peer, stream, b"data")
            assert stream.socket.is_readable()
            await lowlevel.wait_readable(stream.socket)
            assert await stream.receive_some() == b"data"
            peer.sendall(b"more")
            await lowlevel.wait_readable(stream.socket)
            assert await stream.receive_some() == b"more"
            peer.close()
            await lowlevel.wait_readable(stream.socket)
            assert stream.socket.is_readable()

    run(main)


def test_who_has_the_descriptor_finds_all_that_is_still_to_come(run, connection):
    async def main():
        async with connection() as (peer, stream):
            await early(peer, stream, b"early")
            fd = stream.socket.fileno()
            assert not is_armed()
            peer.sendall(b"late")
            await uringtrio.sleep(0.01)
            assert os.read(fd, 100).endswith(b"late")
            with uringtrio.move_on_after(0.01):
                await stream.receive_some()
            peer.sendall(b"later")
            await uringtrio.sleep(0.01)
            assert os.read(fd, 100) == b"later"

    run(main)


def test_the_descriptor_is_given_out_with_the_data_of_this_very_moment_in_the_kernel(
    run, connection
):
    """A cancel is carried out before the deferred work of the ring, which would take the data."""

    async def main():
        for _ in range(200):
            async with connection() as (peer, stream):
                # No turn of the loop in between.
                peer.sendall(b"data")
                assert os.read(stream.socket.fileno(), 100) == b"data"

    run(main)


@pytest.mark.parametrize("in_thread", [False, True])
def test_descriptor_may_be_asked_for_while_a_task_waits(run, connection, settle, in_thread):
    async def main():
        async with connection() as (peer, stream):
            received = []

            async def receive():
                received.append(await stream.receive_some())

            async with uringtrio.open_nursery() as nursery:
                nursery.start_soon(receive)
                await settle()
                fileno = stream.socket.fileno
                fd = (await to_thread.run_sync(fileno)) if in_thread else fileno()
                while is_armed():
                    await uringtrio.sleep(0.001)
                assert not received
                peer.sendall(b"data")
            assert received == [b"data"]
            peer.sendall(b"more")
            assert os.read(fd, 10) == b"more"

    run(main)


def test_duplicate_finds_all_that_is_still_to_come(run, connection):
    async def main():
        async with connection() as (peer, stream):
            with stream.socket.dup() as duplicate:
                other = uringtrio.SocketStream(duplicate)
                for data in (b"1", b"2", b"3"):
                    peer.sendall(data)
                    assert await other.receive_some() == data
                assert not is_armed()
                peer.sendall(b"4")
                assert await stream.receive_some() == b"4"

    run(main)


def test_detach_refuses_to_lose_what_came_early(run, connection):
    async def main():
        async with connection() as (peer, stream):
            await early(peer, stream, b"early")
            if can_receive_ahead():
                with pytest.raises(RuntimeError, match="5 bytes which it has received before"):
                    stream.socket.detach()
            assert await stream.receive_some() == b"early"
            peer.sendall(b"late")
            with stdlib.socket(fileno=stream.socket.detach()) as sock:
                sock.setblocking(True)
                assert sock.recv(100) == b"late"

    run(main)


def test_copy_begins_with_what_came_early(run, connection, tcp_pair):
    async def main():
        async with connection() as (peer, stream), tcp_pair() as (far, near):
            await early(peer, stream, b"early")
            peer.sendall(b"late")
            peer.shutdown(socket.SHUT_WR)
            assert await uringtrio.copy(stream, uringtrio.SocketStream(near)) == 9
            assert await far.recv(9, socket.MSG_WAITALL) == b"earlylate"

    run(main)


def test_copy_says_the_error_that_came_early(run, connection, tcp_pair):
    async def main():
        async with connection() as (peer, stream), tcp_pair() as (_far, near):
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            peer.close()
            await uringtrio.sleep(0.02)
            with pytest.raises(uringtrio.BrokenResourceError):
                await uringtrio.copy(stream, uringtrio.SocketStream(near))

    run(main)


def test_what_is_ahead_is_limited_and_arrives_in_order(run, connection):
    data = random.Random(1).randbytes(4 * 2**20)

    async def main():
        async with connection() as (peer, stream), uringtrio.open_nursery() as nursery:
            nursery.start_soon(to_thread.run_sync, peer.sendall, data)
            await uringtrio.sleep(0.1)
            ahead = stream.socket._ahead
            if ahead is not None:
                buffer_size = uringtrio.RingOptions().buffer_size
                assert AHEAD_BYTES_MAX <= len(ahead.ahead) < AHEAD_BYTES_MAX + buffer_size
                assert not is_armed()
            received = bytearray()
            while len(received) < len(data):
                received += await stream.receive_some(random.randint(1, 100_000))
            assert received == data

    run(main)


@pytest.mark.parametrize("chunks", [1, 3])
def test_cancelled_receives_lose_nothing(run, connection, chunks):
    total = 3000

    async def main():
        async with connection() as (peer, stream), uringtrio.open_nursery() as nursery:

            def send():
                for index in range(0, total, chunks):
                    peer.sendall(b"".join(b"%07d\n" % i for i in range(index, index + chunks)))

            nursery.start_soon(to_thread.run_sync, send)
            received = bytearray()
            while len(received) < 8 * total:
                with uringtrio.move_on_after(random.random() / 5000):
                    received += await stream.receive_some(random.randint(1, 30))
            assert received == b"".join(b"%07d\n" % i for i in range(total))

    run(main)


def test_error_comes_after_the_data_and_once(run, connection):
    async def main():
        async with connection() as (peer, stream):
            await early(peer, stream, b"data")
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            peer.close()
            await uringtrio.sleep(0.02)
            assert stream.socket.is_readable()
            assert await stream.receive_some() == b"data"
            with pytest.raises(uringtrio.BrokenResourceError):
                await stream.receive_some()
            assert await stream.receive_some() == b""

    run(main)


def test_error_that_came_early_is_the_socket_s(run, connection):
    async def main():
        async with connection() as (peer, stream):
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            peer.close()
            await uringtrio.sleep(0.02)
            error = stream.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            assert os.strerror(error) == "Connection reset by peer"
            assert stream.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0

    run(main)


def test_close_is_seen_by_the_peer_though_a_receive_is_armed(run, connection):
    async def main():
        async with connection() as (peer, stream):
            assert is_armed() == can_receive_ahead()
            await stream.aclose()
            assert await to_thread.run_sync(peer.recv, 10) == b""
            with pytest.raises(uringtrio.ClosedResourceError):
                await stream.receive_some()
            assert not is_armed()

    run(main)


def test_socket_closed_while_a_method_takes_what_came_early(run, connection):
    async def main():
        async with connection() as (peer, stream):
            await early(peer, stream, b"data")
            outcome = []

            async def receive():
                try:
                    outcome.append(await stream.socket.recv(10, socket.MSG_PEEK))
                except (uringtrio.ClosedResourceError, OSError) as exc:
                    outcome.append(type(exc))

            async with uringtrio.open_nursery() as nursery:
                nursery.start_soon(receive)
                await lowlevel.checkpoint()
                await lowlevel.checkpoint()
                stream.socket.close()
            assert outcome in ([b"data"], [uringtrio.ClosedResourceError], [OSError])

    run(main)


@pytest.mark.parametrize("in_thread", [False, True])
def test_socket_dropped_without_close_is_closed_with_a_warning(run, tcp_pair, in_thread):
    async def main():
        async with tcp_pair() as (left, right):
            stream = uringtrio.SocketStream(
                socket.from_stdlib_socket(stdlib.socket(fileno=right.detach()))
            )
            for data in (b"1", b"2"):
                await left.send(data)
                assert await stream.receive_some() == data
            streams = [stream]
            del stream
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                if in_thread:
                    await to_thread.run_sync(streams.clear)
                else:
                    streams.clear()
                assert await left.recv(10) == b""
            assert [warning.category for warning in caught] == [ResourceWarning]

    run(main)


def test_socket_outlives_its_run(tcp_pair, leftovers):
    """What came early in one run is there in the next, whatever its driver."""
    leftovers.allowed = True  # The receive that is armed when the first run ends.
    kept = []

    async def first():
        async with tcp_pair() as (left, right):
            stream = uringtrio.SocketStream(
                socket.from_stdlib_socket(stdlib.socket(fileno=right.detach()))
            )
            peer = stdlib.socket(fileno=left.detach())
            peer.setblocking(True)
            for data in (b"1", b"2"):
                peer.sendall(data)
                assert await stream.receive_some() == data
            await early(peer, stream, b"early")
            kept.extend([peer, stream])

    async def second():
        peer, stream = kept
        with peer, stream.socket:
            assert await stream.receive_some() == b"early"
            for _ in range(3):
                peer.sendall(b"late")
                assert await stream.receive_some() == b"late"

    uringtrio.run(first)
    uringtrio.run(second, driver="epoll" if sys.platform == "linux" else None)


@pytest.mark.parametrize(
    "options",
    [
        uringtrio.RingOptions(buffer_count=2, buffer_size=64),
        uringtrio.RingOptions(entries=4, cq_entries=4),
        uringtrio.RingOptions(buffer_count=0),
    ],
    ids=["two-buffers", "full-completion-queue", "no-buffers"],
)
def test_small_rings_lose_nothing(run, options):
    """All provided buffers out, and the completion queue overflowed: both end receives early."""
    data = random.Random(2).randbytes(20_000)

    async def echo(stream):
        async for chunk in stream:
            await stream.send_all(chunk)

    async def client(port, seed):
        random_source = random.Random(seed)
        async with await uringtrio.open_tcp_stream("127.0.0.1", port) as stream:
            position = 0
            received = bytearray()
            while position < len(data):
                size = random_source.randint(1, 3000)
                await stream.send_all(data[position : position + size])
                position += size
                while len(received) < min(position, len(data)):
                    with uringtrio.move_on_after(random_source.random() / 100):
                        received += await stream.receive_some(random_source.randint(1, 2000))
            assert received == data

    async def main():
        async with uringtrio.open_nursery() as nursery:
            serve = functools.partial(uringtrio.serve_tcp, echo, 0, host="127.0.0.1")
            (listener,) = await nursery.start(serve)
            port = listener.socket.getsockname()[1]
            async with uringtrio.open_nursery() as clients:
                for seed in range(20):
                    clients.start_soon(client, port, seed)
            nursery.cancel_scope.cancel()

    run(main, ring=options)


def test_op_says_what_it_is(run, connection):
    async def main():
        async with connection() as (_peer, stream):
            if can_receive_ahead():
                assert type(stream.socket._reading) is RecvMultishot
                assert "RecvMultishot" in repr(stream.socket._reading)

    run(main)


def test_socket_that_receives_ahead_is_not_closed_in_another_run(run, connection):
    errors = []

    async def main():
        async with connection() as (peer, stream):
            del peer

            async def close():
                with pytest.raises(
                    RuntimeError, match="must be called from async context"
                ) as caught:
                    stream.socket.close()
                errors.append(caught.value)

            if is_armed():
                await to_thread.run_sync(uringtrio.run, close)
                assert is_armed()
                assert len(errors) == 1

    run(main)
