"""What `with ... as` gives of the exception that ended the block, where there is no pytest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    # The property `type` hides the class of that name from annotations in the class below.
    from builtins import type as type_
    from types import TracebackType

ExcT = TypeVar("ExcT", bound=BaseException)


class Caught(Generic[ExcT]):
    """The exception that ended a block: as much of `pytest.ExceptionInfo` as needs no pytest."""

    __slots__ = ("_info",)

    def __init__(self) -> None:
        # None until the block has ended.
        self._info: tuple[type_[ExcT], ExcT, TracebackType | None] | None = None

    @classmethod
    def for_later(cls) -> Caught[ExcT]:
        """Return one that is filled when the block ends."""
        return cls()

    def fill_unfilled(self, exc_info: tuple[type_[ExcT], ExcT, TracebackType | None]) -> None:
        """Give it what `__exit__` was called with."""
        self._info = exc_info

    def _filled(self, name: str) -> tuple[type_[ExcT], ExcT, TracebackType | None]:
        if self._info is None:
            raise AssertionError(f".{name} can only be used after the context manager exits")
        return self._info

    @property
    def type(self) -> type_[ExcT]:
        """The exception's class."""
        return self._filled("type")[0]

    @property
    def value(self) -> ExcT:
        """The exception."""
        return self._filled("value")[1]

    @property
    def tb(self) -> TracebackType | None:
        """The exception's traceback."""
        return self._filled("tb")[2]
