"""Send through a shared channel for minutes, with cancellations all the time: no wake may be lost.

    python tests/stress/shared_channel.py --seconds 600 --kind process --size 1 --driver io_uring

A lost wake shows only when nothing else wakes: so the senders send in bursts, and each waits until
all of its burst was received and acknowledged before it begins the next one. If that takes longer
than any machine would, somebody sleeps who should not. Each object has a number, and is expected
exactly once.
"""

import argparse
import collections
import random
import sys
import time
from math import inf
from multiprocessing import resource_tracker

from measure import open_fds

import uringtrio

BURST_MAX = 20
# Tasks of each shard that receive, or send.
TASKS = 3
# Longer than it takes on any machine.
STALL_SECONDS = 30


def patience():
    """A deadline that has passed, or comes in the middle, or never."""
    return uringtrio.move_on_after(random.choice((0, 1e-5, 1e-4, 1e-3, inf)))


async def send_in_the_end(channel, value):
    while True:
        with patience() as scope:
            await channel.send(value)
        if not scope.cancelled_caught:
            return


async def receive_in_the_end(channel):
    while True:
        with patience():
            return await channel.receive()


async def send_bursts(index, send, acknowledged, end):
    """Return how many objects were sent."""
    count = 0
    while time.monotonic() < end:
        burst = random.randint(1, BURST_MAX)
        with uringtrio.fail_after(STALL_SECONDS):
            for number in range(count, count + burst):
                await send_in_the_end(send, (index, number))
            got = {await receive_in_the_end(acknowledged) for _ in range(burst)}
        assert got == set(range(count, count + burst)), f"{got} instead of {burst} from {count}"
        count += burst
    return count


async def acknowledge(receive, acknowledgements, counts):
    """Receive until the channel ends, and say so to each sender."""
    while True:
        try:
            index, number = await receive_in_the_end(receive)
        except uringtrio.EndOfChannel:
            return
        await send_in_the_end(acknowledgements[index], number)
        counts[index] += 1


async def main(channel, acknowledgements, end):
    """Even shards send and return how much; odd ones receive and return how much from whom."""
    index = uringtrio.current_shard().index
    send, receive = channel
    counts = collections.Counter()
    if index % 2 == 0:
        receive.close()
        with send:
            counts[index] = await send_bursts(index, send, acknowledgements[index][1], end)
    else:
        send.close()
        async with uringtrio.open_nursery() as nursery:
            senders = [pair and pair[0] for pair in acknowledgements]
            for _ in range(TASKS):
                nursery.start_soon(acknowledge, receive, senders, counts)
        receive.close()
    for pair in acknowledgements:
        for handle in pair or ():
            handle.close()
    return counts


def parse():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--shards", type=int, default=4)
    parser.add_argument("--kind", choices=("thread", "process"), default="process")
    parser.add_argument("--size", type=int, default=1, help="of the buffer")
    parser.add_argument("--driver", default="io_uring")
    return parser.parse_args()


def run_all(options):
    # A process of the standard library's own, which it starts once.
    resource_tracker.ensure_running()
    fds = open_fds()
    channel = uringtrio.open_shared_channel(options.size, kind=options.kind)
    acknowledgements = [
        # Unbounded: whoever acknowledges must not wait for a sender that is still sending.
        list(uringtrio.open_shared_channel(inf, kind=options.kind)) if i % 2 == 0 else None
        for i in range(options.shards)
    ]
    counts = uringtrio.run_sharded(
        main,
        list(channel),
        acknowledgements,
        time.monotonic() + options.seconds,
        shards=options.shards,
        kind=options.kind,
        driver=options.driver,
    )
    sent = sum(counts[0::2], collections.Counter())
    received = sum(counts[1::2], collections.Counter())
    assert sent == received, f"sent {sent}, received {received}"
    assert open_fds() == fds, f"{open_fds()} descriptors, {fds} before"
    sys.stdout.write(
        f"{options.driver}: {sent.total():,} objects between {options.shards} shards "
        f"(kind {options.kind}, buffer {options.size}), all once, in {options.seconds:.0f} s\n"
    )


if __name__ == "__main__":
    run_all(parse())
