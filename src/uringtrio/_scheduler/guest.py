"""Guest mode: a run that takes its turns in the callbacks of another event loop, its host.

    one turn, in the host's thread                      in a worker thread
    ------------------------------                      ------------------
    who goes on because of I/O and time?
    one step of each runnable task
    submit, and look for completions without waiting
    something to do: ask the host for the next turn
    nothing: let a thread wait                   ->     poll the driver's descriptor
    next turn                                    <-     ask the host for the next turn

Only the thread that owns a ring may enter it, so the worker does not call `Driver.wait` but polls
the ring's descriptor, which is readable when an enter would find something. What the host does
meanwhile (a cancel, a new task, a nearer deadline) makes the run queue or the deadlines end the
wait, see `Runner.end_sleep`.
"""

from __future__ import annotations

import select
import warnings
from math import ceil
from typing import TYPE_CHECKING, Any, TypeVar

import outcome
import sniffio

from uringtrio._errors import TrioInternalError
from uringtrio._thread_cache import start_thread_soon

from .coroutines import check_async_fn
from .deadlines import Deadlines, Timer
from .instruments import watch_run_queue
from .loop import Session, after_wait, as_seconds, before_wait, run_tasks
from .nursery import warn_non_strict
from .runner import LIBRARY, Runner, as_internal_error

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from uringtrio._abc import Clock, Instrument
    from uringtrio._drivers.driver import Driver
    from uringtrio._ops.op import Op
    from uringtrio._ring.options import RingOptions

T = TypeVar("T")

# The first turn makes the run's own tasks, and must not run code of the user's.
SETUP_TURNS = 1


class _GuestDeadlines(Deadlines):
    """Deadlines that end the wait in the thread when a nearer one is added."""

    __slots__ = ("_runner",)

    def __init__(self, runner: Runner) -> None:
        super().__init__()
        self._runner = runner

    def add(self, deadline: float, timer: Timer) -> None:
        super().add(deadline, timer)
        self._runner.end_sleep()


class _Guest:
    """Takes the turns of one guest run. Only the host's callbacks and the thread refer to it."""

    def __init__(
        self,
        session: Session,
        host_soon_threadsafe: Callable[[Callable[[], object]], object],
        host_soon: Callable[[Callable[[], object]], object],
        done_callback: Callable[[outcome.Outcome[Any]], object],
    ) -> None:
        self._session = session
        self._runner = session.runner
        self._host_soon_threadsafe = host_soon_threadsafe
        self._host_soon = host_soon
        self._done_callback = done_callback
        # What the look without waiting has found, for the next turn.
        self._done: Sequence[Op] = ()
        self._timeout = 0.0
        self._fd = -1
        self._is_over = False

    def __del__(self) -> None:
        if self._is_over:
            return
        warnings.warn(
            "Trio guest run got abandoned without properly finishing... weird stuff might happen",
            RuntimeWarning,
            stacklevel=2,
        )
        self._session.end()

    def turn(self) -> None:
        """Take one turn, and see to it that there is a next one, or end."""
        library, sniffio.thread_local.name = sniffio.thread_local.name, LIBRARY
        try:
            timeout_ns = self._take_turn()
        except BaseException as exc:  # noqa: BLE001  # the host is told by the callback
            self._finish(outcome.Error(as_internal_error(exc)))
            return
        finally:
            sniffio.thread_local.name = library
        if timeout_ns is None:
            self._finish(outcome.capture(self._session.result))
        elif timeout_ns == 0:
            self._host_soon(self.turn)
        else:
            self._wait_in_thread(timeout_ns)

    def _take_turn(self) -> int | None:
        """Return how long to wait for the next turn in nanoseconds, or None at the end."""
        runner = self._runner
        runner.is_asleep = False
        done = self._done or runner.driver.wait(0)
        self._done = ()
        runner.tell("after_io_wait", self._timeout)
        after_wait(runner, done)
        run_tasks(runner)
        if runner.init_task is None:
            self._session.end()
            return None
        timeout_ns = before_wait(runner)
        self._timeout = as_seconds(timeout_ns)
        runner.tell("before_io_wait", self._timeout)
        self._fd = runner.driver.fileno()
        self._done = runner.driver.wait(0)
        # From here on whatever becomes runnable ends the wait.
        runner.is_asleep = True
        return 0 if self._done or runner.runq or runner.entry else timeout_ns

    def _finish(self, result: outcome.Outcome[Any]) -> None:
        if self._runner.is_over is False:
            self._session.end()
        self._is_over = True
        self._done_callback(result)

    def _wait_in_thread(self, timeout_ns: int) -> None:
        timeout_ms = -1 if timeout_ns < 0 else ceil(timeout_ns / 1e6)
        fd = self._fd

        def wait() -> None:
            poll = select.poll()
            poll.register(fd, select.POLLIN)
            poll.poll(timeout_ms)

        def deliver(_result: outcome.Outcome[None]) -> None:
            self._host_soon_threadsafe(self.turn)

        start_thread_soon(wait, deliver)


def start_guest_run(  # noqa: PLR0913  # Trio's arguments, and two of our own
    async_fn: Callable[..., Awaitable[T]],
    *args: object,
    run_sync_soon_threadsafe: Callable[[Callable[[], object]], object],
    done_callback: Callable[[outcome.Outcome[T]], object],
    run_sync_soon_not_threadsafe: Callable[[Callable[[], object]], object] | None = None,
    host_uses_signal_set_wakeup_fd: bool = False,
    driver: str | Driver | None = None,
    ring: RingOptions | None = None,
    clock: Clock | None = None,
    instruments: Iterable[Instrument] = (),
    restrict_keyboard_interrupt_to_checkpoints: bool = False,
    strict_exception_groups: bool = True,
) -> None:
    """Start a run in the callbacks of another event loop in this thread, and return.

    When this returns, the run has begun, and the host may use `current_trio_token`,
    `spawn_system_task` and cancel scopes.

    Args:
        async_fn: an async function, not called yet.
        args: its positional arguments.
        run_sync_soon_threadsafe: called with a function that the host shall call soon in its
            thread; may be called in any thread.
        done_callback: called by the host with the `outcome.Outcome` of `async_fn`, or
            `TrioInternalError`; the run is over then.
        run_sync_soon_not_threadsafe: the same as `run_sync_soon_threadsafe`, but called only in
            the host's thread; None takes that.
        host_uses_signal_set_wakeup_fd: whether the host sees to it that signals end its waits,
            so that this run leaves `signal.set_wakeup_fd` alone.
        driver: as in `run`.
        ring: as in `run`.
        clock: as in `run`.
        instruments: as in `run`.
        restrict_keyboard_interrupt_to_checkpoints: as in `run`.
        strict_exception_groups: as in `run`.

    Raises:
        RuntimeError: called inside a run, or while another guest run of this thread goes on.
        TrioInternalError: the run could not begin.
    """
    check_async_fn(async_fn, "uringtrio.lowlevel.start_guest_run")
    if not strict_exception_groups:
        warn_non_strict("start_guest_run")
    session = Session(driver, ring, clock, strict_exception_groups=strict_exception_groups)
    runner = session.runner
    runner.deadlines = _GuestDeadlines(runner)
    watch_run_queue(runner)
    try:
        session.begin(
            async_fn,
            args,
            instruments,
            only_at_checkpoints=restrict_keyboard_interrupt_to_checkpoints,
            takes_wakeup_fd=not host_uses_signal_set_wakeup_fd,
        )
        for _ in range(SETUP_TURNS):
            run_tasks(runner)
        assert runner.system_nursery is not None
    except BaseException as exc:
        session.end()
        if isinstance(exc, TrioInternalError):
            raise
        raise as_internal_error(exc) from exc
    host_soon = run_sync_soon_not_threadsafe or run_sync_soon_threadsafe
    guest = _Guest(session, run_sync_soon_threadsafe, host_soon, done_callback)
    host_soon(guest.turn)
