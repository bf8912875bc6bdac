"""Calls in worker threads: a task waits, and all other tasks go on."""

from __future__ import annotations

import contextvars
import functools
from typing import TYPE_CHECKING, Final, TypeVar, TypeVarTuple

from sniffio import current_async_library_cvar

from uringtrio._scheduler.current import get_task
from uringtrio._scheduler.locals import RunVar
from uringtrio._scheduler.traps import checkpoint_if_cancelled, wait_task_rescheduled
from uringtrio._sync.limiter import CapacityLimiter
from uringtrio._thread_cache import start_thread_soon

from .call import ThreadCall
from .counting import thread_count

if TYPE_CHECKING:
    from collections.abc import Callable

    from .call import Limiter

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

# Threads that one run has at most, unless its program says otherwise. Trio's figure: enough to
# keep disks and name servers busy, few enough for their stacks not to matter.
TOKENS_DEFAULT: Final = 40

_LIMITER: RunVar[CapacityLimiter | None] = RunVar("default thread limiter", None)


def current_default_thread_limiter() -> CapacityLimiter:
    """Return the limiter of this run's calls of `run_sync` that name no other; it has 40 tokens.

    To have more or fewer threads set its `total_tokens`.

    Raises:
        RuntimeError: called outside of a run.
    """
    limiter = _LIMITER.get()
    if limiter is None:
        limiter = CapacityLimiter(TOKENS_DEFAULT)
        _LIMITER.set(limiter)
    return limiter


async def run_sync(
    sync_fn: Callable[[*Ts], T],
    *args: *Ts,
    thread_name: str | None = None,
    abandon_on_cancel: bool = False,
    limiter: Limiter | None = None,
) -> T:
    """Call `sync_fn(*args)` in a worker thread and return what it returns.

    The thread sees a copy of the task's context variables. With the functions of `from_thread`
    it can call back into the run.

    Threads are for calls that block, not for computations: those keep the interpreter from the
    thread of the run.

    Args:
        sync_fn: may block as long as it likes.
        args: its positional arguments; for keyword arguments use `functools.partial`.
        thread_name: of the thread meanwhile; None is "FUNCTION from TASK". The system shows the
            first 15 bytes.
        abandon_on_cancel: what to do when the task is cancelled while the thread works. False
            goes on waiting, as if the function had been called directly; in it
            `from_thread.check_cancelled` raises. True raises `Cancelled` at once and leaves the
            thread to itself: nobody will see what it returns or raises.
        limiter: what limits the number of threads: a `CapacityLimiter`, or an object with its
            methods `acquire_on_behalf_of` and `release_on_behalf_of`, which are called before
            the thread starts and after it has finished, abandoned or not, with an object of this
            call. If the run ends before the thread, the second is not called. None is
            `current_default_thread_limiter()`.

    Raises:
        TypeError: `sync_fn` is an async function, or cannot be called.
        RuntimeError: the system refuses another thread.

    What `sync_fn` raises comes out unchanged, unless the limiter's `release_on_behalf_of` raises:
    that goes first, with the other as its context.

    Checkpoint: always. A cancellation is looked for before the thread starts, and after that
    only if `abandon_on_cancel`.
    """
    await checkpoint_if_cancelled()
    if not callable(sync_fn):
        raise TypeError(
            f"to_thread.run_sync expected a sync function, not {sync_fn!r}: "
            "call it as `await to_thread.run_sync(fn, *args)`"
        )
    task = get_task("uringtrio.to_thread.run_sync()")
    if thread_name is None:
        thread_name = f"{getattr(sync_fn, '__name__', None)} from {task.name}"
    if limiter is None:
        limiter = current_default_thread_limiter()
    call = ThreadCall(task, thread_name, limiter, abandon_on_cancel=bool(abandon_on_cancel))
    await limiter.acquire_on_behalf_of(call)
    with thread_count():
        try:
            _start(call, thread_name, sync_fn, args)
        except BaseException:
            limiter.release_on_behalf_of(call)
            raise
        while True:
            result: T = await wait_task_rescheduled(call.abort)
            if call.visit is None:
                return result
            await call.visit.serve(call)


def _start(
    call: ThreadCall, thread_name: str, sync_fn: Callable[[*Ts], T], args: tuple[*Ts]
) -> None:
    context = contextvars.copy_context()
    if current_async_library_cvar.get() is not None:
        # There is no async library in the worker.
        context.run(current_async_library_cvar.set, None)
    start_thread_soon(
        functools.partial(call.work, context, sync_fn, args), call.deliver, thread_name
    )
