"""Which run and task the calling thread is in: the one piece of thread-local state."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .runner import Runner
    from .task import Task


class _Current(threading.local):
    """`runner` is the run of this thread, or None outside of a run."""

    runner: Runner | None = None


CURRENT = _Current()


def get_runner(call: str) -> Runner:
    """Return the run of this thread.

    Args:
        call: what the user called, for the error message.

    Raises:
        RuntimeError: there is none.
    """
    runner = CURRENT.runner
    if runner is None:
        raise RuntimeError(
            f"{call} must be called from async context: "
            "inside a function that uringtrio.run() started, in the same thread"
        )
    return runner


def get_task(call: str) -> Task:
    """Return the task that is running in this thread, or raise RuntimeError as `get_runner`."""
    task = get_runner(call).task
    if task is None:
        raise RuntimeError(f"{call} must be called from a task, not from a callback of the run")
    return task


def refuse_resume(task: Task, call: str) -> None:
    """Refuse `call`, which would resume `task`, whose run is not in this thread.

    That run would not notice. Whoever resumes tasks for the user compares their `_runner` with
    that of `CURRENT` before it changes anything; a function for that would cost 60 ns of 1100
    (benchmarks/scheduler.py, event_ping_pong). Tasks of a run that is over are not resumed, so
    what is called while they are destroyed does no harm.

    Raises:
        RuntimeError: the run is not over.
    """
    if not task._runner.is_over:
        raise RuntimeError(
            f"{call} must be called from async context, in the run of {task!r}, which it would "
            "resume: from another thread use uringtrio.from_thread.run_sync()"
        )


def current_task() -> Task:
    """Return the task that calls this.

    Raises:
        RuntimeError: no task is running in this thread.
    """
    return get_task("uringtrio.lowlevel.current_task()")


def current_time() -> float:
    """Return the time of this run's clock in seconds; its zero point is arbitrary.

    Raises:
        RuntimeError: called outside of a run.
    """
    return get_runner("uringtrio.current_time()").now()


def in_trio_run() -> bool:
    """Say whether this thread is in a run: in a task, an instrument, or the host of a guest run."""
    return CURRENT.runner is not None


def in_trio_task() -> bool:
    """Say whether this thread is running a task."""
    return CURRENT.runner is not None and CURRENT.runner.task is not None
