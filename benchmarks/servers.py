"""Echo servers as the users of each runtime would write them: servers.py KIND

A server listens on a free port of the loopback interface and prints its number. It runs until it
is killed. Every one of them sets TCP_NODELAY, by hand where its runtime does not do it by itself.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import socket
import sys
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

HOST = "127.0.0.1"
BACKLOG = 1024
RECEIVE_BYTES_MAX = 65536

# KIND: the module with the runtime, the level of its API, and the driver if there is a choice.
KINDS = {
    "uringtrio": ("uringtrio", "trio", "io_uring"),
    "uringtrio-epoll": ("uringtrio", "trio", "epoll"),
    "trio": ("trio", "trio", ""),
    "asyncio-streams": ("asyncio", "streams", ""),
    "asyncio-protocol": ("asyncio", "protocol", ""),
    "uvloop-streams": ("uvloop", "streams", ""),
    "uvloop-protocol": ("uvloop", "protocol", ""),
}


def tell(port: int) -> None:
    """Tell the benchmark where this server listens."""
    print(port, flush=True)


def set_nodelay(transport: asyncio.BaseTransport) -> None:
    """Send small answers at once."""
    transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def serve_trio_like(runtime: Any) -> None:
    """Serve with `serve_tcp` and streams, on Trio or on anything with its API."""

    async def echo(stream: Any) -> None:
        while data := await stream.receive_some(RECEIVE_BYTES_MAX):
            await stream.send_all(data)

    async def main() -> None:
        async with runtime.open_nursery() as nursery:
            serve = partial(runtime.serve_tcp, echo, 0, host=HOST, backlog=BACKLOG)
            listeners = await nursery.start(serve)
            tell(listeners[0].socket.getsockname()[1])

    runtime.run(main)


async def serve_streams() -> None:
    """Serve with asyncio's reader and writer."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        set_nodelay(writer.transport)
        while data := await reader.read(RECEIVE_BYTES_MAX):
            writer.write(data)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(echo, HOST, 0, backlog=BACKLOG)
    tell(server.sockets[0].getsockname()[1])
    await server.serve_forever()


class Echo(asyncio.Protocol):
    """Echo with asyncio's callbacks."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport to answer on."""
        set_nodelay(transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer."""
        self.transport.write(data)  # type: ignore[attr-defined]  # it is a Transport here


async def serve_protocol() -> None:
    """Serve with asyncio's callbacks."""
    server = await asyncio.get_running_loop().create_server(Echo, HOST, 0, backlog=BACKLOG)
    tell(server.sockets[0].getsockname()[1])
    await server.serve_forever()


def main() -> None:
    module, level, driver = KINDS[sys.argv[1]]
    if driver:
        os.environ["URINGTRIO_DRIVER"] = driver
    runtime = importlib.import_module(module)
    if level == "trio":
        serve_trio_like(runtime)
        return
    serve: Callable[[], Coroutine[Any, Any, None]] = (
        serve_streams if level == "streams" else serve_protocol
    )
    runtime.run(serve())


if __name__ == "__main__":
    main()
