"""The clock of a run that was given none."""

from __future__ import annotations

from random import Random
from time import perf_counter

from uringtrio._abc import Clock


class SystemClock(Clock):
    """The system's monotonic clock, moved by a random offset.

    The offset, between 10,000 and 1,000,000 seconds and new for each run, makes code that mixes
    this clock with another one fail at once instead of seldom.
    """

    __slots__ = ("_offset",)

    def __init__(self) -> None:
        # A generator of its own: the program may have seeded the one of the module `random`.
        self._offset = Random().uniform(10_000, 1_000_000)

    def start_clock(self) -> None:
        pass  # The system's clock is always running.

    def current_time(self) -> float:
        return self._offset + perf_counter()

    def deadline_to_sleep_time(self, deadline: float) -> float:
        return deadline - self.current_time()
