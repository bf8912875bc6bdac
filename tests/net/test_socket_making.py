"""Where sockets come from and go to, and what of them needs no waiting."""

import os
import socket as stdlib

import pytest

import uringtrio
from uringtrio import socket


def test_sockets_are_made_like_the_standard_librarys():
    with socket.socket() as sock:
        assert (sock.family, sock.type, sock.proto) == (socket.AF_INET, socket.SOCK_STREAM, 0)
        assert isinstance(sock, socket.SocketType)
        assert os.get_blocking(sock.fileno()) is False
        assert "uringtrio.socket.socket" in repr(sock)
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        assert (sock.family, sock.type) == (socket.AF_INET6, socket.SOCK_DGRAM)
    left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with left, right:
        assert left.type == socket.SOCK_DGRAM


def test_socket_from_a_descriptor_takes_it_over():
    plain = stdlib.socket(stdlib.AF_INET6, stdlib.SOCK_DGRAM)
    fd = plain.detach()
    with socket.socket(fileno=fd) as sock:
        assert sock.fileno() == fd
        assert (sock.family, sock.type) == (socket.AF_INET6, socket.SOCK_DGRAM)
        assert os.get_blocking(fd) is False


def test_fromfd_duplicates():
    with stdlib.socket() as plain:
        with socket.fromfd(plain.fileno(), socket.AF_INET) as sock:
            assert sock.fileno() != plain.fileno()
            assert os.get_blocking(sock.fileno()) is False
        plain.getsockname()


def test_descriptors_are_asked_what_they_are():
    with stdlib.socket(stdlib.AF_INET6, stdlib.SOCK_DGRAM) as plain:
        with socket.fromfd(plain.fileno(), socket.AF_INET, socket.SOCK_STREAM) as sock:
            assert (sock.family, sock.type) == (socket.AF_INET6, socket.SOCK_DGRAM)
            assert sock.proto == plain.getsockopt(socket.SOL_SOCKET, socket.SO_PROTOCOL)


def test_from_stdlib_socket_takes_over_exactly_the_standard_librarys():
    class Derived(stdlib.socket):
        pass

    plain = stdlib.socket()
    with socket.from_stdlib_socket(plain) as sock:
        assert sock.fileno() == plain.fileno()
        assert os.get_blocking(sock.fileno()) is False
    with Derived() as derived:
        with pytest.raises(TypeError, match=r"socket\.socket"):
            socket.from_stdlib_socket(derived)


def test_dup_is_another_socket_on_the_same_connection(run, stream_pair):
    async def main():
        async with stream_pair() as (left, right):
            with left.dup() as again:
                assert again.fileno() != left.fileno()
                left.close()
                await again.send(b"x")
                assert await right.recv(1) == b"x"
            assert await right.recv(1) == b""

    run(main)


def test_detach_gives_the_descriptor_away_open():
    sock = socket.socket()
    number = sock.fileno()
    fd = sock.detach()
    try:
        assert fd == number
        assert sock.fileno() == -1
        sock.close()
        os.fstat(fd)
    finally:
        os.close(fd)


def test_is_readable_looks_without_waiting(run, stream_pair):
    async def main():
        async with stream_pair() as (left, right):
            assert left.is_readable() is False
            await right.send(b"x")
            assert left.is_readable() is True
            await left.recv(1)
            assert left.is_readable() is False
            right.close()
            assert left.is_readable() is True

    run(main)


def test_did_shutdown_is_true_once_the_sending_side_is_shut(run, stream_pair):
    async def main():
        for how, expected in (
            (socket.SHUT_RD, False),
            (socket.SHUT_WR, True),
            (socket.SHUT_RDWR, True),
        ):
            async with stream_pair() as (left, _right):
                assert left.did_shutdown_SHUT_WR is False
                left.shutdown(how)
                assert left.did_shutdown_SHUT_WR is expected

    run(main)


def test_failed_shutdown_did_not_shut():
    with socket.socket() as sock:
        with pytest.raises(OSError, match="not connected"):
            sock.shutdown(socket.SHUT_WR)

        assert sock.did_shutdown_SHUT_WR is False


def test_options_can_be_set_and_read():
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR) == 1
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, (0).to_bytes(4, "little"))
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 4) == bytes(4)
        assert sock.get_inheritable() is False
        sock.set_inheritable(True)
        assert sock.get_inheritable() is True


def test_value_of_an_option_goes_with_a_length_or_without():
    left, right = socket.socketpair()
    stream = uringtrio.SocketStream(right)
    with left, right:
        for setsockopt in (left.setsockopt, stream.setsockopt):
            for value, length in ((1, 4), (b"1234", 4)):
                with pytest.raises(TypeError, match="invalid value for argument 'value'"):
                    setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, value, length)
            with pytest.raises(TypeError, match="invalid value for argument 'value': None"):
                setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, None)


def test_there_is_nothing_that_would_block():
    with socket.socket() as sock:
        for name in ("setblocking", "settimeout", "gettimeout", "makefile", "sendall"):
            assert not hasattr(sock, name)
