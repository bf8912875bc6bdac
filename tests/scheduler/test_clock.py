"""The default clock, and what a run does with a clock it is given."""

import time

import pytest

import uringtrio
from uringtrio import lowlevel


async def now():
    return uringtrio.current_time()


def test_default_clock_is_offset_differently_in_each_run():
    times = [uringtrio.run(now) for _ in range(5)]

    assert len({round(t / 10) for t in times}) == 5
    assert all(abs(t - time.perf_counter()) > 1000 for t in times)


def test_default_clock_runs_at_the_speed_of_the_real_one():
    async def main():
        before, real_before = uringtrio.current_time(), time.perf_counter()
        await uringtrio.sleep(0.01)
        return uringtrio.current_time() - before, time.perf_counter() - real_before

    slept, really = uringtrio.run(main)

    assert slept >= 0.01
    assert slept == pytest.approx(really, abs=0.005)


def test_given_clock_is_started_once_and_is_what_time_is(clock):
    async def main():
        assert lowlevel.current_clock() is clock
        assert uringtrio.current_time() == 1000.0
        await uringtrio.sleep(7)
        return uringtrio.current_time()

    assert uringtrio.run(main, clock=clock) == 1007.0
    assert clock.starts == 1


def test_clock_is_asked_for_the_real_time_to_wait():
    asked = []

    class Fast(uringtrio.abc.Clock):
        """An hour passes in a millisecond."""

        def start_clock(self):
            self.start = time.perf_counter()

        def current_time(self):
            return (time.perf_counter() - self.start) * 3_600_000

        def deadline_to_sleep_time(self, deadline):
            if deadline < float("inf"):
                asked.append(deadline)
            return (deadline - self.current_time()) / 3_600_000

    async def main():
        await uringtrio.sleep(2 * 3600)

    before = time.perf_counter()
    uringtrio.run(main, clock=Fast())

    assert asked
    assert 0.002 <= time.perf_counter() - before < 5


def test_clock_that_says_the_deadline_is_past_is_not_waited_for():
    class Behind(uringtrio.abc.Clock):
        """Says by a negative answer that there is nothing to wait for."""

        def __init__(self):
            self.now = 0.0

        def start_clock(self):
            pass

        def current_time(self):
            return self.now

        def deadline_to_sleep_time(self, deadline):
            self.now += 1
            return deadline - self.now - 100

    async def main():
        await uringtrio.sleep(3)
        return uringtrio.current_time()

    assert uringtrio.run(main, clock=Behind()) >= 3
