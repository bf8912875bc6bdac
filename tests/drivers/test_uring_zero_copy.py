"""The two CQEs of a zero-copy send, in every order with a cancel, told by a ring of Python."""

import errno

import pytest

uring = pytest.importorskip("uringtrio._drivers.uring")

from uringtrio._ops.transfer import SendZC  # noqa: E402  # after the skip

from .fake_ring import Fake, FakeRing, cancel  # noqa: E402  # after the skip

F_MORE = 1 << 1
F_NOTIF = 1 << 3


@pytest.fixture
def fake(monkeypatch):
    monkeypatch.setattr(uring, "Ring", FakeRing)
    one = Fake()
    yield one
    one.close()


@pytest.fixture
def sending(fake, pair):
    """A send of `data`, a bytearray, under way."""

    class Sending:
        data = bytearray(b"hello")
        op = fake.submit(SendZC(pair[0], data))
        op_id = op.id

        @staticmethod
        def is_pinned():
            # It remembers what it was given, as no kernel does.
            fake.ring.sqes.clear()
            try:
                Sending.data.append(0)
            except BufferError:
                return True
            del Sending.data[-1]
            return False

    return Sending


def in_flight(fake):
    return fake.driver.statistics().in_flight


def test_send_ends_with_its_first_completion_and_the_data_is_kept(fake, sending):
    assert fake.answer(sending.op_id, 5, F_MORE) == [sending.op]
    assert (sending.op.res, sending.op.value) == (5, 5)
    assert in_flight(fake) == {"Notification": 1}
    assert sending.is_pinned()

    assert fake.answer(sending.op_id, 0, F_NOTIF) == []
    assert in_flight(fake) == {}
    assert not sending.is_pinned()


def test_both_completions_in_one_wait_are_one_result(fake, sending):
    fake.ring.cqes.append((sending.op_id, 5, F_MORE))

    assert fake.answer(sending.op_id, 0, F_NOTIF) == [sending.op]
    assert sending.op.res == 5
    assert in_flight(fake) == {}


def test_without_more_there_is_no_notification(fake, sending):
    assert fake.answer(sending.op_id, -errno.EINVAL) == [sending.op]
    assert in_flight(fake) == {}
    assert not sending.is_pinned()


@pytest.mark.parametrize("res", [3, -errno.ECANCELED])
def test_cancel_before_both(fake, sending, res):
    cancel(fake, sending.op)
    assert fake.answer(sending.op_id, res, F_MORE) == [sending.op]
    assert sending.op.res == res
    assert sending.is_pinned()
    assert fake.answer(sending.op_id, 0, F_NOTIF) == []
    assert in_flight(fake) == {}


def test_cancel_between_the_two_changes_neither(fake, sending):
    assert fake.answer(sending.op_id, 5, F_MORE) == [sending.op]
    # Of the op, which is done: the scheduler makes none, but a crossing one may be under way.
    fake.driver.cancel(sending.op)
    assert fake.answer(0, -errno.ENOENT) == []
    assert in_flight(fake) == {"Notification": 1}
    assert fake.answer(sending.op_id, 0, F_NOTIF) == []
    assert sending.op.res == 5
    assert in_flight(fake) == {}


def test_refusal_with_a_notification(fake, sending):
    """As of a Unix socket."""
    assert fake.answer(sending.op_id, -errno.EOPNOTSUPP, F_MORE) == [sending.op]
    assert sending.op.res == -errno.EOPNOTSUPP
    assert fake.answer(sending.op_id, 0, F_NOTIF) == []
    assert in_flight(fake) == {}


def test_interrupted_send_is_made_again_beside_its_notification(fake, sending):
    assert fake.answer(sending.op_id, -errno.EINTR, F_MORE) == []
    assert sending.op.id != sending.op_id
    assert in_flight(fake) == {"Notification": 1, "SendZC": 1}
    assert fake.answer(sending.op_id, 0, F_NOTIF) == []
    assert fake.answer(sending.op.id, 5, F_MORE) == [sending.op]
    assert fake.answer(sending.op.id, 0, F_NOTIF) == []
    assert in_flight(fake) == {}
    assert not sending.is_pinned()


def test_op_may_be_used_again_before_its_notification(fake, sending):
    assert fake.answer(sending.op_id, 5, F_MORE) == [sending.op]
    sending.op.pins = b"second"
    fake.submit(sending.op)
    assert fake.answer(sending.op_id, 0, F_NOTIF) == []
    assert in_flight(fake) == {"SendZC": 1}
    assert fake.answer(sending.op.id, 6) == [sending.op]
    assert sending.op.res == 6


def test_run_that_ends_waits_for_the_notification(fake, sending):
    fake.answer(sending.op_id, 5, F_MORE)
    fake.close()
    assert not sending.is_pinned()


def test_notification_that_never_comes_leaks_the_data_on_purpose(monkeypatch, pair):
    monkeypatch.setattr(uring, "Ring", FakeRing)
    monkeypatch.setattr(uring, "DRAIN_SECONDS", 0.05)
    leaked = []
    monkeypatch.setattr(uring, "_leaked", leaked)
    fake = Fake()
    op = fake.submit(SendZC(pair[0], bytearray(b"hello")))
    assert fake.answer(op.id, 5, F_MORE) == [op]
    with pytest.warns(ResourceWarning, match="Notification"):
        fake.driver.close()

    assert not fake.ring.is_closed
    ((ring, ops),) = leaked
    assert ring is fake.ring
    assert bytes(ops[op.id].pins[0]) == b"hello"
