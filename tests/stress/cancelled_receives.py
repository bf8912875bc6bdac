"""Cancel a million receives while their data arrives: no byte may be lost, doubled or moved.

    python tests/stress/cancelled_receives.py --count 1000000 --driver io_uring

Another process writes numbered bytes into many streams, each only when the one before was read, so
that about every receive waits when its cancellation comes. Afterwards no descriptor, task or op may
be left, and no memory may have been gained.
"""

import argparse
import array
import fcntl
import json
import os
import random
import socket as stdlib
import sys
import termios
import time

from measure import Progress, open_fds, pattern, resident_bytes, statistics

import uringtrio
from uringtrio import socket

CHUNK_BYTES_MAX = 48
RECEIVE_BYTES = 64
# Between two rounds of the sender: with more data there would be nothing left to cancel.
SENDER_PAUSE_SECONDS = 0.0005
GROWTH_MIB_MAX = 8
SENTINEL = b"\xee" * RECEIVE_BYTES


def make_streams(count):
    """Return `count` pairs, every other one of TCP."""
    pairs = []
    with stdlib.create_server(("127.0.0.1", 0)) as listener:
        for i in range(count):
            if i % 2:
                left = stdlib.create_connection(listener.getsockname())
                right, _ = listener.accept()
                for sock in (left, right):
                    sock.setsockopt(stdlib.IPPROTO_TCP, stdlib.TCP_NODELAY, 1)
            else:
                left, right = stdlib.socketpair()
            pairs.append((left, right))
    return pairs


# The other process.


def unread_bytes(sock):
    value = array.array("i", [0])
    fcntl.ioctl(sock, termios.TIOCOUTQ, value)
    return value[0]


def send_until_told(socks, control):
    """Feed the streams until `control` ends; then say how much each was sent."""
    chance = random.Random(1)
    sent = [0] * len(socks)
    control.setblocking(False)
    while True:
        for i in chance.sample(range(len(socks)), len(socks) // 2):
            if not unread_bytes(socks[i]):
                sent[i] += socks[i].send(pattern(sent[i], chance.randrange(1, CHUNK_BYTES_MAX)))
        try:
            if control.recv(1) == b"":
                break
        except BlockingIOError:
            time.sleep(SENDER_PAUSE_SECONDS)
    for sock in socks:
        sock.shutdown(stdlib.SHUT_WR)
    control.setblocking(True)
    control.sendall(json.dumps(sent).encode())


def fork_sender(pairs):
    """Start the sender; return its pid and the socket that stops it."""
    control, theirs = stdlib.socketpair()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            control.close()
            for left, _ in pairs:
                left.close()
            send_until_told([right for _, right in pairs], theirs)
            status = 0
        finally:
            os._exit(status)
    theirs.close()
    for _, right in pairs:
        right.close()
    return pid, control


# This process.


class Receiver:
    """Receives one stream, again and again cancelled, and checks each byte."""

    def __init__(self, sock, number):
        self.sock = socket.from_stdlib_socket(sock)
        self.scope = None
        self.received = 0
        self.buffer = bytearray(SENTINEL)
        self.receive = (self.recv, self.recv_into, self.recvmsg, self.receive_some)[number // 2 % 4]
        self.stream = uringtrio.SocketStream(self.sock)

    async def recv(self):
        return await self.sock.recv(RECEIVE_BYTES)

    async def receive_some(self):
        return await self.stream.receive_some(RECEIVE_BYTES)

    async def recvmsg(self):
        return (await self.sock.recvmsg(RECEIVE_BYTES))[0]

    async def recv_into(self):
        try:
            size = await self.sock.recv_into(self.buffer)
        except uringtrio.Cancelled:
            assert self.buffer == SENTINEL, "a cancelled receive wrote to its buffer"
            raise
        data = bytes(self.buffer[:size])
        self.buffer[:size] = SENTINEL[:size]
        return data

    def check(self, data):
        assert data == pattern(self.received, len(data)), f"wrong after {self.received} bytes"
        self.received += len(data)

    async def run(self, race):
        while not race.is_over:
            self.scope = scope = uringtrio.CancelScope()
            with scope:
                data = await self.receive()
                if not data:
                    assert race.is_over, "the stream ended early"
                    return
                self.check(data)
                race.delivered += 1
                race.delivered_in_spite += scope.cancel_called
            race.cancelled += scope.cancelled_caught
        while data := await self.receive():
            self.check(data)


class Race:
    """The receivers of all streams, and whoever cancels them.

    Attributes:
        cancelled: receives that ended with Cancelled.
        delivered: receives that returned data, of which `delivered_in_spite` had been cancelled.
    """

    def __init__(self, count):
        self.count = count
        self.cancelled = self.delivered = self.delivered_in_spite = 0
        self.is_over = False
        self.resident_early = 0
        self._chance = random.Random(3)

    async def run(self, lefts, control):
        receivers = [Receiver(left, i) for i, left in enumerate(lefts)]
        before = statistics()
        async with uringtrio.open_nursery() as nursery:
            for receiver in receivers:
                nursery.start_soon(receiver.run, self)
            await self._cancel(receivers)
            self.is_over = True
            control.shutdown(stdlib.SHUT_WR)
        for receiver in receivers:
            receiver.sock.close()
        await uringtrio.lowlevel.checkpoint()
        after = statistics()
        assert after.tasks_living == before.tasks_living, "tasks are left"
        assert not after.io_statistics.in_flight, f"in flight: {after.io_statistics.in_flight}"
        return [receiver.received for receiver in receivers], after.io_statistics

    async def _cancel(self, receivers):
        chance = self._chance
        progress = Progress()
        while self.cancelled < self.count:
            for receiver in chance.sample(receivers, len(receivers) // 2):
                if receiver.scope is not None:
                    receiver.scope.cancel()
            for _ in range(chance.randrange(3)):
                await uringtrio.lowlevel.checkpoint()
            # Every now and then a real wait, so that the data and not the cancel comes first.
            if chance.random() < 0.2:
                await uringtrio.sleep(chance.random() * 2e-4)
            if not self.resident_early and self.cancelled > self.count // 10:
                self.resident_early = resident_bytes()
            progress.say(f"{self.cancelled:,} cancelled, {self.delivered:,} delivered")


def ring_options(options):
    sizes = {}
    if options.entries is not None:
        sizes = {"entries": options.entries, "cq_entries": 2 * options.entries}
    if options.buffers is not None:
        sizes["buffer_count"] = options.buffers
    return uringtrio.RingOptions(**sizes)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=1_000_000, help="receives to cancel")
    parser.add_argument("--streams", type=int, default=64)
    parser.add_argument("--driver", default=None)
    parser.add_argument("--entries", type=int, help="length of the submission queue")
    parser.add_argument("--buffers", type=int, help="how many provided buffers")
    parser.add_argument(
        "--growth-mib-max", type=int, default=GROWTH_MIB_MAX, help="more for a sanitizer's own"
    )
    options = parser.parse_args()

    fds_before = open_fds()
    pairs = make_streams(options.streams)
    pid, control = fork_sender(pairs)
    race = Race(options.count)
    start, cpu = time.monotonic(), time.process_time()
    received, io = uringtrio.run(
        race.run,
        [left for left, _ in pairs],
        control,
        driver=options.driver,
        ring=ring_options(options),
    )
    seconds, cpu = time.monotonic() - start, time.process_time() - cpu
    with control, control.makefile() as file:
        sent = json.load(file)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0, "the sender failed"
    growth = resident_bytes() - race.resident_early
    del pairs

    assert received == sent, "bytes were lost"
    assert open_fds() == fds_before, "descriptors are left"
    assert growth < options.growth_mib_max << 20, f"memory grew by {growth:,} bytes"
    assert race.delivered_in_spite, "no data ever raced with a cancellation"
    sys.stdout.write(
        f"{io.driver}: {race.cancelled:,} cancelled receives in {seconds:.1f} s ({cpu:.1f} s CPU), "
        f"{race.delivered:,} delivered, {race.delivered_in_spite:,} of them in spite of a cancel; "
        f"{sum(received):,} bytes, none lost; memory {growth:+,} bytes; "
        f"{io.enters:,} enters, {io.sqes:,} SQEs, {io.cqes:,} CQEs, {io.overflows} overflows\n"
    )


if __name__ == "__main__":
    main()
