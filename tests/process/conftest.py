"""Child processes for the tests, and what they must leave behind: no child, running or dead."""

import errno
import gc
import os
import subprocess

import pytest

import uringtrio
from uringtrio import from_thread
from uringtrio._process import spawn
from uringtrio._process.exit_notice import ExitNotice
from uringtrio._process.process import new_process


@pytest.fixture(autouse=True)
def no_child_left(leftovers):  # noqa: ARG001  # this is looked at first
    """Fail the test if it leaves a child, a zombie included."""
    yield
    gc.collect()
    # What `Popen.__del__` has put aside.
    subprocess._cleanup()
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def _deny_pidfd(monkeypatch):
    def denied(_pid):
        raise OSError(errno.ENOSYS, "denied by the test")

    monkeypatch.setattr(os, "pidfd_open", denied)


def _remove_pidfd(monkeypatch):
    monkeypatch.delattr(os, "pidfd_open")


def _remove_waitid(monkeypatch):
    monkeypatch.delattr(os, "pidfd_open")
    monkeypatch.delattr(os, "waitid")


NOTICES = {
    "pidfd": lambda _monkeypatch: None,
    "pidfd denied": _deny_pidfd,
    "no pidfd": _remove_pidfd,
    "no waitid": _remove_waitid,
}


@pytest.fixture(params=NOTICES)
def notice_kind(request, monkeypatch):
    """Each way in which a child's exit is noticed."""
    NOTICES[request.param](monkeypatch)
    return request.param


@pytest.fixture
def start():
    """Return a function that makes a `Process` of a command without a run, in this thread."""
    processes = []

    def start_one(*command):
        child = subprocess.Popen(command)
        processes.append(new_process(child, ExitNotice(child), None, None, None))
        return processes[-1]

    yield start_one
    for process in processes:
        process.kill()
        process._popen.wait()
        assert process.returncode is not None


@pytest.fixture
def cancelled_while_starting(monkeypatch):
    """A cancel scope that is cancelled by the thread that starts the child, before it does."""
    scope = uringtrio.CancelScope()
    real_spawn = spawn._spawn

    def cancel_and_spawn(*args):
        from_thread.run_sync(scope.cancel)
        return real_spawn(*args)

    monkeypatch.setattr(spawn, "_spawn", cancel_and_spawn)
    return scope


@pytest.fixture
def sleeper(start):
    """A child that sleeps until it is killed."""
    return start("sleep", "1000")
