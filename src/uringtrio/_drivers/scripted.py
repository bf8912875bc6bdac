"""A driver whose completions a test decides: every race, on purpose, without a kernel.

    driver = ScriptedDriver()

    @driver.at_wait
    def first(driver):                 # called when every task waits
        recv, = driver.find("Recv")
        driver.complete(recv, 5)       # "the kernel" answers ...
        scope.cancel()                 # ... and only then the cancel comes

    run(main, driver=driver)

`wait` completes nothing by itself: it runs the next step of the script, and when all steps are
used up and a task would wait for ever, it fails the run instead of hanging.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from uringtrio._ops.op import Multishot
from uringtrio._ops.transfer import Notification

from .driver import Driver, IOStatistics, count_by_kind

if TYPE_CHECKING:
    from uringtrio._ops.op import Op

Step = Callable[["ScriptedDriver"], object]


class ScriptedDriver(Driver):
    """Completes what the script says, when it says so.

    Attributes:
        in_flight: ops by id, in the order of their submission.
        cancelled: ops that were asked to end early and have not completed, oldest first.
        cancels_complete: whether a cancelled op completes with -ECANCELED by itself, at the next
            wait; set it to False to decide in the script.
    """

    __slots__ = (
        "_cancels", "_completed", "_done", "_posted", "_steps", "_waits",
        "cancelled", "cancels_complete", "in_flight",
    )  # fmt: skip

    name = "scripted"

    def __init__(self, *, cancels_complete: bool = True, has_multishot: bool = False) -> None:
        super().__init__("asked for by a test")
        self.has_multishot = has_multishot
        self.in_flight: dict[int, Op] = {}
        self.cancelled: list[Op] = []
        self.cancels_complete = cancels_complete
        self._steps: list[Step] = []
        self._done: list[Op] = []
        # Completions of `Multishot` ops that the next wait tells them: (op, res, data, more).
        self._posted: list[tuple[Multishot, int, bytes | None, bool]] = []
        self._cancels = self._waits = self._completed = 0

    def at_wait(self, step: Step) -> Step:
        """Add a step: called with this driver at the next wait in which no task can run."""
        self._steps.append(step)
        return step

    def find(self, kind: str) -> list[Op]:
        """Return the ops in flight whose class has this name, oldest first."""
        return [op for op in self.in_flight.values() if type(op).__name__ == kind]

    def complete(self, op: Op, res: int, data: bytes | None = None, *, more: bool = False) -> None:
        """Answer `op` with `res`, and with `data` if it receives.

        With `more` a `Multishot` stays in flight, and of a zero-copy send a `Notification`.
        """
        if not (more and isinstance(op, Multishot)):
            del self.in_flight[op.id]
            if op in self.cancelled:
                self.cancelled.remove(op)
        if isinstance(op, Multishot):
            self._posted.append((op, res, data, more))
            return
        if more:
            self.in_flight[op.id] = Notification(op)
        op.res = res
        op.value = op.collect(res) if data is None else data
        self._completed += 1
        op.pins = None
        self._done.append(op)

    def notify(self, notification: Notification) -> None:
        """End `notification`: nobody waits for it, and it lets go of what it pins."""
        del self.in_flight[notification.id]
        notification.pins = None

    def submit(self, op: Op) -> None:
        self.last_id += 1
        op.id = self.last_id
        self.in_flight[op.id] = op

    def cancel(self, op: Op) -> None:
        self._cancels += 1
        self.last_id += 1
        if op.id in self.in_flight:
            self.cancelled.append(op)

    def end(self, op: Multishot) -> None:
        self.cancel(op)
        if op.id in self.in_flight:
            self.complete(op, -errno.ECANCELED)
        self._tell()

    def _tell(self) -> None:
        posted, self._posted = self._posted, []
        for op, res, data, more in posted:
            self._completed += 1
            if data is not None:
                op.more(data)
            if not more:
                op.ended(res)

    def wait(self, timeout_ns: int) -> Sequence[Op]:
        self._waits += 1
        is_woken = self._wakeup.drain()
        if timeout_ns and not self._done and not self._posted and not is_woken:
            if self._steps:
                self._steps.pop(0)(self)
            elif timeout_ns < 0 and not (self.cancels_complete and self.cancelled):
                kinds = count_by_kind(list(self.in_flight.values()))
                raise AssertionError(f"the script has ended and every task waits, on {kinds}")
        if self.cancels_complete:
            for op in list(self.cancelled):
                self.complete(op, -errno.ECANCELED)
        self._tell()
        done, self._done = self._done, []
        return done

    def fileno(self) -> int:
        return self._wakeup.reader.fileno()

    def close(self) -> None:
        self._wakeup.close()

    def statistics(self) -> IOStatistics:
        return IOStatistics(
            driver=self.name,
            reason=self.reason,
            enters=self._waits,
            sqes=self.last_id,
            cqes=self._completed,
            overflows=0,
            cancels=self._cancels,
            in_flight=count_by_kind(list(self.in_flight.values())),
        )
