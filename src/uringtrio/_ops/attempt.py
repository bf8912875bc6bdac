"""Attempt: an op that is tried before it is submitted, because it hardly ever waits."""

from __future__ import annotations

from typing import Any

from .op import Op


class Attempt(Op):
    """An op that is performed when it is armed, and submitted if it would have to wait."""

    __slots__ = ()

    def arm(self, task: Any) -> None:
        if self.arms_first:
            # Whoever sets it knows that it would have to wait.
            super().arm(task)
            return
        if task._scope._effectively_cancelled or task._ki_pending:
            task._interrupt_now()
            return
        try:
            res = self.perform()
        except BlockingIOError:
            # A driver without a ring need not try again at once.
            self.arms_first = True
            super().arm(task)
            return
        except Exception as exc:  # noqa: BLE001  # it goes to the task, which made the call
            self.pins = None
            task._resume_with(exc)
            return
        # Until the task has resumed, the value is in here.
        self.waiter = task
        self.res = res
        self.value = self.collect(res)
        self.pins = None
        task._runner.runq.append(task)
