"""Echo while a signal handler runs a thousand times a second: nothing may fail, nor be lost.

    python tests/stress/signals_storm.py --seconds 10 --driver io_uring

First many short runs, so that signals also come while a run begins and ends; then connections that
echo through every kind of call that a signal can interrupt.
"""

import argparse
import os
import signal
import sys

from measure import Progress, open_fds, pattern, statistics

import uringtrio
from uringtrio import socket

INTERVAL_SECONDS = 0.001
SHORT_RUNS = 300
CONNECTIONS = 20
MESSAGE_BYTES = 30_000


class Storm:
    """SIGALRM every millisecond, with a handler in Python, which counts."""

    def __init__(self):
        self.count = 0

    def __enter__(self):
        signal.signal(signal.SIGALRM, self._handle)
        signal.setitimer(signal.ITIMER_REAL, INTERVAL_SECONDS, INTERVAL_SECONDS)
        return self

    def __exit__(self, *exc_info):
        signal.setitimer(signal.ITIMER_REAL, 0)
        # Not the default, of which one that is still under way would make the end.
        signal.signal(signal.SIGALRM, signal.SIG_IGN)

    def _handle(self, _signum, _frame):
        self.count += 1


async def short_run():
    left, right = socket.socketpair()
    with left, right:
        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(left.send, b"x")
            assert await right.recv(1) == b"x"
        with uringtrio.move_on_after(0.0005):
            await right.recv(1)
    assert not statistics().io_statistics.in_flight


async def echo(stream):
    while data := await stream.receive_some():
        await stream.send_all(data)


class Client:
    """Sends the pattern and checks that it comes back."""

    def __init__(self):
        self.checked = 0

    async def run(self, port, end):
        stream = await uringtrio.open_tcp_stream("127.0.0.1", port)
        async with stream:
            async with uringtrio.open_nursery() as nursery:
                nursery.start_soon(self.send, stream, end)
                await self.check(stream)

    async def send(self, stream, end):
        sent = 0
        while uringtrio.current_time() < end:
            await stream.send_all(pattern(sent, MESSAGE_BYTES))
            sent += MESSAGE_BYTES
        await stream.send_eof()
        self.sent = sent

    async def check(self, stream):
        while data := await stream.receive_some():
            for start in range(0, len(data), MESSAGE_BYTES):
                part = data[start : start + MESSAGE_BYTES]
                assert part == pattern(self.checked, len(part)), f"wrong after {self.checked}"
                self.checked += len(part)


async def long_run(storm, seconds):
    progress = Progress()
    clients = [Client() for _ in range(CONNECTIONS)]
    end = uringtrio.current_time() + seconds
    async with uringtrio.open_nursery() as nursery:
        (listener,) = await nursery.start(
            uringtrio.serve_listeners, echo, await uringtrio.open_tcp_listeners(0, host="127.0.0.1")
        )
        port = listener.socket.getsockname()[1]
        nursery.start_soon(sleep_in_order)
        async with uringtrio.open_nursery() as running:
            for client in clients:
                running.start_soon(client.run, port, end)
        progress.say(f"{storm.count:,} signals", now=True)
        nursery.cancel_scope.cancel()
    io = statistics().io_statistics
    assert not io.in_flight, io.in_flight
    assert [client.checked for client in clients] == [client.sent for client in clients]
    return sum(client.checked for client in clients), io


async def sleep_in_order():
    """A signal may end a wait early, but no sleep."""
    while True:
        before = uringtrio.current_time()
        await uringtrio.sleep(0.005)
        assert uringtrio.current_time() - before >= 0.005


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--driver", default=None)
    options = parser.parse_args()

    fds_before = open_fds()
    start = os.times()
    with Storm() as storm:
        for _ in range(SHORT_RUNS):
            uringtrio.run(short_run, driver=options.driver)
        in_short_runs = storm.count
        checked, io = uringtrio.run(long_run, storm, options.seconds, driver=options.driver)
        signals = storm.count
    seconds = os.times().elapsed - start.elapsed

    assert open_fds() == fds_before, "descriptors are left"
    assert signals > options.seconds / INTERVAL_SECONDS / 10, f"only {signals} signals came"
    sys.stdout.write(
        f"{io.driver}: {signals:,} signals in {seconds:.1f} s, {in_short_runs:,} of them in "
        f"{SHORT_RUNS} short runs; {checked:,} bytes echoed and checked; "
        f"{io.enters:,} enters, {io.sqes:,} SQEs, {io.cqes:,} CQEs\n"
    )


if __name__ == "__main__":
    main()
