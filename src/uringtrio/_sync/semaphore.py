"""Semaphore: a number that tasks count down, and wait at 0."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

from uringtrio._abc import Sealed
from uringtrio._errors import WouldBlock
from uringtrio._scheduler.current import get_task
from uringtrio._scheduler.parking import ParkingLot, ParkingLotStatistics
from uringtrio._scheduler.traps import CHECKED_CHECKPOINT, CHECKPOINT

if TYPE_CHECKING:
    from types import TracebackType


@final
class Semaphore(Sealed):
    """A number that `acquire` counts down and `release` counts up; it never goes below 0.

    Tasks that wait are served in order of arrival. Any task may release. To limit how many tasks
    do something at a time, `CapacityLimiter` finds more mistakes. `async with semaphore` counts
    down for the block: entering is a checkpoint, leaving is not.

    Args:
        initial_value: where it starts, at least 0.
        max_value: what it may reach at most, at least `initial_value`; None is without limit.

    Raises:
        TypeError: one of them is no int.
        ValueError: one of them is too small.
    """

    # Invariant: tasks wait in `_lot` only while `_value` is 0.
    __slots__ = ("__dict__", "__weakref__", "_lot", "_max_value", "_value")

    def __init__(self, initial_value: int, *, max_value: int | None = None) -> None:
        if not isinstance(initial_value, int):
            raise TypeError("initial_value must be an int")
        if initial_value < 0:
            raise ValueError("initial value must be >= 0")
        if max_value is not None:
            if not isinstance(max_value, int):
                raise TypeError("max_value must be None or an int")
            if max_value < initial_value:
                raise ValueError("max_values must be >= initial_value")
        self._lot = ParkingLot()
        self._value = initial_value
        self._max_value = max_value

    def __repr__(self) -> str:
        bound = "" if self._max_value is None else f", max_value={self._max_value}"
        return f"<uringtrio.Semaphore({self._value}{bound}) at {id(self):#x}>"

    @property
    def value(self) -> int:
        """The number."""
        return self._value

    @property
    def max_value(self) -> int | None:
        """What the number may reach at most; None is without limit."""
        return self._max_value

    def acquire_nowait(self) -> None:
        """Count down by one if the number is not 0.

        Raises:
            WouldBlock: it is 0.
        """
        if self._value == 0:
            raise WouldBlock
        self._value -= 1

    async def acquire(self) -> None:
        """Count down by one, waiting until the number is not 0.

        Checkpoint: always. If it is cancelled, the number is unchanged.
        """
        task = get_task("Semaphore.acquire()")
        if task._scope._effectively_cancelled or task._ki_pending:
            await CHECKPOINT
        if self._value == 0:
            await self._lot.park()
        else:
            self._value -= 1
            await CHECKED_CHECKPOINT

    def release(self) -> None:
        """Count up by one, or let the task that has waited longest go on.

        Raises:
            ValueError: the number has reached `max_value`.
            RuntimeError: tasks wait, and this is not the thread of their run; from another
                thread use `from_thread.run_sync`.

        Checkpoint: never; this is no async function.
        """
        if self._lot:
            assert self._value == 0
            self._lot._unpark(1, "Semaphore.release()")
        elif self._value == self._max_value:
            raise ValueError("semaphore released too many times")
        else:
            self._value += 1

    def statistics(self) -> ParkingLotStatistics:
        """Return figures for debugging."""
        return self._lot.statistics()

    # An `async def` around it would only forward.
    __aenter__ = acquire

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.release()
