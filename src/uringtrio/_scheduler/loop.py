"""The run loop: `run`, and the three calls that make one turn of it.

A turn is `before_wait` (how long may we wait?), the driver's `wait`, and `after_wait` (who goes on
because of it?), then one step of each task that is runnable. A task's step ends when it yields
something with an `arm` method; that decides what happens to the task.
"""

from __future__ import annotations

import random
from math import inf
from typing import TYPE_CHECKING, Any, TypeVar

import sniffio

from uringtrio._drivers.driver import Driver, choose_driver
from uringtrio._errors import TrioInternalError
from uringtrio._ops.op import Thrown

from .clock import SystemClock
from .coroutines import check_async_fn
from .current import CURRENT
from .interrupt import InterruptHandler
from .nursery import warn_non_strict
from .runner import LIBRARY, Runner, as_internal_error

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from uringtrio._abc import Clock
    from uringtrio._ops.op import Op
    from uringtrio._ring.options import RingOptions

    from .task import Task

T = TypeVar("T")

# With tasks runnable and nothing submitted, the driver is asked in one of this many turns: often
# enough for I/O not to starve, seldom enough to cost nothing (benchmarks/scheduler.py, checkpoint).
POLL_EVERY = 16
# An hour. Some kernels refuse longer waits, and a wait that ends early only costs a turn.
WAIT_MAX_SECONDS = 3600.0


def run(
    async_fn: Callable[..., Awaitable[T]],
    *args: Any,
    driver: str | Driver | None = None,
    ring: RingOptions | None = None,
    clock: Clock | None = None,
    restrict_keyboard_interrupt_to_checkpoints: bool = False,
    strict_exception_groups: bool = True,
) -> T:
    """Run `async_fn(*args)` and everything it starts; return what it returns.

    Args:
        async_fn: an async function, not called yet.
        args: its positional arguments; for keyword arguments use `functools.partial`.
        driver: "io_uring", "epoll", or "auto": io_uring where it can be had, else epoll. None
            takes the environment's URINGTRIO_DRIVER, and without it "auto". A `Driver` object,
            as tests have, is used and closed.
        ring: sizes of the ring; see `RingOptions`.
        clock: what deadlines are measured by; None takes the system's monotonic clock.
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
    if CURRENT.runner is not None:
        raise RuntimeError("Attempted to call run() from inside a run()")
    check_async_fn(async_fn, "uringtrio.run")
    if not strict_exception_groups:
        warn_non_strict("run")
    if not isinstance(driver, Driver):
        driver = choose_driver(driver, ring)
    runner = Runner(driver, clock or SystemClock(), strict_exception_groups=strict_exception_groups)
    interrupts = InterruptHandler(runner)
    library = sniffio.thread_local.name
    try:
        CURRENT.runner = runner
        sniffio.thread_local.name = LIBRARY
        interrupts.install(
            driver.wakeup_fd, only_at_checkpoints=restrict_keyboard_interrupt_to_checkpoints
        )
        runner.asyncgens.install_hooks()
        runner.clock.start_clock()
        runner.start(async_fn, args)
        _loop(runner)
    except TrioInternalError:
        raise
    except BaseException as exc:
        raise as_internal_error(exc) from exc
    finally:
        runner.asyncgens.restore_hooks()
        interrupts.restore_wakeup_fd()
        driver.close()
        interrupts.restore_handler()
        sniffio.thread_local.name = library
        CURRENT.runner = None
        runner.close()
    if runner.ki_pending:
        # It came too late for the main task.
        raise KeyboardInterrupt
    if runner.main_error is not None:
        _raise_main_error(runner)
    return runner.main_value  # type: ignore[no-any-return]  # Coroutine[Any, Any, T] ends here


def _raise_main_error(runner: Runner) -> None:
    try:
        assert runner.main_error is not None
        raise runner.main_error
    finally:
        # The traceback refers to this frame, which must not refer back.
        runner.main_error = None
        del runner


def _loop(runner: Runner) -> None:
    driver = runner.driver
    seen_id = -1
    turns = 0
    while runner.init_task is not None:
        turns += 1
        if runner.runq and driver.last_id == seen_id and turns % POLL_EVERY:
            after_wait(runner, ())
        else:
            after_wait(runner, driver.wait(before_wait(runner)))
            seen_id = driver.last_id
        run_tasks(runner)


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
    if runner.deadlines.heap:
        runner.deadlines.expire(runner.now())
    entry = runner.entry
    if entry.queue or entry.idempotent:
        entry.wake_sleeper()
    if runner.idle is not None:
        runner.idle.check()


def run_tasks(runner: Runner) -> None:
    """Run each runnable task until it yields; what they make runnable runs in the next turn."""
    batch, runner.runq = runner.runq, []
    # No program may come to rely on an order (Trio's promise); two orders are enough for that.
    if len(batch) > 1 and random.random() < 0.5:
        batch.reverse()
    for task in batch:
        runner.task = task
        task._parked = None
        try:
            if task._error is None:
                value = task._value
                task._value = None
                yielded = task._run(task._send, value)
            else:
                yielded = task._run(task.coro.throw, task._take_error())
        except StopIteration as exc:
            runner.task = None
            runner.task_exited(task, exc.value, None)
            continue
        except BaseException as exc:  # noqa: BLE001  # it goes to the task's nursery
            runner.task = None
            # The traceback starts in the task's own code, not here.
            runner.task_exited(task, None, exc.with_traceback(_below_this_frame(exc)))
            continue
        try:
            arm = yielded.arm
        except AttributeError:
            _refuse_foreign(task, yielded)
        else:
            arm(task)
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
