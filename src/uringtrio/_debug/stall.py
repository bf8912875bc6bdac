"""StallDetector: reports tasks that hold up all others.

A step of a task that takes long can only be seen from another thread while it lasts. The
instrument writes down when each step begins; a watch, in a worker thread, looks at that no more
often than once per threshold.

A watch that finds no task at work ends, and the next step starts one again. So an idle run wakes
nobody, and a detector that is taken out of its run, which nobody tells it, leaves no thread.
A watch is started at most once per threshold, which is what a detector costs, besides two calls
for each step.
"""

from __future__ import annotations

import functools
import logging
import queue
import sys
import threading
import time
import traceback
from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING, final

from uringtrio._abc import Instrument, Sealed
from uringtrio._thread_cache import start_thread_soon

if TYPE_CHECKING:
    from collections.abc import Callable

    from uringtrio._scheduler.task import Task

# The task, and when its step began in nanoseconds of the monotonic clock. A plain tuple, because
# one is made for each step.
Step = tuple["Task", int]

LOGGER = logging.getLogger("uringtrio.StallDetector")
# The figure of asyncio's debug mode, and of glommio's detector.
THRESHOLD_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Stall:
    """What `StallDetector` reports; `str` of it is what it logs.

    Attributes:
        task: who holds up the others, or did.
        seconds: how long this step of the task took, or has taken so far.
        stack: where the task was when it was noticed, from its own function inwards. Empty if
            that could not be seen, because C code held the interpreter all the time.
        is_over: False when the stall is noticed, True in the second report, at its end.
    """

    task: Task
    seconds: float
    stack: tuple[traceback.FrameSummary, ...]
    is_over: bool

    def __str__(self) -> str:
        if self.is_over:
            return f"{self.task!r} held up all other tasks for {self.seconds:.3f} seconds"
        where = "".join(traceback.format_list(list(self.stack)))
        return (
            f"{self.task!r} has held up all other tasks for {self.seconds:.3f} seconds now, "
            f"and is still at it:\n{where}"
        )


@final
class StallDetector(Instrument, Sealed):
    """An instrument that reports tasks which hold up all others, with their stack.

        uringtrio.run(main, instruments=[uringtrio.lowlevel.StallDetector()])

    A step of a task, from one wait to the next, that takes longer than the threshold is reported
    twice: while it lasts, with the stack of that moment, and at its end, with its length. A run
    without a detector pays nothing for it. One serves one run at a time.

    Args:
        threshold_seconds: how long a step may take, of real time; greater than 0.
        report: called with a `Stall`, in a thread of its own; it may block, but the end of the
            run waits for it. What it raises is logged. None logs a warning to the logger
            "uringtrio.StallDetector".

    Raises:
        ValueError: `threshold_seconds` is not finite and greater than 0.
        TypeError: `report` cannot be called.
    """

    __slots__ = ("_changed", "_inbox", "_is_watching", "_report", "_step", "_threshold_ns")

    def __init__(
        self,
        *,
        threshold_seconds: float = THRESHOLD_SECONDS,
        report: Callable[[Stall], object] | None = None,
    ) -> None:
        if not (isfinite(threshold_seconds) and threshold_seconds > 0):
            raise ValueError(
                "`threshold_seconds` must be a finite time greater than 0, "
                f"not {threshold_seconds!r}"
            )
        if report is not None and not callable(report):
            raise TypeError(f"`report` must be a function that takes a Stall, not {report!r}")
        self._threshold_ns = int(threshold_seconds * 1e9)
        self._report = report
        # The one that goes on; None between steps. Only the run's thread sets it.
        self._step: Step | None = None
        # Steps that were too long, with their length in nanoseconds; None only wakes the watch.
        self._inbox: queue.SimpleQueue[tuple[Step, int] | None] = queue.SimpleQueue()
        # Whether there is a watch. Changed under the lock only.
        self._is_watching = False
        self._changed = threading.Condition()

    # In the run's thread.

    def before_task_step(self, task: Task) -> None:
        """A step begins."""
        # In this order, see `_retire`.
        self._step = (task, time.monotonic_ns())
        if not self._is_watching:
            self._start_watch()

    def after_task_step(self, task: Task) -> None:
        """A step has ended."""
        del task
        step = self._step
        if step is None:
            # The detector was installed during this step.
            return
        length_ns = time.monotonic_ns() - step[1]
        if length_ns >= self._threshold_ns:
            self._inbox.put((step, length_ns))
        self._step = None

    def after_run(self) -> None:
        """Wait until everything is reported."""
        self._step = None
        self._inbox.put(None)
        with self._changed:
            self._changed.wait_for(lambda: not self._is_watching)

    def _start_watch(self) -> None:
        with self._changed:
            if self._is_watching:
                return
            watch = functools.partial(self._watch, threading.get_ident())
            start_thread_soon(watch, lambda _result: None, "uringtrio stall detector")
            self._is_watching = True

    # In the thread of the watch.

    def _watch(self, thread_id: int) -> None:
        """Report what is too long, until no task is at work."""
        reported: Step | None = None
        stack: tuple[traceback.FrameSummary, ...] = ()
        while True:
            step = self._step
            try:
                ended = self._inbox.get(timeout=self._seconds_to_look(step, reported))
            except queue.Empty:
                if step is None:
                    if self._retire():
                        return
                elif step is self._step and not self._is_installed(step):
                    # It was taken out during this step, and will not be told of its end.
                    self._step = None
                elif step is not reported:
                    stack = stack_of(thread_id, step[0])
                    # What was seen is of this step only if it has not ended meanwhile.
                    if step is self._step:
                        reported = step
                        self._tell(step, time.monotonic_ns() - step[1], stack, is_over=False)
                continue
            if ended is not None:
                step, length_ns = ended
                self._tell(step, length_ns, stack if step is reported else (), is_over=True)

    def _seconds_to_look(self, step: Step | None, reported: Step | None) -> float:
        if step is None:
            return 0
        if step is reported:
            return self._threshold_ns / 1e9
        return max(0, step[1] + self._threshold_ns - time.monotonic_ns()) / 1e9

    def _retire(self) -> bool:
        """Say whether the watch may end; if so, the next step starts another one."""
        with self._changed:
            # First this, then the look: a step that begins now either is seen here, or sees that
            # there is no watch, and waits for the lock.
            self._is_watching = False
            if self._step is None and self._inbox.empty():
                self._changed.notify_all()
                return True
            self._is_watching = True
            return False

    def _is_installed(self, step: Step) -> bool:
        instruments = step[0]._runner.instruments
        return instruments is not None and self in instruments._hooks

    def _tell(
        self,
        step: Step,
        length_ns: int,
        stack: tuple[traceback.FrameSummary, ...],
        *,
        is_over: bool,
    ) -> None:
        stall = Stall(step[0], length_ns / 1e9, stack, is_over)
        if self._report is None:
            LOGGER.warning("%s", stall)
            return
        try:
            self._report(stall)
        except BaseException:
            LOGGER.exception("the `report` of a StallDetector has raised an exception")


def stack_of(thread_id: int, task: Task) -> tuple[traceback.FrameSummary, ...]:
    """Return where a thread is that runs `task`, from the task's own function inwards."""
    own_frame = getattr(task.coro, "cr_frame", None)
    frames = []
    frame = sys._current_frames().get(thread_id)
    while frame is not None:
        frames.append((frame, frame.f_lineno))
        frame = None if frame is own_frame else frame.f_back
    frames.reverse()
    # The source lines are read when somebody prints them: time passes where nobody looks.
    return tuple(traceback.StackSummary.extract(iter(frames), lookup_lines=False))
