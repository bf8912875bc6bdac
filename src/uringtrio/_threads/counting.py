"""How many calls of one run are in worker threads, and waiting until there are none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from uringtrio._scheduler.locals import RunVar
from uringtrio._scheduler.traps import CHECKPOINT
from uringtrio._sync.event import Event

if TYPE_CHECKING:
    from types import TracebackType


class ThreadCount:
    """Counts the `with` blocks of a run that are open: the waits for a worker thread.

    Attributes:
        count: how many tasks wait for one. An abandoned thread has no such task, and is not
            counted: nothing says how long it will go on.
        zero: set when `count` is next 0; None while nobody waits for that.
    """

    __slots__ = ("count", "zero")

    def __init__(self) -> None:
        self.count = 0
        self.zero: Event | None = None

    def __enter__(self) -> None:
        self.count += 1

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.count -= 1
        if self.count == 0 and self.zero is not None:
            self.zero.set()
            self.zero = None


_COUNT: RunVar[ThreadCount | None] = RunVar("thread count", None)


def thread_count() -> ThreadCount:
    """Return the counter of this run."""
    count = _COUNT.get()
    if count is None:
        count = ThreadCount()
        _COUNT.set(count)
    return count


def active_thread_count() -> int:
    """Return how many calls of `to_thread.run_sync` in this run wait for their threads.

    Abandoned threads (`abandon_on_cancel=True`) are not counted.

    Raises:
        RuntimeError: called outside of a run.
    """
    return thread_count().count


async def wait_all_threads_completed() -> None:
    """Wait until no call of `to_thread.run_sync` in this run waits for its thread.

    When this returns, tasks that had the results may have started new threads already: a test
    that wants all to be quiet waits in turns for this and for `testing.wait_all_tasks_blocked`,
    until `active_thread_count` is 0.

    Checkpoint: always.
    """
    await CHECKPOINT
    threads = thread_count()
    while threads.count:
        if threads.zero is None:
            threads.zero = Event()
        await threads.zero.wait()
