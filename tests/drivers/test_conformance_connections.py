"""What every driver promises about the ops that make, watch and end connections."""

import errno
import os
import socket
import struct

import pytest

from uringtrio._ops.file import Close
from uringtrio._ops.net import Accept, Connect, Poll, Recv, Shutdown
from uringtrio._ops.op import POLLIN, POLLOUT

from .traffic import abstract

ECANCELED = -errno.ECANCELED


def stream_socket(family=socket.AF_INET):
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setblocking(False)
    return sock


# Accept.


def test_accept_waits_for_a_connection(bench, listener):
    op = bench.submit(Accept(listener))
    bench.settle()
    with socket.create_connection(listener.getsockname()) as client:
        (fd,) = bench.finish(op)
        with socket.socket(fileno=fd) as server:
            assert op.address() == client.getsockname() == server.getpeername()
            assert not os.get_inheritable(fd)
            assert not os.get_blocking(fd)


def test_accept_object_serves_again(bench, listener):
    op = Accept(listener)
    for _ in range(5):
        with socket.create_connection(listener.getsockname()) as client:
            fd = bench.do(op)
            os.close(fd)
            assert op.address() == client.getsockname()
        bench.completions.clear()


def test_accept_on_unix_has_the_peers_name(bench):
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as client:
        listener.setblocking(False)
        listener.bind(abstract(b"accept"))
        listener.listen()
        client.bind(abstract(b"client"))
        op = bench.submit(Accept(listener))
        client.connect(abstract(b"accept"))
        os.close(bench.finish(op)[0])
        assert op.address() == abstract(b"client")


def test_accept_on_ipv6_has_the_peers_address(bench):
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as listener:
        listener.setblocking(False)
        op = bench.submit(Accept(listener))
        with socket.create_connection(listener.getsockname()[:2]) as client:
            os.close(bench.finish(op)[0])
            assert op.address() == client.getsockname()


def test_cancelled_accept_leaves_the_connection_in_the_queue(bench, listener):
    assert bench.cancel_and_finish(bench.submit(Accept(listener))) == ECANCELED

    with socket.create_connection(listener.getsockname()) as client:
        bench.settle()
        op = Accept(listener)
        os.close(bench.do(op))
        assert op.address() == client.getsockname()


def test_cancel_of_accept_that_is_done_delivers_or_leaves_the_connection(bench, listener):
    for _ in range(50):
        op = bench.submit(Accept(listener))
        with socket.create_connection(listener.getsockname()) as client:
            bench.cancel(op)
            (res,) = bench.finish(op)
            if res < 0:
                assert res == ECANCELED
                op = Accept(listener)
                res = bench.do(op)
            os.close(res)
            assert op.address() == client.getsockname()


def test_accept_on_what_does_not_listen_fails(bench):
    with stream_socket() as sock:
        assert bench.do(Accept(sock)) == -errno.EINVAL


# Connect.


def test_connect_completes_when_connected(bench, listener):
    with stream_socket() as sock:
        assert bench.do(Connect(sock, listener.getsockname())) == 0
        assert sock.getpeername() == listener.getsockname()


def test_connect_refused(bench):
    with stream_socket() as sock, socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))
        assert bench.do(Connect(sock, unheard.getsockname())) == -errno.ECONNREFUSED
        with pytest.raises(OSError, match="not connected"):
            sock.getpeername()


def test_connect_to_a_path_without_listener(bench, tmp_path):
    with stream_socket(socket.AF_UNIX) as sock:
        assert bench.do(Connect(sock, str(tmp_path / "absent"))) == -errno.ENOENT


def test_connect_to_unix_listener(bench, tmp_path):
    path = str(tmp_path / "listener")
    with socket.socket(socket.AF_UNIX) as listener, stream_socket(socket.AF_UNIX) as sock:
        listener.bind(path)
        listener.listen()
        assert bench.do(Connect(sock, path)) == 0
        assert sock.getpeername() == path


def full_listener():
    """Return a TCP listener whose queue is full, and the connections that fill it."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=0)
    filling = []
    for _ in range(3):
        sock = stream_socket()
        filling.append(sock)
        sock.connect_ex(listener.getsockname())
    return listener, filling


def test_connect_that_hangs_can_be_cancelled(bench):
    listener, filling = full_listener()
    with stream_socket() as sock:
        op = bench.submit(Connect(sock, listener.getsockname()))
        assert bench.cancel_and_finish(op) == ECANCELED
    for each in (listener, *filling):
        each.close()


def test_connect_to_a_full_unix_queue_does_not_claim_success(bench):
    """Completed with 0: EAGAIN was taken for "under way", and no error for success."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(abstract(b"full"))
        listener.listen(0)
        socks = [stream_socket(socket.AF_UNIX) for _ in range(3)]
        ops = [bench.submit(Connect(sock, abstract(b"full"))) for sock in socks]
        bench.wait(0.01)
        bench.wait(0.01)
        for op, sock in zip(ops, socks, strict=True):
            if bench.completions[id(op)] and op.res == 0:
                assert sock.getpeername() == abstract(b"full")
            if not bench.completions[id(op)]:
                bench.cancel(op)
        bench.finish(*ops)
        for sock in socks:
            sock.close()


def test_port_that_is_none_is_refused_as_the_standard_library_does(bench):
    """Was a struct.error on a ring."""
    with stream_socket() as sock:
        with pytest.raises(OverflowError, match="port must be 0-65535"):
            bench.driver.submit(Connect(sock, ("127.0.0.1", 70000)))
    assert bench.in_flight() == {}


# Shutdown and close.


def test_shutdown_ends_the_stream_for_the_peer(bench, pair):
    left, right = pair
    op = bench.submit(Recv(right, 10))
    assert bench.do(Shutdown(left, socket.SHUT_WR)) == 0

    assert bench.finish(op) == [0]


def test_shutdown_wakes_ones_own_receive(bench, pair):
    left, _ = pair
    op = bench.submit(Recv(left, 10))
    bench.settle()
    assert bench.do(Shutdown(left, socket.SHUT_RDWR)) == 0

    assert bench.finish(op) == [0]


def test_shutdown_of_what_is_not_connected_fails(bench):
    with stream_socket() as sock:
        assert bench.do(Shutdown(sock, socket.SHUT_WR)) == -errno.ENOTCONN


def test_close_closes(bench, pair):
    left, right = pair
    fd = left.detach()
    assert bench.do(Close(fd)) == 0

    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)
    assert bench.do(Close(fd)) == -errno.EBADF
    assert bench.do(Recv(right, 10)) == 0


# Poll.


def test_poll_reports_readable_when_it_is(bench, pair):
    left, right = pair
    op = bench.submit(Poll(left.fileno(), POLLIN))
    bench.settle()
    right.send(b"x")

    (res,) = bench.finish(op)
    assert res & POLLIN
    assert op.value == res


def test_poll_reports_writable_at_once(bench, pair):
    assert bench.do(Poll(pair[0].fileno(), POLLOUT)) & POLLOUT


def test_poll_ends_with_a_hang_up(bench, pairs):
    left, right = pairs(socket.AF_INET)
    op = bench.submit(Poll(left.fileno(), POLLIN))
    bench.settle()
    right.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    right.close()

    assert bench.finish(op)[0] > 0


def test_poll_can_be_cancelled_in_either_direction(bench, pair):
    left, _ = pair
    while True:
        try:
            left.send(bytes(65536))
        except BlockingIOError:
            break
    readable = bench.submit(Poll(left.fileno(), POLLIN))
    writable = bench.submit(Poll(left.fileno(), POLLOUT))

    assert bench.cancel_and_finish(readable) == ECANCELED
    assert bench.in_flight() == {"Poll": 1}
    assert bench.cancel_and_finish(writable) == ECANCELED


def test_poll_of_what_is_closed_fails(bench, pair):
    fd = pair[0].detach()
    os.close(fd)

    assert bench.do(Poll(fd, POLLIN)) == -errno.EBADF


def test_poll_of_a_disk_file_is_ready_as_poll_says(bench, tmp_path):
    """Failed with EPERM on epoll, which takes no disk files; poll(2): they are always ready."""
    with (tmp_path / "file").open("wb") as file:
        assert bench.do(Poll(file.fileno(), POLLOUT)) & POLLOUT
