"""Reusable worker threads for calls that can only block; knows nothing of runs and tasks."""

from __future__ import annotations

import contextlib
import contextvars
import ctypes
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

HAS_AFFINITY = hasattr(os, "sched_getaffinity")

# prctl(2), PR_SET_NAME: names the calling thread, for `ps -L` and debuggers. Not every system has
# it; pthread_setname_np takes other arguments on each. A PyDLL keeps the GIL for so short a call:
# 2 % of a hop (benchmark micro.py, thread_hop).
PR_SET_NAME = 15
NAME_BYTES_MAX = 15
_prctl = getattr(ctypes.PyDLL(None), "prctl", None)


class _Pinned(threading.local):
    """Of each thread: the CPUs that it is pinned to; None where threads cannot be."""

    def __init__(self) -> None:
        # Called once in each thread, which starts with those of the one that has started it.
        self.cpus = frozenset(os.sched_getaffinity(0)) if HAS_AFFINITY else None


_pinned = _Pinned()


def note_pinned(cpus: frozenset[int]) -> None:
    """Take note that the calling thread was pinned: so are the threads that it uses from now on."""
    _pinned.cpus = cpus


class _Worker:
    """One daemon thread that waits for jobs; `_lock` is released once for each job it is given.

    Attributes:
        cpus: what the thread was pinned to whose job it does, or did last.
    """

    __slots__ = ("_idle", "_job", "_lock", "_move_to", "_name", "_thread", "cpus")

    def __init__(self, idle: dict[_Worker, None], cpus: frozenset[int] | None) -> None:
        self._idle = idle
        # A thread inherits that of the one that starts it.
        self.cpus = cpus
        # CPUs to go to before the next job.
        self._move_to: frozenset[int] | None = None
        self._job: tuple[Callable[[], object], Deliver[object], str | None] | None = None
        self._lock = threading.Lock()
        self._lock.acquire()
        self._name = f"Trio thread {next(_counter)}"
        self._thread = threading.Thread(target=self._work, name=self._name, daemon=True)

    def give(self, fn: Callable[[], object], deliver: Deliver[object], name: str | None) -> None:
        self._job = (fn, deliver, name)
        self._lock.release()

    def move(self, cpus: frozenset[int] | None) -> None:
        """Go to other CPUs for the next job: where the thread that gives it may run."""
        self.cpus = self._move_to = cpus

    def start(self) -> None:
        # In an empty context: from Python 3.14 on a thread may inherit the context variables of
        # whoever starts it, and this one would keep them for all its jobs.
        contextvars.Context().run(self._thread.start)

    def _set_name(self, name: str) -> None:
        self._thread.name = name
        if _prctl is not None:
            _prctl(PR_SET_NAME, name.encode("ascii", "replace")[:NAME_BYTES_MAX])

    def _work(self) -> None:
        self._set_name(self._name)
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
        if self._move_to is not None:
            # They may have been taken from this process just now; then it runs where it did.
            with contextlib.suppress(OSError):
                os.sched_setaffinity(0, self._move_to)
            self._move_to = None
            _pinned.cpus = self.cpus
        if name is not None:
            self._set_name(name)
        result = outcome.capture(fn)
        if name is not None:
            self._set_name(self._name)
        # Whoever gets the result can be sure that nothing else of the job is left.
        del fn
        # Idle before delivering: a caller that starts the next job from `deliver` finds
        # this very thread, so that a chain of jobs runs in one.
        self._idle[self] = None
        try:
            deliver(result)
        except BaseException:  # noqa: BLE001  # the worker may have its next job already
            print(  # noqa: T201  # as `threading.excepthook` would do
                f"Exception in {self._name}, while delivering results of a job:",
                file=sys.stderr,
            )
            traceback.print_exc()
        # If the result is an exception, its traceback refers to this frame, which must not
        # refer back.
        del deliver, result


_idle_workers: dict[_Worker, None] = {}
# A forked child has the objects, but not their threads.
os.register_at_fork(after_in_child=_idle_workers.clear)


def start_thread_soon(fn: Callable[[], T], deliver: Deliver[T], name: str | None = None) -> None:
    """Run `fn()` in a worker thread, then `deliver(outcome)` in that same thread.

    Workers are daemon threads: a process does not wait for them to end. They are used again, and
    the last to become idle first, so neither function may leave anything behind in the thread. They
    run on the CPUs that the calling thread was pinned to. Safe in any thread.

    Args:
        fn: may block as long as it likes; it sees none of the caller's context variables.
        deliver: gets the `outcome.Outcome`; must not block nor raise. The worker counts as idle
            by then: the next job that somebody starts may be given to it.
        name: the thread's name while `fn` runs; the system shows its first 15 bytes.

    Raises:
        RuntimeError: the system refuses another thread.
    """
    cpus = _pinned.cpus
    try:
        worker, _ = _idle_workers.popitem()
    except KeyError:
        worker = _Worker(_idle_workers, cpus)
        worker.start()
    if worker.cpus != cpus:
        worker.move(cpus)
    worker.give(fn, deliver, name)  # type: ignore[arg-type]  # T is erased inside
