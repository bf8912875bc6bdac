"""How an op serves the one that waits for it, without a driver."""

import errno
import socket

import pytest

from uringtrio._ops.net import Accept, Poll, Recv, RecvInto, Send
from uringtrio._ops.op import POLLIN


class Interruption:
    def __init__(self):
        self.ended_count = 0

    def exception(self):
        return RuntimeError

    def ended(self):
        self.ended_count += 1


@pytest.fixture
def pair():
    left, right = socket.socketpair()
    for sock in (left, right):
        sock.setblocking(False)
    with left, right:
        yield left, right


def awaited(op):
    """Await `op` up to its yield; return the generator."""
    waiting = op.__await__()
    assert next(waiting) is op
    return waiting


def test_await_yields_the_op_and_returns_its_value():
    op = Poll(0, POLLIN)
    waiting = awaited(op)
    op.waiter = object()
    op.res, op.value = 5, "value"
    with pytest.raises(StopIteration) as caught:
        waiting.send(None)

    assert caught.value.value == "value"
    assert op.waiter is None


def test_negative_result_is_an_oserror_of_the_right_class():
    op = Poll(0, POLLIN)
    waiting = awaited(op)
    op.res = -errno.ECONNRESET
    with pytest.raises(ConnectionResetError, match="reset by peer") as caught:
        waiting.send(None)

    assert caught.value.errno == errno.ECONNRESET


def test_destroyed_waiter_leaves_the_op_without_one():
    op = Poll(0, POLLIN)
    waiting = awaited(op)
    op.waiter = object()
    waiting.close()

    assert op.waiter is None


def test_unclaimed_accept_closes_what_it_accepted(pair):
    op = Accept(pair[0])
    other, peer = socket.socketpair()
    op.res = other.detach()
    op.finish_unclaimed()

    with peer:
        assert peer.recv(1) == b""


def test_unclaimed_failure_has_nothing_to_undo(pair):
    op = Accept(pair[0])
    op.res = -errno.ECANCELED
    op.interruption = Interruption()
    op.finish_unclaimed()

    assert op.interruption is None or op.interruption.ended_count == 1


def test_interruption_hears_of_an_unclaimed_end(pair):
    interruption = Interruption()
    op = Recv(pair[0], 5)
    op.res = 3
    op.interruption = interruption
    op.finish_unclaimed()

    assert interruption.ended_count == 1


# What drivers without a ring call.


def test_perform_would_block(pair):
    with pytest.raises(BlockingIOError):
        Recv(pair[0], 10).perform()


def test_short_receive_arms_first_the_next_time(pair):
    left, right = pair
    right.send(b"0123456789")
    op = Recv(left, 5)
    assert op.perform() == 5
    assert not op.arms_first
    op.size = 100
    assert op.perform() == 5
    assert op.arms_first


def test_send_all_keeps_count_over_several_tries(pair):
    left, right = pair
    data = bytes(2_000_000)
    op = Send(left, data, socket.MSG_WAITALL | socket.MSG_NOSIGNAL)
    received = 0
    assert op.res_on_cancel() == -errno.ECANCELED
    while True:
        try:
            assert op.perform() == len(data)
            break
        except BlockingIOError:
            assert op.res_on_cancel() == op.sent > received
            received += len(right.recv(1 << 20))
    while received < len(data):
        received += len(right.recv(1 << 20))

    assert received == len(data)


def test_waitall_receive_keeps_count_over_several_tries(pair):
    left, right = pair
    buffer = bytearray(6)
    op = RecvInto(left, memoryview(buffer), socket.MSG_WAITALL)
    right.send(b"abc")
    with pytest.raises(BlockingIOError):
        op.perform()
    assert op.res_on_cancel() == 3
    right.send(b"defgh")

    assert op.perform() == 6
    assert buffer == b"abcdef"


def test_repr_tells_a_foreign_loop_what_it_was_given():
    assert "must be called from async context" in repr(Poll(0, POLLIN))
