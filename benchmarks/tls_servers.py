"""TLS echo servers as the users of each runtime would write them: tls_servers.py KIND PEM SIZE

A server listens on a free port of the loopback interface and prints its number. It sends each
message of SIZE bytes back when it has received all of it, and runs until it is killed.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import ssl
import sys
from functools import partial
from typing import TYPE_CHECKING, Any

from servers import BACKLOG, HOST, set_nodelay, tell

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

# KIND: the module with the runtime, whether it has Trio's API, and the driver if there is a choice.
KINDS = {
    "uringtrio": ("uringtrio", True, "io_uring"),
    "uringtrio-epoll": ("uringtrio", True, "epoll"),
    "trio": ("trio", True, ""),
    "asyncio": ("asyncio", False, ""),
    "uvloop": ("uvloop", False, ""),
}


def server_context(pem: str) -> ssl.SSLContext:
    """Return a context with the certificate and key in the file `pem`."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pem)
    return context


def serve_trio_like(runtime: Any, context: ssl.SSLContext, size: int) -> None:
    """Serve with `serve_ssl_over_tcp`, on Trio or on anything with its API."""

    async def echo(stream: Any) -> None:
        message = bytearray()
        while data := await stream.receive_some():
            if len(data) == size:
                await stream.send_all(data)
                continue
            message += data
            if len(message) == size:
                await stream.send_all(message)
                message = bytearray()

    async def main() -> None:
        async with runtime.open_nursery() as nursery:
            serve = partial(
                runtime.serve_ssl_over_tcp, echo, 0, context, host=HOST, backlog=BACKLOG
            )
            listeners = await nursery.start(serve)
            tell(listeners[0].transport_listener.socket.getsockname()[1])

    runtime.run(main)


async def serve_streams(context: ssl.SSLContext, size: int) -> None:
    """Serve with asyncio's reader and writer."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        set_nodelay(writer.transport)
        try:
            while True:
                writer.write(await reader.readexactly(size))
                await writer.drain()
        except asyncio.IncompleteReadError:
            writer.close()

    server = await asyncio.start_server(echo, HOST, 0, backlog=BACKLOG, ssl=context, limit=2 * size)
    tell(server.sockets[0].getsockname()[1])
    await server.serve_forever()


def main() -> None:
    kind, pem, size = sys.argv[1:]
    module, is_trio_like, driver = KINDS[kind]
    if driver:
        os.environ["URINGTRIO_DRIVER"] = driver
    runtime = importlib.import_module(module)
    context = server_context(pem)
    if is_trio_like:
        serve_trio_like(runtime, context, int(size))
        return
    serve: Callable[[ssl.SSLContext, int], Coroutine[Any, Any, None]] = serve_streams
    runtime.run(serve(context, int(size)))


if __name__ == "__main__":
    main()
