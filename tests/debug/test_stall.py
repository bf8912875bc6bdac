"""StallDetector: a task that holds up the others is reported while it does, and at its end."""

import logging
import sys
import threading
import time
from math import inf, nan

import pytest

import uringtrio
from uringtrio import lowlevel
from uringtrio.testing import MockClock

# What a stuck task waits for at most; it is let go of by the report, so only a failure waits.
STUCK_SECONDS_MAX = 20.0
# Longer than a busy machine may keep a task from its next line, in most cases.
SHORT_SECONDS = 0.03


class Reports:
    """A `report` that keeps what it gets, and lets go of the task that is stuck."""

    def __init__(self):
        self.stalls = []
        self.threads = set()
        self.noticed = threading.Event()
        self.stuck = None

    def __call__(self, stall):
        self.stalls.append(stall)
        self.threads.add(threading.get_ident())
        if stall.task is self.stuck and not stall.is_over:
            self.noticed.set()

    def hold_up_the_loop(self):
        """Block the thread, as no task should, until this is reported."""
        self.stuck = lowlevel.current_task()
        assert self.noticed.wait(STUCK_SECONDS_MAX), "nobody noticed"
        self.noticed.clear()


@pytest.fixture
def reports():
    return Reports()


@pytest.fixture
def detector(reports):
    return lowlevel.StallDetector(threshold_seconds=SHORT_SECONDS, report=reports)


def spin(seconds):
    give_up = time.monotonic() + seconds
    while time.monotonic() < give_up:
        pass


def test_stuck_task_is_reported_while_it_is_stuck_and_at_its_end(run, reports, detector):
    async def stuck():
        reports.hold_up_the_loop()

    async def main():
        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(stuck, name="the stuck one")

    run(main, instruments=[detector])

    # Time is the machine's, so another step may have been slow as well.
    noticed, ended = (stall for stall in reports.stalls if stall.task.name == "the stuck one")
    assert not noticed.is_over
    assert noticed.seconds >= SHORT_SECONDS
    assert ended.is_over
    assert ended.seconds >= noticed.seconds
    assert ended.stack == noticed.stack
    assert threading.get_ident() not in reports.threads


def test_stack_is_that_of_the_task_at_that_moment(run, reports, detector):
    async def inner():
        reports.hold_up_the_loop()

    async def stuck():
        await inner()

    async def main():
        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(stuck, name="stuck")

    run(main, instruments=[detector])

    stall = next(stall for stall in reports.stalls if stall.task.name == "stuck")
    names = [frame.name for frame in stall.stack]
    assert names[:3] == ["stuck", "inner", "hold_up_the_loop"]
    assert stall.stack[2].line.startswith("assert self.noticed.wait")


def test_callback_of_another_thread_is_seen(run, reports, detector):
    async def main():
        called = uringtrio.Event()

        def stuck():
            reports.hold_up_the_loop()
            called.set()

        lowlevel.current_trio_token().run_sync_soon(stuck)
        await called.wait()

    run(main, instruments=[detector])

    assert any("stuck" in [frame.name for frame in stall.stack] for stall in reports.stalls)


def test_each_stall_is_reported_once(run, reports, detector):
    async def main():
        for _ in range(3):
            reports.hold_up_the_loop()
            # Several thresholds more.
            time.sleep(SHORT_SECONDS * 4)
            await lowlevel.checkpoint()

    run(main, instruments=[detector])

    noticed = [stall.is_over for stall in reports.stalls if "hold_up" in str(stall.stack)]
    assert noticed == [False, True] * 3


def test_what_holds_the_interpreter_is_reported_at_its_end(run, reports, detector):
    """No other thread can run meanwhile, so there is no stack, but there is a report."""
    interval = sys.getswitchinterval()

    async def main():
        sys.setswitchinterval(1000)
        # The next step begins while nobody holds the interpreter.
        await uringtrio.sleep(SHORT_SECONDS * 4)
        spin(SHORT_SECONDS * 4)
        await lowlevel.checkpoint()
        sys.setswitchinterval(interval)

    try:
        run(main, instruments=[detector])
    finally:
        sys.setswitchinterval(interval)

    (stall,) = (stall for stall in reports.stalls if stall.seconds >= SHORT_SECONDS * 4)
    assert stall.is_over
    assert stall.stack == ()


def test_quick_tasks_and_waiting_are_no_stall(run, reports):
    detector = lowlevel.StallDetector(threshold_seconds=2, report=reports)

    async def main():
        for _ in range(1000):
            await lowlevel.checkpoint()
        await uringtrio.sleep(0.02)

    run(main, instruments=[detector])

    assert reports.stalls == []


def test_idle_run_has_no_watch(run, detector):
    def watches():
        return [thread for thread in threading.enumerate() if "stall" in thread.name]

    async def main():
        await lowlevel.checkpoint()
        give_up = time.monotonic() + STUCK_SECONDS_MAX
        seen = await uringtrio.to_thread.run_sync(wait_for_no_watch, give_up)
        assert not seen

    def wait_for_no_watch(give_up):
        while watches() and time.monotonic() < give_up:
            time.sleep(0.001)
        return watches()

    run(main, instruments=[detector])
    assert not watches()


def test_detector_taken_out_while_the_task_is_stuck_leaves_no_watch(run, reports, detector):
    async def main():
        lowlevel.add_instrument(detector)
        await lowlevel.checkpoint()
        await lowlevel.checkpoint()
        assert detector._is_watching
        lowlevel.remove_instrument(detector)
        # It does not know when this step ends, so it must not say anything of it.
        give_up = time.monotonic() + STUCK_SECONDS_MAX
        while detector._is_watching and time.monotonic() < give_up:
            time.sleep(0.001)
        assert not detector._is_watching

    run(main)
    assert [stall for stall in reports.stalls if not stall.is_over] == []


def test_detector_may_be_added_late_and_used_again(run, reports, detector):
    async def main():
        lowlevel.add_instrument(detector)
        await lowlevel.checkpoint()
        await lowlevel.checkpoint()
        reports.hold_up_the_loop()

    for _ in range(2):
        run(main)

    noticed = [stall for stall in reports.stalls if "hold_up" in str(stall.stack)]
    assert [stall.is_over for stall in noticed] == [False, True] * 2


def test_detector_may_be_added_beside_another_instrument(run, reports, detector):
    """Then it is told of the end of the step that added it, but not of its beginning."""

    class Other(uringtrio.abc.Instrument):
        def after_task_step(self, task):
            pass

    async def main():
        lowlevel.add_instrument(detector)
        await lowlevel.checkpoint()
        reports.hold_up_the_loop()

    run(main, instruments=[Other()])
    assert [stall.is_over for stall in reports.stalls] == [False, True]


def test_report_that_raises_is_logged_and_the_watch_goes_on(run, caplog):
    calls = []
    noticed = threading.Event()

    def report(stall):
        calls.append(stall.is_over)
        if not stall.is_over:
            noticed.set()
        raise ValueError("no disk left")

    detector = lowlevel.StallDetector(threshold_seconds=SHORT_SECONDS, report=report)

    async def main():
        for _ in range(2):
            assert noticed.wait(STUCK_SECONDS_MAX)
            noticed.clear()
            await lowlevel.checkpoint()

    run(main, instruments=[detector])

    assert calls.count(True) >= 2
    assert {record.name for record in caplog.records} == {"uringtrio.StallDetector"}
    assert "no disk left" in caplog.text


def test_end_of_the_run_waits_for_the_reports(run):
    told = []

    def report(stall):
        if not stall.is_over:
            noticed.set()
        time.sleep(SHORT_SECONDS * 2)
        told.append(stall.is_over)

    noticed = threading.Event()
    detector = lowlevel.StallDetector(threshold_seconds=SHORT_SECONDS, report=report)

    async def main():
        assert noticed.wait(STUCK_SECONDS_MAX)

    run(main, instruments=[detector])

    assert told[:2] == [False, True]


def test_by_default_it_logs_a_warning(run, caplog):
    noticed = threading.Event()

    class Handler(logging.Handler):
        def emit(self, record):
            if "still at it" in record.getMessage():
                noticed.set()

    handler = Handler()
    logger = logging.getLogger("uringtrio.StallDetector")
    logger.addHandler(handler)

    async def main():
        assert noticed.wait(STUCK_SECONDS_MAX)

    try:
        run(main, instruments=[lowlevel.StallDetector(threshold_seconds=SHORT_SECONDS)])
    finally:
        logger.removeHandler(handler)

    first, second = (r for r in caplog.records if "limited' at 0x" in r.getMessage())
    assert first.levelno == logging.WARNING
    assert "has held up all other tasks for 0.0" in first.getMessage()
    assert "assert noticed.wait(STUCK_SECONDS_MAX)" in first.getMessage()
    assert "held up all other tasks for 0." in second.getMessage()


def test_mock_clock_does_not_matter(reports, detector):
    async def main():
        reports.hold_up_the_loop()
        await uringtrio.sleep(1000)

    uringtrio.run(main, instruments=[detector], clock=MockClock(autojump_threshold=0))

    assert len(reports.stalls) >= 2
    assert all(stall.seconds < STUCK_SECONDS_MAX for stall in reports.stalls)


@pytest.mark.parametrize("seconds", [0, -1, inf, nan])
def test_impossible_threshold_is_refused(seconds):
    with pytest.raises(ValueError, match="`threshold_seconds` must be a finite time"):
        lowlevel.StallDetector(threshold_seconds=seconds)


def test_report_that_cannot_be_called_is_refused():
    with pytest.raises(TypeError, match="`report` must be a function that takes a Stall"):
        lowlevel.StallDetector(report="stderr")


def test_it_is_final():
    with pytest.raises(TypeError, match="final"):
        type("Sub", (lowlevel.StallDetector,), {})
