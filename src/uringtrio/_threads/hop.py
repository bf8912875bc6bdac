"""One blocking call in a worker thread, awaited by a task."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, TypeVar

from uringtrio._errors import RunFinishedError
from uringtrio._scheduler.current import get_task
from uringtrio._scheduler.traps import (
    Abort,
    checkpoint_if_cancelled,
    reschedule,
    wait_task_rescheduled,
)
from uringtrio._thread_cache import start_thread_soon

if TYPE_CHECKING:
    from collections.abc import Callable

    import outcome

    from uringtrio._scheduler.task import Task

T = TypeVar("T")


async def hop(fn: Callable[[], T], *, name: str) -> T:
    """Return `fn()`, called in a worker thread; a cancelled wait leaves the thread to itself.

    Args:
        fn: may block; its result is dropped if the wait was cancelled.
        name: of the thread meanwhile.

    Checkpoint: always.
    """
    await checkpoint_if_cancelled()
    waiter: list[Task] = [get_task("a call in a thread")]
    token = waiter[0]._runner.token

    def resume(result: outcome.Outcome[T]) -> None:
        if waiter:
            reschedule(waiter.pop(), result)

    def deliver(result: outcome.Outcome[T]) -> None:
        # When the run has ended without waiting for this thread, nobody wants the result.
        with contextlib.suppress(RunFinishedError):
            token.run_sync_soon(resume, result)

    def abort(_raise_cancel: Any) -> Abort:
        waiter.clear()
        return Abort.SUCCEEDED

    start_thread_soon(fn, deliver, name)
    return await wait_task_rescheduled(abort)  # type: ignore[no-any-return]  # what `resume` gave
