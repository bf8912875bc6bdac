"""ThreadCall: what a task and the worker thread it waits for know of each other."""

from __future__ import annotations

import contextlib
import threading
from types import CoroutineType
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import outcome

from uringtrio._errors import RunFinishedError
from uringtrio._scheduler.traps import Abort, reschedule

if TYPE_CHECKING:
    import contextvars
    from collections.abc import Callable

    from uringtrio._scheduler.task import Task
    from uringtrio._scheduler.traps import RaiseCancelT

T = TypeVar("T")


class Limiter(Protocol):
    """What limits the number of threads: a `CapacityLimiter`, or something like it."""

    async def acquire_on_behalf_of(self, borrower: Any, /) -> object:
        """Wait until `borrower` may have a thread."""

    def release_on_behalf_of(self, borrower: Any, /) -> object:
        """Take note that the thread of `borrower` has ended its work."""


class Visit(Protocol):
    """A call that comes back from a worker into the task that waits for it."""

    context: contextvars.Context

    async def serve(self, call: ThreadCall) -> None:
        """Make the call, in the waiting task and in `context`; then `call.end_visit` and answer."""


class ThreadCall:
    """One call of `to_thread.run_sync`, which is also what borrows the limiter's token.

    It is changed in the run's thread only; the worker reads `raise_cancel`. The function and its
    arguments are not in it, so that they are free before the task goes on.

    Attributes:
        task: who waits; None once it was cancelled and has abandoned the thread.
        limiter: lends this call a token, which `end` gives back.
        abandon_on_cancel: whether a cancelled task leaves the thread to itself.
        raise_cancel: raises the cancellation that was delivered to the task; None before.
        visit: set when the task was resumed not by the result but to serve this.
    """

    __slots__ = (
        "__weakref__", "_context", "_name", "abandon_on_cancel", "limiter", "raise_cancel", "task",
        "token", "visit",
    )  # fmt: skip

    def __init__(self, task: Task, name: str, limiter: Limiter, *, abandon_on_cancel: bool) -> None:
        self._name = name
        # The task's own context variables, while it serves a visit in other ones.
        self._context: contextvars.Context | None = None
        self.task: Task | None = task
        self.token = task._runner.token
        self.limiter = limiter
        self.abandon_on_cancel = abandon_on_cancel
        self.raise_cancel: RaiseCancelT | None = None
        self.visit: Visit | None = None

    def __repr__(self) -> str:
        # Seen in the statistics of the limiter.
        return f"<to_thread.run_sync: {self._name}>"

    # In the worker.

    def work(
        self, context: contextvars.Context, sync_fn: Callable[..., T], args: tuple[Any, ...]
    ) -> T:
        WORKER.call = self
        try:
            result = context.run(sync_fn, *args)
        finally:
            WORKER.call = None
        if isinstance(result, CoroutineType):
            result.close()
            name = getattr(sync_fn, "__qualname__", None) or repr(sync_fn)
            raise TypeError(
                f"to_thread.run_sync expected a sync function, but {name} appears to be "
                f"asynchronous: call it as `await {name}(...)`"
            )
        return result

    def deliver(self, result: outcome.Outcome[Any]) -> None:
        # When the run has ended without waiting for this thread, nobody wants the result.
        with contextlib.suppress(RunFinishedError):
            self.token.run_sync_soon(self.end, result)

    # In the run's thread.

    def end(self, result: outcome.Outcome[Any]) -> None:
        """Give the token back, and the result to the task if it still waits."""
        released = outcome.capture(self.limiter.release_on_behalf_of, self)
        if isinstance(released, outcome.Error):
            if isinstance(result, outcome.Error):
                released.error.__context__ = result.error
            result = released
        if self.task is not None:
            reschedule(self.task, result)

    def abort(self, raise_cancel: RaiseCancelT) -> Abort:
        """Take note of a cancellation: the abort function of the task's wait."""
        self.raise_cancel = raise_cancel
        if self.abandon_on_cancel:
            self.task = None
            return Abort.SUCCEEDED
        return Abort.FAILED

    def begin_visit(self, visit: Visit) -> None:
        """Resume the task, to serve `visit` in its context."""
        task = self.task
        assert task is not None, "abandoned calls have no visits"
        self.visit = visit
        self._context = task.context
        # It takes effect with the next step, since the loop runs each step in the context.
        task.context = visit.context
        reschedule(task)

    def end_visit(self) -> None:
        """Make the task as it was, from the next time it is resumed."""
        task = self.task
        assert task is not None
        assert self._context is not None
        self.visit = None
        task.context = self._context
        self._context = None
        if not task._scope._effectively_cancelled:
            # What was delivered before the visit has been caught in it, or was shielded since.
            self.raise_cancel = None


class _Worker(threading.local):
    """`call` is what the calling thread works on, or None in other threads."""

    call: ThreadCall | None = None


WORKER = _Worker()
