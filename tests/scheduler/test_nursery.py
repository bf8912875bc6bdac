"""Nurseries: they wait for their tasks, and bring together what goes wrong in them."""

import contextlib
import traceback

import pytest

import uringtrio
from uringtrio import lowlevel


async def fail(error):
    raise error


async def fail_when_cancelled(error):
    try:
        await uringtrio.sleep_forever()
    finally:
        raise error


def test_block_waits_for_all_children(clock, record):
    async def child(seconds):
        await uringtrio.sleep(seconds)
        record(seconds)

    async def main():
        async with uringtrio.open_nursery() as nursery:
            for seconds in (3, 1, 2):
                nursery.start_soon(child, seconds)
            record("body ends")
        record("block ends")

    uringtrio.run(main, clock=clock)

    assert record.events == ["body ends", 1, 2, 3, "block ends"]


def test_start_soon_runs_nothing_before_it_returns(record):
    async def child():
        record("child")

    async def main():
        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(child)
            record("after start_soon")

    uringtrio.run(main)

    assert record.events == ["after start_soon", "child"]


def test_single_error_comes_out_in_a_group():
    error = LookupError()

    async def main():
        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(fail, error)

    with pytest.raises(ExceptionGroup, match=r"^Exceptions from Trio nursery") as caught:
        uringtrio.run(main)

    assert caught.value.exceptions == (error,)


def test_error_of_the_body_comes_out_in_a_group_with_its_context_untouched():
    error = LookupError()

    async def main():
        async with uringtrio.open_nursery():
            raise error

    with pytest.raises(ExceptionGroup) as caught:
        uringtrio.run(main)

    assert caught.value.exceptions == (error,)
    assert caught.value.__context__ is None
    assert error.__context__ is None


def test_base_exception_makes_a_base_exception_group():
    async def main():
        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(fail, SystemExit(1))

    with pytest.raises(BaseExceptionGroup) as caught:
        uringtrio.run(main)

    assert not isinstance(caught.value, ExceptionGroup)
    assert [type(exc) for exc in caught.value.exceptions] == [SystemExit]


def test_errors_of_children_and_body_come_out_together():
    async def main():
        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(fail, KeyError())
            nursery.start_soon(fail_when_cancelled, ValueError())
            await lowlevel.checkpoint()
            raise LookupError

    with pytest.raises(ExceptionGroup) as caught:
        uringtrio.run(main)

    types = {type(exc) for exc in caught.value.exceptions}
    assert types >= {KeyError, ValueError}
    assert types <= {KeyError, ValueError, LookupError}


def test_failing_child_cancels_its_siblings_and_the_body_with_the_reason(record):
    async def sibling():
        try:
            await uringtrio.sleep_forever()
        except uringtrio.Cancelled as exc:
            record((exc.source, exc.reason, "fail" in exc.source_task))
            raise

    async def main():
        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(sibling)
            await lowlevel.checkpoint()
            nursery.start_soon(fail, LookupError("why"))
            await sibling()

    with pytest.raises(ExceptionGroup) as caught:
        uringtrio.run(main)

    reason = ("nursery", "child task raised exception LookupError('why')", True)
    assert record.events == [reason, reason]
    # The Cancelled of the others were absorbed, by the nursery's own scope.
    assert [type(exc) for exc in caught.value.exceptions] == [LookupError]


def test_failing_body_cancels_the_children_with_the_reason(record, settle):
    async def child():
        try:
            await uringtrio.sleep_forever()
        except uringtrio.Cancelled as exc:
            record((exc.source, exc.reason))
            raise

    async def main():
        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(child)
            await settle()
            raise LookupError("why")

    with pytest.raises(ExceptionGroup):
        uringtrio.run(main)

    reason = "Code block inside nursery contextmanager raised exception LookupError('why')"
    assert record.events == [("nursery", reason)]


def test_return_in_the_body_cancels_nothing(clock, record):
    async def child():
        await uringtrio.sleep(5)
        record("child is done")

    async def main():
        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(child)
            return "result"

    assert uringtrio.run(main, clock=clock) == "result"
    assert record.events == ["child is done"]


def test_cancelling_the_nursery_is_absorbed_by_it(settle):
    async def main():
        async with uringtrio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(uringtrio.sleep_forever)
            await settle()
            nursery.cancel_scope.cancel()
        assert nursery.cancel_scope.cancelled_caught

    uringtrio.run(main)


def test_cancel_from_outside_passes_through_the_nursery(settle):
    async def main():
        with uringtrio.CancelScope() as scope:
            async with uringtrio.open_nursery() as nursery:
                for _ in range(3):
                    nursery.start_soon(uringtrio.sleep_forever)
                await settle()
                scope.cancel()
        assert scope.cancelled_caught
        assert not nursery.cancel_scope.cancelled_caught

    uringtrio.run(main)


def test_parent_that_waits_at_the_end_waits_for_shielded_children(clock, record):
    async def stubborn():
        with uringtrio.CancelScope(shield=True):
            await uringtrio.sleep(10)
        record("stubborn is done")

    async def main():
        with uringtrio.move_on_after(1) as scope:
            async with uringtrio.open_nursery() as nursery:
                nursery.start_soon(stubborn)
        record("block ends")
        # Nobody raised Cancelled, so nothing was caught.
        assert scope.cancel_called
        assert not scope.cancelled_caught

    uringtrio.run(main, clock=clock)

    assert record.events == ["stubborn is done", "block ends"]


def test_entering_is_no_checkpoint_and_leaving_is_only_a_schedule_point(record):
    async def other():
        record("other ran")

    async def main():
        async with uringtrio.open_nursery() as outer:
            outer.start_soon(other)
            async with uringtrio.open_nursery():
                record("entered")
            async with uringtrio.open_nursery():
                pass
            # Two schedule points: the first may or may not have been before its first step.
            record("left")
        with uringtrio.CancelScope() as scope:
            scope.cancel()
            async with uringtrio.open_nursery():
                pass
            record("not cancelled")
        assert not scope.cancelled_caught

    uringtrio.run(main)

    assert record.events == ["entered", "other ran", "left", "not cancelled"]


def test_child_started_in_a_cancelled_nursery_runs_to_its_first_checkpoint(record):
    async def child():
        record("started")
        await lowlevel.checkpoint()
        record("never")

    async def main():
        async with uringtrio.open_nursery() as nursery:
            nursery.cancel_scope.cancel()
            nursery.start_soon(child)

    uringtrio.run(main)

    assert record.events == ["started"]


def test_children_may_start_more_while_the_nursery_waits(record):
    async def child(nursery, count):
        record(count)
        await lowlevel.checkpoint()
        if count:
            nursery.start_soon(child, nursery, count - 1)

    async def main():
        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(child, nursery, 3)

    uringtrio.run(main)

    assert record.events == [3, 2, 1, 0]


def test_closed_nursery_takes_no_more_tasks():
    async def main():
        async with uringtrio.open_nursery() as nursery:
            pass
        with pytest.raises(RuntimeError, match="Nursery is closed to new arrivals"):
            nursery.start_soon(uringtrio.sleep_forever)
        with pytest.raises(RuntimeError, match="Nursery is closed to new arrivals"):
            await nursery.start(uringtrio.sleep_forever)
        assert lowlevel.current_statistics().tasks_living == 3

    uringtrio.run(main)


def test_start_soon_works_from_any_task_and_from_sync_code(record):
    async def grandchild():
        record("ran")

    def from_sync_code(nursery):
        nursery.start_soon(grandchild)

    async def child(nursery):
        from_sync_code(nursery)

    async def main():
        async with uringtrio.open_nursery() as outer, uringtrio.open_nursery() as inner:
            inner.start_soon(child, outer)

    uringtrio.run(main)

    assert record.events == ["ran"]


def test_tasks_inherit_the_scopes_of_the_nursery_and_not_of_the_caller(clock, record):
    async def child():
        await uringtrio.sleep(10)
        record("not cancelled")

    async def main():
        async with uringtrio.open_nursery() as nursery:
            with uringtrio.CancelScope() as scope:
                nursery.start_soon(child)
                scope.cancel()
                await uringtrio.sleep_forever()

    uringtrio.run(main, clock=clock)

    assert record.events == ["not cancelled"]


def test_child_tasks_and_parent_task_say_who_is_there(settle):
    async def main():
        async with uringtrio.open_nursery() as nursery:
            assert nursery.child_tasks == frozenset()
            assert nursery.parent_task is lowlevel.current_task()
            nursery.start_soon(uringtrio.sleep_forever)
            await settle()
            (child,) = nursery.child_tasks
            assert isinstance(nursery.child_tasks, frozenset)
            assert child.parent_nursery is nursery
            assert lowlevel.current_task().child_nurseries == [nursery]
            nursery.cancel_scope.cancel()
        assert nursery.child_tasks == frozenset()
        assert lowlevel.current_task().child_nurseries == []

    uringtrio.run(main)


def test_traceback_starts_in_the_childs_own_code():
    async def main():
        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(fail, LookupError())

    with pytest.raises(ExceptionGroup) as caught:
        uringtrio.run(main)

    frames = traceback.extract_tb(caught.value.exceptions[0].__traceback__)
    assert [frame.name for frame in frames] == ["fail"]


def test_traceback_does_not_grow_on_its_way_through_nurseries():
    async def nested(depth):
        async with uringtrio.open_nursery() as nursery:
            if depth:
                nursery.start_soon(nested, depth - 1)
            else:
                nursery.start_soon(fail, LookupError())

    with pytest.raises(ExceptionGroup) as caught:
        uringtrio.run(nested, 3)

    error = caught.value
    while isinstance(error, ExceptionGroup):
        (error,) = error.exceptions
    assert len(traceback.extract_tb(error.__traceback__)) == 1


@pytest.mark.filterwarnings("ignore:.*strict_exception_groups:uringtrio.TrioDeprecationWarning")
def test_run_that_is_not_strict_lets_single_errors_out_bare():
    async def main():
        async with uringtrio.open_nursery() as outer:
            async with uringtrio.open_nursery():
                outer.start_soon(fail, LookupError("bare"))

    with pytest.raises(LookupError, match="bare"):
        uringtrio.run(main, strict_exception_groups=False)


def test_nursery_that_is_not_strict_warns_and_lets_a_single_error_out_bare():
    async def main():
        with pytest.warns(uringtrio.TrioDeprecationWarning, match="strict_exception_groups=False"):
            manager = uringtrio.open_nursery(strict_exception_groups=False)
        with pytest.raises(LookupError):
            async with manager as nursery:
                nursery.start_soon(fail, LookupError())

    uringtrio.run(main)


def test_run_that_is_not_strict_warns():
    async def main():
        pass

    with pytest.warns(uringtrio.TrioDeprecationWarning, match="strict_exception_groups=False"):
        uringtrio.run(main, strict_exception_groups=False)


@pytest.mark.filterwarnings("ignore:.*strict_exception_groups:uringtrio.TrioDeprecationWarning")
def test_group_that_is_not_strict_collapses_when_the_scope_takes_the_rest():
    async def main():
        with uringtrio.CancelScope() as scope:
            async with uringtrio.open_nursery(strict_exception_groups=False) as nursery:
                nursery.start_soon(fail_when_cancelled, LookupError("left over"))
                nursery.start_soon(uringtrio.sleep_forever)
                await lowlevel.checkpoint()
                await lowlevel.checkpoint()
                scope.cancel()
                await uringtrio.sleep_forever()

    with pytest.raises(LookupError, match="left over"):
        uringtrio.run(main)


def test_sync_with_is_refused_with_the_right_call():
    async def main():
        with pytest.raises(RuntimeError, match=r"async with open_nursery"):
            with uringtrio.open_nursery():
                pass

    uringtrio.run(main)


def test_nursery_has_no_public_constructor():
    with pytest.raises(TypeError, match="open_nursery"):
        uringtrio.Nursery()


def test_task_that_leaves_its_nursery_open_is_told_and_the_run_survives():
    async def leave_open():
        await uringtrio.open_nursery().__aenter__()

    async def main():
        with pytest.raises(ExceptionGroup) as caught:
            async with uringtrio.open_nursery() as nursery:
                nursery.start_soon(leave_open)
        (error,) = caught.value.exceptions
        assert type(error) is RuntimeError
        assert "Nursery stack corrupted" in str(error)
        await lowlevel.checkpoint()

    uringtrio.run(main)


def test_nursery_whose_task_has_exited_waits_for_its_children_and_reports_their_errors():
    """The child's error used to be lost when the nursery was left before the child had run."""

    @contextlib.asynccontextmanager
    async def nursery_inside():
        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(fail_when_cancelled, ValueError("not lost"))
            yield

    async def main():
        async with contextlib.AsyncExitStack() as stack, uringtrio.open_nursery() as nursery:
            # The nursery that this opens belongs to a task that is about to exit.
            nursery.start_soon(stack.enter_async_context, nursery_inside())

    for _ in range(20):  # The order of tasks in a turn is random.
        with pytest.raises(ExceptionGroup) as caught:
            uringtrio.run(main)
        matched, rest = caught.value.split(lambda error: "Nursery stack corrupted" in str(error))
        assert matched is not None
        assert [str(error) for error in rest.exceptions] == ["not lost"]


def test_ten_thousand_children_come_and_go():
    async def main():
        async with uringtrio.open_nursery() as nursery:
            for _ in range(10_000):
                nursery.start_soon(lowlevel.checkpoint)
        assert lowlevel.current_statistics().tasks_living == 3

    uringtrio.run(main)
