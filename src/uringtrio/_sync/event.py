"""Event: something that happens once, and tasks that wait for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn, final

from uringtrio._abc import Sealed
from uringtrio._scheduler.current import CURRENT, refuse_resume
from uringtrio._scheduler.traps import CHECKPOINT, Park

if TYPE_CHECKING:
    from uringtrio._scheduler.task import Task


@dataclass(frozen=True, slots=True)
class EventStatistics:
    """What `Event.statistics` returns.

    Attributes:
        tasks_waiting: how many tasks are blocked in `wait`.
    """

    tasks_waiting: int


@final
class Event(Sealed):
    """A flag that starts unset and can be set, once and for good."""

    __slots__ = ("__weakref__", "_is_set", "_tasks")

    def __init__(self) -> None:
        self._is_set = False
        self._tasks: dict[Task, None] = {}

    def is_set(self) -> bool:
        """Say whether `set` has been called."""
        return self._is_set

    def set(self) -> None:
        """Set the flag and wake every task that waits for it. Setting it again does nothing.

        Raises:
            RuntimeError: tasks wait for it, and this is not the thread of their run; from another
                thread use `from_thread.run_sync`.

        Checkpoint: never; this is no async function.
        """
        if self._tasks:
            task = next(iter(self._tasks))
            if task._runner is not CURRENT.runner:
                refuse_resume(task, "Event.set()")
        self._is_set = True
        for task in self._tasks:
            task._resume(None)
        self._tasks.clear()

    async def wait(self) -> None:
        """Wait until the flag is set.

        Checkpoint: always.
        """
        if self._is_set:
            await CHECKPOINT
        else:
            await Park(self._tasks, None)

    def statistics(self) -> EventStatistics:
        """Return figures for debugging."""
        return EventStatistics(tasks_waiting=len(self._tasks))

    def __bool__(self) -> NoReturn:
        raise NotImplementedError("an Event has no truth value: call event.is_set()")
