"""Parking lots: order, moving, breaking, and what a cancelled wait leaves behind."""

from math import inf

import pytest

import uringtrio
from uringtrio import lowlevel


async def park_and_say(lot, name, record):
    await lot.park()
    record(name)


async def fill(nursery, lot, names, record, settle):
    """Park one task for each name, in this order."""
    for name in names:
        nursery.start_soon(park_and_say, lot, name, record)
        await settle()


def test_tasks_are_woken_in_order_of_arrival(settle, record):
    async def main():
        lot = lowlevel.ParkingLot()
        async with uringtrio.open_nursery() as nursery:
            await fill(nursery, lot, "abc", record, settle)
            assert len(lot) == 3
            assert lot
            assert lot.statistics().tasks_waiting == 3
            for _ in range(3):
                (task,) = lot.unpark()
                assert task.name.endswith("park_and_say")
                await settle()
            assert len(lot) == 0
            assert not lot

    uringtrio.run(main)

    assert record.events == ["a", "b", "c"]


def test_unpark_wakes_as_many_as_there_are(settle, record):
    async def main():
        lot = lowlevel.ParkingLot()
        assert lot.unpark() == []
        assert lot.unpark(count=100) == []
        assert lot.unpark_all() == []
        async with uringtrio.open_nursery() as nursery:
            await fill(nursery, lot, "abcdef", record, settle)
            assert len(lot.unpark(count=2)) == 2
            await settle()
            assert sorted(record.events) == ["a", "b"]
            assert lot.unpark(count=-1) == []
            assert lot.unpark(count=0) == []
            assert len(lot.unpark(count=3)) == 3
            await settle()
            assert sorted(record.events) == ["a", "b", "c", "d", "e"]
            assert len(lot.unpark(count=inf)) == 1

    uringtrio.run(main)

    assert sorted(record.events) == list("abcdef")


def test_unpark_all_wakes_all(settle, record):
    async def main():
        lot = lowlevel.ParkingLot()
        async with uringtrio.open_nursery() as nursery:
            await fill(nursery, lot, "abc", record, settle)
            assert len(lot.unpark_all()) == 3
            assert len(lot) == 0
            # Nobody has run yet.
            assert record.events == []

    uringtrio.run(main)

    assert sorted(record.events) == ["a", "b", "c"]


@pytest.mark.parametrize("count", [1.5, 1.0, -inf])
def test_a_count_is_an_int_or_inf(count, settle, record):
    async def main():
        lot = lowlevel.ParkingLot()
        async with uringtrio.open_nursery() as nursery:
            await fill(nursery, lot, "a", record, settle)
            with pytest.raises(ValueError, match="non-integer"):
                lot.unpark(count=count)
            with pytest.raises(ValueError, match="non-integer"):
                lot.repark(lowlevel.ParkingLot(), count=count)
            assert len(lot) == 1
            lot.unpark()

    uringtrio.run(main)


def test_cancelled_wait_leaves_the_lot(settle, record):
    async def main():
        lot = lowlevel.ParkingLot()
        async with uringtrio.open_nursery() as nursery:
            await fill(nursery, lot, "a", record, settle)
            with uringtrio.CancelScope() as scope:
                async with uringtrio.open_nursery() as inner:
                    await fill(inner, lot, "b", record, settle)
                    await fill(nursery, lot, "c", record, settle)
                    scope.cancel()
            assert len(lot) == 2
            lot.unpark_all()

    uringtrio.run(main)

    assert sorted(record.events) == ["a", "c"]


def test_park_in_a_cancelled_scope_does_not_enter_the_lot():
    async def main():
        lot = lowlevel.ParkingLot()
        with uringtrio.CancelScope() as scope:
            scope.cancel()
            await lot.park()
        assert scope.cancelled_caught
        assert len(lot) == 0

    uringtrio.run(main)


def test_woken_task_is_not_cancelled_any_more(settle, record):
    async def main():
        lot = lowlevel.ParkingLot()
        async with uringtrio.open_nursery() as nursery:
            await fill(nursery, lot, "a", record, settle)
            lot.unpark()
            nursery.cancel_scope.cancel()

    uringtrio.run(main)

    assert record.events == ["a"]


def test_repark_moves_the_first_and_keeps_their_order(settle, record):
    async def main():
        one, other = lowlevel.ParkingLot(), lowlevel.ParkingLot()
        async with uringtrio.open_nursery() as nursery:
            await fill(nursery, other, "x", record, settle)
            await fill(nursery, one, "abcd", record, settle)
            one.repark(other)
            one.repark(other, count=2)
            assert (len(one), len(other)) == (1, 4)
            await settle()
            # Moving wakes nobody.
            assert record.events == []
            while other:
                other.unpark()
                await settle()
            assert record.events == ["x", "a", "b", "c"]
            one.repark(other, count=inf)
            assert (len(one), len(other)) == (0, 1)
            other.unpark()

    uringtrio.run(main)

    assert record.events == ["x", "a", "b", "c", "d"]


def test_cancelled_task_leaves_the_lot_that_it_was_moved_to(settle, record):
    async def main():
        one, other = lowlevel.ParkingLot(), lowlevel.ParkingLot()
        async with uringtrio.open_nursery() as nursery:
            await fill(nursery, other, "x", record, settle)
            async with uringtrio.open_nursery() as inner:
                await fill(inner, one, "a", record, settle)
                one.repark_all(other)
                inner.cancel_scope.cancel()
            assert (len(one), len(other)) == (0, 1)
            other.unpark()

    uringtrio.run(main)

    assert record.events == ["x"]


def test_repark_takes_only_lots():
    lot = lowlevel.ParkingLot()

    with pytest.raises(TypeError, match="new_lot"):
        lot.repark([])


def test_breaking_a_lot_wakes_all_with_an_error(settle):
    async def main():
        lot = lowlevel.ParkingLot()
        errors = []

        async def park():
            with pytest.raises(
                uringtrio.BrokenResourceError, match=r"^Parking lot broken by <Task"
            ):
                await lot.park()
            errors.append("broken")

        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(park)
            nursery.start_soon(park)
            await settle()
            lot.break_lot()
            assert len(lot) == 0
        assert errors == ["broken", "broken"]

    uringtrio.run(main)


def test_broken_lot_refuses_and_remembers_who_broke_it():
    async def main():
        me = lowlevel.current_task()
        lot = lowlevel.ParkingLot()
        assert lot.broken_by == []
        lot.break_lot()
        lot.break_lot(me)
        assert lot.broken_by == [me, me]
        with pytest.raises(uringtrio.BrokenResourceError, match=f"broken by .*{me.name}"):
            await lot.park()
        assert lot.unpark() == []

    uringtrio.run(main)


async def wait_as_task(task_status):
    task_status.started(lowlevel.current_task())
    await uringtrio.sleep_forever()


def test_lot_breaks_when_its_breaker_exits(settle, record):
    async def park(lot):
        with pytest.raises(uringtrio.BrokenResourceError, match=r"^Parking lot broken by"):
            await lot.park()
        record("broken")

    async def main():
        lot, other = lowlevel.ParkingLot(), lowlevel.ParkingLot()
        async with uringtrio.open_nursery() as nursery:
            async with uringtrio.open_nursery() as inner:
                breaker = await inner.start(wait_as_task)
                lowlevel.add_parking_lot_breaker(breaker, lot)
                lowlevel.add_parking_lot_breaker(breaker, other)
                lowlevel.remove_parking_lot_breaker(breaker, other)
                nursery.start_soon(park, lot)
                await settle()
                assert record.events == []
                inner.cancel_scope.cancel()
        assert lot.broken_by == [breaker]
        assert other.broken_by == []

    uringtrio.run(main)

    assert record.events == ["broken"]


def test_breaker_that_fails_breaks_too():
    async def main():
        lot = lowlevel.ParkingLot()

        async def fail():
            lowlevel.add_parking_lot_breaker(lowlevel.current_task(), lot)
            raise ValueError

        with pytest.raises(ExceptionGroup):
            async with uringtrio.open_nursery() as nursery:
                nursery.start_soon(fail)
        assert len(lot.broken_by) == 1

    uringtrio.run(main)


def test_breakers_are_counted():
    async def main():
        task = lowlevel.current_task()
        lot = lowlevel.ParkingLot()
        with pytest.raises(RuntimeError, match="not registered"):
            lowlevel.remove_parking_lot_breaker(task, lot)
        lowlevel.add_parking_lot_breaker(task, lot)
        lowlevel.add_parking_lot_breaker(task, lot)
        lowlevel.remove_parking_lot_breaker(task, lot)
        lowlevel.remove_parking_lot_breaker(task, lot)
        with pytest.raises(RuntimeError, match="not registered"):
            lowlevel.remove_parking_lot_breaker(task, lot)
        assert lot.broken_by == []

    uringtrio.run(main)


def test_exited_task_cannot_become_a_breaker_but_can_be_blamed():
    async def main():
        lot = lowlevel.ParkingLot()
        async with uringtrio.open_nursery() as nursery:
            task = await nursery.start(wait_as_task)
            nursery.cancel_scope.cancel()
        with pytest.raises(uringtrio.BrokenResourceError, match="already exited"):
            lowlevel.add_parking_lot_breaker(task, lot)
        assert lot.broken_by == []
        lot.break_lot(task)
        assert lot.broken_by == [task]

    uringtrio.run(main)


def test_task_that_breaks_the_lot_it_waits_in_gets_the_error(settle):
    async def main():
        lot = lowlevel.ParkingLot()
        seen = []

        async def park():
            seen.append(lowlevel.current_task())
            with pytest.raises(uringtrio.BrokenResourceError):
                await lot.park()
            seen.append("broken")

        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(park)
            await settle()
            lot.break_lot(seen[0])
        assert seen[1:] == ["broken"]

    uringtrio.run(main)


def test_break_lot_needs_a_task_to_blame():
    with pytest.raises(RuntimeError, match="break_lot"):
        lowlevel.ParkingLot().break_lot()
