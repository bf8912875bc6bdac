"""Echo to a thousand clients while both sides cut connections at random; nothing may be left.

    python tests/stress/chaos_echo.py --seconds 60 --connections 1000 --driver io_uring

The server runs here, the clients in another process (chaos_clients.py, on asyncio). They check
every byte that comes back. A second, calm port serves socat and nc meanwhile. Afterwards the
server may hold no descriptor, task or op.
"""

import argparse
import collections
import json
import random
import socket as stdlib
import struct
import subprocess
import sys
import time
from pathlib import Path

from measure import Progress, open_fds, resident_bytes, statistics

import uringtrio

# One message in this many makes the server cut the connection.
CUT_EVERY = 100
# The sweeper cuts a connection in the middle of whatever it does, this often.
SWEEP_SECONDS = 0.002
END_SECONDS = 20.0
RESET = struct.pack("ii", 1, 0)


class Server:
    """Echoes; on the chaotic port it also cuts connections in every way there is.

    Attributes:
        cuts: how often each kind of cut was made, and how connections ended.
    """

    def __init__(self, seed):
        self.chance = random.Random(seed)
        self.cuts = collections.Counter()
        self.open = {}
        self.served = self.echoed_bytes = 0

    async def echo(self, stream):
        while data := await stream.receive_some():
            await stream.send_all(data)
            self.echoed_bytes += len(data)

    async def calm(self, stream):
        self.cuts["calm connections"] += 1
        await self.echo(stream)

    async def chaotic(self, stream):
        self.served += 1
        with uringtrio.CancelScope() as scope:
            self.open[stream] = scope
            try:
                await self.echo_until_cut(stream)
            except uringtrio.BrokenResourceError:
                self.cuts["ended by the client's reset"] += 1
            except uringtrio.ClosedResourceError:
                self.cuts["ended by another task's close"] += 1
            finally:
                del self.open[stream]
        if scope.cancelled_caught:
            self.cuts["ended by a cancellation"] += 1

    async def echo_until_cut(self, stream):
        while data := await stream.receive_some():
            if self.chance.randrange(CUT_EVERY):
                await stream.send_all(data)
                self.echoed_bytes += len(data)
                continue
            cut = self.chance.choice((self.reset, self.close_midway, self.half_close, self.close))
            self.cuts[cut.__name__] += 1
            await cut(stream, data)
            return
        self.cuts["ended by the client's end of stream"] += 1

    async def reset(self, stream, _data):
        if stream.socket.fileno() == -1:
            raise uringtrio.ClosedResourceError  # The sweeper was here since the data came.
        stream.setsockopt(stdlib.SOL_SOCKET, stdlib.SO_LINGER, RESET)
        await stream.aclose()

    async def close_midway(self, stream, data):
        await stream.send_all(data[: len(data) // 2])
        await stream.aclose()

    async def close(self, stream, _data):
        await stream.aclose()

    async def half_close(self, stream, data):
        """End our direction, and let the client end the other."""
        await stream.send_all(data)
        await stream.send_eof()
        while await stream.receive_some():
            pass

    async def sweep(self):
        """Cancel or close connections from outside, in the middle of anything."""
        while True:
            await uringtrio.sleep(SWEEP_SECONDS)
            if self.open:
                stream = self.chance.choice(list(self.open))
                if self.chance.random() < 0.5:
                    self.cuts["sweeper cancelled"] += 1
                    self.open[stream].cancel()
                else:
                    self.cuts["sweeper closed"] += 1
                    stream.socket.close()


async def serve(server, options):
    """Serve until the clients are done; return their report."""
    async with uringtrio.open_nursery() as nursery:
        before = statistics()
        scopes = []
        ports = []
        for handler in (server.chaotic, server.calm):
            scope, port = await nursery.start(serve_in_scope, handler)
            scopes.append(scope)
            ports.append(port)
        with_sweeper = statistics().tasks_living
        nursery.start_soon(server.sweep)
        with start_clients(ports, options) as clients:
            try:
                await wait_for(clients, server)
            finally:
                clients.kill()
            report = clients.stdout.read()
            assert clients.returncode == 0, "the clients saw wrong bytes"
        with uringtrio.fail_after(END_SECONDS):
            while server.open:
                await uringtrio.sleep(0.01)
        await uringtrio.sleep(0.05)
        now = statistics()
        assert now.tasks_living == with_sweeper + 1, f"{now.tasks_living} tasks are left"
        assert now.io_statistics.in_flight.keys() <= {"Accept"}, now.io_statistics.in_flight
        for scope in scopes:
            scope.cancel()
        nursery.cancel_scope.cancel()
    assert statistics().tasks_living == before.tasks_living
    assert not statistics().io_statistics.in_flight
    return json.loads(report), now.io_statistics


async def serve_in_scope(handler, task_status):
    (listener,) = await uringtrio.open_tcp_listeners(0, host="0.0.0.0")
    port = listener.socket.getsockname()[1]
    with uringtrio.CancelScope() as scope:
        task_status.started((scope, port))
        await uringtrio.serve_listeners(handler, [listener])


def start_clients(ports, options):
    command = [sys.executable, str(Path(__file__).with_name("chaos_clients.py"))]
    command += [f"--seconds={options.seconds}", f"--connections={options.connections}"]
    command += [f"--seed={options.seed}", *map(str, ports)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


async def wait_for(clients, server):
    progress = Progress()
    while clients.poll() is None:
        await uringtrio.sleep(0.05)
        progress.say(
            f"{len(server.open)} open, {server.served:,} served, {server.echoed_bytes >> 20:,} MiB "
            f"echoed, {resident_bytes() >> 20} MiB resident"
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--connections", type=int, default=1000)
    parser.add_argument("--driver", default=None)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    options = parser.parse_args()

    fds_before = open_fds()
    server = Server(options.seed)
    start, cpu = time.monotonic(), time.process_time()
    report, io = uringtrio.run(serve, server, options, driver=options.driver)
    seconds, cpu = time.monotonic() - start, time.process_time() - cpu

    assert open_fds() == fds_before, "descriptors are left"
    assert report["wrong"] == 0
    sys.stdout.write(
        f"{io.driver}: {seconds:.1f} s ({cpu:.1f} s CPU), {server.served:,} connections, "
        f"{server.echoed_bytes:,} bytes echoed; no descriptor, task or op left; "
        f"{io.enters:,} enters, {io.sqes:,} SQEs, {io.cqes:,} CQEs, {io.overflows} overflows, "
        f"{io.cancels:,} cancels\nserver: {dict(server.cuts)}\nclients: {report}\n"
    )


if __name__ == "__main__":
    main()
