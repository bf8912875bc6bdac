"""What the network may do to TLS before there is any: garbage, and handshakes that stop halfway."""

import contextlib
import socket as stdlib
import ssl
import struct
from functools import partial

import pytest

import uringtrio

RESET = struct.pack("ii", 1, 0)  # SO_LINGER: closing sends a reset


def client_hello():
    """Return the first flight of a client."""
    outgoing = ssl.MemoryBIO()
    context = ssl.create_default_context()
    client = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="tls.example.org")
    with contextlib.suppress(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


HELLO = client_hello()
BEGINNINGS = {
    "nothing": b"",
    "a part of a header": HELLO[:3],
    "a header": HELLO[:5],
    "half a record": HELLO[: len(HELLO) // 2],
    "all but a byte": HELLO[:-1],
    "a hello": HELLO,
    "http": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "an oversize record": b"\x16\x03\x01\xff\xff" + bytes(0xFFFF),
    "zeros": bytes(1000),
}


@pytest.mark.parametrize("is_reset", [False, True], ids=["end", "reset"])
@pytest.mark.parametrize("beginning", BEGINNINGS.values(), ids=BEGINNINGS)
def test_handshake_that_stops_breaks_its_own_connection_only(
    run, certificates, server_context, beginning, is_reset
):
    errors = []

    async def handler(stream):
        async with stream:
            try:
                async for chunk in stream:
                    await stream.send_all(chunk)
            except uringtrio.BrokenResourceError as exc:
                errors.append(exc)

    async def main():
        async with uringtrio.open_nursery() as nursery:
            serve = partial(uringtrio.serve_ssl_over_tcp, host="127.0.0.1")
            (listener,) = await nursery.start(serve, handler, 0, server_context)
            address = listener.transport_listener.socket.getsockname()
            with stdlib.create_connection(address) as rude:
                rude.sendall(beginning)
                if is_reset:
                    rude.setsockopt(stdlib.SOL_SOCKET, stdlib.SO_LINGER, RESET)
            with uringtrio.fail_after(10):
                while not errors:
                    await uringtrio.sleep(0.001)
            client = await uringtrio.open_ssl_over_tcp_stream(
                *address, ssl_context=certificates.client_context()
            )
            async with client:
                await client.send_all(b"hello")
                assert await client.receive_some() == b"hello"
            nursery.cancel_scope.cancel()

    run(main)
    (error,) = errors
    assert error.__cause__ is not None
    assert str(error)
