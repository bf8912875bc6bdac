"""Turn: one call at a time on a file, where the call has to wait."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

from uringtrio._abc import Sealed
from uringtrio._scheduler.parking import ParkingLot

if TYPE_CHECKING:
    from types import TracebackType


@final
class Turn(Sealed):
    """Taken by `with`, which does not wait: look at `is_taken` first, and `wait` while it is.

    Calls that need not wait run without an await, and so take no turn: this costs them the look.

    Attributes:
        is_taken: whether a task is in the middle of a call.
    """

    __slots__ = ("_lot", "is_taken")

    def __init__(self) -> None:
        self.is_taken = False
        self._lot: ParkingLot | None = None

    async def wait(self) -> None:
        """Wait until no call is under way.

        Checkpoint: always, unless the turn is free.
        """
        if self._lot is None:
            self._lot = ParkingLot()
        while self.is_taken:
            await self._lot.park()

    def __enter__(self) -> None:
        assert not self.is_taken
        self.is_taken = True

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.is_taken = False
        if self._lot is not None:
            # All: the first may find that it need not wait, and take no turn to give on.
            self._lot.unpark_all()
