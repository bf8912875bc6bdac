"""The run loop: `run`, and the three calls that make one turn of it.

A turn is `before_wait` (how long may we wait?), the driver's `wait`, and `after_wait` (who goes on
because of it?), then one step of each task that is runnable. A task's step ends when it yields
something with an `arm` method; that decides what happens to the task.
"""

from __future__ import annotations

import sys
from math import inf
from random import Random
from typing import TYPE_CHECKING, Any, TypeVar, TypeVarTuple

import sniffio

from uringtrio._drivers.driver import Driver, choose_driver
from uringtrio._errors import TrioInternalError
from uringtrio._ops.op import Thrown

from .clock import SystemClock
from .coroutines import check_async_fn
from .current import CURRENT
from .instruments import install
from .interrupt import InterruptHandler
from .nursery import warn_non_strict
from .runner import LIBRARY, Runner, as_internal_error

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from uringtrio._abc import Clock, Instrument
    from uringtrio._ops.op import Op
    from uringtrio._ring.options import RingOptions

    from .instruments import Instruments
    from .task import Task

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

# With tasks runnable and nothing submitted, the driver is asked in one of this many turns: often
# enough for I/O not to starve, seldom enough to cost nothing (benchmarks/scheduler.py, checkpoint).
POLL_EVERY = 16
# Not the generator of the module `random`: a program that seeds that expects all of its numbers.
ORDER = Random()
# A day, as in Trio. A wait that ends early only costs a turn.
WAIT_MAX_SECONDS = 86400.0


def run(  # noqa: PLR0913  # Trio's arguments, and two of our own
    async_fn: Callable[[*Ts], Awaitable[T]],
    *args: *Ts,
    driver: str | Driver | None = None,
    ring: RingOptions | None = None,
    clock: Clock | None = None,
    instruments: Iterable[Instrument] = (),
    restrict_keyboard_interrupt_to_checkpoints: bool = False,
    strict_exception_groups: bool = True,
) -> T:
    """Run `async_fn(*args)` and everything it starts; return what it returns.

    Args:
        async_fn: an async function, not called yet.
        args: its positional arguments; for keyword arguments use `functools.partial`.
        driver: "io_uring", "epoll", "kqueue", or "auto": the first of them that can be had. None
            takes the environment's URINGTRIO_DRIVER, and without it "auto". A `Driver` object,
            as tests have, is used and closed.
        ring: sizes of the ring; see `RingOptions`.
        clock: what deadlines are measured by; None takes the system's monotonic clock.
        instruments: objects to be told what the run does, see `abc.Instrument`.
        restrict_keyboard_interrupt_to_checkpoints: let Ctrl-C interrupt only checkpoints of the
            main task, instead of any code of the user's.
        strict_exception_groups: the default for nurseries, see `open_nursery`.

    Raises:
        RuntimeError: called inside a run of the same thread.
        TypeError: `async_fn` is no async function.
        DriverUnavailableError: the driver named cannot be had; says why, and the remedy.
        ValueError: no such driver.
        TrioInternalError: a system task failed, or the runtime itself.

    What `async_fn` raises comes out unchanged.
    """
    check_async_fn(async_fn, "uringtrio.run")
    if not strict_exception_groups:
        warn_non_strict("run")
    session = Session(driver, ring, clock, strict_exception_groups=strict_exception_groups)
    library = sniffio.thread_local.name
    try:
        sniffio.thread_local.name = LIBRARY
        session.begin(
            async_fn,
            args,
            instruments,
            only_at_checkpoints=restrict_keyboard_interrupt_to_checkpoints,
        )
        _loop(session.runner)
    except TrioInternalError:
        raise
    except BaseException as exc:
        raise as_internal_error(exc) from exc
    finally:
        session.end()
        sniffio.thread_local.name = library
    return session.result()  # type: ignore[no-any-return]  # Coroutine[Any, Any, T] ends here


class Session:
    """What a run takes over from its thread, and gives back."""

    __slots__ = ("_interrupts", "runner")

    def __init__(
        self,
        driver: str | Driver | None,
        ring: RingOptions | None,
        clock: Clock | None,
        *,
        strict_exception_groups: bool,
    ) -> None:
        if CURRENT.runner is not None:
            raise RuntimeError("Attempted to call run() from inside a run()")
        if not isinstance(driver, Driver):
            driver = choose_driver(driver, ring)
        self.runner = Runner(
            driver, clock or SystemClock(), strict_exception_groups=strict_exception_groups
        )
        self._interrupts = InterruptHandler(self.runner)

    def begin(
        self,
        async_fn: Callable[..., Awaitable[Any]],
        args: tuple[Any, ...],
        instruments: Iterable[Instrument],
        *,
        only_at_checkpoints: bool,
        takes_wakeup_fd: bool = True,
    ) -> None:
        """Take over, and make the first task."""
        runner = CURRENT.runner = self.runner
        self._interrupts.install(
            runner.driver.wakeup_fd if takes_wakeup_fd else None,
            only_at_checkpoints=only_at_checkpoints,
        )
        runner.asyncgens.install_hooks()
        for instrument in instruments:
            install(runner, instrument)
        runner.clock.start_clock()
        runner.tell("before_run")
        runner.start(async_fn, args)

    def end(self) -> None:
        """Give back. Nothing of the run goes on."""
        runner = self.runner
        runner.asyncgens.restore_hooks()
        runner.tell("after_run")
        self._interrupts.restore_wakeup_fd()
        runner.driver.close()
        self._interrupts.restore_handler()
        CURRENT.runner = None
        runner.close()

    def result(self) -> Any:
        """Return what the main task returned, or raise what it raised."""
        runner = self.runner
        error, runner.main_error = runner.main_error, None
        if runner.ki_pending:
            # It came too late for the main task.
            interrupt = KeyboardInterrupt()
            interrupt.__context__ = error
            error = interrupt
        if error is None:
            return runner.main_value
        try:
            raise error
        finally:
            # The traceback refers to this frame, which must not refer back.
            del error


def _loop(runner: Runner) -> None:
    driver = runner.driver
    while runner.init_task is not None:
        if runner.instruments is not None:
            after_wait(runner, _wait_instrumented(runner, runner.instruments))
        else:
            after_wait(runner, driver.wait(before_wait(runner)))
        run_tasks(runner, POLL_EVERY)


def _wait_instrumented(runner: Runner, instruments: Instruments) -> Sequence[Op]:
    timeout_ns = before_wait(runner)
    timeout = as_seconds(timeout_ns)
    instruments.call("before_io_wait", timeout)
    done = runner.driver.wait(timeout_ns)
    instruments.call("after_io_wait", timeout)
    return done


def as_seconds(timeout_ns: int) -> float:
    """Return the length of a wait as instruments are told it, without the rounding up."""
    return WAIT_MAX_SECONDS if timeout_ns < 0 else round(timeout_ns / 1e9, 6)


def before_wait(runner: Runner) -> int:
    """Return how many nanoseconds the wait of this turn may take at most; -1 is without end."""
    if runner.runq:
        return 0
    deadline = runner.deadlines.next_deadline()
    seconds = inf
    if deadline != inf:
        seconds = runner.clock.deadline_to_sleep_time(deadline)
    if runner.idle is not None:
        seconds = runner.idle.prime(seconds)
    if seconds == inf:
        return -1
    if seconds <= 0:
        return 0
    # Rounded up: a wait that ends before its deadline would only be repeated.
    return int(min(seconds, WAIT_MAX_SECONDS) * 1e9) + 1


def after_wait(runner: Runner, done: Sequence[Op]) -> None:
    """Make runnable the tasks whose ops are done or whose deadlines have passed."""
    runq = runner.runq
    for op in done:
        op.id = 0
        task = op.waiter
        if task is None:
            # Its coroutine was closed while it waited.
            op.finish_unclaimed()
            continue
        interruption = op.interruption
        if interruption is not None:
            op.interruption = None
            interruption.ended()
            if op.res < 0:
                task._value = Thrown(interruption.exception())
        runq.append(task)
    timers = runner.deadlines.heap
    if timers:
        now = runner.now()
        if timers[0][0] <= now:
            runner.deadlines.expire(now)
    entry = runner.entry
    if entry.queue or entry.idempotent:
        entry.wake_sleeper()
    if runner.idle is not None:
        runner.idle.check()


def run_tasks(  # noqa: C901, PLR0912, PLR0915  # hot: a helper is a call for each step or turn
    runner: Runner, turns: int = 1
) -> None:
    """Run each runnable task until it yields; what they make runnable runs in the next turn.

    Args:
        runner: the run.
        turns: how many turns to take at most, as long as tasks are runnable and none has given
            the driver anything to do. Turns within one call make a checkpoint 1.4 times as fast
            (benchmarks/scheduler.py, checkpoint).
    """
    driver, entry, timers = runner.driver, runner.entry, runner.deadlines.heap
    last_id = driver.last_id
    while True:
        instruments = runner.instruments
        batch = runner.runq
        runner.runq, runner.spare_runq = runner.spare_runq, batch
        # No program may come to rely on an order (Trio's promise); two orders are enough for that.
        if len(batch) > 1 and ORDER.random() < 0.5:
            batch.reverse()
        for task in batch:
            runner.task = task
            task._parked = None
            if instruments is not None:
                instruments.call("before_task_step", task)
            try:
                if task._error is None:
                    value = task._value
                    task._value = None
                    yielded = task._run(task._send, value)
                else:
                    yielded = task._run(task.coro.throw, task._take_error())
            except StopIteration as exc:
                runner.task_exited(task, exc.value, None)
            except BaseException as exc:  # noqa: BLE001  # it goes to the task's nursery
                # The traceback starts in the task's own code, not here.
                runner.task_exited(task, None, exc.with_traceback(_below_this_frame(exc)))
            else:
                try:
                    arm = yielded.arm
                except AttributeError:
                    _refuse_foreign(task, yielded)
                else:
                    arm(task)
            if instruments is not None:
                instruments.call("after_task_step", task)
        batch.clear()
        turns -= 1
        if (
            turns == 0
            or not runner.runq
            or driver.last_id != last_id
            or runner.instruments is not None
        ):
            break
        if timers or entry.queue or entry.idempotent:
            runner.task = None
            after_wait(runner, ())
    runner.task = None


def _below_this_frame(exc: BaseException) -> Any:
    return None if exc.__traceback__ is None else exc.__traceback__.tb_next


def _refuse_foreign(task: Task, yielded: object) -> None:
    task._throw(
        TypeError(
            f"trio.run received unrecognized yield message {yielded!r}. Are you trying to await "
            "something that belongs to another async library, such as asyncio? "
            "uringtrio can only run awaitables of its own"
        )
    )


def register_with_hypothesis() -> None:
    """Let hypothesis seed the order of tasks, so that it can repeat its examples.

    The entry point `hypothesis` names this function; hypothesis calls it when it starts.
    """
    sys.modules["hypothesis"].register_random(ORDER)
