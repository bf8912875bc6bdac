"""Sleeping, and the timeouts made of cancel scopes. Time jumps: no test here really sleeps."""

from math import inf, nan

import pytest

import uringtrio
from uringtrio import lowlevel


def test_sleep_takes_its_time(clock):
    async def main():
        await uringtrio.sleep(3)
        assert uringtrio.current_time() == 1003
        await uringtrio.sleep_until(1010)
        assert uringtrio.current_time() == 1010
        await uringtrio.sleep_until(5)
        await uringtrio.sleep(0)
        assert uringtrio.current_time() == 1010

    uringtrio.run(main, clock=clock)


def test_sleep_forever_ends_by_cancellation_only(clock):
    async def main():
        with uringtrio.move_on_after(1_000_000) as scope:
            await uringtrio.sleep_forever()
        return scope.cancelled_caught

    assert uringtrio.run(main, clock=clock)


def test_sleep_that_is_over_when_its_scope_is_cancelled_raises(clock):
    """It returned, if its deadline was the first of two that had passed, or another task's step."""
    after_sleep = []

    async def main():
        with uringtrio.CancelScope() as scope:
            async with uringtrio.open_nursery() as nursery:
                # Later in the queue of deadlines than the sleep, at the same time.
                nursery.start_soon(set_deadline, scope)
                await uringtrio.sleep(1)
                after_sleep.append(uringtrio.current_time())
        return scope.cancelled_caught

    async def set_deadline(scope):
        await uringtrio.sleep(0.5)
        scope.deadline = 1001

    assert uringtrio.run(main, clock=clock)
    assert not after_sleep


def test_cancelled_sleep_leaves_no_deadline(settle, clock):
    async def main():
        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(uringtrio.sleep, 100)
            await settle()
            assert lowlevel.current_statistics().seconds_to_next_deadline == 100
            nursery.cancel_scope.cancel()
        assert lowlevel.current_statistics().seconds_to_next_deadline == inf

    uringtrio.run(main, clock=clock)


@pytest.mark.parametrize("seconds", [-1, -inf, nan])
def test_impossible_sleep_is_refused(seconds):
    async def main():
        with pytest.raises(ValueError, match="seconds"):
            await uringtrio.sleep(seconds)

    uringtrio.run(main)


def test_sleep_until_nan_is_refused():
    async def main():
        with pytest.raises(ValueError, match="NaN"):
            await uringtrio.sleep_until(nan)

    uringtrio.run(main)


def test_sleep_until_infinity_is_sleep_forever(clock):
    async def main():
        with uringtrio.move_on_after(5) as scope:
            await uringtrio.sleep_until(inf)
        return scope.cancelled_caught, uringtrio.current_time()

    assert uringtrio.run(main, clock=clock) == (True, 1005)


def test_move_on_gives_up_silently(clock):
    async def main():
        with uringtrio.move_on_after(5) as scope:
            await uringtrio.sleep(10)
            raise AssertionError("never")
        assert scope.cancelled_caught
        with uringtrio.move_on_at(1012) as scope:
            await uringtrio.sleep(10)
            raise AssertionError("never")
        assert scope.cancelled_caught
        return uringtrio.current_time()

    assert uringtrio.run(main, clock=clock) == 1012


def test_move_on_in_time_changes_nothing(clock):
    async def main():
        with uringtrio.move_on_after(5) as scope:
            await uringtrio.sleep(1)
        assert not scope.cancel_called
        assert not scope.cancelled_caught

    uringtrio.run(main, clock=clock)


@pytest.mark.parametrize("fail", [uringtrio.fail_after, lambda s: uringtrio.fail_at(1000 + s)])
def test_fail_raises_too_slow_from_the_end_of_the_block(clock, fail):
    async def main():
        with pytest.raises(uringtrio.TooSlowError) as caught:
            with fail(5) as scope:
                await uringtrio.sleep(10)
        assert scope.cancelled_caught
        assert isinstance(caught.value.__context__, uringtrio.Cancelled)
        return uringtrio.current_time()

    assert uringtrio.run(main, clock=clock) == 1005


def test_fail_in_time_changes_nothing(clock):
    async def main():
        with uringtrio.fail_after(5) as scope:
            await uringtrio.sleep(1)
        assert not scope.cancel_called

    uringtrio.run(main, clock=clock)


def test_fail_does_not_hide_another_error(clock):
    async def main():
        with pytest.raises(LookupError):  # noqa: PT012  # the block is what is tested
            with uringtrio.fail_after(5):
                try:
                    await uringtrio.sleep(10)
                except uringtrio.Cancelled:
                    raise LookupError from None

    uringtrio.run(main, clock=clock)


def test_fail_that_had_no_effect_is_no_failure(clock):
    async def main():
        with uringtrio.fail_after(5) as scope:
            with uringtrio.CancelScope(shield=True):
                await uringtrio.sleep(10)
        assert scope.cancel_called
        assert not scope.cancelled_caught

    uringtrio.run(main, clock=clock)


def test_fail_cancelled_from_outside_is_not_too_slow(clock):
    async def main():
        with uringtrio.move_on_after(1) as outer:
            with uringtrio.fail_after(5):
                await uringtrio.sleep(10)
        return outer.cancelled_caught

    assert uringtrio.run(main, clock=clock)


def test_fail_cancelled_by_hand_is_too_slow(clock):
    async def main():
        with pytest.raises(uringtrio.TooSlowError):  # noqa: PT012  # the block is what is tested
            with uringtrio.fail_after(5) as scope:
                scope.cancel()
                await lowlevel.checkpoint()

    uringtrio.run(main, clock=clock)


@pytest.mark.parametrize("make", [uringtrio.move_on_after, uringtrio.fail_after])
def test_time_counts_from_entering(clock, make):
    async def main():
        manager = make(5)
        await uringtrio.sleep(100)
        with manager as scope:
            assert scope.deadline == 1105
            await uringtrio.sleep(4)
        assert not scope.cancel_called

    uringtrio.run(main, clock=clock)


@pytest.mark.parametrize("make", [uringtrio.move_on_after, uringtrio.fail_after])
@pytest.mark.parametrize("seconds", [-1, nan])
def test_impossible_seconds_are_refused_at_the_call(make, seconds):
    with pytest.raises(ValueError, match=r"negative|NaN"), make(seconds):
        pass


@pytest.mark.parametrize("make", [uringtrio.move_on_at, uringtrio.fail_at])
def test_deadline_of_nan_is_refused_at_the_call(make):
    with pytest.raises(ValueError, match="NaN"), make(nan):
        pass


@pytest.mark.parametrize(
    "make",
    [
        lambda: uringtrio.move_on_after(5, shield=True),
        lambda: uringtrio.move_on_at(1005, shield=True),
        lambda: uringtrio.fail_after(5, shield=True),
        lambda: uringtrio.fail_at(1005, shield=True),
    ],
)
def test_shield_is_passed_on(clock, make):
    async def main():
        with uringtrio.CancelScope() as outer:
            outer.cancel()
            with make() as scope:
                assert scope.shield
                await uringtrio.sleep(1)

    uringtrio.run(main, clock=clock)
