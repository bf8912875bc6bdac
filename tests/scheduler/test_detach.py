"""Coroutines that leave their task, for good or for a while, and what they may not do."""

import outcome
import pytest

import uringtrio
from uringtrio import lowlevel


class Abroad:
    """Runs a coroutine where no run is, one step at a time."""

    def __init__(self):
        self.yields = []
        self.result = None

    def step(self, coro, value=None):
        try:
            self.yields.append(coro.send(value))
        except StopIteration as exc:
            self.result = exc.value


def test_coroutine_that_leaves_for_good_ends_its_task_and_goes_on_elsewhere(record):
    coros = []

    async def leaves():
        coros.append(lowlevel.current_task().coro)
        value = await lowlevel.permanently_detach_coroutine_object(outcome.Value("for the nursery"))
        record(value)
        return "for whoever runs it"

    async def main():
        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(leaves)
        record("nursery ended")

    uringtrio.run(main)
    abroad = Abroad()
    abroad.step(coros[0], "hello")

    assert record.events == ["nursery ended", "hello"]
    assert abroad.result == "for whoever runs it"


def test_main_may_leave_and_its_outcome_is_that_of_the_run():
    coros = []

    async def main():
        coros.append(lowlevel.current_task().coro)
        await lowlevel.permanently_detach_coroutine_object(outcome.Value(42))

    assert uringtrio.run(main) == 42
    coros[0].close()


def test_error_as_outcome_is_raised_where_the_task_was():
    error = LookupError()
    coros = []

    async def leaves():
        coros.append(lowlevel.current_task().coro)
        await lowlevel.permanently_detach_coroutine_object(outcome.Error(error))

    async def main():
        with pytest.raises(ExceptionGroup) as caught:
            async with uringtrio.open_nursery() as nursery:
                nursery.start_soon(leaves)
        return caught.value.exceptions

    assert uringtrio.run(main) == (error,)
    coros[0].close()


def test_coroutine_with_open_nurseries_cannot_leave():
    async def main():
        async with uringtrio.open_nursery():
            with pytest.raises(RuntimeError, match="open nurseries"):
                await lowlevel.permanently_detach_coroutine_object(outcome.Value(None))
        return "stays"

    assert uringtrio.run(main) == "stays"


def test_coroutine_leaves_and_comes_back(record):
    abroad = Abroad()

    async def travels():
        task = lowlevel.current_task()

        def abort(_raise_cancel):
            raise AssertionError("never cancelled")

        record(await lowlevel.temporarily_detach_coroutine_object(abort))
        # Run by somebody else now, in no task.
        assert not lowlevel.in_trio_task()
        await lowlevel.reattach_detached_coroutine_object(task, "let go of me")
        assert lowlevel.current_task() is task
        await lowlevel.checkpoint()
        return "home"

    async def main():
        async with uringtrio.open_nursery() as nursery:
            tasks = []

            async def child():
                tasks.append(lowlevel.current_task())
                record(await travels())

            nursery.start_soon(child)
            await lowlevel.checkpoint()
            await lowlevel.checkpoint()
            token = lowlevel.current_trio_token()
            token.run_sync_soon(step_outside, tasks)

    def step_outside(tasks):
        # A callback of the run is in a task of the run's own; step as if there were none.
        runner = tasks[0]._runner
        own, runner.task = runner.task, None
        try:
            abroad.step(tasks[0].coro, "abroad")
        finally:
            runner.task = own

    uringtrio.run(main)

    assert record.events == ["abroad", "home"]
    assert abroad.yields == ["let go of me"]


def test_coming_back_to_another_task_is_refused():
    async def main():
        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(uringtrio.sleep, 0.001)
            (other,) = nursery.child_tasks
            with pytest.raises(RuntimeError, match="given task does not match"):
                await lowlevel.reattach_detached_coroutine_object(other, None)

    uringtrio.run(main)


def test_cancel_while_away_asks_the_abort_function_and_waits_for_the_return(record):
    abroad = Abroad()

    async def travels(scope):
        task = lowlevel.current_task()

        def abort(_raise_cancel):
            record("abort")
            return lowlevel.Abort.FAILED

        with scope:
            await lowlevel.temporarily_detach_coroutine_object(abort)
            await lowlevel.reattach_detached_coroutine_object(task, "back")
            record("back, and not cancelled yet")
            await lowlevel.checkpoint()
            record("never")

    async def main():
        scope = uringtrio.CancelScope()
        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(travels, scope)
            (task,) = nursery.child_tasks
            await lowlevel.checkpoint()
            await lowlevel.checkpoint()
            scope.cancel()
            abroad.step(task.coro)
        return scope.cancelled_caught

    assert uringtrio.run(main)
    assert record.events == ["abort", "back, and not cancelled yet"]
    assert abroad.yields == ["back"]


def test_leaving_needs_a_task():
    coro = lowlevel.permanently_detach_coroutine_object(outcome.Value(None))
    with pytest.raises(RuntimeError, match="must be called from async context"):
        coro.send(None)


class Continued:
    """Awaits a coroutine that has begun elsewhere, which `await` itself refuses."""

    def __init__(self, coro):
        self._coro = coro

    def __await__(self):
        value = None
        while True:
            try:
                yielded = self._coro.send(value)
            except StopIteration as exc:
                return exc.value
            value = yield yielded


def test_coroutine_may_move_to_another_run():
    coros = []

    async def moves():
        coros.append(lowlevel.current_task().coro)
        before = lowlevel.current_trio_token()
        await lowlevel.permanently_detach_coroutine_object(outcome.Value("first"))
        assert lowlevel.current_trio_token() is not before
        await uringtrio.sleep(0.001)
        return "second"

    async def goes_on():
        return await Continued(coros[0])

    assert uringtrio.run(moves) == "first"
    assert uringtrio.run(goes_on) == "second"
