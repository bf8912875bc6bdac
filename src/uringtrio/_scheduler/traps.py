"""How a task hands control to the run loop, other than by an op. Nothing else may yield.

Whatever a task yields has a method `arm(task)`, which the loop calls: it parks the task or makes
it runnable again. What it parks on has `abort(task, interruption)`, which is called at most once
for each wait, and returns whether the task may be resumed with the interruption at once.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeVar

import outcome

from uringtrio._ops.op import Thrown

from .current import get_runner, get_task

if TYPE_CHECKING:
    from uringtrio._ops.op import Interruption

    from .task import Task

T = TypeVar("T")

RaiseCancelT = Callable[[], NoReturn]
AbortFn = Callable[[RaiseCancelT], "Abort"]


class Abort(enum.Enum):
    """What an abort function answers.

    Attributes:
        SUCCEEDED: the wait is over; the runtime reschedules the task with the cancellation.
        FAILED: the wait goes on; somebody will call `reschedule` for it.
    """

    SUCCEEDED = 1
    FAILED = 2


# Another event loop that is handed one of these objects puts its repr into the error it raises.
FOREIGN_LOOP_ADVICE = (
    "must be called from async context, inside a function that uringtrio.run() started"
)


class _Checkpoint:
    """Lets other tasks run; raises if the task is cancelled. One object serves every task."""

    __slots__ = ()

    def __await__(self) -> Generator[_Checkpoint, Thrown | None, None]:
        # A tuple's iterator would do without a frame, and without 20 ns. But then the Cancelled
        # had to be thrown from outside, which changes the `__context__` of whatever is raised
        # because of it, as `Thrown` says.
        thrown = yield self
        if thrown is not None:
            raise thrown.take()

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {FOREIGN_LOOP_ADVICE}>"

    def arm(self, task: Task) -> None:
        task.custom_sleep_data = None
        if task._scope._effectively_cancelled or task._ki_pending:
            task._interrupt_now()
        else:
            task._parked = self
            task._runner.runq.append(task)

    def abort(self, task: Task, interruption: Interruption) -> bool:
        # Cancelled between the yield and the next step: the task is runnable already.
        task._value = Thrown(interruption.exception())
        return False


class _CheckedCheckpoint(_Checkpoint):
    """Lets other tasks run; whoever awaits it has looked for a cancellation already."""

    __slots__ = ()

    def arm(self, task: Task) -> None:
        task._runner.runq.append(task)


class _ShieldedCheckpoint(_Checkpoint):
    """Lets other tasks run; nobody looks for a cancellation."""

    __slots__ = ()

    def arm(self, task: Task) -> None:
        if task._watch is not None:
            task._watch.shielded += 1
        task._runner.runq.append(task)


CHECKPOINT = _Checkpoint()
CHECKED_CHECKPOINT = _CheckedCheckpoint()
SHIELDED_CHECKPOINT = _ShieldedCheckpoint()


async def checkpoint() -> None:
    """Let other tasks run, and raise if this task's scope is cancelled.

    Raises:
        Cancelled: the surrounding scope is cancelled.

    Checkpoint: always.
    """
    await CHECKPOINT


async def cancel_shielded_checkpoint() -> None:
    """Let other tasks run, but do not look for a cancellation.

    Checkpoint: schedules, but is no cancellation point.
    """
    await SHIELDED_CHECKPOINT


async def checkpoint_if_cancelled() -> None:
    """Raise if this task's scope is cancelled; else return at once, letting nobody run.

    Checkpoint: a cancellation point, but does not schedule.
    """
    task = get_task("uringtrio.lowlevel.checkpoint_if_cancelled()")
    if task._scope._effectively_cancelled or task._ki_pending:
        await CHECKPOINT
    if task._watch is not None:
        task._watch.looked += 1


class Park(Generic[T]):
    """Parks the task in a dict, from where `Task._resume` takes it; cancelling removes it.

    Whoever takes the task out of the dict must resume it. The dict keeps the order of arrival.

    Args:
        tasks: where the task is to be found, with `payload` as its value.
        payload: anything.
    """

    __slots__ = ("_payload", "_tasks")

    def __init__(self, tasks: dict[Task, T], payload: T) -> None:
        self._tasks = tasks
        self._payload = payload

    def __repr__(self) -> str:
        return f"<Park: {FOREIGN_LOOP_ADVICE}>"

    def __await__(self) -> Generator[Park[T], Any, Any]:
        sent = yield self
        if type(sent) is Thrown:
            raise sent.take()
        return sent

    def arm(self, task: Task) -> None:
        if task._scope._effectively_cancelled or task._ki_pending:
            task._interrupt_now()
            return
        self._tasks[task] = self._payload
        task._parked = self

    def abort(self, task: Task, _interruption: Interruption) -> bool:
        del self._tasks[task]
        return True


class _SleepForever:
    """Parks the task until it is interrupted. One object serves every task."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<uringtrio.sleep_forever(): {FOREIGN_LOOP_ADVICE}>"

    def __await__(self) -> Generator[_SleepForever, Thrown | None, NoReturn]:
        thrown = yield self
        if thrown is None:
            raise RuntimeError("sleep_forever() was woken by reschedule(), which is not for it")
        raise thrown.take()

    def arm(self, task: Task) -> None:
        if task._scope._effectively_cancelled or task._ki_pending:
            task._interrupt_now()
        else:
            task._parked = self
            task._is_rescheduled = False

    def abort(self, task: Task, _interruption: Interruption) -> bool:
        task._is_rescheduled = True
        return True


SLEEP_FOREVER = _SleepForever()


class SleepUntil:
    """Parks the task until a deadline: what a cancel scope around a park would do, in one step."""

    __slots__ = ("_deadline", "_task", "timer")

    def __init__(self, deadline: float) -> None:
        self._deadline = deadline
        self._task: Task | None = None
        self.timer = 0

    def __await__(self) -> Generator[SleepUntil, Thrown | None, None]:
        thrown = yield self
        if thrown is not None:
            raise thrown.take()
        task = self._task
        assert task is not None
        if task._scope._effectively_cancelled:
            # Both have come to pass, in whichever order: as in Trio, the cancellation counts.
            raise task._interruption().exception()

    def arm(self, task: Task) -> None:
        if task._scope._effectively_cancelled or task._ki_pending:
            task._interrupt_now()
            return
        self._task = task
        task._parked = self
        task._runner.deadlines.add(self._deadline, self)

    def abort(self, task: Task, _interruption: Interruption) -> bool:
        task._runner.deadlines.remove(self)
        return True

    def expire(self) -> None:
        assert self._task is not None
        self._task._resume(None)


class _Wait:
    """Parks the task until somebody calls `reschedule`, with the user's abort function."""

    __slots__ = ("_abort_fn",)

    def __init__(self, abort_fn: AbortFn) -> None:
        self._abort_fn = abort_fn

    def __repr__(self) -> str:
        return f"<wait_task_rescheduled(): {FOREIGN_LOOP_ADVICE}>"

    def __await__(self) -> Generator[_Wait, Any, Any]:
        sent = yield self
        if type(sent) is Thrown:
            raise sent.take()
        return sent

    def arm(self, task: Task) -> None:
        task._parked = self
        task._is_rescheduled = False
        if task._scope._effectively_cancelled or task._ki_pending:
            task._deliver()

    def abort(self, task: Task, interruption: Interruption) -> bool:
        def raise_cancel() -> NoReturn:
            raise interruption.exception()

        answer = self._abort_fn(raise_cancel)
        if type(answer) is not Abort:
            raise TypeError(f"an abort function must return Abort.SUCCEEDED or FAILED: {answer!r}")
        if answer is Abort.FAILED:
            return False
        task._is_rescheduled = True
        return True


async def wait_task_rescheduled(abort_func: AbortFn) -> Any:
    """Park this task until somebody calls `reschedule(task)`: what everything else is made of.

    Args:
        abort_func: called at most once, when the task is cancelled or interrupted, with a function
            that raises the exception to raise. It returns `Abort.SUCCEEDED`, and then nobody else
            may reschedule the task, or `Abort.FAILED`, and then somebody must. It is called in
            the run's thread, and must neither raise nor wait.

    Returns:
        The value that `reschedule` was given.

    Checkpoint: always.
    """
    return await _Wait(abort_func)


class _Detach:
    """Ends the task with an outcome while its coroutine goes on elsewhere."""

    __slots__ = ("_outcome",)

    def __init__(self, final_outcome: outcome.Outcome[Any]) -> None:
        self._outcome = final_outcome

    def __await__(self) -> Generator[_Detach, Any, Any]:
        return (yield self)

    def arm(self, task: Task) -> None:
        runner = task._runner
        runner.task = None
        if isinstance(self._outcome, outcome.Error):
            runner.task_exited(task, None, self._outcome.error)
        else:
            runner.task_exited(task, self._outcome.unwrap(), None)


async def permanently_detach_coroutine_object(final_outcome: outcome.Outcome[Any]) -> Any:
    """Take the coroutine out of this run for good; for those who move it to another one.

    Args:
        final_outcome: what the task ends with, as far as this run is concerned.

    Returns:
        What the next `send` into the coroutine brings, wherever that comes from.

    Raises:
        RuntimeError: the task has open nurseries.

    Checkpoint: never; the task has ended.
    """
    task = get_task("uringtrio.lowlevel.permanently_detach_coroutine_object()")
    if task._nurseries:
        raise RuntimeError("can't permanently detach a coroutine object with open nurseries")
    return await _Detach(final_outcome)


async def temporarily_detach_coroutine_object(abort_func: AbortFn) -> Any:
    """Park this task, so that its coroutine can be run elsewhere for a while.

    Args:
        abort_func: as in `wait_task_rescheduled`; it must return `Abort.FAILED`, because this run
            cannot resume the coroutine as long as it is away.

    Returns:
        What the next `send` into the coroutine brings. To come back,
        call `reattach_detached_coroutine_object`.

    Checkpoint: always.
    """
    return await _Wait(abort_func)


class _Foreign:
    """Yields a value to whoever runs the coroutine now, which is not this run."""

    __slots__ = ("_value",)

    def __init__(self, value: object) -> None:
        self._value = value

    def __await__(self) -> Generator[Any, Any, Any]:
        return (yield self._value)


async def reattach_detached_coroutine_object(task: Task, yield_value: object) -> None:
    """Come back after `temporarily_detach_coroutine_object`; call it inside the coroutine.

    Args:
        task: the task that was detached.
        yield_value: yielded to whoever runs the coroutine now, who must then let go of it.

    Raises:
        RuntimeError: the coroutine that calls this is not that of `task`.

    Checkpoint: schedules, but is no cancellation point.
    """
    # The types say Coroutine, which has no `cr_running`.
    if not getattr(task.coro, "cr_running", False):
        raise RuntimeError("given task does not match calling task: its coroutine is not running")
    reschedule(task, outcome.Value("reattaching"))
    sent = await _Foreign(yield_value)
    assert sent == "reattaching"


def reschedule(task: Task, next_send: outcome.Outcome[Any] | None = None) -> None:
    """Make `task`, which waits in `wait_task_rescheduled`, runnable again; once for each wait.

    Args:
        task: a task of this run.
        next_send: what its `wait_task_rescheduled` returns or raises; None returns None.

    Raises:
        AssertionError: the task does not wait, or was rescheduled already.
    """
    runner = get_runner("uringtrio.lowlevel.reschedule()")
    assert task._runner is runner, "reschedule: the task belongs to another run"
    if task._is_rescheduled:
        raise AssertionError(
            f"reschedule: {task!r} does not wait in wait_task_rescheduled, "
            "or was rescheduled before; there must be exactly one call for each wait"
        )
    task._is_rescheduled = True
    if isinstance(next_send, outcome.Error):
        task._resume_with(next_send.error)
    else:
        task._resume(None if next_send is None else next_send.unwrap())
