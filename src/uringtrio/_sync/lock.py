"""Lock: one task at a time, first come, first served."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, final

from uringtrio._abc import Sealed
from uringtrio._errors import BrokenResourceError, WouldBlock
from uringtrio._scheduler.current import CURRENT, get_task
from uringtrio._scheduler.parking import ParkingLot
from uringtrio._scheduler.traps import CHECKED_CHECKPOINT, CHECKPOINT

if TYPE_CHECKING:
    from types import TracebackType

    from uringtrio._scheduler.task import Task

HELD_ALREADY = "attempt to re-acquire an already held Lock"


@dataclass(frozen=True, slots=True)
class LockStatistics:
    """What `Lock.statistics` returns.

    Attributes:
        locked: whether a task holds the lock.
        owner: that task, or None.
        tasks_waiting: how many tasks are blocked in `acquire`.
    """

    locked: bool
    owner: Task | None
    tasks_waiting: int


class _Lock:
    """What both kinds of lock do."""

    # `_owner` is None iff the lock is free, and then nobody waits in `_lot`. An owner that is a
    # living task has `_lot` among the lots that it breaks when it exits; one that has exited
    # stays the owner, of a broken lot.
    __slots__ = ("__dict__", "__weakref__", "_lot", "_owner")

    def __init__(self) -> None:
        self._lot = ParkingLot()
        self._owner: Task | None = None

    def __repr__(self) -> str:
        name = type(self).__name__
        if self._owner is None:
            return f"<unlocked {name} object at {id(self):#x}>"
        return f"<locked {name} object at {id(self):#x} with {len(self._lot)} waiters>"

    def locked(self) -> bool:
        """Say whether a task holds the lock."""
        return self._owner is not None

    def acquire_nowait(self) -> None:
        """Take the lock if it is free.

        Raises:
            WouldBlock: another task holds it.
            RuntimeError: this task holds it.
        """
        task = get_task("Lock.acquire_nowait()")
        if self._owner is None:
            self._give_to(task)
        elif self._owner is task:
            raise RuntimeError(HELD_ALREADY)
        else:
            raise WouldBlock

    def _give_to(self, task: Task) -> None:
        self._owner = task
        # `add_parking_lot_breaker`, without its check of a task that is known to live.
        if task._breaks is None:
            task._breaks = [self._lot]
        else:
            task._breaks.append(self._lot)

    async def acquire(self) -> None:
        """Take the lock, waiting until it is free.

        Raises:
            BrokenResourceError: the task that held it has exited without releasing it.
            RuntimeError: this task holds it.

        Checkpoint: always. If it is cancelled, the lock was not taken.
        """
        # `get_task`, written out: 100 ns less of 1000 (benchmarks/scheduler.py, lock).
        runner = CURRENT.runner
        task = None if runner is None else runner.task
        if task is None:
            task = get_task("Lock.acquire()")
        if task._scope._effectively_cancelled or task._ki_pending:
            await CHECKPOINT
        if self._owner is None:
            self._give_to(task)
            await CHECKED_CHECKPOINT
        elif self._owner is task:
            raise RuntimeError(HELD_ALREADY)
        else:
            try:
                await self._lot.park()
            except BrokenResourceError:
                raise BrokenResourceError(
                    f"Owner of this lock exited without releasing: {self._owner}"
                ) from None

    def release(self) -> None:
        """Hand the lock to the task that has waited longest; without one it is free.

        Raises:
            RuntimeError: this task does not hold it.

        Checkpoint: never; this is no async function.
        """
        # `get_task`, written out, as in `acquire`.
        runner = CURRENT.runner
        task = None if runner is None else runner.task
        if task is None:
            task = get_task("Lock.release()")
        if task is not self._owner:
            raise RuntimeError("can't release a Lock you don't own")
        heir = self._lot._unpark(1, "Lock.release()")[0] if self._lot._tasks else None
        breaks = task._breaks
        assert breaks is not None
        # Mostly the last one, since blocks nest.
        if breaks[-1] is self._lot:
            breaks.pop()
        else:
            breaks.remove(self._lot)
        if heir is None:
            self._owner = None
        else:
            self._give_to(heir)

    def statistics(self) -> LockStatistics:
        """Return figures for debugging."""
        return LockStatistics(
            locked=self._owner is not None, owner=self._owner, tasks_waiting=len(self._lot)
        )

    # An `async def` around it would cost 60 ns of 1000 (benchmarks/scheduler.py, lock).
    __aenter__ = acquire

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.release()


@final
class Lock(Sealed, _Lock):
    """A mutex for tasks: one at a time holds it, and only that one may release it.

    A task that holds it already must not acquire it again. If the owner exits without releasing
    it, whoever waits for it, or will, gets BrokenResourceError. `async with lock` holds it for
    the block: entering is a checkpoint, leaving is not.
    """

    __slots__ = ()


@final
class StrictFIFOLock(Sealed, _Lock):
    """A `Lock` that says: this program relies on first come, first served.

    `Lock` is the same today, but only this one promises the order for all time. It is needed
    where tasks get in line in the order in which they changed a shared state, as in a protocol
    whose messages must be sent in the order in which they were made.
    """

    __slots__ = ()
