"""Shards for the tests, and what they must leave behind: no process and no signal handler."""

import multiprocessing
import os
import signal
from functools import partial
from multiprocessing import resource_tracker
from pathlib import Path

import pytest

import uringtrio


@pytest.fixture(scope="session", autouse=True)
def tracker():
    """The standard library's own process beside those that it spawns; one for all tests."""
    resource_tracker.ensure_running()


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    """Let the shards' processes import `tests.shards.mains`, wherever the tests were started."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2]))


@pytest.fixture(autouse=True)
def nothing_left(leftovers):  # noqa: ARG001  # this is looked at first
    handlers = [signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM)]
    affinity = os.sched_getaffinity(0)
    yield
    assert [signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM)] == handlers
    assert not signal.pthread_sigmask(signal.SIG_BLOCK, ())
    assert os.sched_getaffinity(0) == affinity
    assert multiprocessing.active_children() == []
    # Only the tracker, and it runs.
    assert os.waitpid(-1, os.WNOHANG) == (0, 0)


@pytest.fixture(params=["thread", "process"])
def kind(request):
    return request.param


@pytest.fixture
def run_two(kind):
    """`run_sharded` with two shards of each kind."""
    return partial(uringtrio.run_sharded, shards=2, kind=kind, grace_seconds=30)
