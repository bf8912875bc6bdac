"""The clients of chaos_echo.py: check every byte of the echo, and cut connections at random."""

import argparse
import asyncio
import collections
import json
import os
import random
import shutil
import socket
import struct
import sys
import time

from measure import pattern

MESSAGE_BYTES_MAX = 20_000
FILE_BYTES = 300_000
RESET = struct.pack("ii", 1, 0)
EXTERNAL = {
    "socat": ["socat", "-t", "10", "-", "TCP:127.0.0.1:{port}"],
    "nc": ["nc", "-N", "127.0.0.1", "{port}"],
}


class Client:
    """One of the connections; when it ends it begins anew, until the time is up.

    Attributes:
        sent, received: bytes of the pattern so far, on this connection.
    """

    def __init__(self, port, chance, counts):
        self.port = port
        self.chance = chance
        self.counts = counts
        self.offset = chance.randrange(1 << 16)

    async def run(self, end):
        while time.monotonic() < end:
            self.sent = self.received = 0
            try:
                await self.connect()
            except OSError as exc:
                self.counts[f"connect: {type(exc).__name__}"] += 1
                continue
            self.counts["connections"] += 1
            try:
                await self.talk(end)
            except (OSError, asyncio.IncompleteReadError):
                self.counts["cut by the server"] += 1
            finally:
                self.writer.transport.abort()

    async def connect(self):
        sock = socket.socket()
        sock.setblocking(False)
        # From many addresses, as connections that ended well keep their port for a minute.
        sock.setsockopt(socket.IPPROTO_IP, 24, 1)  # IP_BIND_ADDRESS_NO_PORT
        sock.bind((f"127.0.{self.chance.randrange(256)}.{self.chance.randrange(1, 255)}", 0))
        try:
            await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", self.port))
            self.reader, self.writer = await asyncio.open_connection(sock=sock)
        except OSError:
            sock.close()
            raise
        self.sock = sock

    async def talk(self, end):
        for _ in range(self.chance.randrange(1, 100)):
            if time.monotonic() >= end:
                break
            await self.exchange(self.chance.randrange(1, MESSAGE_BYTES_MAX))
        ending = self.chance.choice((self.finish, self.half_close, self.reset, self.cut_midway))
        await ending()
        self.counts[ending.__name__] += 1

    def send(self, size):
        self.writer.write(pattern(self.offset + self.sent, size))
        self.sent += size

    async def receive(self, size):
        try:
            data = await self.reader.readexactly(size)
        except asyncio.IncompleteReadError as exc:
            self.check(exc.partial)
            raise
        self.check(data)

    def check(self, data):
        if data != pattern(self.offset + self.received, len(data)):
            self.counts["wrong"] += 1
            sys.stderr.write(f"wrong bytes after {self.received}, of {len(data)}\n")
        self.received += len(data)
        self.counts["bytes checked"] += len(data)

    async def exchange(self, size):
        self.send(size)
        await self.writer.drain()
        await self.receive(size)

    # The ways to end.

    async def finish(self):
        self.writer.write_eof()
        assert await self.reader.read() == b""

    async def half_close(self):
        """End our direction at once; all that was sent must still come back."""
        size = self.chance.randrange(1, MESSAGE_BYTES_MAX)
        self.send(size)
        self.writer.write_eof()
        await self.receive(size)

    async def reset(self):
        self.send(self.chance.randrange(1, MESSAGE_BYTES_MAX))
        linger = (socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self.writer.get_extra_info("socket").setsockopt(*linger)

    async def cut_midway(self):
        size = self.chance.randrange(2, MESSAGE_BYTES_MAX)
        self.send(size)
        await self.receive(size // 2)


async def echo_file(name, port, counts):
    """Send a file through a real program and compare what comes back."""
    command = [word.format(port=port) for word in EXTERNAL[name]]
    data = os.urandom(FILE_BYTES)
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    echoed, _ = await asyncio.wait_for(process.communicate(data), 60)
    counts[name] += 1
    if echoed != data:
        counts["wrong"] += 1
        sys.stderr.write(f"{name}: {len(echoed)} of {len(data)} bytes came back\n")


async def external_clients(port, end, counts):
    names = [name for name in EXTERNAL if shutil.which(name)]
    while time.monotonic() < end:
        for name in names:
            await echo_file(name, port, counts)


async def run(options):
    counts = collections.Counter(wrong=0)
    end = time.monotonic() + options.seconds
    clients = [
        Client(options.chaotic_port, random.Random(options.seed + i), counts)
        for i in range(options.connections)
    ]
    await asyncio.gather(
        external_clients(options.calm_port, end, counts), *(client.run(end) for client in clients)
    )
    return counts


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("chaotic_port", type=int)
    parser.add_argument("calm_port", type=int)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--connections", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    counts = asyncio.run(run(parser.parse_args()))
    sys.stdout.write(json.dumps(counts))
    sys.exit(1 if counts["wrong"] else 0)


if __name__ == "__main__":
    main()
