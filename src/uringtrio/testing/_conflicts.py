"""Noticing two tasks where only one may be."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING

from uringtrio._errors import BusyResourceError

if TYPE_CHECKING:
    from types import TracebackType


class OneTask:
    """A context manager that raises BusyResourceError while another task is in it.

    Args:
        doing: what that task does, for the message: "another task is already {doing}".
    """

    __slots__ = ("_doing", "_is_busy")

    def __init__(self, doing: str) -> None:
        self._doing = doing
        self._is_busy = False

    def __enter__(self) -> None:
        if self._is_busy:
            raise BusyResourceError(f"another task is already {self._doing}")
        self._is_busy = True

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._is_busy = False


def check_max_bytes(max_bytes: int | None) -> None:
    """Raise TypeError or ValueError unless it is None or an int of at least 1."""
    if max_bytes is not None and operator.index(max_bytes) < 1:
        raise ValueError(f"max_bytes must be >= 1, not {max_bytes!r}")
