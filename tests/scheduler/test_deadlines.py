"""Deadlines: of scopes, and the heap they are kept in."""

from math import inf, nan

import pytest

import uringtrio
from uringtrio import lowlevel


def test_deadline_cancels_with_the_reason(clock):
    async def main():
        with uringtrio.CancelScope(deadline=1005.0) as scope:
            with pytest.raises(uringtrio.Cancelled) as caught:
                await uringtrio.sleep_forever()
            await lowlevel.checkpoint()
        assert scope.cancelled_caught
        assert caught.value.source == "deadline"
        assert caught.value.source_task is None
        assert caught.value.reason is None
        return uringtrio.current_time()

    assert uringtrio.run(main, clock=clock) == 1005.0


def test_relative_deadline_counts_from_entering(clock):
    async def main():
        scope = uringtrio.CancelScope(relative_deadline=5)
        assert scope.is_relative is True
        assert scope.relative_deadline == 5
        await uringtrio.sleep(100)
        with scope:
            assert scope.is_relative is None
            assert scope.deadline == 1105
            assert scope.relative_deadline == 5
            await uringtrio.sleep_forever()
        assert scope.cancelled_caught
        return uringtrio.current_time()

    assert uringtrio.run(main, clock=clock) == 1105.0


@pytest.mark.parametrize("deadline", [-inf, 0, 999.0, 1000.0])
def test_deadline_that_is_past_cancels_the_first_checkpoint(clock, deadline, record):
    """A scope entered after its deadline let its first checkpoint pass."""

    async def main():
        with uringtrio.CancelScope(deadline=deadline) as scope:
            record("inside")
            await lowlevel.checkpoint_if_cancelled()
            record("never")
        assert scope.cancelled_caught

    uringtrio.run(main, clock=clock)

    assert record.events == ["inside"]


def test_relative_deadline_of_zero_cancels_the_first_checkpoint(clock):
    async def main():
        with uringtrio.CancelScope(relative_deadline=0) as scope:
            await lowlevel.checkpoint()
        assert scope.cancelled_caught

    uringtrio.run(main, clock=clock)


def test_deadline_set_to_the_past_cancels_the_next_checkpoint(clock):
    async def main():
        with uringtrio.CancelScope() as scope:
            scope.deadline = uringtrio.current_time() - 1
            await lowlevel.checkpoint()
        assert scope.cancelled_caught

    uringtrio.run(main, clock=clock)


def test_deadline_may_be_brought_forward_while_a_task_waits(clock, settle):
    async def child(scope):
        with scope:
            await uringtrio.sleep_forever()

    async def main():
        scope = uringtrio.CancelScope(deadline=2000)
        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(child, scope)
            await settle()
            scope.deadline = 1010
        return uringtrio.current_time()

    assert uringtrio.run(main, clock=clock) == 1010


def test_deadline_may_be_put_off_while_a_task_waits(clock, settle):
    async def child(scope):
        with scope:
            await uringtrio.sleep_forever()

    async def main():
        scope = uringtrio.CancelScope(deadline=1010)
        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(child, scope)
            await settle()
            scope.deadline = 1100
        return uringtrio.current_time()

    assert uringtrio.run(main, clock=clock) == 1100


def test_deadline_may_be_taken_away(clock):
    async def main():
        with uringtrio.CancelScope(deadline=1010) as scope:
            scope.deadline = inf
            await uringtrio.sleep(500)
        assert not scope.cancel_called

    uringtrio.run(main, clock=clock)


def test_changing_the_deadline_does_not_undo_a_cancellation(clock):
    async def main():
        with uringtrio.CancelScope(deadline=999) as scope:
            with pytest.raises(uringtrio.Cancelled):
                await lowlevel.checkpoint()
            scope.deadline = inf
            assert scope.deadline == inf
            with pytest.raises(uringtrio.Cancelled):
                await lowlevel.checkpoint()

    uringtrio.run(main, clock=clock)


def test_deadline_ends_with_the_block(clock):
    async def main():
        with uringtrio.CancelScope(deadline=1010) as scope:
            pass
        await uringtrio.sleep(100)
        assert not scope.cancel_called
        assert lowlevel.current_statistics().seconds_to_next_deadline == inf

    uringtrio.run(main, clock=clock)


def test_reading_cancel_called_notices_that_the_deadline_has_passed(clock):
    async def main():
        with uringtrio.CancelScope(deadline=1010) as scope:
            assert not scope.cancel_called
            clock.now = 1010
            assert scope.cancel_called
            assert not scope.cancelled_caught
            with pytest.raises(uringtrio.Cancelled):
                await lowlevel.checkpoint_if_cancelled()

    uringtrio.run(main, clock=clock)


def test_relative_deadline_may_be_set_before_and_after_entering(clock):
    async def main():
        scope = uringtrio.CancelScope(relative_deadline=5)
        scope.relative_deadline = 7
        with scope:
            assert scope.deadline == 1007
            clock.now = 1003
            assert scope.relative_deadline == 4
            scope.relative_deadline = 20
            assert scope.deadline == 1023
            await uringtrio.sleep_forever()
        return uringtrio.current_time()

    assert uringtrio.run(main, clock=clock) == 1023


def test_relative_and_absolute_are_not_mixed_before_entering():
    absolute = uringtrio.CancelScope(deadline=5)
    assert absolute.is_relative is False
    with pytest.raises(RuntimeError, match="does not have a relative deadline"):
        absolute.relative_deadline  # noqa: B018
    with pytest.raises(RuntimeError, match="does not have a relative deadline"):
        absolute.relative_deadline = 3
    relative = uringtrio.CancelScope(relative_deadline=5)
    with pytest.raises(RuntimeError, match="does not have an absolute deadline"):
        relative.deadline  # noqa: B018
    with pytest.raises(RuntimeError, match="does not have an absolute deadline"):
        relative.deadline = 3

    assert absolute.deadline == 5
    assert relative.relative_deadline == 5


@pytest.mark.parametrize(
    "arguments",
    [
        {"deadline": nan},
        {"relative_deadline": nan},
        {"relative_deadline": -1},
        {"deadline": 1, "relative_deadline": 1},
    ],
)
def test_impossible_deadlines_are_refused_at_the_call(arguments):
    with pytest.raises(ValueError, match=r"deadline|timeout"):
        uringtrio.CancelScope(**arguments)


def test_impossible_deadlines_are_refused_when_set():
    scope = uringtrio.CancelScope()
    with pytest.raises(ValueError, match="NaN"):
        scope.deadline = nan
    with pytest.raises(ValueError, match="NaN"):
        scope.relative_deadline = nan
    with pytest.raises(ValueError, match="non-negative"):
        scope.relative_deadline = -1

    assert scope.deadline == inf


def test_current_effective_deadline_is_the_earliest_up_to_the_shield(clock):
    async def main():
        effective = uringtrio.current_effective_deadline
        assert effective() == inf
        with uringtrio.CancelScope(deadline=1005) as outer:
            assert effective() == 1005
            with uringtrio.CancelScope(deadline=1010) as inner:
                assert effective() == 1005
                inner.deadline = 1002
                assert effective() == 1002
                with uringtrio.CancelScope(deadline=1008, shield=True) as shield:
                    assert effective() == 1008
                    outer.cancel()
                    assert effective() == 1008
                    shield.shield = False
                    assert effective() == -inf
            assert effective() == -inf
        assert effective() == inf

    uringtrio.run(main, clock=clock)


def test_children_see_the_deadline_of_their_nursery(clock):
    async def child(seen):
        seen.append(uringtrio.current_effective_deadline())

    async def main():
        seen = []
        with uringtrio.CancelScope(deadline=1005):
            async with uringtrio.open_nursery() as nursery:
                with uringtrio.CancelScope(deadline=1001):
                    nursery.start_soon(child, seen)
                    await lowlevel.checkpoint()
                    await lowlevel.checkpoint()
        return seen

    assert uringtrio.run(main, clock=clock) == [1005]


def test_sleepers_wake_in_the_order_of_their_deadlines(clock, record):
    async def sleeper(seconds):
        await uringtrio.sleep(seconds)
        record((seconds, uringtrio.current_time()))

    async def main():
        async with uringtrio.open_nursery() as nursery:
            for seconds in (5, 1, 4, 2, 3):
                nursery.start_soon(sleeper, seconds)

    uringtrio.run(main, clock=clock)

    assert record.events == [(s, 1000.0 + s) for s in (1, 2, 3, 4, 5)]


def test_many_removed_deadlines_leave_the_heap_small(clock):
    async def main():
        for _ in range(20_000):
            with uringtrio.move_on_after(1000):
                pass
        heap = lowlevel.current_task()._runner.deadlines.heap
        assert len(heap) < 5000
        with uringtrio.move_on_after(3):
            await uringtrio.sleep_forever()
        return uringtrio.current_time()

    assert uringtrio.run(main, clock=clock) == 1003
