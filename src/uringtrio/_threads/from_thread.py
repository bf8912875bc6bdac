"""Calls from worker threads back into the run."""

from __future__ import annotations

import contextvars
import inspect
import queue
from types import CoroutineType
from typing import TYPE_CHECKING, Any, Generic, TypeVar, TypeVarTuple

import outcome

from uringtrio._errors import RunFinishedError
from uringtrio._scheduler.coroutines import as_coroutine, check_async_fn
from uringtrio._scheduler.current import CURRENT
from uringtrio._scheduler.entry import TrioToken
from uringtrio._scheduler.interrupt import disable_ki_protection
from uringtrio._scheduler.runner import spawn_system_task

from .call import WORKER

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from .call import ThreadCall

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class _Visit(Generic[T]):
    """One call into the run: made in the worker, carried out in the run's thread.

    Attributes:
        context: a copy of the worker's context variables, which the function sees.
        answer: gets what the function returned or raised; the worker waits for it.
    """

    __slots__ = ("answer", "args", "context", "fn")

    def __init__(self, fn: Callable[..., Any], args: tuple[Any, ...]) -> None:
        self.fn = fn
        self.args = args
        self.context = contextvars.copy_context()
        self.answer: queue.SimpleQueue[outcome.Outcome[T]] = queue.SimpleQueue()

    async def serve(self, call: ThreadCall) -> None:
        raise NotImplementedError

    def enter_run(self) -> None:
        """Make the call outside of the task that waits for the thread; in the run's thread."""
        raise NotImplementedError


class _AsyncVisit(_Visit[T]):
    """A call of an async function: in the waiting task, or in a system task."""

    __slots__ = ()

    async def serve(self, call: ThreadCall) -> None:
        result = await outcome.acapture(_await, self.fn, self.args)
        call.end_visit()
        self.answer.put(result)
        # An exception in it refers to this frame, which must not refer back.
        del result

    def enter_run(self) -> None:
        try:
            spawn_system_task(self._serve_in_system_task, name=self.fn, context=self.context)
        except RuntimeError:
            error = RunFinishedError("from_thread.run: the run is ending and takes no new tasks")
            self.answer.put(outcome.Error(error))

    async def _serve_in_system_task(self) -> None:
        self.answer.put(await outcome.acapture(_await, self.fn, self.args))


class _SyncVisit(_Visit[T]):
    """A call of a sync function: in the waiting task, or as a callback."""

    __slots__ = ()

    async def serve(self, call: ThreadCall) -> None:
        result = outcome.capture(_call, self.fn, self.args)
        call.end_visit()
        self.answer.put(result)
        del result  # As above.

    def enter_run(self) -> None:
        self.answer.put(outcome.capture(self.context.run, _call, self.fn, self.args))


async def _await(async_fn: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    coro = async_fn(*args)
    if type(coro) is not CoroutineType:
        if not inspect.isawaitable(coro) and not inspect.isasyncgen(coro):
            name = getattr(async_fn, "__qualname__", None) or repr(async_fn)
            raise TypeError(
                f"from_thread.run expected an async function, but {name} appears to be "
                f"synchronous: call it as `from_thread.run_sync({name}, ...)`"
            )
        coro = as_coroutine(coro, async_fn)
    return await coro


def _call(fn: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    result = fn(*args)
    if isinstance(result, CoroutineType):
        result.close()
        name = getattr(fn, "__qualname__", None) or repr(fn)
        raise TypeError(
            f"from_thread.run_sync expected a synchronous function, but {name} appears to be "
            f"asynchronous: call it as `from_thread.run({name}, ...)`"
        )
    return result


# What these two call is the user's code, and the worker can be told of an interrupt.
disable_ki_protection(_await)
disable_ki_protection(_call)


def _send(visit: _Visit[T], trio_token: TrioToken | None, call_name: str) -> T:
    """Have `visit` carried out in the run; block this thread until there is an answer."""
    if CURRENT.runner is not None:
        raise RuntimeError(
            f"{call_name} is a blocking function for other threads; this thread has a run of its "
            "own, which it would stop: call the function directly, or `await` it if it is async"
        )
    call = WORKER.call
    if trio_token is not None:
        if not isinstance(trio_token, TrioToken):
            raise RuntimeError(
                f"{call_name}: trio_token must be a TrioToken, not {trio_token!r}; "
                "get it with lowlevel.current_trio_token() in the run"
            )
        trio_token.run_sync_soon(visit.enter_run)
    elif call is None:
        raise RuntimeError(
            f"{call_name}: this thread was not started by to_thread.run_sync; pass trio_token=, "
            "which lowlevel.current_trio_token() returns in the run"
        )
    elif call.abandon_on_cancel:
        # The task may be gone at any moment.
        call.token.run_sync_soon(visit.enter_run)
    else:
        call.token.run_sync_soon(call.begin_visit, visit)
    return visit.answer.get().unwrap()


def run(afn: Callable[[*Ts], Awaitable[T]], *args: *Ts, trio_token: TrioToken | None = None) -> T:
    """Call the async function `afn(*args)` in the run's thread; block until it has returned.

    It runs in the task that waits for this thread in `to_thread.run_sync`: in its cancel scopes,
    so that a cancellation of that task is raised in it. With `trio_token`, or if the thread would
    be abandoned (`abandon_on_cancel=True`), it runs in a new system task. In both cases it sees a
    copy of this thread's context variables.

    Args:
        afn: an async function.
        args: its positional arguments; for keyword arguments use `functools.partial`.
        trio_token: which run to call, see `lowlevel.current_trio_token`; needed in threads that
            were not started by `to_thread.run_sync`.

    Returns:
        What `afn` returns.

    Raises:
        RuntimeError: called in a thread that has a run of its own; or `trio_token` is needed, or
            is none.
        RunFinishedError: the run is over, or is ending and takes no new system tasks.
        Cancelled: the task that waits was cancelled, or the run of the system task has ended,
            while `afn` ran.
        TypeError: `afn` is no async function.

    What `afn` raises comes out unchanged.
    """
    check_async_fn(afn, "from_thread.run")
    visit: _AsyncVisit[T] = _AsyncVisit(afn, args)
    return _send(visit, trio_token, "from_thread.run()")


def run_sync(fn: Callable[[*Ts], T], *args: *Ts, trio_token: TrioToken | None = None) -> T:
    """Call `fn(*args)` in the run's thread; block this one until it has returned.

    It runs in the task that waits for this thread in `to_thread.run_sync`; with `trio_token`, or
    if the thread would be abandoned (`abandon_on_cancel=True`), outside of the program's tasks.
    In both cases it sees a copy of this thread's context variables.

    Args:
        fn: must not block, for all tasks wait for it.
        args: its positional arguments; for keyword arguments use `functools.partial`.
        trio_token: which run to call, see `lowlevel.current_trio_token`; needed in threads that
            were not started by `to_thread.run_sync`.

    Returns:
        What `fn` returns.

    Raises:
        RuntimeError: called in a thread that has a run of its own; or `trio_token` is needed, or
            is none.
        RunFinishedError: the run is over.
        TypeError: `fn` is an async function.

    What `fn` raises comes out unchanged.
    """
    visit: _SyncVisit[T] = _SyncVisit(fn, args)
    return _send(visit, trio_token, "from_thread.run_sync()")


def check_cancelled() -> None:
    """Raise `Cancelled` if the task that waits for this thread was cancelled; else do nothing.

    For threads of `to_thread.run_sync` that take long: so they end early, abandoned or not. It
    tells of cancellations that reached the task since it last served a call of this module.

    Raises:
        Cancelled: the task was cancelled.
        RuntimeError: the thread was not started by `to_thread.run_sync`.
    """
    call = WORKER.call
    if call is None:
        raise RuntimeError(
            "from_thread.check_cancelled: this thread was not started by to_thread.run_sync, "
            "so there is no task that could have been cancelled"
        )
    raise_cancel = call.raise_cancel
    if raise_cancel is not None:
        raise_cancel()
