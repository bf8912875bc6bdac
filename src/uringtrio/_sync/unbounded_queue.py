"""UnboundedQueue: what memory channels have replaced; kept for programs that use it."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Generic, Self, TypeVar, final

from uringtrio._abc import Sealed
from uringtrio._errors import TrioDeprecationWarning, WouldBlock
from uringtrio._scheduler.current import get_task
from uringtrio._scheduler.parking import ParkingLot
from uringtrio._scheduler.traps import CHECKED_CHECKPOINT, CHECKPOINT

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class UnboundedQueueStatistics:
    """What `UnboundedQueue.statistics` returns.

    Attributes:
        qsize: objects in the queue.
        tasks_waiting: tasks blocked in `get_batch`.
    """

    qsize: int
    tasks_waiting: int


@final
class UnboundedQueue(Generic[T], Sealed):  # noqa: PYI059  # Sealed does not call Generic's __init_subclass__
    """A queue without a limit, emptied at one go. Deprecated: use `open_memory_channel(inf)`.

    `async for batch in queue` takes batch after batch, and never ends.
    """

    # `_is_promised`: a task was woken to take what there is, and has not run yet. Invariant:
    # tasks wait only while the queue is empty or promised.
    __slots__ = ("__dict__", "__weakref__", "_is_promised", "_items", "_lot")

    def __init__(self) -> None:
        warnings.warn(
            "uringtrio.lowlevel.UnboundedQueue is deprecated; "
            "use uringtrio.open_memory_channel(math.inf) instead",
            TrioDeprecationWarning,
            stacklevel=2,
        )
        self._items: list[T] = []
        self._lot = ParkingLot()
        self._is_promised = False

    def __repr__(self) -> str:
        return f"<UnboundedQueue holding {len(self._items)} items>"

    def qsize(self) -> int:
        """Return how many objects are in the queue."""
        return len(self._items)

    def empty(self) -> bool:
        """Say whether there are none. If not, they may still be promised to a waiting task."""
        return not self._items

    def put_nowait(self, obj: T) -> None:
        """Put an object into the queue; there is always room.

        Raises:
            RuntimeError: a task waits for it, and this is not the thread of its run.
        """
        if self._lot and not self._is_promised:
            self._lot._unpark(1, "UnboundedQueue.put_nowait()")
            self._is_promised = True
        self._items.append(obj)

    def get_batch_nowait(self) -> list[T]:
        """Return all objects in the queue, oldest first, and at least one.

        Raises:
            WouldBlock: there are none, or a task that waits is about to get them.
        """
        if not self._items or self._is_promised:
            raise WouldBlock
        return self._take()

    def _take(self) -> list[T]:
        items, self._items = self._items, []
        return items

    async def get_batch(self) -> list[T]:
        """Return all objects in the queue, oldest first, waiting until there is at least one.

        Checkpoint: always. If it is cancelled, nothing was taken.
        """
        task = get_task("UnboundedQueue.get_batch()")
        if task._scope._effectively_cancelled or task._ki_pending:
            await CHECKPOINT
        if self._items and not self._is_promised:
            items = self._take()
            await CHECKED_CHECKPOINT
            return items
        await self._lot.park()
        self._is_promised = False
        return self._take()

    def statistics(self) -> UnboundedQueueStatistics:
        """Return figures for debugging."""
        return UnboundedQueueStatistics(qsize=len(self._items), tasks_waiting=len(self._lot))

    def __aiter__(self) -> Self:
        return self

    __anext__ = get_batch
