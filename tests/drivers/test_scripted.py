"""Both orders of every completion and cancellation, on purpose: what a task gets for each op.

`wait` of the scripted driver is where the kernel would answer. A step of the script answers ops,
cancels, or both, in the order of the race it is about.
"""

import errno
import gc
import signal
import socket as stdlib

import pytest

import uringtrio
from uringtrio import lowlevel, socket
from uringtrio._drivers.scripted import ScriptedDriver
from uringtrio._ops.net import LARGE_BYTES_MIN, Poll
from uringtrio._ops.op import POLLIN

from .traffic import fill

ERESTARTSYS = -512

# Where `recv_into` receives, so that the script can be the kernel.
BUFFER = bytearray(10)


class Case:
    """One op as users start it.

    Attributes:
        kind: the op's name.
        answer: completes the op successfully; returns what the task must get.
    """

    def __init__(self, kind, start, answer, make=socket.socketpair):
        self.kind = kind
        self.start = start
        self.answer = answer
        self.make = make

    def __repr__(self):
        return self.start.__name__


def answer_data(driver, op):
    driver.complete(op, 5, b"hello")
    return b"hello"


def answer_into(driver, op):
    BUFFER[:5] = b"hello"
    driver.complete(op, 5)
    return b"hello"


def answer_count(driver, op):
    driver.complete(op, 3)
    return 3


def answer_done(driver, op):
    driver.complete(op, 0)


def answer_accept(driver, op):
    left, right = stdlib.socketpair()
    driver.complete(op, left.detach())
    right.close()
    return "accepted"


async def recv(sock):
    return await sock.recv(100)


async def recv_into(sock):
    size = await sock.recv_into(BUFFER)
    return bytes(BUFFER[:size])


async def send(sock):
    return await sock.send(b"abcdef")


async def send_large(sock):
    return await sock.send(bytes(LARGE_BYTES_MIN))


async def accept(sock):
    accepted, _ = await sock.accept()
    accepted.close()
    return "accepted"


async def connect(sock):
    return await sock.connect(("127.0.0.1", 1))


async def wait_writable(sock):
    return await sock.wait_writable()


def full_pair():
    left, right = socket.socketpair()
    fill(left._sock)
    return left, right


def one_tcp():
    return (socket.socket(),)


CASES = [
    Case("Recv", recv, answer_data),
    Case("RecvInto", recv_into, answer_into),
    Case("Send", send, answer_count),
    Case("SendLarge", send_large, answer_count, full_pair),
    Case("Accept", accept, answer_accept),
    Case("Connect", connect, answer_done, one_tcp),
    Case("Poll", wait_writable, answer_done),
]
each_op = pytest.mark.parametrize("case", CASES, ids=repr)


class Clock(uringtrio.abc.Clock):
    """Stands still until a test moves it."""

    now = 1000.0

    def start_clock(self):
        pass

    def current_time(self):
        return self.now

    def deadline_to_sleep_time(self, deadline):
        return deadline - self.now


class Race:
    """Runs the op of a case in a cancel scope, against the steps of a script.

    Attributes:
        expected: what the answer said the task must get.
        outcome: what it got: ("value", value) or ("error", exception).
    """

    def __init__(self, case, *, deadline=float("inf")):
        self.case = case
        self.driver = ScriptedDriver(cancels_complete=False)
        self.clock = Clock()
        self.scope = None
        self.expected = None
        self.outcome = None
        self.later_checkpoint_cancelled = False
        self._deadline = deadline

    @property
    def op(self):
        (op,) = self.driver.find(self.case.kind)
        return op

    def answer(self):
        self.expected = self.case.answer(self.driver, self.op)

    def cancel(self):
        self.scope.cancel()

    def is_waiting(self):
        return self.outcome is None

    def run(self, *steps):
        for step in steps:
            self.driver.at_wait(lambda _driver, step=step: step())
        uringtrio.run(self._main, driver=self.driver, clock=self.clock)
        assert self.driver.in_flight == {}
        assert self.driver.cancelled == []

    async def _main(self):
        socks = self.case.make()
        try:
            await self._start(socks[0])
        finally:
            for sock in socks:
                sock.close()

    async def _start(self, sock):
        with uringtrio.CancelScope(deadline=self._deadline) as self.scope:
            try:
                self.outcome = "value", await self.case.start(sock)
            except BaseException as exc:
                self.outcome = "error", exc
                raise
            try:
                await lowlevel.checkpoint()
            except uringtrio.Cancelled:
                self.later_checkpoint_cancelled = True
                raise


def assert_delivered(race):
    assert race.outcome == ("value", race.expected)
    assert race.later_checkpoint_cancelled
    assert race.scope.cancelled_caught


def assert_cancelled(race):
    kind, error = race.outcome
    assert kind == "error"
    assert type(error) is uringtrio.Cancelled
    assert race.scope.cancelled_caught


# The cancel against the completion.


@each_op
def test_completion_before_the_cancel_is_delivered(case):
    race = Race(case)

    def step():
        race.answer()
        race.cancel()

    race.run(step)
    assert_delivered(race)


@each_op
def test_cancel_then_ecanceled_is_cancelled(case):
    race = Race(case)
    race.run(race.cancel, lambda: race.driver.complete(race.op, -errno.ECANCELED))

    assert_cancelled(race)


@each_op
def test_cancel_then_a_result_all_the_same_is_delivered(case):
    race = Race(case)
    race.run(race.cancel, race.answer)

    assert_delivered(race)


@each_op
def test_cancelled_task_waits_until_the_kernel_lets_go(case):
    """As after -EALREADY: the op runs in a worker, and its memory must stay."""
    race = Race(case)

    def still_waiting():
        assert race.is_waiting()
        assert race.driver.cancelled == [race.op]

    def let_go():
        still_waiting()
        race.driver.complete(race.op, -errno.ECANCELED)

    race.run(race.cancel, let_go)
    assert_cancelled(race)
    assert race.driver.statistics().cancels == 1


@each_op
def test_interrupted_worker_counts_as_cancelled(case):
    race = Race(case)
    race.run(race.cancel, lambda: race.driver.complete(race.op, ERESTARTSYS))

    assert_cancelled(race)


@each_op
def test_error_of_a_cancelled_op_gives_way_to_the_cancellation(case):
    race = Race(case)
    race.run(race.cancel, lambda: race.driver.complete(race.op, -errno.ECONNRESET))

    assert_cancelled(race)


@each_op
def test_error_without_cancellation_is_an_oserror(case):
    race = Race(case)
    with pytest.raises(OSError, match="reset by peer") as caught:
        race.run(lambda: race.driver.complete(race.op, -errno.ECONNRESET))

    assert caught.value.errno == errno.ECONNRESET


@each_op
def test_second_cancellation_cancels_the_op_only_once(case):
    race = Race(case)

    def again():
        race.scope.cancel()
        race.scope.deadline = race.clock.now - 1

    race.run(race.cancel, lambda: (again(), race.driver.complete(race.op, -errno.ECANCELED)))
    assert_cancelled(race)
    assert race.driver.statistics().cancels == 1


@each_op
def test_op_in_a_cancelled_scope_is_never_submitted(case):
    driver = ScriptedDriver()

    async def main():
        socks = case.make()
        with uringtrio.CancelScope() as scope:
            scope.cancel()
            await case.start(socks[0])
        assert scope.cancelled_caught
        for sock in socks:
            sock.close()

    uringtrio.run(main, driver=driver)
    assert driver.statistics().sqes == 0


# The deadline against the completion.


@each_op
def test_completion_in_the_turn_of_the_deadline_is_delivered(case):
    race = Race(case, deadline=1001.0)

    def step():
        race.clock.now = 1001.0
        race.answer()

    race.run(step)
    assert_delivered(race)


@each_op
def test_deadline_cancels_the_op(case):
    race = Race(case, deadline=1001.0)

    def pass_deadline():
        race.clock.now = 1001.0

    race.run(pass_deadline, lambda: race.driver.complete(race.op, -errno.ECANCELED))
    assert_cancelled(race)
    assert race.outcome[1].source == "deadline"


@each_op
def test_result_after_the_deadline_is_delivered(case):
    race = Race(case, deadline=1001.0)

    def pass_deadline():
        race.clock.now = 1001.0

    race.run(pass_deadline, race.answer)
    assert_delivered(race)


# KeyboardInterrupt against the completion.


def press_ctrl_c():
    signal.raise_signal(signal.SIGINT)


@each_op
def test_keyboard_interrupt_cancels_the_op(case):
    race = Race(case)
    with pytest.raises(KeyboardInterrupt):
        race.run(press_ctrl_c, lambda: race.driver.complete(race.op, -errno.ECANCELED))

    assert type(race.outcome[1]) is KeyboardInterrupt


@pytest.mark.parametrize("first", ["completion", "interrupt"])
@each_op
def test_keyboard_interrupt_loses_no_result(case, first):
    race = Race(case)

    def step():
        if first == "completion":
            race.answer()
            press_ctrl_c()
        else:
            press_ctrl_c()
            race.answer()

    with pytest.raises(KeyboardInterrupt):
        race.run(step)
    assert race.outcome == ("value", race.expected)


@each_op
def test_result_after_the_keyboard_interrupt_is_delivered(case):
    race = Race(case)
    with pytest.raises(KeyboardInterrupt):
        race.run(press_ctrl_c, race.answer)

    assert race.outcome == ("value", race.expected)


# send_all, which goes on after a part.


class SendAll:
    """Sends 10 bytes in a cancel scope, against the steps of a script.

    Attributes:
        submitted: the bytes of each send, in order.
        outcome: None while it sends; then True for success or the exception.
    """

    def __init__(self):
        self.driver = ScriptedDriver(cancels_complete=False)
        self.submitted = []
        self.outcome = None
        self.scope = None

    def cancel(self):
        self.scope.cancel()

    def complete(self, res):
        (op,) = self.driver.find("Send")
        self.submitted.append(bytes(op.pins))
        self.driver.complete(op, res)

    def run(self, *steps):
        for step in steps:
            self.driver.at_wait(lambda _driver, step=step: step())
        uringtrio.run(self._main, driver=self.driver)

    async def _main(self):
        left, right = socket.socketpair()
        with left, right, uringtrio.CancelScope() as self.scope:
            try:
                await uringtrio.SocketStream(left).send_all(b"0123456789")
            except BaseException as exc:
                self.outcome = exc
                raise
            self.outcome = True


def test_send_all_sends_the_rest_after_a_part():
    sending = SendAll()
    sending.run(
        lambda: sending.complete(4), lambda: sending.complete(5), lambda: sending.complete(1)
    )

    assert sending.submitted == [b"0123456789", b"456789", b"9"]
    assert sending.outcome is True


def test_cancelled_send_all_sends_no_more_after_a_part():
    sending = SendAll()
    sending.run(sending.cancel, lambda: sending.complete(4))

    assert sending.submitted == [b"0123456789"]
    assert type(sending.outcome) is uringtrio.Cancelled


def test_cancelled_send_all_that_sent_all_has_succeeded():
    sending = SendAll()
    sending.run(sending.cancel, lambda: sending.complete(10))

    assert sending.outcome is True
    assert not sending.scope.cancelled_caught


def test_send_all_error_after_a_part_is_broken():
    sending = SendAll()
    with pytest.raises(uringtrio.BrokenResourceError):
        sending.run(lambda: sending.complete(4), lambda: sending.complete(-errno.EPIPE))

    assert sending.submitted == [b"0123456789", b"456789"]


# The driver itself.


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_script_that_ends_too_early_fails_instead_of_hanging(leftovers):
    leftovers.allowed = True

    async def main():
        await Poll(0, POLLIN)

    with pytest.raises(uringtrio.TrioInternalError) as caught:
        uringtrio.run(main, driver=ScriptedDriver())
    assert "every task waits, on {'Poll': 1}" in str(caught.value.__cause__)
    del caught
    # What the crash left of the run says so when it goes; here and not in the next test.
    gc.collect()


def test_cancelled_ops_complete_by_themselves_if_the_script_says_nothing():
    driver = ScriptedDriver()

    async def main():
        left, right = socket.socketpair()
        with left, right, uringtrio.CancelScope() as scope:
            driver.at_wait(lambda _driver: scope.cancel())
            async with uringtrio.open_nursery() as nursery:
                nursery.start_soon(left.recv, 1)
                nursery.start_soon(right.recv, 1)
        assert scope.cancelled_caught

    uringtrio.run(main, driver=driver)
    assert driver.statistics().cancels == 2
    assert driver.statistics().in_flight == {}
