"""TLS over TCP: connecting, listening and serving."""

import errno
import ssl
from functools import partial

import pytest

import uringtrio

NAME = "localhost"


async def echo(stream):
    async with stream:
        async for chunk in stream:
            await stream.send_all(chunk)


async def start_server(nursery, handler, context, **options):
    """Return the port of a server that ends with the nursery."""
    serve = partial(uringtrio.serve_ssl_over_tcp, host="127.0.0.1", **options)
    listeners = await nursery.start(serve, handler, 0, context)
    return listeners[0].transport_listener.socket.getsockname()[1]


def test_client_and_server_meet(run, client_context, server_context):
    async def main():
        async with uringtrio.open_nursery() as nursery:
            port = await start_server(nursery, echo, server_context)
            stream = await uringtrio.open_ssl_over_tcp_stream(
                NAME, port, ssl_context=client_context
            )
            async with stream:
                assert isinstance(stream.transport_stream, uringtrio.SocketStream)
                assert stream.server_hostname == NAME
                await stream.send_all(b"hello")
                assert await stream.receive_some() == b"hello"
            nursery.cancel_scope.cancel()

    run(main)


def test_address_is_a_name_too(run, client_context, server_context):
    async def main():
        async with uringtrio.open_nursery() as nursery:
            port = await start_server(nursery, echo, server_context)
            stream = await uringtrio.open_ssl_over_tcp_stream(
                b"127.0.0.1", port, ssl_context=client_context, happy_eyeballs_delay=None
            )
            async with stream:
                await stream.do_handshake()
            nursery.cancel_scope.cancel()

    run(main)


def test_default_context_trusts_none_of_ours_and_notices_a_cut(run, server_context):
    refused = []

    async def handler(stream):
        with pytest.raises(uringtrio.BrokenResourceError):
            await echo(stream)
        refused.append(1)

    async def main():
        async with uringtrio.open_nursery() as nursery:
            port = await start_server(nursery, handler, server_context)
            stream = await uringtrio.open_ssl_over_tcp_stream(NAME, port)
            assert not stream.context.options & ssl.OP_IGNORE_UNEXPECTED_EOF
            async with stream:
                with pytest.raises(uringtrio.BrokenResourceError, match="verify failed"):
                    await stream.do_handshake()
            while not refused:
                await uringtrio.sleep(0.001)
            nursery.cancel_scope.cancel()

    run(main)


def test_client_that_dawdles_holds_up_nobody(run, client_context, server_context):
    async def main():
        async with uringtrio.open_nursery() as nursery:
            port = await start_server(nursery, echo, server_context)
            async with await uringtrio.open_tcp_stream("127.0.0.1", port):
                stream = await uringtrio.open_ssl_over_tcp_stream(
                    NAME, port, ssl_context=client_context
                )
                async with stream:
                    await stream.send_all(b"x")
                    assert await stream.receive_some() == b"x"
                nursery.cancel_scope.cancel()

    run(main)


@pytest.mark.parametrize("https_compatible", [False, True])
def test_https_compatible_gets_to_both_ends(run, client_context, server_context, https_compatible):
    """The end of the one is what the other makes of it."""

    async def handler(stream):
        assert await stream.receive_some() == b"x"
        if https_compatible:
            assert await stream.receive_some() == b""
        else:
            with pytest.raises(uringtrio.BrokenResourceError, match="https_compatible"):
                await stream.receive_some()
        nursery.cancel_scope.cancel()

    async def main():
        nonlocal nursery
        async with uringtrio.open_nursery() as nursery:
            port = await start_server(
                nursery, handler, server_context, https_compatible=https_compatible
            )
            stream = await uringtrio.open_ssl_over_tcp_stream(
                NAME, port, ssl_context=client_context, https_compatible=True
            )
            await stream.send_all(b"x")
            await stream.aclose()
            await uringtrio.sleep_forever()

    nursery = None
    run(main)


def test_listeners_are_tls_over_tcp(run, server_context):
    async def main():
        (listener,) = await uringtrio.open_ssl_over_tcp_listeners(
            0, server_context, host="127.0.0.1", backlog=5
        )
        async with listener:
            assert isinstance(listener, uringtrio.SSLListener)
            assert isinstance(listener.transport_listener, uringtrio.SocketListener)
        assert listener.transport_listener.socket.fileno() == -1
        with pytest.raises(uringtrio.ClosedResourceError):
            await listener.accept()

    run(main)


def test_wrong_arguments_leave_no_socket_open(run, client_context):
    """The fixture for leftovers looks for it."""

    async def main():
        with pytest.raises(TypeError, match="SSLContext"):
            await uringtrio.open_ssl_over_tcp_listeners(0, None, host="127.0.0.1")
        with pytest.raises(TypeError, match="SSLContext"):
            await uringtrio.serve_ssl_over_tcp(echo, 0, "context", host="127.0.0.1")
        (listener,) = await uringtrio.open_tcp_listeners(0, host="127.0.0.1")
        async with listener:
            port = listener.socket.getsockname()[1]
            with pytest.raises(TypeError, match="SSLContext"):
                await uringtrio.open_ssl_over_tcp_stream(NAME, port, ssl_context="context")
        with pytest.raises(OSError, match="all attempts") as caught:
            await uringtrio.open_ssl_over_tcp_stream("127.0.0.1", port, ssl_context=client_context)
        assert caught.value.errno in (errno.ECONNREFUSED, None)

    run(main)
