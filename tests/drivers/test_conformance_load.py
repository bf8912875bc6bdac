"""What every driver promises when there is more than it has room for: nothing is lost."""

import errno
import os
import random
import resource
import socket

import pytest

from uringtrio._ops.file import Nop
from uringtrio._ops.net import Poll, Recv, Send
from uringtrio._ops.op import POLLIN

ECANCELED = -errno.ECANCELED


@pytest.fixture(autouse=True)
def room_for_descriptors():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 16384), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


# More submissions than the submission queue holds.


@pytest.mark.parametrize("entries", [1, 2, 8])
def test_thousands_of_submits_without_a_wait(open_bench, entries):
    bench = open_bench(entries=entries, cq_entries=16)
    ops = [bench.submit(Nop()) for _ in range(3000)]

    assert set(bench.finish(*ops)) == {0}
    bench.settle()
    assert bench.in_flight() == {}


@pytest.mark.parametrize("entries", [1, 8])
def test_thousands_of_submits_and_cancels_without_a_wait(open_bench, pair, entries):
    bench = open_bench(entries=entries, cq_entries=16)
    ops = []
    for _ in range(2000):
        ops.append(bench.submit(Poll(pair[0].fileno(), POLLIN)))
        if len(ops) % 2:
            bench.cancel(ops[-1])
    assert set(bench.finish(*ops[::2])) == {ECANCELED}
    bench.settle()
    assert bench.in_flight() == {"Poll": 1000}

    pair[1].send(b"x")
    assert all(res & POLLIN for res in bench.finish(*ops[1::2]))
    bench.settle()


def test_cancels_alone_fill_the_queue(open_bench, pairs):
    bench = open_bench(entries=4, cq_entries=16)
    ops = [bench.submit(Recv(sock, 10)) for _ in range(300) for sock in pairs()]
    bench.settle()
    for op in ops:
        bench.cancel(op)

    assert set(bench.finish(*ops)) == {ECANCELED}
    bench.settle()


def test_order_of_sends_survives_a_full_queue(open_bench, pairs):
    """One send at a time on each socket, as streams do, through a queue of one."""
    bench = open_bench(entries=1, cq_entries=8)
    streams = [pairs() for _ in range(50)]
    for turn in range(20):
        ops = [bench.submit(Send(left, bytes([turn]))) for left, _ in streams]
        assert set(bench.finish(*ops)) == {1}

    for _, right in streams:
        assert right.recv(100) == bytes(range(20))


# More completions than the completion queue holds.


def test_completion_queue_overflow_loses_nothing(open_bench, pairs):
    bench = open_bench(entries=8, cq_entries=8)
    ops = []
    for _ in range(500):
        left, right = pairs()
        ops.append(bench.submit(Recv(left, 10)))
        ops.append(bench.submit(Send(right, b"x")))

    assert set(bench.finish(*ops)) == {1}
    bench.settle()
    if bench.driver.name == "io_uring":
        assert bench.driver.statistics().overflows > 0


def test_more_completions_than_one_wait_hands_out(bench, pairs):
    ops = []
    for _ in range(1000):
        left, right = pairs()
        ops.append(bench.submit(Recv(left, 10)))
        right.send(b"x")
    done = []
    for _ in range(100):
        done += bench.wait(0)

    # They are all there: no wait may be needed to get at them.
    assert len(done) == len(ops)


# More received data than the provided buffers hold.


@pytest.mark.parametrize("count", [1, 2])
def test_all_bytes_arrive_through_few_provided_buffers(open_bench, pairs, count):
    bench = open_bench(buffer_count=count, buffer_size=1000)
    streams = [pairs() for _ in range(100)]
    sent = {}
    for left, right in streams:
        sent[left] = os.urandom(2500)
        right.send(sent[left])
        right.shutdown(socket.SHUT_WR)
    received = {left: b"" for left, _ in streams}
    receiving = {bench.submit(Recv(left, 65536)) for left, _ in streams}
    while receiving:
        for op in bench.wait(5.0):
            assert op.res >= 0
            received[op.sock] += op.value
            receiving.discard(op)
            if op.value:
                receiving.add(bench.submit(op))

    assert received == sent


def test_exhausted_buffers_do_not_spin_nor_stop_who_waits(open_bench, pairs):
    bench = open_bench(buffer_count=1, buffer_size=1000)
    streams = [pairs() for _ in range(50)]
    ops = [bench.submit(Recv(left, 10)) for left, _ in streams]
    bench.settle()
    for _, right in streams[:25]:
        right.send(b"x")
    bench.finish(*ops[:25])
    bench.settle()
    before = bench.driver.statistics().enters
    bench.wait(0.05)

    assert bench.driver.statistics().enters <= before + 2
    for _, right in streams[25:]:
        right.send(b"y")
    bench.finish(*ops[25:])
    assert [op.value for op in ops[25:]] == [b"y"] * 25


def test_cancel_while_buffers_are_exhausted_loses_no_byte(open_bench, pairs):
    bench = open_bench(buffer_count=1, buffer_size=1000)
    streams = [pairs() for _ in range(100)]
    ops = [bench.submit(Recv(left, 10)) for left, _ in streams]
    bench.settle()
    for _, right in streams:
        right.send(b"data")
    for op in ops:
        bench.cancel(op)
    bench.finish(*ops)

    for op, (left, _) in zip(ops, streams, strict=True):
        assert (op.value if op.res >= 0 else left.recv(10)) == b"data"


# Many at once.


def test_ten_thousand_ops_in_flight(bench, pairs):
    streams = [pairs() for _ in range(100)]
    ops = [bench.submit(Poll(left.fileno(), POLLIN)) for left, _ in streams for _ in range(100)]
    bench.settle()
    assert bench.in_flight() == {"Poll": 10_000}
    for _, right in streams[:50]:
        right.send(b"x")
    assert all(res & POLLIN for res in bench.finish(*ops[:5000]))
    assert bench.in_flight() == {"Poll": 5000}
    for op in ops[5000:]:
        bench.cancel(op)

    assert set(bench.finish(*ops[5000:])) == {ECANCELED}
    bench.settle()
    assert len(set(bench.ids)) == 10_000


def test_close_with_thousands_of_ops_in_flight(open_bench, pairs):
    bench = open_bench(entries=8, cq_entries=16)
    for _ in range(1000):
        for sock in pairs():
            bench.submit(Recv(sock, 10))
    bench.close()

    assert {op.res for op in bench.submitted()} == {ECANCELED}


def rest_of(sock):
    try:
        return sock.recv(1 << 20)
    except BlockingIOError:
        return b""


def test_random_traffic_and_cancels_lose_no_byte(open_bench, pairs):
    """Receives and cancels in any order against a small ring: the streams must stay whole."""
    chance = random.Random(20)
    bench = open_bench(entries=4, cq_entries=8, buffer_count=2, buffer_size=64)
    streams = [pairs() for _ in range(40)]
    sent = {left: bytearray() for left, _ in streams}
    received = {left: bytearray() for left, _ in streams}
    receiving = {}
    for _ in range(400):
        for left, right in chance.sample(streams, 10):
            if left not in receiving:
                receiving[left] = bench.submit(Recv(left, 50))
            data = chance.randbytes(max(chance.randrange(-40, 100), 0))
            sent[left] += data
            right.send(data)
            if chance.random() < 0.5 and receiving[left].interruption is None:
                bench.cancel(receiving[left])
        for op in bench.wait(0):
            assert receiving.pop(op.sock) is op
            # Any error will do for an interrupted op; -ENOBUFS too means that nothing was taken.
            assert op.res >= 0 or op.interruption is not None
            received[op.sock] += op.value if op.res >= 0 else b""
    for op in receiving.values():
        if op.interruption is None:
            bench.cancel(op)
    bench.finish(*receiving.values())
    for left, op in receiving.items():
        received[left] += op.value if op.res >= 0 else b""

    assert {left: data + rest_of(left) for left, data in received.items()} == sent
