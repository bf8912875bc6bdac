"""Cancels reads of files at random, and closes files under them: nothing is lost or leaked.

python tests/stress/cancelled_reads.py --driver io_uring --count 100000
"""

import argparse
import os
import random
import tempfile

import uringtrio

FILE_BYTES = 1 << 20
READERS = 32


async def read_at_offsets(file, content, chance, left, victims):
    """Cancel reads at offsets, others' and by deadlines; whatever returns must be right."""
    counts = {"returned": 0, "cancelled": 0}
    while left[0] > 0:
        left[0] -= 1
        offset, size = chance.randrange(FILE_BYTES), chance.choice([100, 4096, 100_000])
        if victims and chance.random() < 0.7:
            # Most likely one that was submitted in this very turn of the run.
            victims.pop().cancel()
        with uringtrio.CancelScope() as scope:
            if chance.random() < 0.5:
                scope.deadline = uringtrio.current_time() + chance.random() * 20e-6
            else:
                victims.append(scope)
            data = await file.pread(size, offset)
            assert data == content[offset : offset + size]
            counts["returned"] += 1
        counts["cancelled"] += scope.cancelled_caught
        if scope in victims:
            victims.remove(scope)
    return counts


async def read_a_pipe(chance, rounds):
    """Cancel reads of a pipe, by bytes and by lines; in the end all bytes must have come."""
    receive_fd, send_fd = os.pipe()
    sent = received = b""
    async with await uringtrio.open_file(receive_fd, "rb") as file:
        for i in range(rounds):
            piece = b"%d,%s" % (i, b"\n" * (i % 3 == 0))
            with uringtrio.CancelScope() as scope:
                scope.deadline = uringtrio.current_time() + chance.random() * 30e-6
                if chance.random() < 0.5:
                    received += await file.readline()
                else:
                    received += await file.read(5)
            os.write(send_fd, piece)
            sent += piece
        os.close(send_fd)
        received += await file.read()
    assert received == sent


async def main(path, content, count, seed):
    chance = random.Random(seed)
    totals = {"returned": 0, "cancelled": 0}
    left = [count]
    victims = []
    async with await uringtrio.open_file(path, "rb", buffering=0) as file:
        # As if nothing were in the page cache: every read is an op.
        file._raw._can_try = False

        async def reader():
            counts = await read_at_offsets(file, content, chance, left, victims)
            for key, value in counts.items():
                totals[key] += value

        async with uringtrio.open_nursery() as nursery:
            for _ in range(READERS):
                nursery.start_soon(reader)
            nursery.start_soon(read_a_pipe, chance, count // 50)
    in_flight = uringtrio.lowlevel.current_statistics().io_statistics.in_flight
    assert not in_flight, in_flight
    return totals


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--driver", default=None)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    before = len(os.listdir("/proc/self/fd"))
    with tempfile.NamedTemporaryFile() as temporary:
        content = os.urandom(FILE_BYTES)
        temporary.write(content)
        temporary.flush()
        found = uringtrio.run(
            main, temporary.name, content, options.count, options.seed, driver=options.driver
        )
    assert len(os.listdir("/proc/self/fd")) == before
    assert found["cancelled"], "no read was cancelled in time"
    print(f"{options.driver}: {found}")  # noqa: T201  # what it is run for
