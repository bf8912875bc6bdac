"""An encrypted echo server and its client in one program, with a certificate made on the spot.

    python examples/tls_echo.py hello world

The client sends each word and prints what comes back, and what the two ends agreed on. It needs
trustme, which makes the certificates: pip install trustme.
"""

from __future__ import annotations

import argparse
import ssl
from functools import partial

import trustme

import uringtrio

NAME = "localhost"


def make_contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Return a context for a server, and one for clients that trust nobody but this server."""
    authority = trustme.CA()
    server_context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(NAME).configure_cert(server_context)
    client_context = ssl.create_default_context()
    authority.configure_trust(client_context)
    return server_context, client_context


async def echo(stream: uringtrio.SSLStream[uringtrio.SocketStream]) -> None:
    """Send back what one client sends, until it says that it is done."""
    async with stream:
        async for chunk in stream:
            await stream.send_all(chunk)


async def ask(port: int, context: ssl.SSLContext, words: list[str]) -> None:
    """Send the words one by one, and print the answers."""
    stream = await uringtrio.open_ssl_over_tcp_stream(NAME, port, ssl_context=context)
    async with stream:
        await stream.do_handshake()
        print(f"talking {stream.version()} to {stream.server_hostname}")
        for word in words:
            await stream.send_all(word.encode())
            answer = b""
            while len(answer) < len(word.encode()):
                answer += await stream.receive_some()
            print(answer.decode())


async def main(words: list[str]) -> None:
    server_context, client_context = make_contexts()
    async with uringtrio.open_nursery() as nursery:
        serve = partial(uringtrio.serve_ssl_over_tcp, echo, 0, server_context, host="127.0.0.1")
        listeners = await nursery.start(serve)
        port = listeners[0].transport_listener.socket.getsockname()[1]
        await ask(port, client_context, words)
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("words", nargs="+", metavar="WORD")
    uringtrio.run(main, parser.parse_args().words)
