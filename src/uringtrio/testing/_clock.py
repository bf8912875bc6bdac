"""MockClock: the time of a run, moved by the test."""

from __future__ import annotations

import time
from math import inf
from typing import final

from uringtrio._abc import Clock, Sealed
from uringtrio._scheduler.current import CURRENT


@final
class MockClock(Sealed, Clock):
    """A clock for `run(clock=...)` that stands still, runs at any rate, and jumps.

    It starts at 0. With an `autojump_threshold` of 0 a test that sleeps for hours takes
    milliseconds: whenever all tasks wait, the clock jumps to the next deadline.

    Args:
        rate: seconds of this clock for each real second, at least 0; 0 is a clock that only jumps.
        autojump_threshold: for how many real seconds all tasks must have waited before the clock
            jumps to the next deadline; inf for never. A test with real I/O needs one that is
            longer than its data is on the way. As long as a task is in `wait_all_tasks_blocked`,
            the clock does not jump.

    Raises:
        ValueError: `rate` is negative.
    """

    __slots__ = ("__dict__", "__weakref__", "_autojump_threshold", "_base", "_rate", "_real_base")

    def __init__(self, rate: float = 0.0, autojump_threshold: float = inf) -> None:
        # This clock showed `_base` at the real time `_real_base`, and has had `_rate` since.
        self._base = 0.0
        self._real_base = time.perf_counter()
        self._rate = _checked_rate(rate)
        self._autojump_threshold = float(autojump_threshold)

    def __repr__(self) -> str:
        return f"<MockClock, time={self.current_time():.7f}, rate={self._rate} @ {id(self):#x}>"

    @property
    def rate(self) -> float:
        """Seconds of this clock for each real second; may be set at any time."""
        return self._rate

    @rate.setter
    def rate(self, rate: float) -> None:
        rate = _checked_rate(rate)
        now = time.perf_counter()
        self._base += self._rate * (now - self._real_base)
        self._real_base = now
        self._rate = rate
        self._end_sleep()

    @property
    def autojump_threshold(self) -> float:
        """Real seconds of idleness before the clock jumps; may be set at any time."""
        return self._autojump_threshold

    @autojump_threshold.setter
    def autojump_threshold(self, seconds: float) -> None:
        self._autojump_threshold = float(seconds)
        self._end_sleep()

    def start_clock(self) -> None:
        """Do nothing: time is counted from when the clock was made."""

    def current_time(self) -> float:
        return self._base + self._rate * (time.perf_counter() - self._real_base)

    def deadline_to_sleep_time(self, deadline: float) -> float:
        seconds = deadline - self.current_time()
        if seconds <= 0:
            return 0.0
        # A clock that stands still reaches no deadline by waiting.
        return seconds / self._rate if self._rate else inf

    def jump(self, seconds: float) -> None:
        """Move the clock forwards.

        Args:
            seconds: at least 0.

        Raises:
            ValueError: it is negative.
        """
        if seconds < 0:
            raise ValueError("time can't go backwards")
        self._base += seconds
        self._end_sleep()

    def autojump(self, next_deadline: float) -> None:
        """Jump to `next_deadline`; called by a run that has been idle for long enough."""
        self.jump(max(0.0, next_deadline - self.current_time()))

    def _end_sleep(self) -> None:
        """Let a guest run, whose host has made a change, see it although it waits."""
        runner = CURRENT.runner
        if runner is not None and runner.clock is self:
            runner.end_sleep()


def _checked_rate(rate: float) -> float:
    if rate < 0:
        raise ValueError("rate must be >= 0")
    return float(rate)
