"""Condition: waiting for a change of what a lock protects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, final

from uringtrio._abc import Sealed
from uringtrio._scheduler.cancel import CancelScope
from uringtrio._scheduler.current import get_task
from uringtrio._scheduler.parking import ParkingLot

from .lock import Lock, LockStatistics

if TYPE_CHECKING:
    from types import TracebackType


@dataclass(frozen=True, slots=True)
class ConditionStatistics:
    """What `Condition.statistics` returns.

    Attributes:
        tasks_waiting: how many tasks are blocked in `wait` and were not notified.
        lock_statistics: the figures of the lock; who was notified waits for that.
    """

    tasks_waiting: int
    lock_statistics: LockStatistics


@final
class Condition(Sealed):
    """A lock, and a line of tasks that wait to be told of a change.

    `async with condition` holds the lock for the block: entering is a checkpoint, leaving is not.

    Args:
        lock: the lock, which several conditions may share; None makes a new one.

    Raises:
        TypeError: `lock` is no `Lock`.
    """

    __slots__ = ("__dict__", "__weakref__", "_lock", "_lot")

    def __init__(self, lock: Lock | None = None) -> None:
        if lock is None:
            lock = Lock()
        if type(lock) is not Lock:
            raise TypeError(f"lock must be a uringtrio.Lock, not {lock!r}")
        self._lock = lock
        self._lot = ParkingLot()

    def locked(self) -> bool:
        """Say whether a task holds the lock."""
        return self._lock.locked()

    def acquire_nowait(self) -> None:
        """Take the lock if it is free, as `Lock.acquire_nowait`.

        Raises:
            WouldBlock: another task holds it.
            RuntimeError: this task holds it.
        """
        self._lock.acquire_nowait()

    async def acquire(self) -> None:
        """Take the lock, waiting until it is free, as `Lock.acquire`.

        Raises:
            BrokenResourceError: the task that held it has exited without releasing it.
            RuntimeError: this task holds it.

        Checkpoint: always. If it is cancelled, the lock was not taken.
        """
        await self._lock.acquire()

    def release(self) -> None:
        """Hand the lock on, as `Lock.release`.

        Raises:
            RuntimeError: this task does not hold it.
        """
        self._lock.release()

    async def wait(self) -> None:
        """Release the lock, wait to be notified, and take the lock again.

        The lock is held again in any case: a wait that is cancelled first waits for the lock,
        and then raises. So a change must be looked for in a loop.

        Raises:
            RuntimeError: this task does not hold the lock.
            BrokenResourceError: the task that held the lock meanwhile has exited without
                releasing it; then it is not held.

        Checkpoint: always.
        """
        self._check_owner("wait")
        self._lock.release()
        try:
            # Whoever notifies moves this task to the line for the lock: it wakes as its owner.
            await self._lot.park()
        except BaseException:
            with CancelScope(shield=True):
                await self._lock.acquire()
            raise

    def notify(self, n: int = 1) -> None:
        """Let the tasks that have waited longest go on, once they get the lock.

        Args:
            n: how many at most.

        Raises:
            RuntimeError: this task does not hold the lock.

        Checkpoint: never; this is no async function.
        """
        self._check_owner("notify")
        self._lot.repark(self._lock._lot, count=n)

    def notify_all(self) -> None:
        """Let all tasks that wait go on, one after the other as they get the lock.

        Raises:
            RuntimeError: this task does not hold the lock.
        """
        self._check_owner("notify")
        self._lot.repark_all(self._lock._lot)

    def _check_owner(self, verb: str) -> None:
        if get_task(f"Condition.{verb}()") is not self._lock._owner:
            raise RuntimeError(
                f"must hold the lock to {verb}: do it inside `async with condition:`"
            )

    def statistics(self) -> ConditionStatistics:
        """Return figures for debugging."""
        return ConditionStatistics(
            tasks_waiting=len(self._lot), lock_statistics=self._lock.statistics()
        )

    async def __aenter__(self) -> None:
        await self._lock.acquire()

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._lock.release()
