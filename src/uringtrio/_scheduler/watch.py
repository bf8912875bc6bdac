"""Counting the checkpoints of one task, for tests that assert them.

A checkpoint is two things at once: a point where the task may be cancelled, and one where others
may run. A task that is watched has its `_run` replaced, so that one that is not pays nothing for
its steps: each step after the first began because the task had yielded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from .task import Task


class Watch:
    """Counts what one task does from `enter` until `exit`, which may be nested.

    Attributes:
        yields: how often the task has let others run.
        shielded: how many of those yields did not look for a cancellation.
        looked: how often the task has looked for a cancellation without yielding.
    """

    __slots__ = ("_depth", "_task", "looked", "shielded", "yields")

    def __init__(self, task: Task) -> None:
        self._task = task
        self._depth = 0
        self.yields = 0
        self.shielded = 0
        self.looked = 0

    @classmethod
    def enter(cls, task: Task) -> Watch:
        """Watch `task`, by the watch that it has already if it has one."""
        watch = task._watch
        if watch is None:
            watch = task._watch = cls(task)
            task._run = watch._run
        watch._depth += 1
        return watch

    def exit(self) -> None:
        """Undo one `enter`."""
        self._depth -= 1
        if self._depth == 0:
            self._task._watch = None
            self._task._run = self._task.context.run

    def schedule_points(self) -> int:
        """Return how often others could run."""
        return self.yields

    def cancel_points(self) -> int:
        """Return how often the task could be cancelled."""
        return self.yields - self.shielded + self.looked

    def _run(self, step: Callable[[Any], Any], value: Any) -> Any:
        # Takes the place of `task.context.run`; looked up late, since `from_thread.run` lends the
        # task another context for a while.
        self.yields += 1
        return self._task.context.run(step, value)
