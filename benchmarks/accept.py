"""Measure what taking a connection costs: CPU time of `accept` alone, from a full queue.

    python benchmarks/accept.py

The connections are made before the clock starts, so that neither the handshake nor the client is
in the figures. README.md beside this file says how to read them.
"""

from __future__ import annotations

import socket
import struct
import time
from typing import TYPE_CHECKING

import uringtrio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

CONNECTIONS = 400
ROUNDS = 20
# A reset at the end leaves no port in TIME_WAIT.
LINGER_RESET = struct.pack("ii", 1, 0)


async def measure(
    address: tuple[str, int], accept: Callable[[], Awaitable[uringtrio.socket.SocketType]]
) -> float:
    """Return the microseconds for each connection, of the best round."""
    best = float("inf")
    for _ in range(ROUNDS):
        clients = [socket.create_connection(address) for _ in range(CONNECTIONS)]
        start = time.process_time()
        accepted = [await accept() for _ in clients]
        best = min(best, (time.process_time() - start) / CONNECTIONS * 1e6)
        for client in clients:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_RESET)
            client.close()
        for sock in accepted:
            sock.close()
    return best


async def main() -> None:
    """Measure the socket's accept, and the listener's, which makes a stream of it."""
    (listener,) = await uringtrio.open_tcp_listeners(0, host="127.0.0.1")

    async def accept_socket() -> uringtrio.socket.SocketType:
        return (await listener.socket.accept())[0]

    async def accept_stream() -> uringtrio.socket.SocketType:
        return (await listener.accept()).socket

    async with listener:
        address = listener.socket.getsockname()
        driver = uringtrio.lowlevel.current_statistics().io_statistics.driver
        for name, accept in (
            ("Socket.accept", accept_socket),
            ("SocketListener.accept", accept_stream),
        ):
            print(f"{driver}: {name}: {await measure(address, accept):.2f} us")


if __name__ == "__main__":
    uringtrio.run(main)
