"""What the io_uring driver makes of CQEs that kernels send seldom, told by a ring of Python."""

import collections
import errno
import os
import socket
import time
import types
import warnings

import pytest

import uringtrio

uring = pytest.importorskip("uringtrio._drivers.uring")

from uringtrio._ops.net import Poll, Recv, RecvInto, Send  # noqa: E402  # after the skip
from uringtrio._ops.op import POLLIN, POLLOUT  # noqa: E402  # after the skip
from uringtrio._ops.transfer import SendZC  # noqa: E402  # after the skip

from .fake_ring import Fake, FakeRing, cancel  # noqa: E402  # after the skip


@pytest.fixture
def fake(monkeypatch):
    monkeypatch.setattr(uring, "Ring", FakeRing)
    one = Fake()
    yield one
    one.close()


@pytest.fixture
def pair():
    left, right = socket.socketpair()
    for sock in (left, right):
        sock.setblocking(False)
    with left, right:
        yield left, right


# -EAGAIN: older kernels answer so for a non-blocking descriptor.


def test_eagain_polls_then_makes_the_call(fake, pair):
    left, right = pair
    op = fake.submit(Recv(left, 10))

    assert fake.answer(op.id, -errno.EAGAIN) == []
    assert fake.ring.sqes[-1] == ("poll", op.id, left.fileno(), POLLIN)
    right.send(b"hello")
    assert fake.answer(op.id, POLLIN) == [op]
    assert (op.res, op.value) == (5, b"hello")


def test_eagain_of_a_receive_into_a_buffer(fake, pair):
    left, right = pair
    buffer = bytearray(5)
    op = fake.submit(RecvInto(left, memoryview(buffer), 0))
    fake.answer(op.id, -errno.EAGAIN)
    right.send(b"hello")

    assert fake.answer(op.id, POLLIN) == [op]
    assert (op.res, op.value) == (5, 5)
    assert buffer == b"hello"


@pytest.mark.parametrize("make", [bytes, bytearray, memoryview])
@pytest.mark.parametrize("kind", [Send, SendZC])
@pytest.mark.parametrize("flags", [socket.MSG_NOSIGNAL, socket.MSG_NOSIGNAL | socket.MSG_WAITALL])
def test_eagain_of_a_send_keeps_its_data(fake, pair, kind, make, flags):
    """The data was let go when the poll began, and sending None ended the run."""
    left, right = pair
    op = fake.submit(kind(left, make(b"hello"), flags))
    fake.answer(op.id, -errno.EAGAIN)

    assert fake.ring.sqes[-1] == ("poll", op.id, left.fileno(), POLLOUT)
    assert fake.answer(op.id, POLLOUT) == [op]
    assert (op.res, op.value) == (5, 5)
    assert right.recv(10) == b"hello"


def test_readiness_that_was_none_polls_again(fake, pair):
    left, right = pair
    op = fake.submit(Recv(left, 10))
    fake.answer(op.id, -errno.EAGAIN)
    first = op.id

    assert fake.answer(first, POLLIN) == []
    assert fake.ring.last("poll") == op.id
    assert op.id > first
    right.send(b"x")
    assert fake.answer(op.id, POLLIN) == [op]


def test_error_of_the_call_after_the_poll_is_the_result(fake, pair):
    left, right = pair
    op = fake.submit(Send(left, b"hello"))
    fake.answer(op.id, -errno.EAGAIN)
    right.close()

    assert fake.answer(op.id, POLLOUT) == [op]
    assert op.res == -errno.EPIPE


def test_cancel_while_it_polls_cancels_the_poll(fake, pair):
    op = fake.submit(Recv(pair[0], 10))
    fake.answer(op.id, -errno.EAGAIN)
    cancel(fake, op)

    assert fake.ring.last("cancel") == op.id
    assert fake.answer(op.id, -errno.ECANCELED) == [op]
    assert op.res == -errno.ECANCELED


def test_cancel_that_crosses_spurious_readiness_is_not_lost(fake, pair):
    """It polled again, under an id that nobody had cancelled: the task hung."""
    op = fake.submit(Recv(pair[0], 10))
    fake.answer(op.id, -errno.EAGAIN)
    cancel(fake, op)

    assert fake.answer(op.id, POLLIN) == [op]
    assert op.res < 0
    assert fake.driver.statistics().in_flight == {}


def test_cancel_that_crosses_true_readiness_delivers(fake, pair):
    left, right = pair
    op = fake.submit(Recv(left, 10))
    fake.answer(op.id, -errno.EAGAIN)
    right.send(b"data")
    cancel(fake, op)

    assert fake.answer(op.id, POLLIN) == [op]
    assert op.value == b"data"


def test_failed_poll_is_not_remembered_by_the_op(fake, pair):
    """The next use of the op would make the call a second time after its completion."""
    left, right = pair
    op = fake.submit(Send(left, b"one"))
    fake.answer(op.id, -errno.EAGAIN)
    assert fake.answer(op.id, -errno.ENOMEM) == [op]
    op.pins = b"two"
    fake.submit(op)

    assert fake.answer(op.id, 3) == [op]
    assert (op.res, op.value) == (3, 3)
    with pytest.raises(BlockingIOError):
        right.recv(10)


def test_eagain_of_what_cannot_be_polled_is_the_result(fake):
    op = fake.submit(Poll(0, POLLIN))
    op.interest = 0

    assert fake.answer(op.id, -errno.EAGAIN) == [op]
    assert op.res == -errno.EAGAIN


# -ENOBUFS: all provided buffers are out.


def test_enobufs_is_tried_again(fake, pair):
    op = fake.submit(Recv(pair[0], 10))
    first = op.id

    assert fake.answer(first, -errno.ENOBUFS) == []
    assert fake.ring.last("recv") == op.id
    assert op.id > first
    assert fake.answer(op.id, 0) == [op]
    assert op.value == b""


def test_enobufs_of_a_cancelled_op_is_its_end(fake, pair):
    op = fake.submit(Recv(pair[0], 10))
    cancel(fake, op)

    assert fake.answer(op.id, -errno.ENOBUFS) == [op]
    assert op.res == -errno.ENOBUFS


@pytest.mark.parametrize("res", [-errno.EINTR, -512], ids=["EINTR", "ERESTARTSYS"])
def test_call_that_a_signal_interrupted_is_made_again(fake, pair, res):
    op = fake.submit(Recv(pair[0], 10))

    assert fake.answer(op.id, res) == []
    assert fake.answer(op.id, -errno.ECONNRESET) == [op]


# CQEs that are nobody's.


def test_completion_of_an_id_that_is_gone_is_ignored(fake, pair):
    op = fake.submit(Recv(pair[0], 10))
    old = op.id
    fake.answer(old, -errno.ECONNRESET)
    fake.submit(op)

    assert fake.answer(old, 5) == []
    assert fake.answer(0, -errno.ENOENT) == []
    assert fake.answer(op.id, 0) == [op]


def test_wake_is_received_again_after_each_wake(fake):
    (wake_id,) = fake.driver._ops
    for _ in range(3):
        assert fake.answer(wake_id, 1) == []
        assert fake.ring.last("recv") > wake_id
        (wake_id,) = fake.driver._ops


def test_interrupted_worker_reaches_the_waiter_as_an_error(fake, pair):
    op = fake.submit(Recv(pair[0], 10))
    cancel(fake, op)

    assert fake.answer(op.id, -512) == [op]
    assert op.res == -512


# The queue is full.


@pytest.mark.parametrize("make", [bytes, bytearray, memoryview])
@pytest.mark.parametrize("kind", [Send, SendZC])
def test_full_queue_keeps_the_data_of_a_send(fake, pair, kind, make):
    """What had been pinned was pinned again, which failed for all but bytes."""
    left, _ = pair
    fake.ring.room = 0
    op = fake.submit(kind(left, make(b"hello")))

    assert fake.ring.sqes[-1][1] == op.id
    assert fake.answer(op.id, 5) == [op]


def test_full_queue_is_flushed(fake, pair):
    fake.ring.room = 0
    op = fake.submit(Recv(pair[0], 10))

    assert fake.ring.last("recv") == op.id
    assert fake.answer(op.id, 0) == [op]


def test_backlog_is_submitted_in_order_by_the_next_wait(fake, pair):
    fake.answer(0, 0)
    fake.ring.sqes.clear()
    fake.ring.room = fake.ring.room_after_flush = 0
    ops = [fake.submit(Poll(pair[0].fileno(), POLLIN)) for _ in range(5)]
    cancel(fake, ops[1])
    last = fake.submit(Poll(pair[0].fileno(), POLLIN))
    assert fake.ring.sqes == []
    fake.ring.room = 3
    fake.driver.wait(-1)

    # As many as fit, and no wait while there is more; then the rest.
    assert [sqe[:2] for sqe in fake.ring.sqes] == [("poll", op.id) for op in ops[:3]]
    assert fake.ring.enter_timeouts[-1] == 0
    fake.driver.wait(-1)
    assert [sqe[:2] for sqe in fake.ring.sqes[3:]] == [
        ("poll", ops[3].id),
        ("poll", ops[4].id),
        ("cancel", ops[1].id),
        ("poll", last.id),
    ]
    # Not without end, because of the cancel: see below.
    assert fake.ring.enter_timeouts[-1] == uring.CANCEL_AGAIN_NS


def test_cancel_is_repeated_until_its_op_has_ended(fake, pair, monkeypatch):
    """One is not always enough: see `CANCEL_AGAIN_NS`."""
    now_ns = 0
    clock = types.SimpleNamespace(monotonic_ns=lambda: now_ns, monotonic=time.monotonic)
    monkeypatch.setattr(uring, "time", clock)
    op = fake.submit(Recv(pair[0], 10))
    cancel(fake, op)

    def cancels():
        return fake.ring.sqes.count(("cancel", op.id))

    for _ in range(3):
        fake.driver.wait(-1)
        assert cancels() == 1
        assert fake.ring.enter_timeouts[-1] == uring.CANCEL_AGAIN_NS
    now_ns += uring.CANCEL_AGAIN_NS
    fake.driver.wait(-1)
    assert cancels() == 2
    assert fake.answer(op.id, 7) == [op]
    now_ns += 10 * uring.CANCEL_AGAIN_NS
    fake.driver.wait(-1)
    assert cancels() == 2
    assert fake.ring.enter_timeouts[-1] == -1


def test_op_never_overtakes_the_backlog(fake, pair):
    fake.ring.room = fake.ring.room_after_flush = 0
    first = fake.submit(Poll(pair[0].fileno(), POLLIN))
    fake.ring.room = 10
    second = fake.submit(Poll(pair[0].fileno(), POLLIN))
    cancel(fake, first)
    fake.driver.wait(0)

    kinds = collections.Counter(sqe[:2] for sqe in fake.ring.sqes)
    assert kinds["poll", first.id] == kinds["poll", second.id] == 1
    assert fake.ring.sqes.index(("cancel", first.id)) > [s[1] for s in fake.ring.sqes].index(
        first.id
    )


# No system call without need.


def test_wait_of_zero_enters_only_if_there_is_something(fake, pair):
    fake.driver.wait(0)
    before = len(fake.ring.enter_timeouts)
    for _ in range(10):
        assert list(fake.driver.wait(0)) == []
    assert len(fake.ring.enter_timeouts) == before

    op = fake.submit(Recv(pair[0], 10))
    fake.driver.wait(0)
    assert len(fake.ring.enter_timeouts) == before + 1
    cancel(fake, op)
    fake.driver.wait(0)
    assert len(fake.ring.enter_timeouts) == before + 2


# An op that the kernel does not let go of.


def test_op_that_never_completes_is_leaked_on_purpose(monkeypatch, pair):
    monkeypatch.setattr(uring, "Ring", FakeRing)
    monkeypatch.setattr(uring, "DRAIN_SECONDS", 0.02)
    monkeypatch.setattr(uring, "_leaked", [])
    driver = uring.UringDriver(uringtrio.RingOptions(), "for a test")
    buffer = bytearray(10)
    op = RecvInto(pair[0], memoryview(buffer), 0)
    driver.submit(op)
    ring = driver._ring
    ring.cqes.append((next(iter(driver._ops)), -errno.ECANCELED, 0))
    with pytest.warns(ResourceWarning, match=r"did not end \{'RecvInto': 1\} within 0.02 s"):
        driver.close()

    # The kernel may still write: neither the ring nor the memory may go.
    assert not ring.is_closed
    ((kept_ring, kept_ops),) = uring._leaked
    assert kept_ring is ring
    assert list(kept_ops.values()) == [op]
    with pytest.raises(BufferError):
        buffer.clear()


def test_op_that_completes_late_is_waited_for(monkeypatch, pair):
    monkeypatch.setattr(uring, "Ring", FakeRing)
    driver = uring.UringDriver(uringtrio.RingOptions(), "for a test")
    op = Recv(pair[0], 10)
    driver.submit(op)
    enter, calls = driver._ring.enter, []

    def late_enter(timeout_ns):
        calls.append(timeout_ns)
        if len(calls) == 5:
            driver._ring.cqes += [(op_id, -errno.ECANCELED, 0) for op_id in driver._ops]
        return enter(timeout_ns)

    driver._ring.enter = late_enter
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        driver.close()

    assert op.res == -errno.ECANCELED
    assert driver._ring.is_closed


# The real ring.


def test_reason_names_the_terms_of_the_ring():
    report = uringtrio.probe()
    if not report.available:
        pytest.skip(report.reason)
    driver = uring.UringDriver(uringtrio.RingOptions(), "why")
    driver.close()

    assert driver.reason.startswith("why (")
    assert driver.statistics().reason == driver.reason


@pytest.mark.parametrize("spin_us", [0, 1_000_000])
def test_watching_the_ring_does_not_make_a_wait_longer(spin_us):
    """The time spent watching was added to the timeout."""
    report = uringtrio.probe()
    if not report.available:
        pytest.skip(report.reason)
    driver = uring.UringDriver(uringtrio.RingOptions(spin_us=spin_us), "why")
    before = os.times()
    driver.wait(20_000_000)
    took = os.times().elapsed - before.elapsed
    driver.close()

    assert 0.01 <= took < 0.9
