"""`open_tcp_stream`: outgoing connections."""

import errno
import socket as stdlib

import pytest

import uringtrio
from uringtrio import socket


async def unused_port():
    with socket.socket() as sock:
        await sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", b"127.0.0.1", "::1"])
def test_stream_is_connected(run, host):
    async def main():
        bound_to = "::1" if host == "::1" else "127.0.0.1"
        (listener,) = await uringtrio.open_tcp_listeners(0, host=bound_to)
        async with listener:
            port = listener.socket.getsockname()[1]
            stream = await uringtrio.open_tcp_stream(host, port)
            async with stream, await listener.accept() as server:
                await stream.send_all(b"hello")
                assert await server.receive_some(5) == b"hello"

    run(main)


def test_all_attempts_failed_is_an_os_error_with_the_attempts_as_cause(run):
    async def main():
        port = await unused_port()
        with pytest.raises(
            OSError, match=f"all attempts to connect to localhost:{port} failed"
        ) as caught:
            await uringtrio.open_tcp_stream("localhost", port)
        cause = caught.value.__cause__
        assert isinstance(cause, ExceptionGroup)
        assert all(isinstance(exc, ConnectionRefusedError) for exc in cause.exceptions)
        assert any(f"('127.0.0.1', {port})" in str(exc) for exc in cause.exceptions)

    run(main)


def test_later_addresses_are_tried_when_earlier_ones_fail(run, monkeypatch):
    async def main():
        (listener,) = await uringtrio.open_tcp_listeners(0, host="127.0.0.1")
        async with listener:
            port = listener.socket.getsockname()[1]
            stream = await uringtrio.open_tcp_stream("two.example", port)
            await stream.aclose()

    real = stdlib.getaddrinfo

    def lookup(host, port, family=0, kind=0, proto=0, flags=0):
        if flags & socket.AI_NUMERICHOST:
            return real(host, port, family, kind, proto, flags)
        return [
            *real("127.0.0.99", 1, family, kind, proto, flags),
            *real("127.0.0.1", port, family, kind, proto, flags),
        ]

    monkeypatch.setattr(stdlib, "getaddrinfo", lookup)
    run(main)


def test_unresolvable_name_is_a_gaierror(run):
    async def main():
        with pytest.raises(stdlib.gaierror):
            await uringtrio.open_tcp_stream("name.invalid", 80)

    run(main)


def test_host_and_port_are_checked_at_the_call(run):
    async def main():
        with pytest.raises(ValueError, match="host cannot be None"):
            await uringtrio.open_tcp_stream(None, 80)
        with pytest.raises(TypeError, match="port must be int"):
            await uringtrio.open_tcp_stream("127.0.0.1", "80")

    run(main)


def test_cancelled_connection_leaves_no_socket(run):
    async def main():
        (listener,) = await uringtrio.open_tcp_listeners(0, host="127.0.0.1", backlog=0)
        async with listener:
            port = listener.socket.getsockname()[1]
            streams = []
            cancelled = 0
            for _ in range(4):
                with uringtrio.move_on_after(0.03) as scope:
                    streams.append(await uringtrio.open_tcp_stream("127.0.0.1", port))
                cancelled += scope.cancelled_caught
            # Some did not fit into the backlog. Their descriptors are counted after the test.
            assert cancelled
            for stream in streams:
                await stream.aclose()

    run(main)


def test_error_keeps_its_number(run):
    async def main():
        port = await unused_port()
        with pytest.raises(OSError, match="all attempts") as caught:
            await uringtrio.open_tcp_stream("127.0.0.1", port)
        assert caught.value.errno == errno.ECONNREFUSED

    run(main)
