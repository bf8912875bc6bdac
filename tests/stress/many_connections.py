"""Hold thousands of connections at once, all of them served in every round.

    python tests/stress/many_connections.py --connections 10000 --rounds 5 --driver io_uring

The server runs here, the clients in another process, on uringtrio too. Every connection stays open
until the last round is over. `ulimit -n` must allow as many descriptors, and some more.
"""

import argparse
import resource
import subprocess
import sys

from measure import Progress, open_fds, resident_bytes, statistics

import uringtrio

# Descriptors that a process needs besides its connections.
FDS_SPARE = 100
# Handshakes at a time: fewer than the backlog, so that none is retried after a second.
HANDSHAKES_MAX = 200
MESSAGE_BYTES = 64


async def client(port, connections, rounds):
    limit = uringtrio.CapacityLimiter(HANDSHAKES_MAX)
    streams = []

    async def connect():
        async with limit:
            streams.append(await uringtrio.open_tcp_stream("127.0.0.1", port))

    async def exchange(stream, message):
        await stream.send_all(message)
        received = bytearray()
        while len(received) < len(message):
            data = await stream.receive_some()
            assert data, "the server closed a connection that was to stay"
            received += data
        assert received == message

    async with uringtrio.open_nursery() as nursery:
        for _ in range(connections):
            nursery.start_soon(connect)
    for number in range(rounds):
        async with uringtrio.open_nursery() as nursery:
            for index, stream in enumerate(streams):
                message = b"%d of round %d " % (index, number)
                nursery.start_soon(exchange, stream, message.ljust(MESSAGE_BYTES, b"."))
    for stream in streams:
        await stream.aclose()


async def server(options, progress):
    open_now = most = requests = 0

    async def echo(stream):
        nonlocal open_now, most, requests
        open_now += 1
        most = max(most, open_now)
        async for data in stream:
            await stream.send_all(data)
            requests += 1
        open_now -= 1

    before = resident_bytes()
    async with uringtrio.open_nursery() as nursery:
        listeners = await nursery.start(uringtrio.serve_tcp, echo, 0)
        port = listeners[0].socket.getsockname()[1]
        command = [sys.executable, __file__, "--client-of", str(port)]
        command += ["--connections", str(options.connections), "--rounds", str(options.rounds)]
        clients = subprocess.Popen([*command, "--driver", options.driver])
        while clients.poll() is None:
            await uringtrio.sleep(0.2)
            progress.say(f"{open_now:,} connections, {requests:,} requests")
            grown = resident_bytes() - before
        while open_now:
            await uringtrio.sleep(0.01)
        in_flight = dict(statistics().io_statistics.in_flight)
        nursery.cancel_scope.cancel()
    assert clients.returncode == 0, "the clients failed"
    assert most == options.connections, f"only {most:,} connections at once"
    assert requests >= options.connections * options.rounds
    assert set(in_flight) <= {"Accept", "Poll", "Recv"}, f"left in flight: {in_flight}"
    return requests, grown


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--connections", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--driver", default="auto")
    parser.add_argument("--client-of", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if options.connections + FDS_SPARE > allowed:
        sys.exit(f"ulimit -n is {allowed}; {options.connections} connections need some more")
    if options.client_of:
        arguments = (options.client_of, options.connections, options.rounds)
        uringtrio.run(client, *arguments, driver=options.driver)
        return
    fds = open_fds()
    progress = Progress()
    requests, grown = uringtrio.run(server, options, progress, driver=options.driver)
    left = {fd: link for fd, link in open_fds().items() if fds.get(fd) != link}
    assert not left, f"descriptors left open: {left}"
    progress.say(
        f"{options.driver}: {options.connections:,} connections at once, {requests:,} requests, "
        f"{grown / options.connections / 1024:.1f} KiB each while held",
        now=True,
    )


if __name__ == "__main__":
    main()
