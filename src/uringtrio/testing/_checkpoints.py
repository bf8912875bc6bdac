"""Asserting that a block of code is a checkpoint, or that it is none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from uringtrio._scheduler.current import get_task
from uringtrio._scheduler.watch import Watch

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from types import TracebackType


class _Checkpoints:
    """Watches the task during a block, and compares."""

    __slots__ = ("_before", "_expected", "_watch")

    def __init__(self, *, expected: bool) -> None:
        self._expected = expected
        self._watch: Watch | None = None
        self._before = (0, 0)

    def __enter__(self) -> None:
        name = "assert_checkpoints" if self._expected else "assert_no_checkpoints"
        self._watch = watch = Watch.enter(get_task(f"uringtrio.testing.{name}()"))
        self._before = (watch.cancel_points(), watch.schedule_points())

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        __tracebackhide__ = True
        watch, self._watch = self._watch, None
        assert watch is not None
        can_cancel = watch.cancel_points() != self._before[0]
        can_schedule = watch.schedule_points() != self._before[1]
        watch.exit()
        if self._expected:
            if exc is None and not (can_cancel and can_schedule):
                raise AssertionError(
                    "assert_checkpoints block did not yield! "
                    f"(cancellation point: {can_cancel}, schedule point: {can_schedule})"
                )
        elif can_cancel or can_schedule:
            raise AssertionError(
                "assert_no_checkpoints block yielded! "
                f"(cancellation point: {can_cancel}, schedule point: {can_schedule})"
            )


def assert_checkpoints() -> AbstractContextManager[None]:
    """Return a context manager that fails unless its block is a checkpoint, or raises.

    The block must both look for a cancellation and let other tasks run; one alone is not enough.

    Raises:
        AssertionError: on leaving.
        RuntimeError: on entering outside of a task.
    """
    return _Checkpoints(expected=True)


def assert_no_checkpoints() -> AbstractContextManager[None]:
    """Return a context manager that fails if its block does as much as half a checkpoint.

    Raises:
        AssertionError: on leaving: the block looked for a cancellation, or let other tasks run.
        RuntimeError: on entering outside of a task.
    """
    return _Checkpoints(expected=False)
