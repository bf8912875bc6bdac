"""The way in from other threads and from signal handlers: a queue of calls to make in the run."""

from __future__ import annotations

import collections
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVarTuple, final

from uringtrio._abc import Sealed
from uringtrio._errors import RunFinishedError

from .current import get_runner
from .traps import CHECKPOINT, Abort, wait_task_rescheduled

if TYPE_CHECKING:
    from .runner import Runner
    from .task import Task

Ts = TypeVarTuple("Ts")

Call = tuple[Callable[..., object], tuple[object, ...]]


class EntryQueue:
    """Calls that other threads ask for, made by one system task in order of arrival.

    The lock is reentrant because a signal handler may interrupt this very code in its own thread.
    Appending is one atomic step, so such an interruption finds the queues whole.

    Attributes:
        queue: calls in order of arrival.
        idempotent: the same for those of which equal ones are made once.
    """

    __slots__ = ("_is_done", "_lock", "_runner", "_sleeper", "idempotent", "queue")

    def __init__(self, runner: Runner) -> None:
        # None once the run is over.
        self._runner: Runner | None = runner
        self.queue: collections.deque[Call] = collections.deque()
        self.idempotent: dict[Call, None] = {}
        self._lock = threading.RLock()
        self._is_done = False
        self._sleeper: Task | None = None

    def run_sync_soon(
        self, sync_fn: Callable[..., object], *args: object, idempotent: bool = False
    ) -> None:
        with self._lock:
            if self._is_done:
                raise RunFinishedError("run_sync_soon: the run has finished")
            # Nothing after the append may raise: the caller must be able to rely on the call.
            if idempotent:
                self.idempotent[sync_fn, args] = None
            else:
                self.queue.append((sync_fn, args))
            assert self._runner is not None
            self._runner.driver.wake()

    def __len__(self) -> int:
        return len(self.queue) + len(self.idempotent)

    def wake_sleeper(self) -> None:
        """Let the system task run, if it waits for calls; called by the loop in each turn."""
        if self._sleeper is not None:
            sleeper, self._sleeper = self._sleeper, None
            sleeper._resume(None)

    async def task(self) -> None:
        """Make the calls, as a system task, until it is cancelled."""
        try:
            while True:
                self._run_calls()
                if not self:
                    assert self._runner is not None
                    self._sleeper = self._runner.task
                    await wait_task_rescheduled(self._abort)
                else:
                    # What the calls have queued waits a turn, so that none can starve the loop.
                    await CHECKPOINT
        finally:
            self._finish()

    def _abort(self, _raise_cancel: object) -> Abort:
        self._sleeper = None
        return Abort.SUCCEEDED

    def _run_calls(self) -> None:
        """Make the calls that are queued now; those that they queue wait for the next time."""
        with self._lock:
            # Swapped, because other threads and signal handlers may insert at any moment.
            idempotent, self.idempotent = self.idempotent, {}
        for _ in range(len(self.queue)):
            self._call(*self.queue.popleft())
        for sync_fn, args in idempotent:
            self._call(sync_fn, args)

    def _call(self, sync_fn: Callable[..., object], args: tuple[object, ...]) -> None:
        try:
            sync_fn(*args)
        except BaseException as exc:  # noqa: BLE001  # it ends the run, but no other call
            assert self._runner is not None
            self._runner.crash(exc)

    def close(self) -> None:
        """Refuse calls from now on: the run is over."""
        with self._lock:
            self._is_done = True
            self._runner = None

    def _finish(self) -> None:
        with self._lock:
            self._is_done = True
        if self._runner is None:
            # The run has crashed, and this task is being destroyed.
            return
        # Who was not refused is served.
        while self:
            self._run_calls()


@final
class TrioToken(Sealed):
    """The only way into a run from another thread or a signal handler; see `run_sync_soon`."""

    __slots__ = ("__weakref__", "_entry")

    def __init__(self, entry: EntryQueue | None = None) -> None:
        if entry is None:
            raise TypeError(
                "uringtrio.lowlevel.TrioToken has no public constructor: "
                "use uringtrio.lowlevel.current_trio_token()"
            )
        self._entry = entry

    def run_sync_soon(
        self, sync_fn: Callable[[*Ts], object], *args: *Ts, idempotent: bool = False
    ) -> None:
        """Call `sync_fn(*args)` soon in the run's thread. Safe in any thread and signal handler.

        Args:
            sync_fn: must not raise: that ends the run with `TrioInternalError`.
            args: its arguments; hashable if `idempotent`.
            idempotent: do not queue the call if an equal one is queued already.

        Calls are made in order among the idempotent ones and among the others.

        Raises:
            RunFinishedError: the run is over. If this is not raised, the call will be made.
        """
        self._entry.run_sync_soon(sync_fn, *args, idempotent=idempotent)


def current_trio_token() -> TrioToken:
    """Return the token of this run, for another thread or a signal handler."""
    return get_runner("uringtrio.lowlevel.current_trio_token()").token
