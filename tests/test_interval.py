"""Periodic time. Time jumps: no test here really waits, but for the one on the real clock."""

from math import inf, nan

import pytest

import uringtrio
from uringtrio import lowlevel
from uringtrio.testing import MockClock, assert_checkpoints


def ticks_with_a_slow_body(clock, bodies, count, **options):
    """Return (when, due) of `count` ticks, as seconds from the first; bodies take that long."""

    async def main():
        seen = []
        bodies_left = iter(bodies)
        async for due in uringtrio.interval(2, **options):
            seen.append((clock.now - 1000, due - 1000))
            if len(seen) == count:
                break
            clock.now += next(bodies_left, 0)
        return seen

    return uringtrio.run(main, clock=clock)


def test_first_tick_is_immediate_then_one_per_period(clock):
    assert ticks_with_a_slow_body(clock, (), 4) == [(0, 0), (2, 2), (4, 4), (6, 6)]


@pytest.mark.parametrize("missed", ["delay", "burst", "skip"])
def test_body_may_take_up_to_a_period(clock, missed):
    ticks = ticks_with_a_slow_body(clock, (1, 2, 1.5), 5, missed=missed)

    assert ticks == [(0, 0), (2, 2), (4, 4), (6, 6), (8, 8)]


def test_delay_keeps_a_period_after_a_late_tick(clock):
    expected = [(0, 0), (5, 2), (7, 7), (9, 9), (11, 11)]

    assert ticks_with_a_slow_body(clock, (5,), 5) == expected
    clock.now = 1000
    assert ticks_with_a_slow_body(clock, (5,), 5, missed="delay") == expected


def test_burst_makes_up_for_missed_ticks(clock):
    ticks = ticks_with_a_slow_body(clock, (5,), 5, missed="burst")

    assert ticks == [(0, 0), (5, 2), (5, 4), (6, 6), (8, 8)]


def test_skip_stays_on_the_multiples_of_the_period(clock):
    ticks = ticks_with_a_slow_body(clock, (5, 0, 9), 6, missed="skip")

    assert ticks == [(0, 0), (5, 2), (6, 6), (15, 8), (16, 16), (18, 18)]


def test_periods_do_not_add_up_their_rounding(clock):
    async def main():
        ticks = uringtrio.interval(0.1)
        for _ in range(10_000):
            await anext(ticks)
        return await anext(ticks)

    assert uringtrio.run(main, clock=clock) == 1000 + 10_000 * 0.1


def test_waking_late_is_no_missed_tick(clock):
    """A tick that was asked for in time, and comes late because of others, moves no schedule."""

    async def main():
        ticks = uringtrio.interval(2)
        await anext(ticks)
        # As if another task had held the loop until after the tick.
        clock.deadline_to_sleep_time = hold_the_loop
        await anext(ticks)
        del clock.deadline_to_sleep_time
        assert clock.now == 1003
        assert await anext(ticks) == 1004

    def hold_the_loop(deadline):
        clock.now = deadline + 1
        return 0

    uringtrio.run(main, clock=clock)


def test_mock_clock_drives_it():
    async def main():
        seen = []
        async for due in uringtrio.interval(3600):
            seen.append(due)
            if len(seen) == 25:
                break
        assert uringtrio.current_time() == seen[-1]
        return seen[-1] - seen[0]

    assert uringtrio.run(main, clock=MockClock(autojump_threshold=0)) == 24 * 3600


def test_real_clock_drives_it(run):
    async def main():
        started = uringtrio.current_time()
        ticks = uringtrio.interval(0.01)
        dues = [await anext(ticks) for _ in range(4)]
        return dues[0] - started, dues[-1] - dues[0], uringtrio.current_time() - dues[-1]

    first, length, late = run(main)
    # How late a wake may be is the machine's business; that none comes early is ours.
    assert first >= 0
    assert length >= 0.03 - 1e-9
    assert late >= 0


@pytest.mark.parametrize("missed", ["delay", "burst", "skip"])
def test_cancelled_iteration_loses_no_tick(clock, missed):
    async def main():
        ticks = uringtrio.interval(2, missed=missed)
        with uringtrio.CancelScope() as scope:
            scope.cancel()
            await anext(ticks)
        assert scope.cancelled_caught
        assert await anext(ticks) == 1000
        for _ in range(3):
            with uringtrio.move_on_after(0.5):
                await anext(ticks)
        assert clock.now == 1001.5
        assert [await anext(ticks) for _ in range(3)] == [1002, 1004, 1006]
        assert clock.now == 1006

    uringtrio.run(main, clock=clock)


def test_cancelled_late_tick_is_still_to_come(clock):
    async def main():
        ticks = uringtrio.interval(2, missed="burst")
        await anext(ticks)
        clock.now += 5
        with uringtrio.CancelScope() as scope:
            scope.cancel()
            await anext(ticks)
        return [await anext(ticks) for _ in range(4)]

    assert uringtrio.run(main, clock=clock) == [1002, 1004, 1006, 1008]


def test_each_iteration_is_a_checkpoint(clock):
    async def main():
        ticks = uringtrio.interval(2)
        for seconds in (0, 0, 5, 2):
            clock.now += seconds
            with assert_checkpoints():
                await anext(ticks)

    uringtrio.run(main, clock=clock)


def test_schedule_starts_with_the_first_iteration(clock):
    ticks = uringtrio.interval(2)

    async def main():
        clock.now += 100
        assert await anext(ticks) == 1100

    uringtrio.run(main, clock=clock)


def test_two_tasks_cannot_share_one(clock, settle):
    async def main():
        ticks = uringtrio.interval(2)
        await anext(ticks)
        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(anext, ticks)
            await settle()
            with pytest.raises(uringtrio.BusyResourceError, match="each task its own"):
                await anext(ticks)
        assert await anext(ticks) == 1004

    uringtrio.run(main, clock=clock)


def test_cancelled_wait_leaves_no_deadline(clock):
    async def main():
        ticks = uringtrio.interval(1e6)
        await anext(ticks)
        with uringtrio.move_on_after(1):
            await anext(ticks)
        assert lowlevel.current_statistics().seconds_to_next_deadline == inf

    uringtrio.run(main, clock=clock)


@pytest.mark.parametrize("seconds", [0, -1, inf, -inf, nan])
def test_impossible_period_is_refused_at_the_call(seconds):
    with pytest.raises(ValueError, match="`seconds` must be a finite time greater than 0"):
        uringtrio.interval(seconds)


def test_unknown_behaviour_is_refused_at_the_call():
    with pytest.raises(ValueError, match="'delay', 'burst', 'skip', not 'forget'"):
        uringtrio.interval(1, missed="forget")


def test_iterating_outside_of_a_run_is_refused():
    coro = anext(uringtrio.interval(1))
    with pytest.raises(RuntimeError, match="must be called from async context"):
        coro.send(None)


def test_repr_says_what_it_is():
    assert repr(uringtrio.interval(2.5)) == "<uringtrio.interval(2.5, missed='delay')>"
