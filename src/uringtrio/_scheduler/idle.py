"""Noticing that every task waits: for `wait_all_tasks_blocked`, and for clocks that jump.

A run is idle when a wait for I/O has lasted for a while, in real time, without anything becoming
runnable. Nothing here costs a run that nobody watches: then `Runner.idle` is None.
"""

from __future__ import annotations

import time
from math import inf
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from .current import get_runner
from .traps import Park

if TYPE_CHECKING:
    from .runner import Runner
    from .task import Task


@runtime_checkable
class JumpingClock(Protocol):
    """A clock that can be moved on to the next deadline when the run is idle.

    Attributes:
        autojump_threshold: real seconds of idleness before it jumps; inf for never.
    """

    autojump_threshold: float

    def autojump(self, next_deadline: float) -> None:
        """The run is idle until `next_deadline`, which is not inf."""


class Idle:
    """Who wants to know that the run is idle, and since when it might be."""

    __slots__ = ("_clock", "_primed_since", "_runner", "_seconds", "waiting")

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        # The clock of the run if it can jump, else None.
        self._clock = runner.clock if isinstance(runner.clock, JumpingClock) else None
        # Tasks in `wait_all_tasks_blocked`, with their cushions.
        self.waiting: dict[Task, float] = {}
        # When the present wait began, if its end may mean idleness; else None.
        self._primed_since: float | None = None
        self._seconds = 0.0

    def prime(self, seconds: float) -> float:
        """Return how long a wait of `seconds` at most may really take, because of idleness."""
        self._primed_since = None
        cushion = inf
        if self.waiting:
            cushion = min(self.waiting.values())
        elif self._clock is not None and self._runner.deadlines.next_deadline() != inf:
            # Read each time: it may be changed while the run goes on.
            cushion = self._clock.autojump_threshold
        if cushion >= seconds:
            return seconds
        self._primed_since = time.perf_counter()
        self._seconds = cushion
        return cushion

    def check(self) -> None:
        """Tell those concerned if the wait that was primed has shown that the run is idle."""
        since, self._primed_since = self._primed_since, None
        if since is None or self._runner.runq:
            return
        if time.perf_counter() - since < self._seconds:
            # A signal, or a wake for nothing, ended the wait early.
            return
        if not self.waiting:
            self._jump()
            return
        for task, cushion in list(self.waiting.items()):
            if cushion == self._seconds:
                del self.waiting[task]
                task._resume(None)

    def _jump(self) -> None:
        deadlines = self._runner.deadlines
        next_deadline = deadlines.next_deadline()
        # A host of a guest run may have taken the deadline away meanwhile.
        if self._clock is not None and next_deadline != inf:
            self._clock.autojump(next_deadline)
            deadlines.expire(self._runner.now())


async def wait_all_tasks_blocked(cushion: float = 0.0) -> None:
    """Wait until no task of this run can go on by itself; for tests.

    Args:
        cushion: for how many real seconds nothing must happen. Of several tasks that wait here,
            those with the smallest cushion are woken, and all of those.

    Tasks that wait for I/O, threads or deadlines count as blocked. While a task waits here, the
    clock does not jump by itself.

    Checkpoint: always.
    """
    runner = get_runner("uringtrio.testing.wait_all_tasks_blocked()")
    if runner.idle is None:
        runner.idle = Idle(runner)
    await Park(runner.idle.waiting, cushion)
