"""System tasks, statistics, and the tasks every run has."""

import contextvars
import gc
import warnings
from math import inf

import pytest

import uringtrio
from uringtrio import lowlevel

variable = contextvars.ContextVar("variable", default="unset")


def test_trivial_run_has_three_tasks():
    async def main():
        return lowlevel.current_statistics()

    statistics = uringtrio.run(main)

    assert statistics.tasks_living == 3
    assert statistics.tasks_runnable == 0
    assert statistics.seconds_to_next_deadline == inf
    assert statistics.run_sync_soon_queue_size == 0
    assert isinstance(statistics.io_statistics.backend, str)


def test_statistics_follow_tasks_deadlines_and_calls(clock, settle):
    async def main():
        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(uringtrio.sleep, 50)
            nursery.start_soon(uringtrio.sleep_forever)
            await settle()
            seen = lowlevel.current_statistics()
            assert seen.tasks_living == 5
            assert seen.tasks_runnable == 0
            assert seen.seconds_to_next_deadline == 50
            nursery.start_soon(lowlevel.checkpoint)
            assert lowlevel.current_statistics().tasks_runnable == 1
            assert lowlevel.current_statistics().tasks_living == 6
            lowlevel.current_trio_token().run_sync_soon(int)
            assert lowlevel.current_statistics().run_sync_soon_queue_size == 1
            await settle()
            assert lowlevel.current_statistics().run_sync_soon_queue_size == 0
            assert lowlevel.current_statistics().tasks_living == 5
            nursery.cancel_scope.cancel()
        assert lowlevel.current_statistics().tasks_living == 3
        assert lowlevel.current_statistics().seconds_to_next_deadline == inf

    uringtrio.run(main, clock=clock)


def test_root_task_is_init_and_holds_main_and_the_entry_task():
    async def main():
        root = lowlevel.current_root_task()
        assert root.name == "<init>"
        assert root.parent_nursery is None
        names = {task.name for nursery in root.child_nurseries for task in nursery.child_tasks}
        assert "<TrioToken.run_sync_soon task>" in names
        assert lowlevel.current_task().name in names

    uringtrio.run(main)


def test_system_task_is_cancelled_when_main_has_finished(record):
    async def background():
        try:
            await uringtrio.sleep_forever()
        except uringtrio.Cancelled as exc:
            record((exc.source, exc.reason, "<init>" in exc.source_task))
            raise
        finally:
            record("unwound")

    async def main():
        lowlevel.spawn_system_task(background)
        await lowlevel.checkpoint()
        record("main ends")

    uringtrio.run(main)

    assert record.events == [
        "main ends",
        ("shutdown", "main task done, shutting down system tasks", True),
        "unwound",
    ]


def test_system_task_outlives_a_main_that_failed_only_to_unwind(record):
    async def background():
        try:
            await uringtrio.sleep_forever()
        finally:
            record("unwound")

    async def main():
        lowlevel.spawn_system_task(background)
        await lowlevel.checkpoint()
        raise KeyError

    with pytest.raises(KeyError):
        uringtrio.run(main)

    assert record.events == ["unwound"]


def test_system_task_may_start_while_others_are_shutting_down_but_not_after():
    outcomes = []

    async def late():
        outcomes.append("late ran")

    async def background():
        try:
            await uringtrio.sleep_forever()
        finally:
            lowlevel.spawn_system_task(late)

    async def main():
        lowlevel.spawn_system_task(background)
        await lowlevel.checkpoint()
        return lowlevel.current_trio_token()

    uringtrio.run(main)

    assert outcomes == ["late ran"]


def test_system_task_does_not_see_the_callers_context_variables():
    seen = []

    async def look():
        seen.append(variable.get())
        variable.set("changed")

    async def main():
        variable.set("of main")
        task = lowlevel.spawn_system_task(look)
        while task in task.parent_nursery.child_tasks:
            await lowlevel.checkpoint()
        lowlevel.spawn_system_task(look)
        await lowlevel.checkpoint()
        return variable.get()

    assert uringtrio.run(main) == "of main"
    # Each has a copy of the run's own context, so the second does not see the first's change.
    assert seen == ["unset", "unset"]


def test_system_task_runs_in_the_context_it_is_given():
    seen = []

    async def look():
        seen.append(variable.get())

    async def main():
        context = contextvars.copy_context()
        context.run(variable.set, "given")
        lowlevel.spawn_system_task(look, context=context)
        await lowlevel.checkpoint()
        await lowlevel.checkpoint()
        return variable.get()

    assert uringtrio.run(main) == "unset"
    assert seen == ["given"]


def test_system_task_gets_its_name_and_arguments():
    seen = []

    async def look(*args):
        seen.append((lowlevel.current_task().name, args))

    async def main():
        task = lowlevel.spawn_system_task(look, 1, 2, name="the name")
        assert task.name == "the name"
        await lowlevel.checkpoint()
        await lowlevel.checkpoint()

    uringtrio.run(main)

    assert seen == [("the name", (1, 2))]


def test_main_sees_the_context_of_the_caller_of_run_but_does_not_change_it():
    async def main():
        seen = variable.get()
        variable.set("of main")
        return seen

    token = variable.set("of the caller")
    try:
        assert uringtrio.run(main) == "of the caller"
        assert variable.get() == "of the caller"
    finally:
        variable.reset(token)


def test_io_statistics_name_the_driver_and_why():
    async def main():
        return lowlevel.current_statistics().io_statistics

    statistics = uringtrio.run(main, driver="epoll")

    assert statistics.driver == statistics.backend == "epoll"
    assert "run(driver=" in statistics.reason
    assert statistics.in_flight == {}


def test_io_statistics_count_ops_and_cancels(settle):
    async def main():
        left, right = uringtrio.socket.socketpair()
        with left, right:
            async with uringtrio.open_nursery() as nursery:
                before = lowlevel.current_statistics().io_statistics
                nursery.start_soon(left.recv, 1)
                await settle()
                during = lowlevel.current_statistics().io_statistics
                assert during.in_flight == {"Recv": 1}
                assert during.sqes > before.sqes
                assert during.cancels == before.cancels
                nursery.cancel_scope.cancel()
            after = lowlevel.current_statistics().io_statistics
            assert after.in_flight == {}
            assert after.cancels == before.cancels + 1
            assert after.cqes > before.cqes

    uringtrio.run(main)


def test_crashed_run_does_not_complain_of_tasks_that_never_began(leftovers):
    """Up to 0.1.0 each of them was "never awaited", which hid the one message that mattered."""
    leftovers.allowed = True

    async def main():
        def fail(_raise_cancel):
            raise LookupError

        async with uringtrio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(lowlevel.checkpoint)
            nursery.cancel_scope.cancel()
            await lowlevel.wait_task_rescheduled(fail)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with pytest.raises(uringtrio.TrioInternalError):
            uringtrio.run(main)
        gc.collect()

    assert [str(warning.message) for warning in caught] == []
