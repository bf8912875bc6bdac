"""The deadlines of a run: a heap in which a removed entry stays until it is in the way.

Most deadlines never expire: a timeout around a receive is set and removed in one turn of the
loop. So removing only forgets the entry's number, and the heap is swept when more than half of it
is dead.
"""

from __future__ import annotations

import heapq
from math import inf
from typing import Protocol

SWEEP_MIN = 1000


class Timer(Protocol):
    """What can wait for a deadline. `timer` is the number of its live entry, or 0."""

    timer: int

    def expire(self) -> None:
        """The deadline has passed; the entry is gone."""


class Deadlines:
    """What is to happen when, by the clock of the run.

    Attributes:
        heap: entries (deadline, number, timer); one is live iff `timer.timer == number`.
    """

    __slots__ = ("_dead", "_number", "heap")

    def __init__(self) -> None:
        self.heap: list[tuple[float, int, Timer]] = []
        self._number = 0
        self._dead = 0

    def add(self, deadline: float, timer: Timer) -> None:
        """Call `timer.expire()` once `deadline` has passed. `timer` must have no entry yet."""
        self._number = timer.timer = number = self._number + 1
        heapq.heappush(self.heap, (deadline, number, timer))

    def remove(self, timer: Timer) -> None:
        """Forget the entry of `timer`, which has one."""
        timer.timer = 0
        self._dead = dead = self._dead + 1
        if dead > SWEEP_MIN and dead * 2 > len(self.heap):
            self._sweep()

    def _sweep(self) -> None:
        # In place: the loop holds a reference to the list.
        self.heap[:] = [entry for entry in self.heap if entry[2].timer == entry[1]]
        heapq.heapify(self.heap)
        self._dead = 0

    def next_deadline(self) -> float:
        """Return the earliest live deadline, inf if there is none."""
        heap = self.heap
        while heap:
            deadline, number, timer = heap[0]
            if timer.timer == number:
                return deadline
            heapq.heappop(heap)
            self._dead -= 1
        return inf

    def expire(self, now: float) -> None:
        """Call `expire` of every timer whose deadline is `now` or earlier."""
        heap = self.heap
        while heap and heap[0][0] <= now:
            _, number, timer = heapq.heappop(heap)
            if timer.timer == number:
                timer.timer = 0
                timer.expire()
            else:
                self._dead -= 1
