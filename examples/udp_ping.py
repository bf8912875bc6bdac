"""Ping over UDP: a server that answers datagrams, and a client that measures how long it takes.

    python examples/udp_ping.py serve --port 7002
    python examples/udp_ping.py ping 127.0.0.1:7002 --count 5

Datagrams may be lost, come twice, or come in another order. So each has a number, answers are
matched by it, and one that has not come after `--timeout` seconds counts as lost.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import struct

import uringtrio
from uringtrio import socket

# What a ping begins with: its number, and what tells this client from every other.
HEADER = struct.Struct("!I8s")
PACKET_BYTES_MAX = 2048
INTERVAL_SECONDS = 0.02


async def serve(port: int) -> None:
    """Send back what comes, until the program is interrupted."""
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        await sock.bind(("127.0.0.1", port))
        print(f"listening on port {sock.getsockname()[1]}", flush=True)
        while True:
            data, address = await sock.recvfrom(PACKET_BYTES_MAX)
            await sock.sendto(data, address)


class Pinger:
    """Sends numbered datagrams, and knows when each was sent."""

    def __init__(self, sock: socket.SocketType) -> None:
        self._sock = sock
        self._name = os.urandom(8)
        self._sent: dict[int, float] = {}

    async def send(self, count: int) -> None:
        """Send `count` pings, one after the other."""
        for number in range(count):
            self._sent[number] = uringtrio.current_time()
            # Nobody listened when the last one came; perhaps somebody does now.
            with contextlib.suppress(ConnectionRefusedError):
                await self._sock.send(HEADER.pack(number, self._name))
            await uringtrio.sleep(INTERVAL_SECONDS)

    async def receive(self, count: int) -> None:
        """Print the answers, until each of `count` pings has one."""
        answered = 0
        while answered < count:
            try:
                data = await self._sock.recv(PACKET_BYTES_MAX)
            except ConnectionRefusedError:
                continue
            if len(data) != HEADER.size:
                continue
            number, name = HEADER.unpack(data)
            # Somebody else's, or one that came twice?
            if name != self._name or number not in self._sent:
                continue
            seconds = uringtrio.current_time() - self._sent.pop(number)
            print(f"{number}: {seconds * 1000:.3f} ms")
            answered += 1

    @property
    def unanswered(self) -> list[int]:
        """The numbers of the pings without an answer so far."""
        return list(self._sent)


async def ping(host: str, port: int, count: int, timeout_seconds: float) -> int:
    """Send pings, and return how many were lost."""
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        # From now on it hears this peer only, and of errors that its datagrams met.
        await sock.connect((host, port))
        pinger = Pinger(sock)
        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(pinger.send, count)
            with uringtrio.move_on_after(count * INTERVAL_SECONDS + timeout_seconds):
                await pinger.receive(count)
        for number in pinger.unanswered:
            print(f"{number}: lost")
        return len(pinger.unanswered)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    actions = parser.add_subparsers(dest="action", required=True)
    server = actions.add_parser("serve", help="answer pings")
    server.add_argument("--port", type=int, default=7002, help="0 picks a free one")
    client = actions.add_parser("ping", help="send pings")
    client.add_argument("address", metavar="HOST:PORT")
    client.add_argument("--count", type=int, default=5)
    client.add_argument("--timeout", type=float, default=1.0, help="seconds after the last ping")
    options = parser.parse_args()
    # A shell that starts a program in the background may have it ignore Ctrl-C; this one must not.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        if options.action == "serve":
            uringtrio.run(serve, options.port)
        else:
            host, _, port = options.address.rpartition(":")
            raise SystemExit(
                uringtrio.run(ping, host, int(port), options.count, options.timeout) > 0
            )
    except* KeyboardInterrupt:
        pass  # Ctrl-C is how the server is meant to end.


if __name__ == "__main__":
    main()
