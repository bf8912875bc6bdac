"""Listeners, and servers made of them."""

import errno
import logging
import os
import resource
import socket as stdlib

import pytest

import uringtrio
from uringtrio import abc, lowlevel, socket


async def echo(stream):
    async for data in stream:
        await stream.send_all(data)


def port_of(listener):
    return listener.socket.getsockname()[1]


# SocketListener.


def test_accept_returns_streams(run):
    async def main():
        (listener,) = await uringtrio.open_tcp_listeners(0, host="127.0.0.1")
        async with listener:
            client = await uringtrio.open_tcp_stream("127.0.0.1", port_of(listener))
            async with client, await listener.accept() as server:
                assert isinstance(server, uringtrio.SocketStream)
                await client.send_all(b"x")
                assert await server.receive_some(1) == b"x"

    run(main)


def test_second_accept_is_refused(run, settle):
    async def main():
        (listener,) = await uringtrio.open_tcp_listeners(0, host="127.0.0.1")
        async with listener, uringtrio.open_nursery() as nursery:
            nursery.start_soon(listener.accept)
            await settle()
            with pytest.raises(uringtrio.BusyResourceError):
                await listener.accept()
            nursery.cancel_scope.cancel()

    run(main)


def test_close_wakes_accept_and_later_accepts_are_refused(run, settle):
    async def main():
        (listener,) = await uringtrio.open_tcp_listeners(0, host="127.0.0.1")

        async def accept():
            with pytest.raises(uringtrio.ClosedResourceError):
                await listener.accept()

        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(accept)
            await settle()
            await listener.aclose()
        await accept()
        await listener.aclose()

    run(main)


def test_connections_that_died_are_passed_over(run):
    class Unlucky(socket.SocketType):
        type = socket.SOCK_STREAM

        def __init__(self):
            super().__init__()
            self.errors = [errno.ECONNABORTED, errno.EPROTO, errno.EPERM]

        def getsockopt(self, *_args):
            return 1

        def setsockopt(self, *_args):
            pass

        async def accept(self):
            await lowlevel.checkpoint()
            if self.errors:
                number = self.errors.pop()
                raise OSError(number, os.strerror(number))
            return self, "address"

        def close(self):
            pass

    async def main():
        listener = uringtrio.SocketListener(Unlucky())
        stream = await listener.accept()
        assert stream.socket is listener.socket
        listener.socket.errors = [errno.EMFILE]
        with pytest.raises(OSError, match="Too many open files"):
            await listener.accept()

    run(main)


def test_what_is_no_listening_stream_socket_is_refused():
    with stdlib.socket() as plain, pytest.raises(TypeError, match=r"uringtrio\.socket"):
        uringtrio.SocketListener(plain)
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        with pytest.raises(ValueError, match="SOCK_STREAM"):
            uringtrio.SocketListener(sock)
    with socket.socket() as sock:
        with pytest.raises(ValueError, match="listen"):
            uringtrio.SocketListener(sock)


# open_tcp_listeners.


def test_listeners_are_open_for_every_address(run):
    async def main():
        listeners = await uringtrio.open_tcp_listeners(0)
        families = set()
        for listener in listeners:
            family = listener.socket.family
            families.add(family)
            assert listener.socket.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR)
            if family == socket.AF_INET6:
                assert listener.socket.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
            await listener.aclose()
        assert families == {socket.AF_INET, socket.AF_INET6}

    run(main)


def test_port_in_use_names_the_address_and_leaves_nothing_open(run):
    async def main():
        (listener,) = await uringtrio.open_tcp_listeners(0, host="127.0.0.1")
        async with listener:
            port = port_of(listener)
            with pytest.raises(OSError, match=rf"'127\.0\.0\.1', {port}") as caught:
                await uringtrio.open_tcp_listeners(port, host="127.0.0.1")
            assert caught.value.errno == errno.EADDRINUSE
            assert "in use" in str(caught.value)
            # Of several addresses one is taken: the others are closed again.
            with pytest.raises(OSError, match="in use"):
                await uringtrio.open_tcp_listeners(port)

    run(main)


def test_address_family_that_is_missing_is_passed_over(run, monkeypatch):
    def make(family=socket.AF_INET, kind=socket.SOCK_STREAM, proto=0):
        if family == socket.AF_INET6:
            raise OSError(errno.EAFNOSUPPORT, "Address family not supported")
        return socket.socket(family, kind, proto)

    async def main():
        listeners = await uringtrio.open_tcp_listeners(0)
        assert [listener.socket.family for listener in listeners] == [socket.AF_INET]
        for listener in listeners:
            await listener.aclose()
        with pytest.raises(OSError, match="::1") as caught:
            await uringtrio.open_tcp_listeners(0, host="::1")
        assert caught.value.errno == errno.EAFNOSUPPORT
        assert isinstance(caught.value.__cause__, ExceptionGroup)

    monkeypatch.setattr("uringtrio._net.listen.make_socket", make)
    run(main)


def test_port_and_backlog_are_checked_at_the_call(run):
    async def main():
        with pytest.raises(TypeError, match="port must be an int"):
            await uringtrio.open_tcp_listeners("80")
        for backlog in ("5", float("inf"), 1.5):
            with pytest.raises(TypeError, match="backlog must be an int or None"):
                await uringtrio.open_tcp_listeners(0, backlog=backlog)
        for backlog in (1, 10**9, None):
            for listener in await uringtrio.open_tcp_listeners(0, backlog=backlog):
                await listener.aclose()

    run(main)


def test_port_is_shared_with_those_who_say_so_as_well(run):
    async def main():
        (first,) = await uringtrio.open_tcp_listeners(0, host="127.0.0.1", reuse_port=True)
        async with first:
            port = port_of(first)
            (second,) = await uringtrio.open_tcp_listeners(port, host="127.0.0.1", reuse_port=True)
            async with second:
                assert port_of(second) == port
                with pytest.raises(OSError, match="in use"):
                    await uringtrio.open_tcp_listeners(port, host="127.0.0.1")
                accepted = []

                async def accept(listener):
                    while True:
                        async with await listener.accept():
                            accepted.append(listener)

                async with uringtrio.open_nursery() as nursery:
                    nursery.start_soon(accept, first)
                    nursery.start_soon(accept, second)
                    # One in 2 ** 64 times they all fall to one.
                    for _ in range(64):
                        stream = await uringtrio.open_tcp_stream("127.0.0.1", port)
                        assert await stream.receive_some() == b""
                        await stream.aclose()
                    nursery.cancel_scope.cancel()
                assert set(accepted) == {first, second}

    run(main)


def test_fastopen_is_the_length_of_its_queue(run):
    async def main():
        for given, expected in ((None, 0), (5, 5), (0, 0)):
            (listener,) = await uringtrio.open_tcp_listeners(0, host="127.0.0.1", fastopen=given)
            async with listener:
                assert (
                    listener.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_FASTOPEN) == expected
                )
        with pytest.raises(TypeError, match="fastopen must be an int or None"):
            await uringtrio.open_tcp_listeners(0, fastopen="5")

    run(main)


class ListeningSocket(socket.SocketType):
    type = socket.SOCK_STREAM
    family = socket.AF_INET

    def __init__(self, error):
        super().__init__()
        self.error = error
        self.is_closed = False
        self.options = []

    def setsockopt(self, *args):
        self.options.append(args)

    def getsockopt(self, *_args):
        return 1

    async def bind(self, _address):
        await lowlevel.checkpoint()

    def listen(self, backlog):
        self.backlog = backlog
        if self.error is not None:
            raise self.error

    def close(self):
        self.is_closed = True


class ListeningFactory(abc.SocketFactory):
    """Makes sockets whose `listen` raises the given errors."""

    def __init__(self, *errors):
        self.errors = list(errors)
        self.made = []

    def socket(self, *_args):
        self.made.append(ListeningSocket(self.errors.pop(0)))
        return self.made[-1]


def test_sockets_of_a_custom_factory_are_listened_on(run):
    async def main():
        factory = ListeningFactory(None, None, None)
        socket.set_custom_socket_factory(factory)
        for given, expected in ((None, 0xFFFF), (10**6, 0xFFFF), (7, 7)):
            (listener,) = await uringtrio.open_tcp_listeners(0, host="127.0.0.1", backlog=given)
            assert listener.socket is factory.made[-1]
            assert listener.socket.backlog == expected
            assert (socket.SOL_SOCKET, socket.SO_REUSEADDR, 1) in listener.socket.options

    run(main)


def test_failure_of_one_address_closes_all_and_keeps_what_it_was(run):
    class OddError(OSError):
        pass

    async def main():
        for error in (OddError("odd"), KeyError("odd")):
            factory = ListeningFactory(None, error)
            socket.set_custom_socket_factory(factory)
            with pytest.raises(type(error), match="odd") as caught:
                await uringtrio.open_tcp_listeners(0)
            assert caught.value is error
            assert [sock.is_closed for sock in factory.made] == [True, True]

    run(main)


def test_unresolvable_host_is_a_gaierror(run):
    async def main():
        with pytest.raises(stdlib.gaierror):
            await uringtrio.open_tcp_listeners(0, host="name.invalid")

    run(main)


# Servers.


def test_options_of_the_server_are_those_of_its_listeners(run):
    async def main():
        async with uringtrio.open_nursery() as nursery:
            (listener,) = await nursery.start(
                lambda task_status: uringtrio.serve_tcp(
                    echo,
                    0,
                    host="127.0.0.1",
                    backlog=3,
                    reuse_port=True,
                    fastopen=4,
                    task_status=task_status,
                )
            )
            assert listener.socket.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT)
            assert listener.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_FASTOPEN) == 4
            nursery.cancel_scope.cancel()

    run(main)


def test_server_serves_many_and_closes_everything_when_cancelled(run):
    async def client(port, number):
        stream = await uringtrio.open_tcp_stream("127.0.0.1", port)
        async with stream:
            for turn in range(5):
                data = b"%d-%d" % (number, turn)
                await stream.send_all(data)
                assert await stream.receive_some(100) == data

    async def main():
        async with uringtrio.open_nursery() as nursery:
            listeners = await nursery.start(
                lambda task_status: uringtrio.serve_tcp(
                    echo, 0, host="127.0.0.1", task_status=task_status
                )
            )
            async with uringtrio.open_nursery() as clients:
                for number in range(50):
                    clients.start_soon(client, port_of(listeners[0]), number)
            nursery.cancel_scope.cancel()
        assert listeners[0].socket.fileno() == -1

    run(main)


def test_stream_is_closed_when_the_handler_returns_or_ignores_it(run):
    async def ignore(_stream):
        pass

    async def main():
        async with uringtrio.open_nursery() as nursery:
            (listener,) = await nursery.start(
                lambda task_status: uringtrio.serve_tcp(
                    ignore, 0, host="127.0.0.1", task_status=task_status
                )
            )
            stream = await uringtrio.open_tcp_stream("127.0.0.1", port_of(listener))
            async with stream:
                assert await stream.receive_some(1) == b""
            nursery.cancel_scope.cancel()

    run(main)


def test_handler_that_fails_takes_the_server_down_and_everything_is_closed(run):
    async def fail(_stream):
        raise LookupError("from the handler")

    async def main():
        listeners = await uringtrio.open_tcp_listeners(0, host="127.0.0.1")
        with pytest.raises(ExceptionGroup) as caught:  # noqa: PT012  # the block is what is tested
            async with uringtrio.open_nursery() as nursery:
                nursery.start_soon(uringtrio.serve_listeners, fail, listeners)
                stream = await uringtrio.open_tcp_stream("127.0.0.1", port_of(listeners[0]))
                async with stream:
                    await stream.receive_some(1)
                    await uringtrio.sleep_forever()
        assert caught.value.split(LookupError)[1] is None
        assert listeners[0].socket.fileno() == -1

    run(main)


def test_handlers_may_live_in_a_nursery_that_outlives_the_server(run):
    async def main():
        async with uringtrio.open_nursery() as handlers:
            async with uringtrio.open_nursery() as nursery:
                (listener,) = await nursery.start(
                    lambda task_status: uringtrio.serve_tcp(
                        echo, 0, host="127.0.0.1", handler_nursery=handlers, task_status=task_status
                    )
                )
                stream = await uringtrio.open_tcp_stream("127.0.0.1", port_of(listener))
                await stream.send_all(b"1")
                assert await stream.receive_some(1) == b"1"
                nursery.cancel_scope.cancel()
            async with stream:
                await stream.send_all(b"2")
                assert await stream.receive_some(1) == b"2"

    run(main)


def test_anything_with_start_soon_will_do_as_handler_nursery(run):
    class Recorder:
        started = 0

        def __init__(self, nursery):
            self.nursery = nursery

        def start_soon(self, *args):
            self.started += 1
            self.nursery.start_soon(*args)

    async def main():
        async with uringtrio.open_nursery() as nursery:
            recorder = Recorder(nursery)
            (listener,) = await nursery.start(
                lambda task_status: uringtrio.serve_tcp(
                    echo, 0, host="127.0.0.1", handler_nursery=recorder, task_status=task_status
                )
            )
            stream = await uringtrio.open_tcp_stream("127.0.0.1", port_of(listener))
            async with stream:
                await stream.send_all(b"1")
                assert await stream.receive_some(1) == b"1"
            assert recorder.started == 1
            nursery.cancel_scope.cancel()

    run(main)


def test_server_survives_the_end_of_descriptors(run, caplog):
    """EMFILE is logged and waited out, and the connection that met it is served after all."""

    async def main():
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        async with uringtrio.open_nursery() as nursery:
            (listener,) = await nursery.start(
                lambda task_status: uringtrio.serve_tcp(
                    echo, 0, host="127.0.0.1", task_status=task_status
                )
            )
            # Made before the limit is lowered, so that only the server's accept can fail.
            with stdlib.socket() as client:
                taken = max(int(fd) for fd in os.listdir("/proc/self/fd"))
                spare = [os.dup(client.fileno()) for _ in range(taken)]
                resource.setrlimit(resource.RLIMIT_NOFILE, (max(spare) + 1, hard))
                try:
                    filling = []
                    with pytest.raises(OSError, match="Too many open files"):  # noqa: PT012  # the block is what is tested
                        while True:
                            filling.append(os.dup(client.fileno()))
                    client.connect(("127.0.0.1", port_of(listener)))
                    while not caplog.records:
                        await uringtrio.sleep(0.001)
                finally:
                    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
                    for fd in (*spare, *filling):
                        os.close(fd)
                client.sendall(b"hello")
                client.setblocking(False)
                with socket.from_stdlib_socket(client.dup()) as sock:
                    assert await sock.recv(5) == b"hello"
            nursery.cancel_scope.cancel()

    with caplog.at_level(logging.ERROR):
        run(main)

    assert caplog.records
    for record in caplog.records:
        assert record.name == "uringtrio.serve_listeners"
        assert "EMFILE" in record.getMessage()
        assert "retrying" in record.getMessage()


def test_server_of_several_listeners_serves_all(run):
    async def main():
        async with uringtrio.open_nursery() as nursery:
            listeners = await nursery.start(
                lambda task_status: uringtrio.serve_tcp(echo, 0, task_status=task_status)
            )
            assert len(listeners) == 2
            for listener in listeners:
                host = "::1" if listener.socket.family == socket.AF_INET6 else "127.0.0.1"
                stream = await uringtrio.open_tcp_stream(host, port_of(listener))
                async with stream:
                    await stream.send_all(b"x")
                    assert await stream.receive_some(1) == b"x"
            nursery.cancel_scope.cancel()

    run(main)


def test_unix_listener_is_served_too(run, tmp_path):
    async def main():
        path = str(tmp_path / "socket")
        sock = socket.socket(socket.AF_UNIX)
        await sock.bind(path)
        sock.listen()
        listener = uringtrio.SocketListener(sock)
        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(uringtrio.serve_listeners, echo, [listener])
            with socket.socket(socket.AF_UNIX) as client:
                await client.connect(path)
                await client.send(b"x")
                assert await client.recv(1) == b"x"
            nursery.cancel_scope.cancel()

    run(main)
