"""Reusable worker threads for calls that can only block; knows nothing of runs and tasks."""

from __future__ import annotations

import itertools
import os
import sys
import threading
import traceback
from collections.abc import Callable
from typing import TypeVar

import outcome

T = TypeVar("T")

# Seconds after which an idle worker ends. Trio's figure: long enough for bursts to share
# threads, short enough that a quiet program soon has none.
IDLE_SECONDS = 10.0

Deliver = Callable[[outcome.Outcome[T]], object]
_counter = itertools.count()


class _Worker:
    """One daemon thread that waits for jobs; `_lock` is released once for each job it is given."""

    __slots__ = ("_idle", "_job", "_lock", "_name", "_thread")

    def __init__(self, idle: dict[_Worker, None]) -> None:
        self._idle = idle
        self._job: tuple[Callable[[], object], Deliver[object], str | None] | None = None
        self._lock = threading.Lock()
        self._lock.acquire()
        self._name = f"Trio thread {next(_counter)}"
        self._thread = threading.Thread(target=self._work, name=self._name, daemon=True)

    def start(
        self, fn: Callable[[], object], deliver: Deliver[object], name: str | None, *, new: bool
    ) -> None:
        self._job = (fn, deliver, name)
        self._lock.release()
        if new:
            self._thread.start()

    def _work(self) -> None:
        while True:
            if self._lock.acquire(timeout=IDLE_SECONDS):
                self._do_job()
                continue
            try:
                # Who takes this worker out of the dict owns it; a job that won this race has
                # been, or is about to be, handed over.
                del self._idle[self]
            except KeyError:
                continue
            return

    def _do_job(self) -> None:
        assert self._job is not None
        fn, deliver, name = self._job
        self._job = None
        if name is not None:
            self._thread.name = name
        result = outcome.capture(fn)
        if name is not None:
            self._thread.name = self._name
        # Idle before delivering: a caller that starts the next job from `deliver` finds
        # this very thread, so that a chain of jobs runs in one.
        self._idle[self] = None
        try:
            deliver(result)
        except Exception:  # noqa: BLE001  # the worker may have its next job already
            print(  # noqa: T201  # as `threading.excepthook` would do
                "Exception while delivering the result of a worker thread:",
                file=sys.stderr,
            )
            traceback.print_exc()


_idle_workers: dict[_Worker, None] = {}
# A forked child has the objects, but not their threads.
os.register_at_fork(after_in_child=_idle_workers.clear)


def start_thread_soon(fn: Callable[[], T], deliver: Deliver[T], name: str | None = None) -> None:
    """Run `fn()` in a worker thread, then `deliver(outcome)` in that same thread.

    Args:
        fn: may block as long as it likes; it sees none of the caller's context variables.
        deliver: gets the `outcome.Outcome`; must not block nor raise.
        name: the thread's name while the job runs.

    Raises:
        RuntimeError: the system refuses another thread.
    """
    try:
        worker, _ = _idle_workers.popitem()
    except KeyError:
        worker = _Worker(_idle_workers)
        worker.start(fn, deliver, name, new=True)  # type: ignore[arg-type]  # T is erased inside
    else:
        worker.start(fn, deliver, name, new=False)  # type: ignore[arg-type]  # T is erased inside
