"""What a program sees of a child."""

import gc
import os
import signal
import subprocess
import time

import pytest

import uringtrio
from uringtrio import lowlevel


def wait_until_dead(process):
    """Wait until the child could be reaped, in this thread, without reaping it."""
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)


def test_attributes_and_repr_from_start_to_end(run):
    async def main():
        process = await lowlevel.open_process(["sh", "-c", "read line; exit 3"], stdin=-1)
        assert process.args == ["sh", "-c", "read line; exit 3"]
        assert repr(process) == (
            f"<uringtrio.Process ['sh', '-c', 'read line; exit 3']: running with PID {process.pid}>"
        )
        assert process.returncode is None
        assert process.poll() is None
        assert process.stdout is process.stderr is process.stdio is None
        await process.stdin.aclose()
        assert await process.wait() == 3
        assert process.returncode == process.poll() == 3
        assert repr(process).endswith(": exited with status 3>")

    run(main)


@pytest.mark.parametrize(
    ("send", "number"),
    [
        (uringtrio.Process.kill, signal.SIGKILL),
        (uringtrio.Process.terminate, signal.SIGTERM),
        (lambda process: process.send_signal(signal.SIGUSR1), signal.SIGUSR1),
    ],
)
def test_signal_ends_the_child_and_shows_in_the_status(run, sleeper, send, number):
    send(sleeper)

    assert run(sleeper.wait) == -number
    assert repr(sleeper) == (
        f"<uringtrio.Process ('sleep', '1000'): exited with signal {int(number)}>"
    )


def test_returncode_is_fresh_without_a_checkpoint(sleeper):
    sleeper.kill()
    wait_until_dead(sleeper)

    assert sleeper.returncode == -signal.SIGKILL


def test_signal_after_the_exit_does_nothing(start):
    process = start("true")
    wait_until_dead(process)
    process.kill()
    process.terminate()
    process.send_signal(signal.SIGUSR1)

    assert process.returncode == 0
    process.kill()


def test_wait_for_a_child_that_has_exited_is_a_checkpoint(run, start):
    process = start("true")
    wait_until_dead(process)

    async def main():
        assert await process.wait() == 0
        with uringtrio.CancelScope() as scope:
            scope.cancel()
            await process.wait()
        assert scope.cancelled_caught

    run(main)


def test_reaping_by_somebody_else_wakes_the_waiters(run, sleeper, settle):
    async def main():
        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(sleeper.wait)
            await settle()
            sleeper.kill()
            wait_until_dead(sleeper)
            # Before the driver has had a chance to notice.
            assert sleeper.poll() == -signal.SIGKILL

    run(main)


def test_dropped_process_neither_blocks_nor_ends_the_child(run):
    pids = []

    async def main():
        process = await lowlevel.open_process(["sleep", "1000"], stdin=-1, stdout=-1, stderr=-1)
        pids.append(process.pid)
        # The loop itself refers to what it has sent last.
        await lowlevel.checkpoint()
        started = time.monotonic()
        with pytest.warns(ResourceWarning, match="still running"):  # noqa: PT031
            del process
            gc.collect()
        assert time.monotonic() - started < 1

    run(main)
    os.kill(pids[0], signal.SIGKILL)
    os.waitpid(pids[0], 0)


def test_stdio_is_both_streams_in_one(run):
    async def main():
        process = await lowlevel.open_process(["cat"], stdin=-1, stdout=-1)
        assert process.stdio.send_stream is process.stdin
        assert process.stdio.receive_stream is process.stdout
        await process.stdio.send_all(b"hello")
        assert await process.stdio.receive_some() == b"hello"
        await process.stdio.send_eof()
        assert await process.stdio.receive_some() == b""
        await process.stdio.aclose()
        assert await process.wait() == 0

    run(main)


def test_two_tasks_in_one_direction_of_a_pipe_are_refused(run, settle):
    async def main():
        process = await lowlevel.open_process(["cat"], stdin=-1, stdout=-1)
        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(process.stdout.receive_some)
            await settle()
            with pytest.raises(uringtrio.BusyResourceError):
                await process.stdio.receive_some()
            await process.stdin.send_all(b"x")
        process.kill()
        await process.stdio.aclose()
        await process.wait()

    run(main)


def test_no_public_constructor():
    with pytest.raises(TypeError, match=r"no public constructor: use .*run_process"):
        uringtrio.Process(subprocess.Popen)


def test_no_subclass():
    with pytest.raises(TypeError, match="final"):
        type("Mine", (uringtrio.Process,), {})
