"""What every test may use, and what every test must leave behind: nothing.

The suite runs once for each driver, chosen by the environment's URINGTRIO_DRIVER.
"""

import contextlib
import gc
import os
import select
import signal
import threading
import time
from math import inf
from pathlib import Path

import hypothesis  # noqa: F401  # before the freeze: it asks the collector who refers to `ORDER`
import pytest

import uringtrio
from uringtrio import _thread_cache, lowlevel
from uringtrio._scheduler import loop

from . import fake_kqueue

if not hasattr(select, "kqueue"):
    fake_kqueue.install()
    # Child processes, as examples are, get it from a `sitecustomize`.
    os.environ["PYTHONPATH"] = os.pathsep.join(
        [str(Path(__file__).with_name("kqueue_site")), os.environ.get("PYTHONPATH", "")]
    ).rstrip(os.pathsep)

# A program that a shell runs in the background ignores SIGINT, and so do its children.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Longest wait for worker threads whose result nobody wants any more.
THREADS_SECONDS_MAX = 10.0
# A test that waits for longer than this waits for ever.
RUN_SECONDS_MAX = 40.0

FAILED = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if call.when == "call":
        item.stash[FAILED] = report.failed
    return report


def open_descriptors():
    """Return {fd: what it refers to} of this process."""
    found = {}
    for name in os.listdir("/proc/self/fd"):
        # One of them is the descriptor of this very listing.
        with contextlib.suppress(FileNotFoundError):
            found[int(name)] = os.readlink(f"/proc/self/fd/{name}")
    return found


def busy_threads():
    """Return the threads that are neither idle workers nor were there before any test."""
    idle = {worker._thread for worker in list(_thread_cache._idle_workers)}
    return [
        thread
        for thread in threading.enumerate()
        if thread is not threading.main_thread() and thread not in idle
    ]


@pytest.fixture(scope="module", autouse=True)
def _frozen_heap():
    """Let the collections after the tests of a file look at what is the tests' own."""
    gc.collect()
    gc.freeze()


class Leftovers:
    """What the runs of one test left behind; `allowed` says that a crash is what it is about."""

    def __init__(self):
        self.found = []
        self.allowed = False
        self.runs_count = 0

    def look_at(self, runner):
        self.runs_count += 1
        if runner.tasks_living:
            self.found.append(f"{runner.tasks_living} tasks alive at the end of the run")
        in_flight = runner.driver.statistics().in_flight
        if in_flight:
            self.found.append(f"ops in flight at the end of the run: {in_flight}")


@pytest.fixture(autouse=True)
def leftovers(monkeypatch, request):
    """Fail the test if it leaves a descriptor, a task, an op, a busy thread or a SIGINT handler.

    A test that crashes a run on purpose sets `leftovers.allowed`: what is left by that of tasks
    and ops is the crash's; descriptors and threads are still counted.
    """
    seen = Leftovers()
    run_loop = loop._loop

    def observed_loop(runner):
        try:
            run_loop(runner)
        finally:
            seen.look_at(runner)

    monkeypatch.setattr(loop, "_loop", observed_loop)
    threads_before = set(busy_threads())
    before = open_descriptors()
    yield seen
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    if request.node.stash.get(FAILED, False):
        return  # It has failed already, and what it left behind is no news.
    if not seen.allowed:
        assert not seen.found, "; ".join(seen.found)
    assert handler is signal.default_int_handler, f"SIGINT handler left behind: {handler}"
    # Before the descriptors, of which threads may still hold some.
    give_up = time.monotonic() + THREADS_SECONDS_MAX
    while set(busy_threads()) - threads_before and time.monotonic() < give_up:
        time.sleep(0.001)
    busy = set(busy_threads()) - threads_before
    after = open_descriptors()
    # Collecting takes longer than most tests, and a third of them runs nothing.
    if seen.runs_count or after != before:
        gc.collect()
        after = open_descriptors()
    leaked = {fd: link for fd, link in after.items() if before.get(fd) != link}
    assert not leaked, f"descriptors left open: {leaked}"
    assert not busy, f"threads left running: {busy}"


class JumpingClock(uringtrio.abc.Clock):
    """A clock that stands still while anything can run, and jumps when all tasks wait.

    Not for tests with real I/O: it does not know that some is about to complete.

    Attributes:
        now: the time; a test may set it.
        starts: how many runs have started it.
    """

    def __init__(self, now=1000.0):
        self.now = now
        self.starts = 0

    def start_clock(self):
        self.starts += 1

    def current_time(self):
        return self.now

    def deadline_to_sleep_time(self, deadline):
        if deadline == inf:
            return inf
        self.now = max(self.now, deadline)
        return 0


@pytest.fixture
def clock():
    """A clock for `run(clock=...)` that jumps from deadline to deadline."""
    return JumpingClock()


@pytest.fixture
def run():
    """`uringtrio.run`, with a limit in real seconds: for tests with real I/O."""

    def run_with_limit(async_fn, *args, seconds=RUN_SECONDS_MAX, **options):
        async def limited():
            with uringtrio.fail_after(seconds):
                return await async_fn(*args)

        return uringtrio.run(limited, **options)

    return run_with_limit


async def _settle():
    for _ in range(10):
        await lowlevel.checkpoint()


@pytest.fixture
def settle():
    """An async function that lets all other tasks run until they wait."""
    return _settle


class Recorder:
    """A place for tasks to say what has happened, in order."""

    def __init__(self):
        self.events = []

    def __call__(self, event):
        self.events.append(event)


@pytest.fixture
def record():
    return Recorder()
