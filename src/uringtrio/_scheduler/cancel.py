"""Cancel scopes: which scope is cancelled, whom that reaches, and who absorbs the Cancelled.

Scopes form chains, not a tree of objects: each scope knows its parent, each task its innermost
scope, and each nursery hands its own scope to its children as their outermost. So entering and
leaving a scope is two assignments, and only a cancellation pays: it walks from the scope over the
tasks below it (the task that entered it, and the children of nurseries inside) and brings
`_effectively_cancelled` of every scope on their chains up to date. Checkpoints read that one flag.

Cancelling is level triggered: the flag stays, and every further checkpoint raises again.
"""

from __future__ import annotations

from math import inf, isnan
from typing import TYPE_CHECKING, Final, NoReturn, Self, final

from uringtrio._abc import Sealed
from uringtrio._errors import Cancelled, CancelSource, new_cancelled

from .current import CURRENT, get_task
from .groups import collapse_exception_group

if TYPE_CHECKING:
    from types import TracebackType

    from .runner import Runner
    from .task import Task

MISNESTING_ADVICE: Final = (
    "This is usually a bug in the code that entered the scopes. The usual causes are: a `yield` "
    "inside a `with` block of a cancel scope or nursery in a generator that is not a context "
    "manager; `__enter__` without `__exit__`, called by hand; contextlib.ExitStack closed in "
    "another task; or a nursery passed out of its `async with` block."
)


@final
class CancelReason:
    """Why a scope was cancelled; makes the `Cancelled` exceptions that say so."""

    __slots__ = ("reason", "source", "source_task")

    def __init__(
        self, source: CancelSource, reason: str | None = None, source_task: str | None = None
    ) -> None:
        self.source = source
        self.reason = reason
        self.source_task = source_task

    def exception(self) -> BaseException:
        return new_cancelled(self.source, self.reason, self.source_task)

    def ended(self) -> None:
        pass


DEADLINE = CancelReason("deadline")
MISNESTED = CancelReason("unknown", "misnesting")


@final
class CancelScope(Sealed):
    """A `with` block that can be cancelled: by `cancel()`, or by its deadline.

    Inside a cancelled scope every checkpoint raises `Cancelled`; the scope absorbs it at its end.
    A scope can be entered once. It may be made, and cancelled, before that and anywhere.

    Args:
        relative_deadline: seconds from entering until the scope cancels itself, at least 0.
        deadline: the same as an absolute time of the run's clock; give one of the two at most.
        shield: whether cancellations from outside are kept out, see `shield`.

    Raises:
        ValueError: a deadline is NaN, or `relative_deadline` is negative, or both are given.
        TypeError: `shield` is no bool.

    Attributes:
        cancelled_caught: whether the scope has absorbed a `Cancelled`; False until it has ended.
    """

    # Invariants: `_task` is set iff the block is running, and then `_parent` is the scope around
    # it. `timer` is nonzero iff the deadline is in the run's heap. `_reason` is set once
    # `_effectively_cancelled` is.
    __slots__ = (
        "__weakref__",
        "_cancel_called",
        "_deadline",
        "_effectively_cancelled",
        "_is_abandoned",
        "_is_entered",
        "_parent",
        "_reason",
        "_relative_deadline",
        "_shield",
        "_task",
        "cancelled_caught",
        "timer",
    )

    def __init__(
        self, *, relative_deadline: float = inf, deadline: float = inf, shield: bool = False
    ) -> None:
        # NaN is neither at least 0 nor equal to itself.
        if not (relative_deadline >= 0 and deadline == deadline) or (  # noqa: PLR0124
            relative_deadline != inf != deadline
        ):
            self._refuse_deadlines(relative_deadline, deadline)
        if shield is not False and shield is not True:
            raise TypeError(f"shield must be a bool, not {shield!r}")
        self._deadline = deadline
        self._relative_deadline = relative_deadline
        self._shield = shield
        self._cancel_called = False
        self._effectively_cancelled = False
        self._is_entered = False
        self._is_abandoned = False
        self._reason: CancelReason | None = None
        self._parent: CancelScope | None = None
        self._task: Task | None = None
        self.timer = 0
        self.cancelled_caught = False

    @staticmethod
    def _refuse_deadlines(relative_deadline: float, deadline: float) -> NoReturn:
        if isnan(deadline):
            raise ValueError("deadline must not be NaN")
        if isnan(relative_deadline):
            raise ValueError("relative deadline must not be NaN")
        if relative_deadline < 0:
            raise ValueError("timeout must be non-negative")
        raise ValueError("Cannot specify both a deadline and a relative deadline")

    def __enter__(self) -> Self:
        runner = CURRENT.runner
        task = runner.task if runner is not None else None
        if task is None or runner is None:
            task = get_task("`with uringtrio.CancelScope()`")
            runner = task._runner
        if self._is_entered:
            raise RuntimeError("Each CancelScope may only be used for a single 'with' block")
        self._is_entered = True
        self._task = task
        self._parent = parent = task._scope
        task._scope = self
        if self._relative_deadline != inf or self._deadline != inf:
            self._start_deadline(runner)
        if self._cancel_called:
            self._effectively_cancelled = True
        elif parent._effectively_cancelled and not self._shield:
            self._inherit(parent)
        return self

    def _start_deadline(self, runner: Runner) -> None:
        now = runner.now()
        if self._relative_deadline != inf:
            self._deadline = now + self._relative_deadline
            self._relative_deadline = inf
        if self._cancel_called:
            return
        if self._deadline <= now:
            self._cancel_called = True
            self._reason = DEADLINE
        else:
            runner.deadlines.add(self._deadline, self)

    def _inherit(self, parent: CancelScope) -> None:
        self._effectively_cancelled = True
        if self._reason is None:
            self._reason = parent._reason

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        remaining_error_after_cancel_scope = self._close(exc)
        if remaining_error_after_cancel_scope is exc:
            return False
        if remaining_error_after_cancel_scope is None:
            return True
        # Raising here would add `exc` as context, which is inside the error already.
        context = remaining_error_after_cancel_scope.__context__
        try:
            raise remaining_error_after_cancel_scope
        finally:
            remaining_error_after_cancel_scope.__context__ = context
            # The error's traceback refers to this frame, which must not refer back.
            del remaining_error_after_cancel_scope, exc, context, traceback

    def _close(self, exc: BaseException | None) -> BaseException | None:
        """End the block; return what is left of `exc`."""
        task = self._task
        if (
            task is None
            or task._scope is not self
            or task._runner.task is not task
            or (task._nurseries and task._nurseries[-1].cancel_scope is self)
        ):
            return self._close_misnested(exc)
        assert self._parent is not None
        task._scope = self._parent
        return self._finish(task, exc)

    def _finish(self, task: Task, exc: BaseException | None) -> BaseException | None:
        if exc is not None and self._effectively_cancelled and self._absorbs():
            exc = self._absorb(exc)
        if self.timer:
            task._runner.deadlines.remove(self)
        self._task = None
        return exc

    def _absorbs(self) -> bool:
        """Whether this is the outermost cancelled scope, within the innermost shield.

        What an abandoned scope does not absorb, nobody would.
        """
        parent = self._parent
        return (
            self._shield
            or self._is_abandoned
            or parent is None
            or not parent._effectively_cancelled
        )

    def _absorb(self, exc: BaseException) -> BaseException | None:
        if isinstance(exc, Cancelled):
            self.cancelled_caught = True
            return None
        if isinstance(exc, BaseExceptionGroup):
            matched, rest = exc.split(Cancelled)
            if matched:
                self.cancelled_caught = True
            return None if rest is None else collapse_exception_group(rest)
        return exc

    def _close_misnested(self, exc: BaseException | None) -> BaseException | None:
        """End a block that is not the innermost of the running task; return the error it is."""
        if self._task is not None and self._task._runner.is_over:
            # The run has crashed, and this coroutine is being destroyed.
            return exc
        if self._is_abandoned and self._task is not None:
            # An outer scope was closed before this one, and that was the error.
            return self._finish(self._task, exc)
        task = get_task("leaving a cancel scope")
        inner: list[CancelScope] = []
        scope: CancelScope | None = task._scope
        while scope is not None and scope is not self:
            inner.append(scope)
            scope = scope._parent
        problem = f"Cancel scope stack corrupted: attempted to exit {self!r} "
        error: BaseException | None = exc
        if self._task is None:
            error = RuntimeError(f"{problem}which had already been exited\n{MISNESTING_ADVICE}")
            error.__context__ = exc
            return error
        if scope is None or self._parent is None:
            error = RuntimeError(f"{problem}from unrelated {task!r}\n{MISNESTING_ADVICE}")
            error.__context__ = exc
            return error
        if inner:
            error = RuntimeError(
                f"{problem}in {task!r} that's still within its child {task._scope!r}\n"
                f"{MISNESTING_ADVICE}"
            )
            error.__context__ = exc
        task._scope = self._parent
        # Without inner scopes this is the scope of a nursery that is still open.
        abandon(inner or [self], task)
        return self._finish(task, error)

    def __repr__(self) -> str:
        binding = "unbound"
        if self._is_entered:
            binding = "exited" if self._task is None else "active"
        state = ""
        if self._cancel_called:
            state = ", cancelled"
        elif self._deadline != inf and CURRENT.runner is not None:
            left = self._deadline - CURRENT.runner.now()
            state = f", deadline is {abs(left):.2f} seconds {'from now' if left >= 0 else 'ago'}"
        return f"<uringtrio.CancelScope at {id(self):#x}, {binding}{state}>"

    def cancel(self, reason: str | None = None) -> None:
        """Cancel this scope: from now on, every checkpoint inside it raises `Cancelled`.

        Args:
            reason: kept in `Cancelled.reason`, for the reader of a traceback.

        Calling it again changes nothing.
        """
        if not self._cancel_called:
            runner = CURRENT.runner
            task = runner.task if runner is not None else None
            self._cancel(CancelReason("explicit", reason, None if task is None else repr(task)))

    def _cancel(self, reason: CancelReason | None) -> None:
        if self._cancel_called:
            return
        self._cancel_called = True
        if self._reason is None:
            self._reason = reason
        if self._task is None:
            return
        if self.timer:
            self._task._runner.deadlines.remove(self)
        if not self._effectively_cancelled:
            self._spread()

    def expire(self) -> None:
        """The deadline has passed; called by the run's `Deadlines`."""
        self._cancel(DEADLINE)

    def _spread(self) -> None:
        """Bring this scope and all below up to date, and tell the tasks that it reaches."""
        self._update()
        assert self._task is not None
        spread(self, [self._task])

    def _update(self) -> None:
        if self._cancel_called or self._is_abandoned:
            self._effectively_cancelled = True
        elif self._parent is None or self._shield or not self._parent._effectively_cancelled:
            self._effectively_cancelled = False
        else:
            self._inherit(self._parent)

    @property
    def cancel_called(self) -> bool:
        """Whether the scope has been cancelled, or its deadline has passed. Read only.

        True also when the cancellation came too late to have any effect; for that,
        see `cancelled_caught`.
        """
        is_over = self._is_entered and self._task is None
        runner = CURRENT.runner
        if (
            not (self._cancel_called or is_over or self._deadline == inf)
            and runner is not None
            and runner.now() >= self._deadline
        ):
            # The loop may not have looked at the clock yet.
            self._cancel(DEADLINE)
        return self._cancel_called

    @property
    def deadline(self) -> float:
        """When the scope cancels itself, in the time of the run's clock; inf for never.

        May be changed at any time; a time in the past cancels at once. Changing it does not undo
        a cancellation.

        Raises:
            RuntimeError: the deadline is relative and the scope not entered.
            ValueError: set to NaN.
        """
        if self._relative_deadline != inf:
            raise RuntimeError(
                "Unentered relative cancel scope does not have an absolute deadline: "
                "use relative_deadline, or enter the scope first"
            )
        return self._deadline

    @deadline.setter
    def deadline(self, new_deadline: float) -> None:
        if isnan(new_deadline):
            raise ValueError("deadline must not be NaN")
        if self._relative_deadline != inf:
            raise RuntimeError(
                "Unentered relative cancel scope does not have an absolute deadline: "
                "set relative_deadline, or enter the scope first"
            )
        self._deadline = float(new_deadline)
        task = self._task
        if task is None or self._cancel_called:
            return
        if self.timer:
            task._runner.deadlines.remove(self)
        if new_deadline != inf:
            task._runner.deadlines.add(self._deadline, self)

    @property
    def relative_deadline(self) -> float:
        """Seconds from entering until the scope cancels itself; after that, seconds from now.

        Raises:
            RuntimeError: the deadline is absolute and the scope not entered.
            ValueError: set to NaN or less than 0.
        """
        if self._is_entered:
            return self._deadline - get_task("CancelScope.relative_deadline")._runner.now()
        self._refuse_absolute()
        return self._relative_deadline

    @relative_deadline.setter
    def relative_deadline(self, new_relative_deadline: float) -> None:
        if isnan(new_relative_deadline):
            raise ValueError("relative deadline must not be NaN")
        if new_relative_deadline < 0:
            raise ValueError("relative deadline must be non-negative")
        if self._is_entered:
            now = get_task("CancelScope.relative_deadline")._runner.now()
            self.deadline = now + float(new_relative_deadline)
        else:
            self._refuse_absolute()
            self._relative_deadline = float(new_relative_deadline)

    def _refuse_absolute(self) -> None:
        if self._deadline != inf:
            raise RuntimeError(
                "Unentered non-relative cancel scope does not have a relative deadline"
            )

    @property
    def is_relative(self) -> bool | None:
        """Whether the deadline counts from entering; None once the scope is entered."""
        return None if self._is_entered else self._relative_deadline != inf

    @property
    def shield(self) -> bool:
        """Whether cancellations from outside do not reach the code in this scope.

        May be changed at any time: taking the shield away delivers what it kept out. The scope's
        own `cancel` and deadline work in any case.

        Raises:
            TypeError: set to something else than a bool.
        """
        return self._shield

    @shield.setter
    def shield(self, new_value: bool) -> None:
        if not isinstance(new_value, bool):
            raise TypeError(f"shield must be a bool, not {new_value!r}")
        self._shield = new_value
        if self._task is not None:
            self._spread()


def abandon(scopes: list[CancelScope], task: Task) -> None:
    """Cancel what is left inside `scopes` of `task`, which were left in a wrong order."""
    for scope in scopes:
        scope._is_abandoned = True
        scope._effectively_cancelled = True
        if scope._reason is None:
            scope._reason = MISNESTED
    for nursery in task._nurseries:
        if nursery.cancel_scope in scopes:
            spread(nursery.cancel_scope, list(nursery._children))


def spread(top: CancelScope, tasks: list[Task]) -> None:
    """Bring the scopes below `top`, which is up to date, up to date; tell the tasks reached.

    Args:
        top: the scope to start from.
        tasks: those whose chains may have changed; consumed.
    """
    # Scopes whose place is known: True for those below `top`.
    below: dict[CancelScope, bool] = {top: True}
    reached: list[Task] = []
    while tasks:
        task = tasks.pop()
        if _is_below(task._scope, below) and task._scope._effectively_cancelled:
            reached.append(task)
        for nursery in task._nurseries:
            if _is_below(nursery.cancel_scope, below):
                tasks.extend(nursery._children)
    for task in reached:
        task._deliver()


def _is_below(scope: CancelScope, below: dict[CancelScope, bool]) -> bool:
    """Say whether `scope` is in the subtree that `below` describes; update it if it is."""
    known = below.get(scope)
    if known is not None:
        return known
    chain: list[CancelScope] = []
    at: CancelScope | None = scope
    while at is not None and at not in below:
        chain.append(at)
        at = at._parent
    is_below = at is not None and below[at]
    for member in reversed(chain):
        below[member] = is_below
        if is_below:
            member._update()
    return is_below
