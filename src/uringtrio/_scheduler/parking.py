"""ParkingLot: tasks that wait in a line, and lots that break when a task exits.

A lot keeps its tasks in an OrderedDict: the first is taken, and any is removed, in constant time.
In a plain dict, taking the first is linear in how many were taken before.

A task that is registered as the breaker of a lot has the lot in its `_breaks`, where the end of
the task looks: a task that breaks none pays for one look at a slot.
"""

from __future__ import annotations

import inspect
from collections import OrderedDict
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, final

from uringtrio._abc import Sealed
from uringtrio._errors import BrokenResourceError

from .current import CURRENT, get_task, refuse_resume
from .traps import Park

if TYPE_CHECKING:
    from .task import Task


@dataclass(frozen=True, slots=True)
class ParkingLotStatistics:
    """What `ParkingLot.statistics` returns.

    Attributes:
        tasks_waiting: how many tasks are blocked in `park`.
    """

    tasks_waiting: int


@final
class ParkingLot(Sealed):
    """A line of tasks, woken in order of arrival: what locks and queues are made of.

    `len(lot)` is the number of tasks that wait; `bool(lot)` says whether there are any.

    Attributes:
        broken_by: the tasks that broke the lot, in order; empty while it is whole.
    """

    # `_park` parks a task in `_tasks`; all tasks in there have it as their `_parked`, so that a
    # cancellation removes them from where they are. Invariant: a broken lot is empty, unless
    # tasks were moved there by `repark`.
    __slots__ = ("__weakref__", "_park", "_tasks", "broken_by")

    def __init__(self) -> None:
        self._tasks: OrderedDict[Task, None] = OrderedDict()
        self._park = Park(self._tasks, None)
        self.broken_by: list[Task] = []

    def __len__(self) -> int:
        return len(self._tasks)

    def __bool__(self) -> bool:
        return bool(self._tasks)

    async def park(self) -> None:
        """Wait until somebody unparks this task.

        Raises:
            BrokenResourceError: the lot is broken, or was broken meanwhile; names the task.

        Checkpoint: always, but for the error of a lot that is broken already.
        """
        if self.broken_by:
            raise BrokenResourceError(
                f"Attempted to park in parking lot broken by {self.broken_by}"
            )
        await self._park

    def unpark(self, *, count: int | float = 1) -> list[Task]:  # noqa: PYI041  # an int, or inf
        """Wake the tasks that have waited longest.

        Args:
            count: how many at most: an int, or math.inf.

        Returns:
            The tasks, which will run in the next turn of the loop.

        Raises:
            ValueError: `count` is a float other than inf.
            RuntimeError: tasks wait, and this is not the thread of their run.
        """
        return self._unpark(self._limit(count), "ParkingLot.unpark()")

    def _unpark(self, count: int, call: str) -> list[Task]:
        """Wake `count` of the tasks that wait; the user has called `call`."""
        if count > 0:
            self._check_run(call)
        tasks = [self._tasks.popitem(last=False)[0] for _ in range(count)]
        for task in tasks:
            task._resume(None)
        return tasks

    def _limit(self, count: int | float) -> int:  # noqa: PYI041  # as above
        if not isinstance(count, float):
            return min(count, len(self._tasks))
        if count != inf:
            raise ValueError("Cannot pop a non-integer number of tasks.")
        return len(self._tasks)

    def _check_run(self, call: str) -> None:
        """Refuse `call` if it resumes tasks of a run that is not in this thread."""
        task = next(iter(self._tasks))
        if task._runner is not CURRENT.runner:
            refuse_resume(task, call)

    def unpark_all(self) -> list[Task]:
        """Wake all tasks that wait, and return them; raises as `unpark`."""
        return self.unpark(count=len(self._tasks))

    def repark(
        self,
        new_lot: ParkingLot,
        *,
        count: int | float = 1,  # noqa: PYI041  # as above
    ) -> None:
        """Move the tasks that have waited longest to the end of another lot, without waking them.

        Args:
            new_lot: where they wait from now on.
            count: how many at most: an int, or math.inf.

        Raises:
            TypeError: `new_lot` is no `ParkingLot`.
            ValueError: `count` is a float other than inf.
        """
        if not isinstance(new_lot, ParkingLot):
            raise TypeError("new_lot must be a ParkingLot")
        for _ in range(self._limit(count)):
            task, _none = self._tasks.popitem(last=False)
            new_lot._tasks[task] = None
            task._parked = new_lot._park

    def repark_all(self, new_lot: ParkingLot) -> None:
        """Move all tasks that wait to the end of another lot, as `repark`."""
        self.repark(new_lot, count=len(self._tasks))

    def break_lot(self, task: Task | None = None) -> None:
        """Break this lot for good: whoever waits in it, or will try to, gets BrokenResourceError.

        Args:
            task: who is to blame, for the error message and `broken_by`; None takes the caller.

        Breaking it again only adds to `broken_by`.

        Raises:
            RuntimeError: tasks wait, and this is not the thread of their run; or `task` is None
                and this is no task.
        """
        if task is None:
            task = get_task("ParkingLot.break_lot()")
        if self._tasks:
            self._check_run("ParkingLot.break_lot()")
        self.broken_by.append(task)
        if len(self.broken_by) > 1:
            return
        for parked in self._tasks:
            parked._resume_with(BrokenResourceError(f"Parking lot broken by {task}"))
        self._tasks.clear()

    def statistics(self) -> ParkingLotStatistics:
        """Return figures for debugging."""
        return ParkingLotStatistics(tasks_waiting=len(self._tasks))


def add_parking_lot_breaker(task: Task, lot: ParkingLot) -> None:
    """Let `lot` break when `task` exits.

    Args:
        task: a task that has not exited.
        lot: any lot; registered several times, it must be removed as often.

    Raises:
        BrokenResourceError: the task has exited.
    """
    if inspect.getcoroutinestate(task.coro) == inspect.CORO_CLOSED:
        raise BrokenResourceError("Attempted to add already exited task as lot breaker.")
    if task._breaks is None:
        task._breaks = [lot]
    else:
        task._breaks.append(lot)


def remove_parking_lot_breaker(task: Task, lot: ParkingLot) -> None:
    """Undo one call of `add_parking_lot_breaker` with the same arguments.

    Raises:
        RuntimeError: there was none.
    """
    if task._breaks is None or lot not in task._breaks:
        raise RuntimeError("Attempted to remove task as breaker for a lot it is not registered for")
    task._breaks.remove(lot)


def break_lots_of(task: Task) -> None:
    """Break the lots that `task`, which has exited, is registered for."""
    assert task._breaks is not None
    for lot in task._breaks:
        lot.break_lot(task)
    task._breaks = None
