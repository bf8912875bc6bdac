"""Nurseries: where tasks are born, and how their failures come together."""

from __future__ import annotations

import functools
import warnings
from typing import TYPE_CHECKING, Any, Generic, NoReturn, Protocol, TypeVar, TypeVarTuple, final

from uringtrio._abc import Sealed
from uringtrio._errors import Cancelled, TrioDeprecationWarning, TrioInternalError

from .cancel import CancelReason, CancelScope, spread
from .coroutines import check_async_fn
from .current import get_runner
from .groups import NONSTRICT_NOTE
from .traps import SHIELDED_CHECKPOINT, Abort, RaiseCancelT, wait_task_rescheduled

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from types import TracebackType

    from .task import Task

T_contra = TypeVar("T_contra", contravariant=True)
Ts = TypeVarTuple("Ts")

CLOSED_MESSAGE = "Nursery is closed to new arrivals"


class TaskStatus(Protocol[T_contra]):
    """The `task_status` argument of a function that is run by `Nursery.start`."""

    def started(self, value: T_contra = ...) -> None:
        """Let `Nursery.start` return `value`; the task goes on in the nursery.

        Raises:
            RuntimeError: called twice, or the nursery's parent task has exited without leaving it.
        """


class _IgnoredTaskStatus:
    """Accepts `started` when nobody waits for it."""

    def __repr__(self) -> str:
        return "TASK_STATUS_IGNORED"

    def started(self, value: object = None) -> None:
        pass


TASK_STATUS_IGNORED = _IgnoredTaskStatus()
_NOT_STARTED = object()
_PRIVATE = object()


class _TaskStatus(Generic[T_contra]):
    """Moves a task from under `Nursery.start` into the nursery when it says `started`."""

    __slots__ = ("__dict__", "_from", "_to", "value")

    def __init__(self, old_nursery: Nursery, new_nursery: Nursery) -> None:
        self._from = old_nursery
        self._to = new_nursery
        self.value: Any = _NOT_STARTED

    def __repr__(self) -> str:
        return f"<Task status object at {id(self):#x}>"

    def started(self, value: Any = None) -> None:
        if self.value is not _NOT_STARTED:
            raise RuntimeError("called 'started' twice on the same task status")
        old, new = self._from, self._to
        if old.cancel_scope._effectively_cancelled:
            # `start` is about to raise Cancelled and the task with it: it stays where it is.
            self.value = value
            return
        if new._closed:
            # `start` keeps it open, but not when its parent task exits without leaving it.
            raise RuntimeError(f"{CLOSED_MESSAGE}: the task that opened it has exited")
        self.value = value
        for task in list(old._children):
            self._move(task)
        old._children.clear()
        old._check_closed()

    def _move(self, task: Task) -> None:
        old, new = self._from, self._to
        task._nursery = new
        task._eventual_nursery = None
        new._children.add(task)
        # The scopes that the task has opened meanwhile come along: only the lowest is re-hung.
        if task._scope is old.cancel_scope:
            task._scope = new.cancel_scope
        else:
            scope = task._scope
            while scope._parent is not old.cancel_scope:
                assert scope._parent is not None
                scope = scope._parent
            scope._parent = new.cancel_scope
        # If the nursery is cancelled, so is the task from now on.
        spread(new.cancel_scope, [task])


@final
class Nursery(Sealed):
    """A place for tasks, made by `open_nursery`; it stays open until they have all finished.

    If one of them, or the block itself, raises, the others are cancelled, and all exceptions come
    out of the block together, in an ExceptionGroup.

    Attributes:
        cancel_scope: the scope around the nursery; cancelling it cancels all tasks in it.
    """

    __slots__ = (
        "__dict__",
        "__weakref__",
        "_body_runs",
        "_children",
        "_closed",
        "_errors",
        "_parent_task",
        "_pending_starts",
        "_strict",
        "_waiter",
        "cancel_scope",
    )

    def __init__(
        self,
        private: object = None,
        parent_task: Task | Any = None,
        cancel_scope: CancelScope | Any = None,
        strict: bool = True,
    ) -> None:
        if private is not _PRIVATE:
            raise TypeError(
                "uringtrio.Nursery has no public constructor: "
                "use `async with uringtrio.open_nursery() as nursery`"
            )
        self.cancel_scope: CancelScope = cancel_scope
        self._parent_task = parent_task
        self._strict = strict
        self._children: set[Task] = set()
        self._errors: list[BaseException] | None = None
        # The block of the `async with` counts as a child.
        self._body_runs = True
        # The task that has left the block and waits for the children; None at other times. It is
        # the parent, unless that exited with the nursery open and another one came to leave it.
        self._waiter: Task | None = None
        self._pending_starts = 0
        self._closed = False

    @property
    def child_tasks(self) -> frozenset[Task]:
        """The tasks in this nursery that have not finished."""
        return frozenset(self._children)

    @property
    def parent_task(self) -> Task:
        """The task that opened this nursery."""
        return self._parent_task

    def start_soon(
        self, async_fn: Callable[[*Ts], Awaitable[object]], *args: *Ts, name: object = None
    ) -> None:
        """Start `async_fn(*args)` as a task in this nursery; it first runs after this returns.

        Args:
            async_fn: an async function; for keyword arguments use `functools.partial`.
            args: its positional arguments.
            name: what debugging tools call the task; None takes the function's name.

        Raises:
            RuntimeError: the nursery is closed.
            TypeError: `async_fn` is not an async function; the message says what it is.

        Checkpoint: never; this is no async function.
        """
        if self._closed:
            raise RuntimeError(CLOSED_MESSAGE)
        self._parent_task._runner.spawn(async_fn, args, self, name)

    async def start(
        self, async_fn: Callable[..., Awaitable[object]], *args: object, name: object = None
    ) -> Any:
        """Start `async_fn(*args, task_status=...)` and wait until it calls `started`.

        Until then it runs as part of this call: its exception comes out here, and cancelling
        this call cancels it. From then on it is a task in the nursery like any other.

        Args:
            async_fn: an async function that takes `task_status`, see `TaskStatus`.
            args: its positional arguments.
            name: as in `start_soon`.

        Returns:
            What it gave to `task_status.started`, or None.

        Raises:
            RuntimeError: the nursery is closed, or the task ended without calling `started`.
            TrioInternalError: other tasks were put where the task is until it calls `started`.

        Checkpoint: always.
        """
        if self._closed:
            raise RuntimeError(CLOSED_MESSAGE)
        check_async_fn(async_fn, "nursery.start")
        self._pending_starts += 1
        try:
            try:
                async with open_nursery(strict_exception_groups=True) as old_nursery:
                    status: _TaskStatus[Any] = _TaskStatus(old_nursery, self)
                    thunk = functools.partial(async_fn, task_status=status)
                    task = self._parent_task._runner.spawn(thunk, args, old_nursery, name)
                    task._eventual_nursery = self
            except BaseExceptionGroup as group:
                if len(group.exceptions) == 1:
                    _raise_alone(group.exceptions[0])
                raise TrioInternalError(
                    "a task was put into the nursery inside Nursery.start(); "
                    "it is for the started task alone"
                ) from group
            if status.value is _NOT_STARTED:
                raise RuntimeError("child exited without calling task_status.started()")
            return status.value
        finally:
            self._pending_starts -= 1
            self._check_closed()

    def _add_error(self, error: BaseException, source_task: Task, what: str) -> None:
        if self._errors is None:
            self._errors = [error]
        else:
            self._errors.append(error)
        if not self.cancel_scope._cancel_called:
            reason = f"{what} raised exception {error!r}"
            self.cancel_scope._cancel(CancelReason("nursery", reason, repr(source_task)))

    def _check_closed(self) -> None:
        if not (self._children or self._body_runs or self._pending_starts):
            self._closed = True
            if self._waiter is not None:
                waiter, self._waiter = self._waiter, None
                waiter._resume(None)

    def _child_finished(self, task: Task, error: BaseException | None) -> None:
        self._children.discard(task)
        if error is not None:
            self._add_error(error, task, "child task")
        if not self._children and not self._body_runs:
            self._check_closed()

    def _abort_wait(self, raise_cancel: RaiseCancelT) -> Abort:
        # The children have been told; this task waits for them. Only what is no Cancelled, that
        # is to say KeyboardInterrupt, must not be lost.
        try:
            raise_cancel()
        except Cancelled:
            pass
        except BaseException as exc:  # noqa: BLE001  # it joins the nursery's errors
            self._errors = [*(self._errors or ()), exc]
            self.cancel_scope._cancel(
                CancelReason("KeyboardInterrupt", None, repr(self._parent_task))
            )
        return Abort.FAILED

    async def _join(self, body_error: BaseException | None) -> BaseException | None:
        """Wait for all children; return the errors as one exception."""
        if body_error is not None:
            self._add_error(
                body_error, self._parent_task, "Code block inside nursery contextmanager"
            )
        self._body_runs = False
        self._check_closed()
        if self._children or self._pending_starts:
            self._waiter = self._parent_task._runner.task
            await wait_task_rescheduled(self._abort_wait)
        else:
            await SHIELDED_CHECKPOINT
        nurseries = self._parent_task._nurseries
        assert nurseries, "Nursery misnesting detected!"
        assert nurseries.pop() is self, "Nursery misnesting detected!"
        return self._combine_errors()

    def _combine_errors(self) -> BaseException | None:
        errors, self._errors = self._errors, None
        if errors is None:
            return None
        if not self._strict and len(errors) == 1:
            return errors[0]
        scope = self.cancel_scope
        # A scope that is about to absorb every Cancelled needs no group of them, of which the
        # making and splitting is half of the cost of cancelling 100 tasks
        # (benchmarks/scheduler.py, cancel_tree).
        absorbs = scope._effectively_cancelled and scope._absorbs()
        if absorbs and all(type(error) is Cancelled for error in errors):
            return errors[0]
        group = BaseExceptionGroup("Exceptions from Trio nursery", errors)
        if not self._strict:
            group.add_note(NONSTRICT_NOTE)
        return group


class NurseryManager:
    """What `open_nursery` returns: `async with` opens and closes one nursery."""

    __slots__ = ("_nursery", "_strict")

    def __init__(self, strict: bool) -> None:  # private
        self._strict = strict
        self._nursery: Nursery | None = None

    async def __aenter__(self) -> Nursery:
        scope = CancelScope()
        scope.__enter__()
        task = scope._task
        assert task is not None
        self._nursery = nursery = Nursery(_PRIVATE, task, scope, self._strict)
        if task._nurseries:
            task._nurseries.append(nursery)
        else:
            task._nurseries = [nursery]
        return nursery

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        nursery = self._nursery
        assert nursery is not None
        if nursery._parent_task._runner.is_over:
            # The run has crashed, and this coroutine is being destroyed: nobody would wake it.
            return False
        combined_error_from_nursery = nursery.cancel_scope._close(await nursery._join(exc))
        if combined_error_from_nursery is None:
            return True
        if combined_error_from_nursery is exc:
            return False
        # Raising here would add `exc` as context, which is inside the group already.
        context = combined_error_from_nursery.__context__
        try:
            raise combined_error_from_nursery
        finally:
            combined_error_from_nursery.__context__ = context
            # The error's traceback refers to this frame, which must not refer back.
            del combined_error_from_nursery, exc, context, traceback

    def __enter__(self) -> NoReturn:
        raise RuntimeError("use 'async with open_nursery(...)', not 'with open_nursery(...)'")

    def __exit__(self, *exc_info: object) -> NoReturn:
        raise AssertionError("a nursery is never entered by 'with'")


def open_nursery(strict_exception_groups: bool | None = None) -> NurseryManager:
    """Return an async context manager for a new nursery, which `async with` opens and closes.

    Entering is not a checkpoint. Leaving waits for all tasks in the nursery; it lets other tasks
    run even if there are none, but is no cancellation point by itself.

    Args:
        strict_exception_groups: True wraps even a single exception in a group; None takes what
            `run` was given. False is deprecated.
    """
    if strict_exception_groups is None:
        strict_exception_groups = get_runner("open_nursery()").strict_exception_groups
    elif not strict_exception_groups:
        warn_non_strict("open_nursery")
    return NurseryManager(strict_exception_groups)


def warn_non_strict(function: str) -> None:
    """Warn that `strict_exception_groups=False` is deprecated."""
    warnings.warn(
        f"{function}(strict_exception_groups=False) is deprecated: "
        "handle ExceptionGroups with `except*` instead",
        TrioDeprecationWarning,
        stacklevel=3,
    )


def _raise_alone(exc: BaseException) -> NoReturn:
    """Raise `exc`, taken out of its group, with its own context instead of the group."""
    context = exc.__context__
    try:
        raise exc
    finally:
        exc.__context__ = context
        del exc, context
