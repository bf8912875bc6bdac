"""Noticing the exit of a child, by each means, and in both orders of every race."""

import errno
import os
import signal
import subprocess

import pytest

import uringtrio
from uringtrio import lowlevel
from uringtrio._drivers.scripted import ScriptedDriver
from uringtrio._ops.op import POLLIN
from uringtrio._process import exit_notice
from uringtrio._process.exit_notice import ExitNotice


def wait_until_dead(process):
    """Wait until the child could be reaped, in this thread, without reaping it."""
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)


@pytest.mark.usefixtures("notice_kind")
def test_wait_returns_after_the_exit(run, sleeper, settle):
    async def main():
        results = []

        async def wait():
            results.append(await sleeper.wait())

        async with uringtrio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(wait)
            await settle()
            assert results == []
            sleeper.kill()
        return results

    assert run(main) == [-signal.SIGKILL] * 3


@pytest.mark.usefixtures("notice_kind")
def test_wait_that_is_cancelled_many_times_still_ends(run, sleeper, settle):
    async def main():
        for _ in range(20):
            with uringtrio.move_on_after(0.001):
                await sleeper.wait()
        assert sleeper.returncode is None
        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(sleeper.wait)
            await settle()
            sleeper.terminate()
        assert await sleeper.wait() == -signal.SIGTERM

    run(main)


@pytest.mark.usefixtures("notice_kind")
def test_wait_in_another_run_than_the_first(run, sleeper):
    async def wait_briefly():
        with uringtrio.move_on_after(0.01):
            await sleeper.wait()

    run(wait_briefly)
    sleeper.kill()

    assert run(sleeper.wait) == -signal.SIGKILL


@pytest.mark.usefixtures("notice_kind")
def test_ignored_sigchld_is_an_exit_all_the_same(run, settle):
    """The kernel reaps by itself then, and nobody learns the status."""

    async def main():
        process = await lowlevel.open_process(["sleep", "1000"])
        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(process.wait)
            await settle()
            process.kill()
        assert process.returncode == 0

    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        run(main)
    finally:
        signal.signal(signal.SIGCHLD, before)


def test_one_thread_waits_for_one_child_however_often(run, monkeypatch, sleeper):
    started = []
    start_thread_soon = exit_notice.start_thread_soon

    def counted(*args):
        started.append(args)
        start_thread_soon(*args)

    monkeypatch.delattr(os, "pidfd_open")
    monkeypatch.setattr(exit_notice, "start_thread_soon", counted)
    child = subprocess.Popen(["sleep", "1000"])
    notice = ExitNotice(child)

    async def main():
        for _ in range(10):
            with uringtrio.move_on_after(0.001):
                await notice.wait()
        child.kill()
        await notice.wait()

    run(main)
    child.wait()
    notice.close()
    assert len(started) == 1
    assert sleeper.returncode is None


def test_refused_thread_leaves_no_descriptor(monkeypatch, sleeper):
    def refuse(*_args):
        raise RuntimeError("can't start new thread")

    monkeypatch.delattr(os, "pidfd_open")
    monkeypatch.setattr(exit_notice, "start_thread_soon", refuse)
    with pytest.raises(RuntimeError, match="thread"):
        ExitNotice(sleeper._popen)


def test_dropped_notice_closes_its_descriptor(sleeper):
    notice = ExitNotice(sleeper._popen)
    fd = notice._fd
    del notice

    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)


def test_close_twice_is_allowed(sleeper):
    notice = ExitNotice(sleeper._popen)
    notice.close()
    notice.close()

    assert notice._fd == -1


# Races. The scripted driver stands for the kernel, which says when the pidfd is readable.


class Race:
    """A child that is killed, and a task that waits for it in a scope.

    Attributes:
        result: what the wait returned, or the exception it raised.
        went_on: whether the task got beyond the checkpoint after the wait.
    """

    def __init__(self, process):
        self.driver = ScriptedDriver(cancels_complete=False)
        self.process = process
        self.scope = uringtrio.CancelScope()
        self.result = None
        self.went_on = False

    def die(self):
        self.process.kill()
        wait_until_dead(self.process)

    def complete(self, res, index=0):
        self.driver.complete(self.driver.find("Poll")[index], res)

    def run(self, *steps):
        for step in steps:
            self.driver.at_wait(lambda _driver, step=step: step())
        uringtrio.run(self._main, driver=self.driver)
        assert self.driver.in_flight == {}

    async def _main(self):
        with self.scope:
            try:
                self.result = await self.process.wait()
            except uringtrio.Cancelled as exc:
                self.result = type(exc)
                raise
            await lowlevel.checkpoint()
            self.went_on = True


def is_open(process):
    return process._notice._fd != -1


def test_exit_then_cancel_is_an_exit(sleeper):
    race = Race(sleeper)

    def step():
        race.die()
        race.complete(POLLIN)
        race.scope.cancel()

    race.run(step)
    assert race.result == -signal.SIGKILL
    assert not race.went_on
    assert not is_open(sleeper)


def test_cancel_then_exit_is_an_exit_if_the_kernel_says_so(sleeper):
    race = Race(sleeper)

    def step():
        race.scope.cancel()
        race.die()
        race.complete(POLLIN)

    race.run(step)
    assert race.result == -signal.SIGKILL
    assert not race.went_on
    assert not is_open(sleeper)


def test_cancel_before_the_exit_leaves_the_child_running(sleeper):
    race = Race(sleeper)

    def step():
        race.scope.cancel()
        race.complete(-errno.ECANCELED)

    race.run(step)
    assert race.result is uringtrio.Cancelled
    assert sleeper.returncode is None
    assert is_open(sleeper)


def test_cancel_that_misses_the_exit_loses_nothing(sleeper):
    """The child is dead, the poll was cancelled: the next look finds it."""
    race = Race(sleeper)

    def step():
        race.scope.cancel()
        race.die()
        race.complete(-errno.ECANCELED)

    race.run(step)
    assert race.result is uringtrio.Cancelled
    assert sleeper.returncode == -signal.SIGKILL
    assert not is_open(sleeper)


@pytest.mark.parametrize("first", [0, 1])
def test_descriptor_stays_open_for_the_last_of_two_waiters(sleeper, first):
    race = Race(sleeper)
    results = []

    async def wait():
        results.append(await sleeper.wait())

    async def main():
        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(wait)
            nursery.start_soon(wait)

    @race.driver.at_wait
    def reap_behind_their_backs(_driver):
        race.die()
        assert sleeper.returncode == -signal.SIGKILL
        assert is_open(sleeper)
        race.complete(POLLIN, first)

    @race.driver.at_wait
    def let_the_other_go(_driver):
        assert len(results) == 1
        assert is_open(sleeper)
        race.complete(POLLIN)

    uringtrio.run(main, driver=race.driver)
    assert results == [-signal.SIGKILL] * 2
    assert not is_open(sleeper)


def test_last_waiter_that_is_cancelled_closes_after_the_reaping(sleeper):
    race = Race(sleeper)

    def reap():
        race.die()
        assert sleeper.returncode == -signal.SIGKILL
        assert is_open(sleeper)
        race.scope.cancel()
        race.complete(-errno.ECANCELED)

    race.run(reap)
    assert race.result is uringtrio.Cancelled
    assert not is_open(sleeper)
