"""Sequencer: pieces of code in several tasks, in an order that the test decides."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, final

from uringtrio._abc import Sealed
from uringtrio._errors import Cancelled
from uringtrio._sync.event import Event

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager
    from types import TracebackType

BROKEN = "sequence broken!"


class _Position:
    """What `Sequencer.__call__` returns."""

    __slots__ = ("_position", "_sequencer")

    def __init__(self, sequencer: Sequencer, position: int) -> None:
        self._sequencer = sequencer
        self._position = position

    async def __aenter__(self) -> None:
        await self._sequencer._wait(self._position)

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._sequencer._reached[self._position + 1].set()


@final
class Sequencer(Sealed):
    """Makes blocks of several tasks run one after the other: `async with seq(0): ...`.

    The block of position 0 begins at once, that of position 1 when the block of 0 has ended, and
    so on, in whatever tasks they are.
    """

    __slots__ = ("__dict__", "__weakref__", "_claimed", "_is_broken", "_reached")

    def __init__(self) -> None:
        self._claimed: set[int] = set()
        # For each position, whether the block before it has ended.
        self._reached: defaultdict[int, Event] = defaultdict(Event)
        self._is_broken = False

    def __call__(self, position: int) -> AbstractAsyncContextManager[None]:
        """Return an async context manager whose block runs at `position`.

        Args:
            position: from 0; each may be entered once.

        Raises:
            RuntimeError: on entering. The position was entered before, or a task was cancelled
                while it waited for its turn, so that the sequence cannot go on.
        """
        return _Position(self, position)

    async def _wait(self, position: int) -> None:
        if position in self._claimed:
            raise RuntimeError(f"Attempted to reuse sequence point {position}")
        if self._is_broken:
            raise RuntimeError(BROKEN)
        self._claimed.add(position)
        if position == 0:
            return
        try:
            await self._reached[position].wait()
        except Cancelled:
            self._is_broken = True
            for event in self._reached.values():
                event.set()
            # Not the Cancelled: a test whose order is lost must not end quietly.
            raise RuntimeError("Sequencer wait cancelled -- sequence broken") from None
        if self._is_broken:
            raise RuntimeError(BROKEN)
