"""Runner: the state of one run, the birth and death of its tasks, and its beginning and end."""

from __future__ import annotations

import contextlib
import contextvars
import inspect
from dataclasses import dataclass
from types import CoroutineType
from typing import TYPE_CHECKING, Any, TypeVarTuple

from sniffio import thread_local as sniffio_library

from uringtrio._errors import RunFinishedError, TrioInternalError

from .asyncgens import AsyncGenerators
from .cancel import MISNESTING_ADVICE, CancelReason, CancelScope, abandon
from .coroutines import AsyncFn, as_coroutine, check_async_fn
from .current import CURRENT, get_runner
from .deadlines import Deadlines
from .entry import EntryQueue, TrioToken
from .idle import Idle, JumpingClock
from .interrupt import KeyboardInterruption
from .nursery import CLOSED_MESSAGE, Nursery, open_nursery
from .parking import break_lots_of
from .task import Task

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from uringtrio._abc import Clock
    from uringtrio._drivers.driver import Driver, IOStatistics

    from .instruments import Instruments
    from .locals import RunVar

Ts = TypeVarTuple("Ts")

# What sniffio detects.
LIBRARY = "uringtrio"


@dataclass(frozen=True, slots=True)
class RunStatistics:
    """What `uringtrio.lowlevel.current_statistics()` returns.

    Attributes:
        tasks_living: tasks that have not finished, the runtime's own two included.
        tasks_runnable: tasks that will run in the next turn of the loop.
        seconds_to_next_deadline: time to the earliest deadline; inf if there is none.
        run_sync_soon_queue_size: calls that wait to be made for other threads.
        io_statistics: what the driver has done.
    """

    tasks_living: int
    tasks_runnable: int
    seconds_to_next_deadline: float
    io_statistics: IOStatistics
    run_sync_soon_queue_size: int


def _call_as_ours(async_fn: AsyncFn, args: tuple[Any, ...]) -> Any:
    """Call `async_fn`, which may be a plain function that asks which library runs it."""
    library, sniffio_library.name = sniffio_library.name, LIBRARY
    try:
        return async_fn(*args)
    finally:
        sniffio_library.name = library


class Runner:
    """The state of one run.

    Attributes:
        driver: carries out the ops.
        clock: the time of deadlines; `now` is its `current_time`, bound.
        is_asleep: whether a thread waits for this run, which is a guest.
        runq: tasks to run in the next turn of the loop.
        run_vars: the values that this run's `RunVar`s have.
        is_over: whether `run` is about to return; tasks that are left are destroyed.
        task: the one that is running; None between tasks.
        instruments: None while there are none.
        idle: None while nobody wants to know that all tasks wait.
        main_error, main_value: how the main task ended.
    """

    __slots__ = (
        "asyncgens", "clock", "deadlines", "driver", "entry", "entry_nursery", "idle",
        "init_task", "instruments", "is_asleep", "is_over", "keyboard_interruption", "ki_pending",
        "main_error", "main_is_done", "main_task", "main_value", "now", "run_vars", "runq",
        "spare_runq", "strict_exception_groups", "system_context", "system_nursery", "task",
        "tasks_living", "token",
    )  # fmt: skip

    def __init__(self, driver: Driver, clock: Clock, *, strict_exception_groups: bool) -> None:
        self.driver = driver
        self.clock = clock
        self.now = clock.current_time
        self.strict_exception_groups = strict_exception_groups
        # `spare_runq` takes the place of `runq` in each turn; empty between turns.
        self.runq: list[Task] = []
        self.spare_runq: list[Task] = []
        self.is_asleep = False
        self.run_vars: dict[RunVar[Any], Any] = {}
        self.instruments: Instruments | None = None
        self.idle: Idle | None = Idle(self) if isinstance(clock, JumpingClock) else None
        self.deadlines = Deadlines()
        self.task: Task | None = None
        self.tasks_living = 0
        self.is_over = False
        self.entry = EntryQueue(self)
        self.token = TrioToken(self.entry)
        self.system_context = contextvars.copy_context()
        self.entry_nursery: Nursery | None = None
        self.system_nursery: Nursery | None = None
        self.init_task: Task | None = None
        self.main_task: Task | None = None
        self.main_is_done = False
        self.main_value: Any = None
        self.main_error: BaseException | None = None
        self.asyncgens = AsyncGenerators(self)
        self.ki_pending = False
        self.keyboard_interruption = KeyboardInterruption(self)

    # Birth.

    def spawn(
        self,
        async_fn: AsyncFn,
        args: tuple[Any, ...],
        nursery: Nursery,
        name: object,
        *,
        context: contextvars.Context | None = None,
    ) -> Task:
        """Make a task that runs `async_fn(*args)` in `nursery`, which must be open.

        With a `context` of its own it is a system task, which KeyboardInterrupt does not touch;
        without one it gets a copy of the caller's.
        """
        is_system_task = context is not None
        if context is None:
            context = contextvars.copy_context()
        try:
            if sniffio_library.name == LIBRARY:
                coro = context.run(async_fn, *args)
            else:
                # No task is running: the host of a guest run calls this, or a thread without a run.
                if CURRENT.runner is not self:
                    raise RuntimeError(
                        "nursery.start_soon() must be called from async context, in the run of "
                        "the nursery: from another thread use "
                        "uringtrio.from_thread.run_sync(nursery.start_soon, ...)"
                    )
                coro = context.run(_call_as_ours, async_fn, args)
        except TypeError:
            call = "spawn_system_task" if is_system_task else "nursery.start_soon"
            check_async_fn(async_fn, call)
            raise
        if type(coro) is not CoroutineType:
            coro = as_coroutine(coro, async_fn)
        if name is None:
            name = async_fn
        # All by position: keywords cost 80 ns of 1000 (benchmarks/scheduler.py, spawn).
        task = Task(coro, nursery, self, name, context, nursery.cancel_scope, is_system_task)
        self.tasks_living += 1
        nursery._children.add(task)
        if self.instruments is not None:
            self.instruments.call("task_spawned", task)
        self.runq.append(task)
        return task

    def start(self, async_fn: AsyncFn, args: tuple[Any, ...]) -> None:
        """Make the first task, which starts all others."""
        root = CancelScope()
        self.init_task = Task(
            self._init(async_fn, args),
            None,
            self,
            "<init>",
            self.system_context,
            root,
            True,
        )
        self.tasks_living = 1
        self.tell("task_spawned", self.init_task)
        self.runq.append(self.init_task)

    async def _init(self, async_fn: AsyncFn, args: tuple[Any, ...]) -> None:
        # The nesting is the order of the end: the main task first, then system tasks, and last
        # the calls of other threads, which must be accepted for as long as anything runs.
        async with open_nursery(strict_exception_groups=True) as self.entry_nursery:
            async with open_nursery(strict_exception_groups=True) as self.system_nursery:
                async with open_nursery(strict_exception_groups=True) as main_nursery:
                    try:
                        self.main_task = self.spawn(async_fn, args, main_nursery, None)
                    except BaseException as exc:  # noqa: BLE001  # `run` raises it
                        self._main_finished(None, exc)
                        return
                    self.spawn_system(
                        self.entry.task, (), self.entry_nursery, "<TrioToken.run_sync_soon task>"
                    )
                self._shut_down(self.system_nursery, "main task done, shutting down system tasks")
            await self.asyncgens.close_remaining()
            self._shut_down(
                self.entry_nursery, "main task done, shutting down run_sync_soon callbacks"
            )

    def _shut_down(self, nursery: Nursery, reason: str) -> None:
        nursery.cancel_scope._cancel(CancelReason("shutdown", reason, repr(self.init_task)))

    def spawn_system(
        self,
        async_fn: AsyncFn,
        args: tuple[Any, ...],
        nursery: Nursery,
        name: object,
        context: contextvars.Context | None = None,
    ) -> Task:
        if nursery._closed:
            raise RuntimeError(CLOSED_MESSAGE)
        if context is None:
            context = self.system_context.copy()
        return self.spawn(async_fn, args, nursery, name, context=context)

    def crash(self, error: BaseException) -> None:
        """End the run with `error`, from a system task of its own, so that all are cancelled."""

        async def raise_error() -> None:
            raise error

        assert self.system_nursery is not None
        nursery = self.entry_nursery if self.system_nursery._closed else self.system_nursery
        assert nursery is not None
        self.spawn_system(raise_error, (), nursery, "<crash>")

    # Death.

    def task_exited(self, task: Task, value: Any, error: BaseException | None) -> None:
        """Account for the end of `task`; called by the loop."""
        self.tasks_living -= 1
        if task._nurseries:
            error = self._abandon_nurseries(task, error)
        if task._breaks:
            break_lots_of(task)
        nursery = task._nursery
        if nursery is None:
            self.init_task = None
            self.tell("task_exited", task)
            if error is None:
                return
            try:
                raise error
            finally:
                # The traceback refers to this frame, which must not refer back.
                del error
        if nursery.cancel_scope._task is None:
            error = _surrounding_scope_is_gone(task, error)
        if task is self.main_task:
            self._main_finished(value, error)
            error = None
        nursery._child_finished(task, error)
        if self.instruments is not None:
            self.instruments.call("task_exited", task)

    def _main_finished(self, value: Any, error: BaseException | None) -> None:
        self.main_is_done = True
        self.main_value = value
        self.main_error = error

    @staticmethod
    def _abandon_nurseries(task: Task, error: BaseException | None) -> BaseException:
        abandon([nursery.cancel_scope for nursery in task._nurseries], task)
        for nursery in task._nurseries:
            nursery.cancel_scope._cancel(
                CancelReason(
                    "nursery",
                    "Parent Task exited prematurely, abandoning this nursery without exiting "
                    "it properly.",
                    repr(task),
                )
            )
            nursery._closed = True
        problem = RuntimeError(
            f"Nursery stack corrupted: Nursery surrounding {task!r} was closed before the task "
            f"exited\n{MISNESTING_ADVICE}"
        )
        problem.__context__ = error
        return problem

    def end_sleep(self) -> None:
        """Let a guest run's wait, if it is in one, see that there is something new."""
        if self.is_asleep:
            self.is_asleep = False
            self.driver.wake()

    def tell(self, hook: str, *args: object) -> None:
        """Call a hook of the instruments, if there are any."""
        if self.instruments is not None:
            self.instruments.call(hook, *args)

    def close(self) -> None:
        """Let go of everything that refers back here, so that a finished run is freed at once."""
        self.is_over = True
        for queue in (self.runq, self.spare_runq):
            # Only a crash leaves tasks in them; of those that never began Python would warn.
            for task in queue:
                if inspect.getcoroutinestate(task.coro) == inspect.CORO_CREATED:
                    task.coro.close()
            queue.clear()
        self.task = self.main_task = self.init_task = None
        self.system_nursery = self.entry_nursery = None
        self.entry.close()
        self.run_vars.clear()
        self.idle = None
        del self.driver, self.keyboard_interruption, self.asyncgens

    # KeyboardInterrupt.

    def deliver_ki(self) -> None:
        """Remember a KeyboardInterrupt for the main task. Called by the signal handler."""
        self.ki_pending = True
        if self.main_task is not None and not self.main_is_done:
            self.main_task._ki_pending = True
        # The call is for a main task that waits; a handler must not touch the run queue.
        # When the run has finished, `run` is about to look at `ki_pending` itself.
        with contextlib.suppress(RunFinishedError):
            self.entry.run_sync_soon(self._deliver_ki_to_main)

    def _deliver_ki_to_main(self) -> None:
        if self.ki_pending and self.main_task is not None and not self.main_is_done:
            self.main_task._ki_pending = True
            self.main_task._deliver()

    def clear_ki(self) -> None:
        """Forget the KeyboardInterrupt: it is being raised."""
        self.ki_pending = False
        if self.main_task is not None:
            self.main_task._ki_pending = False


def _surrounding_scope_is_gone(task: Task, error: BaseException | None) -> BaseException:
    problem = RuntimeError(
        f"Cancel scope stack corrupted: Cancel scope surrounding {task!r} was closed before the "
        f"task exited\n{MISNESTING_ADVICE}"
    )
    problem.__context__ = error
    return problem


def spawn_system_task(
    async_fn: Callable[[*Ts], Awaitable[object]],
    *args: *Ts,
    name: object = None,
    context: contextvars.Context | None = None,
) -> Task:
    """Start a task that belongs to the run itself rather than to a nursery.

    It is cancelled when the main task has finished; an exception from it ends the run with
    `TrioInternalError`; KeyboardInterrupt is not raised in it.

    Args:
        async_fn: an async function.
        args: its positional arguments.
        name: as in `Nursery.start_soon`.
        context: its context variables; None takes those of the caller of `run`.

    Returns:
        The task.

    Raises:
        RuntimeError: the run is shutting down.
    """
    runner = get_runner("uringtrio.lowlevel.spawn_system_task()")
    if runner.system_nursery is None:
        raise RuntimeError(CLOSED_MESSAGE)
    return runner.spawn_system(async_fn, args, runner.system_nursery, name, context)


def current_root_task() -> Task | None:
    """Return the run's first task, the ancestor of all others."""
    return get_runner("uringtrio.lowlevel.current_root_task()").init_task


def current_clock() -> Clock:
    """Return the clock of this run."""
    return get_runner("uringtrio.lowlevel.current_clock()").clock


def current_statistics() -> RunStatistics:
    """Return figures about this run, for debugging and monitoring."""
    runner = get_runner("uringtrio.lowlevel.current_statistics()")
    return RunStatistics(
        tasks_living=runner.tasks_living,
        tasks_runnable=len(runner.runq),
        seconds_to_next_deadline=runner.deadlines.next_deadline() - runner.now(),
        io_statistics=runner.driver.statistics(),
        run_sync_soon_queue_size=len(runner.entry),
    )


def as_internal_error(exc: BaseException) -> TrioInternalError:
    """Wrap what the runtime itself let through."""
    if isinstance(exc, TrioInternalError):
        return exc
    error = TrioInternalError("internal error in uringtrio, or in a system task: please report it")
    error.__cause__ = exc
    return error
