"""Hold: one direction of a socket or stream, kept by one task from its first op to its last."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from uringtrio._errors import BusyResourceError, ClosedResourceError
from uringtrio._ops.op import Op

if TYPE_CHECKING:
    from types import TracebackType

    from uringtrio._ring.ring import Ring

READING = "_reading"
WRITING = "_writing"
_DOING = {READING: "receiving from", WRITING: "sending through"}


class Hold(Op):
    """While it is entered, other tasks get BusyResourceError in this direction.

    It stands where the owner keeps the op of the direction, as one that is neither in flight nor
    free, when none of this task's is there because it waits for something else. It is never
    submitted. That the owner is closed it learns by no longer standing there.

    Args:
        owner: keeps the op of each direction in the attributes `_reading` and `_writing`.
        direction: `READING` or `WRITING`.
    """

    __slots__ = ("_direction", "_owner")

    def __init__(self, owner: Any, direction: str) -> None:
        super().__init__()
        self.waiter = True
        self._owner = owner
        self._direction = direction

    def prepare(self, ring: Ring) -> int:
        del ring
        raise AssertionError("a hold is not submitted")

    def perform(self) -> int:
        raise AssertionError("a hold is not submitted")

    def __enter__(self) -> Self:
        op = getattr(self._owner, self._direction)
        if op is not None and (op.id or op.waiter is not None):
            raise BusyResourceError(
                f"another task is already {_DOING[self._direction]} this {_kind(self._owner)}"
            )
        setattr(self._owner, self._direction, self)
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._stands():
            setattr(self._owner, self._direction, None)

    def _stands(self) -> bool:
        return getattr(self._owner, self._direction) is self

    async def run(self, op: Op) -> Any:
        """Wait for `op`, which the owner knows meanwhile, so that closing ends it.

        Raises:
            ClosedResourceError: the owner was closed before or meanwhile.
            OSError: the op failed.
        """
        if not self._stands():
            raise ClosedResourceError(f"this {_kind(self._owner)} was closed by another task")
        setattr(self._owner, self._direction, op)
        try:
            return await op
        finally:
            if getattr(self._owner, self._direction) is op:
                setattr(self._owner, self._direction, self)


def _kind(owner: object) -> str:
    return "socket" if hasattr(owner, "getsockname") else "stream"
