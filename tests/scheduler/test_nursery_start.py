"""`Nursery.start`: a task that belongs to the call until it says `started`, then to the nursery."""

import pytest

import uringtrio
from uringtrio import lowlevel


async def start_at_once(value=None, *, task_status=uringtrio.TASK_STATUS_IGNORED):
    task_status.started(value)
    await uringtrio.sleep_forever()


def test_start_returns_the_value_given_to_started():
    async def main():
        async with uringtrio.open_nursery() as nursery:
            assert await nursery.start(start_at_once, "value") == "value"
            assert await nursery.start(start_at_once) is None
            assert len(nursery.child_tasks) == 2
            nursery.cancel_scope.cancel()

    uringtrio.run(main)


def test_start_waits_until_started_and_the_task_goes_on(clock, record):
    async def child(*, task_status):
        await uringtrio.sleep(1)
        task_status.started()
        record("started")
        await uringtrio.sleep(1)
        record("went on")

    async def main():
        async with uringtrio.open_nursery() as nursery:
            await nursery.start(child)
            assert uringtrio.current_time() == 1001
            record("start returned")

    uringtrio.run(main, clock=clock)

    assert record.events == ["started", "start returned", "went on"]
    assert clock.now == 1002


def test_error_before_started_comes_out_of_start_unwrapped():
    error = LookupError()
    cause = OSError()

    async def child(*, task_status):  # noqa: ARG001
        await lowlevel.checkpoint()
        raise error from cause

    async def main():
        async with uringtrio.open_nursery() as nursery:
            with pytest.raises(LookupError) as caught:
                await nursery.start(child)
            assert caught.value is error
            assert error.__cause__ is cause
            assert error.__context__ is None
            # The nursery has not heard of it.
            assert not nursery.cancel_scope.cancel_called

    uringtrio.run(main)


def test_group_before_started_comes_out_of_start_as_it_is():
    async def fail(error):
        raise error

    async def child(*, task_status):  # noqa: ARG001
        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(fail, KeyError())
            nursery.start_soon(fail, ValueError())

    async def main():
        async with uringtrio.open_nursery() as nursery:
            with pytest.raises(ExceptionGroup) as caught:
                await nursery.start(child)
        assert {type(exc) for exc in caught.value.exceptions} == {KeyError, ValueError}

    uringtrio.run(main)


def test_error_after_started_comes_out_of_the_nursery():
    async def child(*, task_status):
        task_status.started("value")
        raise LookupError

    async def main():
        with pytest.raises(ExceptionGroup) as caught:
            async with uringtrio.open_nursery() as nursery:
                assert await nursery.start(child) == "value"
        assert [type(exc) for exc in caught.value.exceptions] == [LookupError]

    uringtrio.run(main)


def test_child_that_never_says_started_is_an_error_of_start():
    async def child(*, task_status):
        pass

    async def main():
        async with uringtrio.open_nursery() as nursery:
            with pytest.raises(RuntimeError, match=r"without calling task_status\.started\(\)"):
                await nursery.start(child)
            assert not nursery.cancel_scope.cancel_called

    uringtrio.run(main)


def test_started_twice_is_an_error_of_the_second_call():
    async def child(*, task_status):
        task_status.started(1)
        with pytest.raises(RuntimeError, match="twice"):
            task_status.started(2)

    async def main():
        async with uringtrio.open_nursery() as nursery:
            assert await nursery.start(child) == 1

    uringtrio.run(main)


def test_started_into_a_nursery_whose_parent_has_exited_is_refused(record):
    """Was a bare AssertionError."""
    opened = []

    async def leave_open(has_begun):
        opened.append(await uringtrio.open_nursery().__aenter__())
        await has_begun.wait()

    async def child(has_begun, *, task_status):
        has_begun.set()
        while not opened[0]._closed:
            await lowlevel.checkpoint()
        with pytest.raises(RuntimeError, match="closed to new arrivals: the task that opened it"):
            task_status.started()
        record("refused")

    async def main():
        has_begun = uringtrio.Event()
        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(leave_open, has_begun)
            while not opened:
                await lowlevel.checkpoint()
            # What becomes of the parent cancels everything that is not shielded.
            with uringtrio.CancelScope(shield=True):
                with pytest.raises(RuntimeError, match="without calling task_status"):
                    await opened[0].start(child, has_begun)
                record("start raised")

    with pytest.raises(ExceptionGroup) as caught:
        uringtrio.run(main)

    assert caught.group_contains(RuntimeError, match="Nursery stack corrupted")
    assert record.events == ["refused", "start raised"]


def test_cancelling_start_cancels_the_child_before_started(record):
    async def child(*, task_status):  # noqa: ARG001
        try:
            await uringtrio.sleep_forever()
        finally:
            record("child unwound")

    async def main():
        async with uringtrio.open_nursery() as nursery:
            with uringtrio.CancelScope() as scope:
                scope.cancel()
                await nursery.start(child)
            assert scope.cancelled_caught
            assert not nursery.cancel_scope.cancel_called

    uringtrio.run(main)

    assert record.events == ["child unwound"]


def test_cancelling_the_caller_after_started_does_not_reach_the_child(clock, record):
    async def child(*, task_status):
        task_status.started()
        await uringtrio.sleep(5)
        record("child is done")

    async def main():
        async with uringtrio.open_nursery() as nursery:
            with uringtrio.CancelScope() as scope:
                await nursery.start(child)
                scope.cancel()
                await lowlevel.checkpoint()
            assert scope.cancelled_caught

    uringtrio.run(main, clock=clock)

    assert record.events == ["child is done"]


def test_started_while_start_is_cancelled_keeps_the_child_where_it_is(record):
    async def child(*, task_status):
        with uringtrio.CancelScope(shield=True):
            await lowlevel.checkpoint()
        task_status.started("too late")
        record("started is ignored")
        await lowlevel.checkpoint()
        record("never")

    async def main():
        async with uringtrio.open_nursery() as nursery:
            with uringtrio.CancelScope() as scope:
                scope.cancel()
                await nursery.start(child)
            assert scope.cancelled_caught
            assert nursery.child_tasks == frozenset()

    uringtrio.run(main)

    assert record.events == ["started is ignored"]


def test_started_into_a_cancelled_nursery_cancels_the_child(record, settle):
    async def child(nursery, *, task_status):
        nursery.cancel_scope.cancel()
        # Not yet its nursery.
        await lowlevel.checkpoint()
        task_status.started("value")
        record("started")
        try:
            await lowlevel.checkpoint()
        except uringtrio.Cancelled:
            record("cancelled")
            raise

    async def helper(nursery):
        record(await nursery.start(child, nursery))

    async def main():
        async with uringtrio.open_nursery() as outer, uringtrio.open_nursery() as nursery:
            outer.start_soon(helper, nursery)
            # Keeps the nursery open until `start` has been called.
            await settle()

    uringtrio.run(main)

    assert set(record.events) == {"started", "cancelled", "value"}
    assert record.events[0] == "started"


def test_pending_start_keeps_the_nursery_open(clock, record, settle):
    async def child(*, task_status):
        await uringtrio.sleep(1)
        task_status.started()
        await uringtrio.sleep(1)
        record("child is done")

    async def main():
        async with uringtrio.open_nursery() as outer:
            async with uringtrio.open_nursery() as nursery:
                outer.start_soon(nursery.start, child)
                await settle()
            record("nursery is closed")

    uringtrio.run(main, clock=clock)

    assert record.events == ["child is done", "nursery is closed"]


def test_task_knows_where_it_will_be(record):
    async def child(*, task_status):
        task = lowlevel.current_task()
        record((task.parent_nursery, task.eventual_parent_nursery))
        task_status.started()
        record((task.parent_nursery, task.eventual_parent_nursery))

    async def main():
        async with uringtrio.open_nursery() as nursery:
            await nursery.start(child)
        (before, eventually), after = record.events
        assert before is not nursery
        assert eventually is nursery
        assert after == (nursery, None)

    uringtrio.run(main)


def test_scopes_and_tasks_opened_before_started_come_along(clock, record):
    async def grandchild():
        try:
            await uringtrio.sleep_forever()
        finally:
            record(("grandchild ended", uringtrio.current_time()))

    async def child(*, task_status):
        with uringtrio.move_on_after(5) as scope:
            async with uringtrio.open_nursery() as inner:
                inner.start_soon(grandchild)
                await lowlevel.checkpoint()
                task_status.started(scope)
                await uringtrio.sleep_forever()
        record(("child's own scope", scope.cancelled_caught))

    async def main():
        async with uringtrio.open_nursery() as nursery:
            with uringtrio.CancelScope() as scope:
                inner_scope = await nursery.start(child)
                scope.cancel()
                await lowlevel.checkpoint()
            assert not inner_scope.cancel_called
            assert scope.cancelled_caught

    uringtrio.run(main, clock=clock)

    assert record.events == [("grandchild ended", 1005.0), ("child's own scope", True)]


def test_nursery_reaches_into_scopes_opened_before_started(record):
    async def child(*, task_status):
        with uringtrio.CancelScope():
            task_status.started()
            try:
                await uringtrio.sleep_forever()
            finally:
                record("cancelled by the nursery")

    async def main():
        async with uringtrio.open_nursery() as nursery:
            await nursery.start(child)
            nursery.cancel_scope.cancel()

    uringtrio.run(main)

    assert record.events == ["cancelled by the nursery"]


def test_name_and_arguments_are_passed_on():
    async def child(a, b, *, task_status):
        task_status.started((a, b, lowlevel.current_task().name))

    async def main():
        async with uringtrio.open_nursery() as nursery:
            assert await nursery.start(child, 1, 2, name="the name") == (1, 2, "the name")

    uringtrio.run(main)


def test_ignored_task_status_takes_anything():
    uringtrio.TASK_STATUS_IGNORED.started()
    uringtrio.TASK_STATUS_IGNORED.started("value")

    assert repr(uringtrio.TASK_STATUS_IGNORED).endswith("TASK_STATUS_IGNORED")


@pytest.mark.filterwarnings("ignore:.*strict_exception_groups:uringtrio.TrioDeprecationWarning")
def test_start_unwraps_also_where_groups_are_not_strict():
    async def child(*, task_status):  # noqa: ARG001
        raise LookupError

    async def main():
        async with uringtrio.open_nursery() as nursery:
            with pytest.raises(LookupError):
                await nursery.start(child)

    uringtrio.run(main, strict_exception_groups=False)
