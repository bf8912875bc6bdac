"""Periodic time: `interval`."""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING, Literal, Self

from ._errors import BusyResourceError
from ._scheduler.current import get_runner
from ._scheduler.traps import CHECKPOINT, SleepUntil

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from ._scheduler.runner import Runner

Missed = Literal["delay", "burst", "skip"]
MISSED = ("delay", "burst", "skip")


class _Interval:
    """What `interval` returns: an endless async iterator of the times of ticks."""

    __slots__ = ("_index", "_is_busy", "_missed", "_seconds", "_start")

    def __init__(self, seconds: float, missed: Missed) -> None:
        self._seconds = seconds
        self._missed = missed
        # The next tick is due at `_start + _index * _seconds`: a product, because a sum of many
        # periods would add up the rounding of each. `_start` is None until somebody iterates.
        self._start: float | None = None
        self._index = 0
        self._is_busy = False

    def __repr__(self) -> str:
        return f"<uringtrio.interval({self._seconds!r}, missed={self._missed!r})>"

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> float:
        runner = get_runner("iterating over uringtrio.interval()")
        if self._is_busy:
            raise BusyResourceError(
                "another task is already iterating over this interval: give each task its own"
            )
        now = runner.now()
        if self._start is None:
            self._start = now
        due = self._start + self._index * self._seconds
        self._is_busy = True
        try:
            if now < due:
                await SleepUntil(due)
            else:
                await CHECKPOINT
        finally:
            self._is_busy = False
        # Only now: a tick whose wait was cancelled is still to come.
        self._index += 1
        if due < now:
            self._catch_up(runner)
        return due

    def _catch_up(self, runner: Runner) -> None:
        """Choose the next tick after one that was asked for when it was past."""
        assert self._start is not None
        if self._missed == "delay":
            self._start = runner.now()
            self._index = 1
        elif self._missed == "skip":
            periods = (runner.now() - self._start) // self._seconds
            self._index = max(self._index, int(periods) + 1)


def interval(seconds: float, *, missed: Missed = "delay") -> AsyncIterator[float]:
    """Return an async iterator that ticks once per period, for ever.

        async for due in uringtrio.interval(60):
            await report()

    The first tick comes at once, and the periods count from there, not from the end of the loop's
    body: the body may take any time up to a period. A tick is late if its time had passed when it
    was asked for; it then comes at once, and `missed` says what follows. With a period of 2, and
    a body that takes 5 once:

    ======== ============================== =========================
    missed   ticks come at                  that were due at
    ======== ============================== =========================
    "delay"  0, 5, 7, 9, 11                 0, 2, 7, 9, 11
    "burst"  0, 5, 5, 6, 8                  0, 2, 4, 6, 8
    "skip"   0, 5, 6, 8, 10                 0, 2, 6, 8, 10
    ======== ============================== =========================

    Cancelling an iteration neither loses a tick nor moves the schedule. Time is that of the run's
    clock.

    Args:
        seconds: the period, greater than 0 and finite.
        missed: what follows a late tick. "delay": the next one a period later, so that there is
            a period between any two, and the schedule moves. "burst": all ticks that were missed,
            one right after another, so that their number is right. "skip": the next one that is
            on schedule and to come, so that they stay on the multiples of the period.

    Returns:
        An iterator for one task at a time, made anywhere. It yields the time that the tick was
        due, of the run's clock: `current_time()` less that is how late it is.

    Raises:
        ValueError: `seconds` or `missed` is none of these.
        BusyResourceError: when iterating: another task iterates already.
        RuntimeError: when iterating: called outside of a run.

    Checkpoint: each iteration, always.
    """
    if not (isfinite(seconds) and seconds > 0):
        raise ValueError(f"`seconds` must be a finite time greater than 0, not {seconds!r}")
    if missed not in MISSED:
        known = ", ".join(map(repr, MISSED))
        raise ValueError(f"`missed` must be one of {known}, not {missed!r}")
    return _Interval(seconds, missed)
