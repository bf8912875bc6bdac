"""Servers for network.py, as the users of each runtime would write them: KIND CASE [SOCKETS]

CASE "connect" answers one request on each connection and closes it; "datagram" answers what comes
on each of SOCKETS UDP sockets. The ports are printed, separated by commas.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import socket
import sys
from functools import partial
from typing import Any

from servers import BACKLOG, HOST, RECEIVE_BYTES_MAX, set_nodelay

# KIND: the module with the runtime, and the driver if there is a choice.
KINDS = {
    "uringtrio": ("uringtrio", "io_uring"),
    "uringtrio-epoll": ("uringtrio", "epoll"),
    "trio": ("trio", ""),
    "asyncio": ("asyncio", ""),
    "uvloop": ("uvloop", ""),
}


def tell(names: list[tuple[str, int]]) -> None:
    """Tell the benchmark where this server listens."""
    print(",".join(str(port) for _, port in names), flush=True)


class TrioServers:
    """On Trio, and on anything with its API."""

    def __init__(self, runtime: Any) -> None:
        self.runtime = runtime

    async def connect(self) -> None:
        async def answer(stream: Any) -> None:
            await stream.send_all(await stream.receive_some(RECEIVE_BYTES_MAX))

        async with self.runtime.open_nursery() as nursery:
            serve = partial(self.runtime.serve_tcp, answer, 0, host=HOST, backlog=BACKLOG)
            listeners = await nursery.start(serve)
            tell([listeners[0].socket.getsockname()])

    async def datagram(self, count: int) -> None:
        async def echo(sock: Any) -> None:
            while True:
                data, address = await sock.recvfrom(RECEIVE_BYTES_MAX)
                await sock.sendto(data, address)

        async with self.runtime.open_nursery() as nursery:
            socks = [self.runtime.socket.socket(type=socket.SOCK_DGRAM) for _ in range(count)]
            for sock in socks:
                await sock.bind((HOST, 0))
                nursery.start_soon(echo, sock)
            tell([sock.getsockname() for sock in socks])


class Echo(asyncio.DatagramProtocol):
    """Answer datagrams with asyncio's callbacks."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport to answer on."""
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        """Answer."""
        self.transport.sendto(data, addr)  # type: ignore[attr-defined]  # of datagrams here


class AsyncioServers:
    """On asyncio, and on what runs under its API."""

    async def connect(self) -> None:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            set_nodelay(writer.transport)
            writer.write(await reader.read(RECEIVE_BYTES_MAX))
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(answer, HOST, 0, backlog=BACKLOG)
        tell([server.sockets[0].getsockname()])
        await server.serve_forever()

    async def datagram(self, count: int) -> None:
        loop = asyncio.get_running_loop()
        made = [
            await loop.create_datagram_endpoint(Echo, local_addr=(HOST, 0)) for _ in range(count)
        ]
        tell([transport.get_extra_info("sockname") for transport, _ in made])
        await asyncio.Event().wait()


def main() -> None:
    kind, case, *numbers = sys.argv[1:]
    module, driver = KINDS[kind]
    if driver:
        os.environ["URINGTRIO_DRIVER"] = driver
    runtime = importlib.import_module(module)
    is_asyncio = module in {"asyncio", "uvloop"}
    serve = getattr(AsyncioServers() if is_asyncio else TrioServers(runtime), case)
    arguments = [int(number) for number in numbers]
    if is_asyncio:
        runtime.run(serve(*arguments))
    else:
        runtime.run(serve, *arguments)


if __name__ == "__main__":
    main()
