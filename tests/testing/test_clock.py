"""MockClock: time that the test moves."""

import time
from math import inf

import pytest

import uringtrio
from uringtrio import lowlevel
from uringtrio.testing import MockClock, wait_all_tasks_blocked


def test_clock_starts_at_zero_and_stands_still():
    clock = MockClock()

    assert clock.current_time() == 0
    assert clock.rate == 0
    assert clock.autojump_threshold == inf
    assert clock.deadline_to_sleep_time(0) == 0
    assert clock.deadline_to_sleep_time(0.1) == inf


def test_jump_moves_the_clock_forwards_only():
    clock = MockClock()

    clock.jump(1.5)
    clock.jump(0)
    with pytest.raises(ValueError, match="time can't go backwards"):
        clock.jump(-1)

    assert clock.current_time() == 1.5
    assert clock.deadline_to_sleep_time(1.5) == 0


def test_rate_is_clock_seconds_for_each_real_second(monkeypatch):
    real = 100.0
    monkeypatch.setattr(time, "perf_counter", lambda: real)
    clock = MockClock(rate=2)
    real += 1
    assert clock.current_time() == 2
    assert clock.deadline_to_sleep_time(3) == 0.5

    clock.rate = 0.5
    assert clock.rate == 0.5
    assert clock.current_time() == 2
    real += 1
    assert clock.current_time() == 2.5

    clock.rate = 0
    real += 1
    assert clock.current_time() == 2.5


def test_rate_is_not_negative():
    clock = MockClock(rate=1)

    with pytest.raises(ValueError, match="rate must be >= 0"):
        clock.rate = -1
    with pytest.raises(ValueError, match="rate must be >= 0"):
        MockClock(rate=-0.1)

    assert clock.rate == 1


def test_repr_tells_time_and_rate():
    assert repr(MockClock()).startswith("<MockClock, time=0.0000000, rate=0.0 @ 0x")


def test_clock_is_final():
    with pytest.raises(TypeError, match="final"):
        type("Mine", (MockClock,), {})


def test_autojump_makes_long_sleeps_short():
    async def main():
        for seconds in range(10):
            before = uringtrio.current_time()
            await uringtrio.sleep(seconds)
            assert uringtrio.current_time() == before + seconds
        return uringtrio.current_time()

    began = time.perf_counter()

    assert uringtrio.run(main, clock=MockClock(autojump_threshold=0)) == 45
    assert time.perf_counter() - began < 5


def test_autojump_fires_deadlines_in_order(record):
    async def sleep(seconds):
        await uringtrio.sleep(seconds)
        record(seconds)

    async def main():
        async with uringtrio.open_nursery() as nursery:
            for seconds in (300, 100, 200):
                nursery.start_soon(sleep, seconds)

    uringtrio.run(main, clock=MockClock(autojump_threshold=0))

    assert record.events == [100, 200, 300]


def test_threshold_takes_effect_in_mid_run():
    async def main():
        clock = lowlevel.current_clock()
        clock.autojump_threshold = 10_000
        await wait_all_tasks_blocked()
        assert uringtrio.current_time() == 0
        clock.autojump_threshold = 0
        assert clock.autojump_threshold == 0
        await uringtrio.sleep(100_000)

    uringtrio.run(main, clock=MockClock())


def test_threshold_of_another_clock_has_no_effect():
    async def main():
        MockClock(autojump_threshold=0).autojump_threshold = 0
        with uringtrio.CancelScope(deadline=100) as scope:
            await wait_all_tasks_blocked()
        assert not scope.cancelled_caught
        assert uringtrio.current_time() == 0

    uringtrio.run(main, clock=MockClock())


def test_clock_does_not_jump_while_somebody_waits_for_all_to_block(record):
    async def sleeper():
        await uringtrio.sleep(100)
        record("slept")

    async def waiter():
        await wait_all_tasks_blocked(0.01)
        record("all blocked")
        assert uringtrio.current_time() == 0
        await uringtrio.sleep(1000)
        record("slept longer")

    async def main():
        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(sleeper)
            nursery.start_soon(waiter)

    uringtrio.run(main, clock=MockClock(autojump_threshold=0))

    assert record.events == ["all blocked", "slept", "slept longer"]


def test_jump_of_a_task_fires_deadlines(record):
    async def sleeper():
        await uringtrio.sleep(5)
        record("slept")

    async def main():
        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(sleeper)
            await wait_all_tasks_blocked()
            assert record.events == []
            lowlevel.current_clock().jump(5)
            await wait_all_tasks_blocked()
            assert record.events == ["slept"]

    uringtrio.run(main, clock=MockClock())


def test_no_deadline_means_no_jump_and_no_busy_waiting(record):
    class Waits(uringtrio.abc.Instrument):
        def before_io_wait(self, timeout):
            record(timeout)

    async def main():
        token = lowlevel.current_trio_token()
        event = uringtrio.Event()

        def work():
            # Only another thread can end the wait.
            time.sleep(0.05)
            token.run_sync_soon(event.set)

        lowlevel.start_thread_soon(work, lambda _: None)
        await event.wait()
        return uringtrio.current_time()

    clock = MockClock(autojump_threshold=0)

    assert uringtrio.run(main, clock=clock, instruments=[Waits()]) == 0
    assert len(record.events) < 50
