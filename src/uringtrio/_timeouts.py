"""Sleeping, and the timeouts made of cancel scopes."""

from __future__ import annotations

from math import inf, isnan
from typing import TYPE_CHECKING, NoReturn

from ._errors import TooSlowError
from ._scheduler.cancel import CancelScope
from ._scheduler.current import get_runner, get_task
from ._scheduler.traps import CHECKPOINT, SLEEP_FOREVER, SleepUntil

if TYPE_CHECKING:
    from types import TracebackType


def move_on_at(deadline: float, *, shield: bool = False) -> CancelScope:
    """Return a cancel scope that gives up silently at `deadline`.

    Args:
        deadline: in seconds of the run's clock.
        shield: see `CancelScope.shield`.

    Raises:
        ValueError: `deadline` is NaN.
    """
    return CancelScope(deadline=deadline, shield=shield)


def move_on_after(seconds: float, *, shield: bool = False) -> CancelScope:
    """Return a cancel scope that gives up silently `seconds` after it was entered.

    Args:
        seconds: at least 0.
        shield: see `CancelScope.shield`.

    Raises:
        ValueError: `seconds` is negative or NaN.
    """
    if not seconds >= 0:
        _refuse_seconds(seconds)
    return CancelScope(relative_deadline=seconds, shield=shield)


def _refuse_seconds(seconds: float) -> NoReturn:
    if isnan(seconds):
        raise ValueError("`seconds` must not be NaN")
    raise ValueError("`seconds` must be non-negative")


class _FailScope:
    """A cancel scope that raises TooSlowError when it has absorbed a Cancelled."""

    __slots__ = ("_scope",)

    def __init__(self, scope: CancelScope) -> None:
        self._scope = scope

    def __enter__(self) -> CancelScope:
        return self._scope.__enter__()

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        absorbed = self._scope.__exit__(exc_type, exc, traceback)
        if self._scope.cancelled_caught:
            raise TooSlowError
        return absorbed


def fail_at(deadline: float, *, shield: bool = False) -> _FailScope:
    """Return a context manager for a scope that raises `TooSlowError` if it has to give up.

    Args:
        deadline: in seconds of the run's clock.
        shield: see `CancelScope.shield`.

    Raises:
        TooSlowError: from the end of the block, if this scope was cancelled and that had effect.
        ValueError: `deadline` is NaN.
    """
    return _FailScope(CancelScope(deadline=deadline, shield=shield))


def fail_after(seconds: float, *, shield: bool = False) -> _FailScope:
    """Return a context manager for a scope that raises `TooSlowError` if it takes too long.

    Args:
        seconds: counted from entering, at least 0.
        shield: see `CancelScope.shield`.

    Raises:
        TooSlowError: from the end of the block, if this scope was cancelled and that had effect.
        ValueError: `seconds` is negative or NaN.
    """
    return _FailScope(move_on_after(seconds, shield=shield))


async def sleep_forever() -> NoReturn:
    """Wait until cancelled.

    Raises:
        Cancelled: sooner or later.

    Checkpoint: always.
    """
    await SLEEP_FOREVER


async def sleep_until(deadline: float) -> None:
    """Wait until the run's clock says `deadline`; if it is past, only let other tasks run.

    Raises:
        ValueError: `deadline` is NaN.

    Checkpoint: always.
    """
    if isnan(deadline):
        raise ValueError("deadline must not be NaN")
    if deadline <= get_runner("uringtrio.sleep_until()").now():
        await CHECKPOINT
    else:
        await SleepUntil(deadline)


async def sleep(seconds: float) -> None:
    """Wait for `seconds`, at least 0; 0 only lets other tasks run.

    Raises:
        ValueError: `seconds` is negative or NaN.

    Checkpoint: always.
    """
    if not seconds >= 0:
        _refuse_seconds(seconds)
    if seconds == 0:
        await CHECKPOINT
    else:
        await SleepUntil(get_runner("uringtrio.sleep()").now() + seconds)


def current_effective_deadline() -> float:
    """Return when the code that calls this will be cancelled by a deadline.

    Returns:
        The earliest deadline of the surrounding scopes, up to the innermost shield, in the time
        of the run's clock; inf if there is none, -inf if it is cancelled already.
    """
    scope: CancelScope | None = get_task("uringtrio.current_effective_deadline()")._scope
    assert scope is not None
    if scope._effectively_cancelled:
        return -inf
    deadline = inf
    while scope is not None:
        deadline = min(deadline, scope._deadline)
        if scope._shield:
            break
        scope = scope._parent
    return deadline
