"""Sockets that are not the system's: `SocketType`, made by users or by their factory."""

import errno
import socket as stdlib

import pytest

import uringtrio
from uringtrio import abc, lowlevel, socket
from uringtrio.testing import memory_stream_one_way_pair


class MemorySocket(socket.SocketType):
    """One end of a connection that goes through memory; a send takes at most `chunk` bytes."""

    type = socket.SOCK_STREAM
    family = socket.AF_INET
    proto = 0

    def __init__(self, send_stream, receive_stream, chunk=3):
        super().__init__()
        self.send_stream = send_stream
        self.receive_stream = receive_stream
        self.chunk = chunk
        self.options = []
        self.is_shut = False
        self.is_closed = False
        self.room = None

    @property
    def did_shutdown_SHUT_WR(self):  # noqa: N802  # Trio's name
        return self.is_shut

    def setsockopt(self, *args):
        self.options.append(args)

    def getsockopt(self, *_args):
        raise OSError(errno.ENOPROTOOPT, "no such option")

    def fileno(self):
        return -1 if self.is_closed else 7

    def close(self):
        self.is_closed = True
        self.send_stream.close()
        self.receive_stream.close()

    def shutdown(self, flag):
        assert flag == socket.SHUT_WR
        self.is_shut = True
        self.send_stream.close()

    async def wait_writable(self):
        if self.room is not None:
            await self.room.wait()
        await lowlevel.checkpoint()

    async def send(self, data, flags=0):
        assert not flags
        await self.wait_writable()
        await self.send_stream.send_all(bytes(data[: self.chunk]))
        return min(len(data), self.chunk)

    async def sendmsg(self, buffers, ancdata=(), flags=0, address=None):
        assert (list(ancdata), flags, address) == ([], 0, None)
        return await self.send(b"".join(buffers))

    async def recv(self, bufsize, flags=0):
        assert not flags
        return bytes(await self.receive_stream.receive_some(bufsize))

    async def recv_into(self, buffer, nbytes=0, flags=0):
        data = await self.recv(nbytes or len(buffer), flags)
        buffer[: len(data)] = data
        return len(data)


def memory_pair():
    there, back = memory_stream_one_way_pair()
    other_there, other_back = memory_stream_one_way_pair()
    return MemorySocket(there, other_back), MemorySocket(other_there, back)


class Factory(abc.SocketFactory):
    def __init__(self):
        self.made = []

    def socket(self, *args):
        self.made.append(args)
        return memory_pair()[0]


# SocketType.


def test_socket_type_is_abstract_and_says_what_to_call():
    with pytest.raises(TypeError, match=r"uringtrio\.socket\.socket\(\)"):
        socket.SocketType()


def test_method_that_a_subclass_lacks_is_named(run):
    class Bare(socket.SocketType):
        pass

    async def main():
        sock = Bare()
        for name in ("recv", "sendmsg", "accept", "connect", "wait_writable", "bind"):
            method = getattr(sock, name)
            arguments = [b"x"] * (name not in ("accept", "wait_writable"))
            with pytest.raises(NotImplementedError, match=f"Bare does not define {name}"):
                await method(*arguments)
        for name in ("family", "type", "proto", "did_shutdown_SHUT_WR"):
            with pytest.raises(NotImplementedError, match=f"Bare does not define {name}"):
                getattr(sock, name)
        for name in ("close", "detach", "dup", "fileno", "getsockname", "getpeername", "listen"):
            with pytest.raises(NotImplementedError, match=f"Bare does not define {name}"):
                getattr(sock, name)()

    run(main)


def test_every_public_method_of_our_sockets_is_in_the_contract():
    with socket.socket() as sock:
        ours = {name for name in dir(sock) if not name.startswith("_")}

    assert ours <= set(dir(socket.SocketType))


# Streams over them.


def test_stream_over_a_socket_of_the_users_own_does_what_streams_do(run):
    async def main():
        left, right = map(uringtrio.SocketStream, memory_pair())
        await left.send_all(b"hello world")
        assert left.sent_bytes == 11
        await left.send_all([b"one", bytearray(b"two"), memoryview(b"three")])
        assert left.sent_bytes == 11
        await left.send_all(b"")
        await left.wait_send_all_might_not_block()
        buffer = bytearray(5)
        assert await right.receive_into(buffer) == 5
        assert buffer == b"hello"
        await left.send_eof()
        await left.send_eof()
        received = b"".join([chunk async for chunk in right])
        assert received == b" worldonetwothree"
        with pytest.raises(uringtrio.ClosedResourceError):
            await left.send_all(b"x")
        await left.aclose()
        await right.aclose()
        assert left.socket.is_closed

    run(main)


def test_second_sender_on_a_socket_of_the_users_own_is_refused(run, settle):
    async def main():
        left, right = map(uringtrio.SocketStream, memory_pair())
        left.socket.room = uringtrio.Event()
        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(left.send_all, b"hello world")
            await settle()
            for call in (
                lambda: left.send_all(b"x"),
                lambda: left.send_all([b"x"]),
                lambda: left.send_all(b""),
                left.wait_send_all_might_not_block,
                left.send_eof,
            ):
                with pytest.raises(uringtrio.BusyResourceError):
                    await call()
            left.socket.room.set()
        assert await right.receive_some() == b"hello world"

    run(main)


def test_cancelled_send_on_a_socket_of_the_users_own_knows_its_bytes(run, settle):
    async def main():
        left, _right = map(uringtrio.SocketStream, memory_pair())
        with uringtrio.CancelScope() as scope:
            async with uringtrio.open_nursery() as nursery:
                nursery.start_soon(left.send_all, b"hello world")
                await lowlevel.checkpoint()
                await lowlevel.checkpoint()
                left.socket.room = uringtrio.Event()
                await settle()
                scope.cancel()
        assert left.sent_bytes in (3, 6, 9)
        assert left.socket.send_stream  # still open: cancelling breaks nothing

    run(main)


def test_errors_of_a_socket_of_the_users_own_break_the_stream(run):
    class Failing(MemorySocket):
        async def send(self, *_args):
            raise OSError(errno.EPIPE, "Broken pipe")

        async def recv_into(self, *_args):
            raise OSError(errno.EBADF, "Bad file descriptor")

    async def main():
        stream = uringtrio.SocketStream(Failing(*memory_stream_one_way_pair()))
        with pytest.raises(uringtrio.BrokenResourceError) as caught:
            await stream.send_all(b"x")
        assert caught.value.__cause__.errno == errno.EPIPE
        with pytest.raises(uringtrio.ClosedResourceError):
            await stream.receive_into(bytearray(1))

    run(main)


# Factories.


def test_custom_factory_makes_the_sockets_of_its_run(run):
    async def main():
        factory = Factory()
        assert socket.set_custom_socket_factory(factory) is None
        made = socket.socket(socket.AF_INET6, socket.SOCK_STREAM, 6)
        assert isinstance(made, MemorySocket)
        assert factory.made == [(socket.AF_INET6, socket.SOCK_STREAM, 6)]
        # Where there is a descriptor already, nothing is to be made.
        left, right = socket.socketpair()
        with socket.socket(fileno=left.detach()), right, socket.fromfd(right.fileno()):
            pass
        assert len(factory.made) == 1
        assert socket.set_custom_socket_factory(None) is factory
        with socket.socket() as sock:
            assert not isinstance(sock, MemorySocket)

    run(main)


def test_custom_factory_is_forgotten_with_its_run(run):
    async def first():
        socket.set_custom_socket_factory(Factory())

    async def second():
        assert socket.set_custom_socket_factory(None) is None

    run(first)
    run(second)
    with socket.socket() as sock:
        assert not isinstance(sock, MemorySocket)
    with pytest.raises(RuntimeError, match="run"):
        socket.set_custom_socket_factory(None)


def test_what_a_factory_makes_must_be_a_socket(run):
    class Wrong(Factory):
        def socket(self, *_args):
            return stdlib.socketpair()[0]

    async def main():
        socket.set_custom_socket_factory(Wrong())
        sock = socket.socket()
        with sock, pytest.raises(TypeError, match=r"uringtrio\.socket"):
            uringtrio.SocketStream(sock)

    with pytest.warns(ResourceWarning):
        run(main)


def test_factory_has_its_method():
    class Empty(abc.SocketFactory):
        pass

    with pytest.raises(TypeError, match="socket"):
        Empty()
