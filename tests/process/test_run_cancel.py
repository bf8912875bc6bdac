"""run_process cancelled, at every stage: the child is gone when the cancellation comes out."""

import os
import random
import signal
import subprocess
from functools import partial

import pytest

import uringtrio
from uringtrio import from_thread, lowlevel, run_process
from uringtrio._process import run as run_module, spawn

BIG = bytes(2**20)
# A child that says when it has begun to ignore SIGTERM, and passes that on.
DEAF = ["sh", "-c", "trap '' TERM; echo ready; exec sleep 1000"]


@pytest.fixture
def hurry(monkeypatch):
    """Let the default killer lose patience at once."""
    monkeypatch.setattr(run_module, "GRACE_SECONDS", 0.02)


def must_be_gone(pid):
    """The process does not exist, not even as a zombie."""
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def cancel_in_the_background(command, **options):
    """Start a child, cancel the call once it has said something; return the `Process`."""
    async with uringtrio.open_nursery() as nursery:
        process = await nursery.start(
            partial(run_process, command, stdout=subprocess.PIPE, **options)
        )
        async with process.stdout:
            assert await process.stdout.receive_some()
            nursery.cancel_scope.cancel()
    must_be_gone(process.pid)
    return process


# The ways to die.


def test_sigterm_comes_first(run):
    process = run(cancel_in_the_background, ["sh", "-c", "echo ready; exec sleep 1000"])

    assert process.returncode == -signal.SIGTERM


def test_child_may_exit_by_itself_on_sigterm(run):
    script = "trap 'exit 7' TERM; echo ready; while :; do sleep 0.01; done"

    assert run(cancel_in_the_background, ["sh", "-c", script]).returncode == 7


@pytest.mark.usefixtures("hurry")
def test_child_that_ignores_sigterm_is_killed_with_a_warning(run):
    with pytest.warns(RuntimeWarning, match="ignored SIGTERM for .* pass a deliver_cancel"):
        process = run(cancel_in_the_background, DEAF)

    assert process.returncode == -signal.SIGKILL


def test_patience_is_5_seconds():
    assert run_module.GRACE_SECONDS == 5


def test_sigterm_that_may_not_be_sent_is_a_warning(run, monkeypatch):
    terminate = uringtrio.Process.terminate

    def refused(process):
        terminate(process)
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(uringtrio.Process, "terminate", refused)
    with pytest.warns(RuntimeWarning, match="cannot be made to exit: PermissionError"):
        run(cancel_in_the_background, ["sh", "-c", "echo ready; exec sleep 1000"])


def test_own_way_to_deliver_the_cancel(run):
    seen = []

    async def deliver_cancel(process):
        seen.append(process.pid)
        process.send_signal(signal.SIGUSR1)
        try:
            await uringtrio.sleep_forever()
        finally:
            # It is the exit that ends this.
            seen.append(process.returncode)

    process = run(
        partial(
            cancel_in_the_background,
            ["sh", "-c", "echo ready; exec sleep 1000"],
            deliver_cancel=deliver_cancel,
        )
    )

    assert seen == [process.pid, -signal.SIGUSR1]


def test_deliver_cancel_that_returns_is_waited_for(run):
    async def deliver_cancel(process):
        async with process.stdin:
            await process.stdin.send_all(b"quit\n")

    async def main():
        async with uringtrio.open_nursery() as nursery:
            process = await nursery.start(
                partial(
                    run_process,
                    ["sh", "-c", "read line; sleep 0.05; exit 9"],
                    stdin=subprocess.PIPE,
                    deliver_cancel=deliver_cancel,
                )
            )
            nursery.cancel_scope.cancel()
        assert process.returncode == 9

    run(main)


async def raises(_process):
    raise ValueError("raised by the test")


def returns_none(_process):
    return None


@pytest.mark.parametrize(
    ("deliver_cancel", "error"), [(raises, ValueError), (returns_none, TypeError)]
)
def test_deliver_cancel_that_fails_does_not_leave_the_child_alive(run, deliver_cancel, error):
    async def main():
        async with uringtrio.open_nursery() as nursery:
            processes.append(
                await nursery.start(
                    partial(run_process, ["sleep", "1000"], deliver_cancel=deliver_cancel)
                )
            )
            nursery.cancel_scope.cancel()

    processes = []
    with pytest.raises(ExceptionGroup) as caught:
        run(main)
    # In the group of the call's own nursery, in that of the caller's.
    assert caught.group_contains(error, depth=2)
    assert processes[0].returncode == -signal.SIGKILL


# The stages.


def test_cancelled_before_nothing_is_started(run, monkeypatch):
    monkeypatch.setattr(subprocess, "Popen", None)

    async def main():
        with uringtrio.CancelScope() as scope:
            scope.cancel()
            await run_process(["true"], capture_stdout=True)
        assert scope.cancelled_caught

    run(main)


def test_cancelled_while_starting(run, monkeypatch):
    children = []
    real_spawn = spawn._spawn

    def spawn_and_cancel(*args):
        from_thread.run_sync(scope.cancel)
        children.append(real_spawn(*args)[0])
        return children[0], spawn.ExitNotice(children[0])

    monkeypatch.setattr(spawn, "_spawn", spawn_and_cancel)
    scope = uringtrio.CancelScope()

    async def main():
        with scope:
            await run_process(["sleep", "1000"], stdin=BIG, capture_stdout=True)
        assert scope.cancelled_caught

    run(main)
    assert children[0].returncode == -signal.SIGTERM


def test_cancelled_in_start_before_the_process_was_handed_out(run, cancelled_while_starting):
    async def main():
        async with uringtrio.open_nursery() as nursery:
            with cancelled_while_starting as scope:
                await nursery.start(run_process, ["sleep", "1000"])
            assert scope.cancelled_caught
            assert not nursery.child_tasks

    run(main)


@pytest.mark.parametrize(
    ("command", "options"),
    [
        (["sleep", "1000"], {}),
        (["sleep", "1000"], {"stdin": BIG}),
        (["sleep", "1000"], {"capture_stdout": True, "capture_stderr": True}),
        (["cat", "/dev/zero"], {"stdout": subprocess.DEVNULL}),
        (["tee", "/dev/stderr"], {"stdin": None, "capture_stdout": True, "capture_stderr": True}),
    ],
    ids=["waiting", "feeding", "collecting", "busy", "idle filter"],
)
def test_cancelled_while_it_runs(run, settle, command, options):
    reader, writer = os.pipe()
    if options.get("stdin", b"") is None:
        options = options | {"stdin": reader}

    async def main():
        with uringtrio.CancelScope() as scope:
            async with uringtrio.open_nursery() as nursery:
                nursery.start_soon(partial(run_process, command, **options))
                await uringtrio.sleep(0.05)
                await settle()
                scope.cancel()
        assert scope.cancelled_caught

    run(main)
    os.close(reader)
    os.close(writer)


def test_cancelled_while_it_collects_endless_output(run):
    """The memory it has by then is limited by the time only."""

    async def main():
        with uringtrio.move_on_after(0.05) as scope:
            await run_process(["yes"], capture_stdout=True)
        assert scope.cancelled_caught

    run(main)


def test_cancelled_when_the_child_has_gone_but_not_its_output(run, settle):
    """What holds the pipe is no child of this program: it is left alone."""

    async def main():
        async with uringtrio.open_nursery() as nursery:
            process = await nursery.start(
                partial(
                    run_process,
                    ["sh", "-c", "sleep 1000 & echo $!"],
                    stdout=subprocess.PIPE,
                    capture_stderr=True,
                )
            )
            async with process.stdout:
                grandchild = int(await process.stdout.receive_some())
            assert await process.wait() == 0
            await settle()
            assert nursery.child_tasks
            nursery.cancel_scope.cancel()
        os.kill(grandchild, signal.SIGKILL)

    run(main)


def test_cancelled_when_the_child_is_dead_already(run):
    async def main():
        async with uringtrio.open_nursery() as nursery:
            process = await nursery.start(partial(run_process, ["sleep", "1000"], check=False))
            await lowlevel.checkpoint()
            process.kill()
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
            nursery.cancel_scope.cancel()
        assert process.returncode == -signal.SIGKILL

    run(main)


@pytest.mark.usefixtures("hurry")
def test_cancelled_again_while_the_cancel_is_delivered(run):
    """Nothing can make it leave before the child has exited."""
    cancels = 0

    async def main():
        nonlocal cancels
        async with uringtrio.open_nursery() as outer:
            async with uringtrio.open_nursery() as nursery:
                process = await nursery.start(
                    partial(run_process, DEAF, stdout=subprocess.PIPE, deliver_cancel=slowly)
                )
                await process.stdout.receive_some()
                await process.stdout.aclose()
                nursery.cancel_scope.cancel()
                outer.cancel_scope.cancel()
            must_be_gone(process.pid)
        assert cancels == 1
        assert process.returncode == -signal.SIGKILL

    async def slowly(process):
        nonlocal cancels
        cancels += 1
        process.terminate()
        await uringtrio.sleep(0.05)
        process.kill()

    run(main)


def test_error_of_another_task_ends_the_child_too(run):
    async def main():
        async with uringtrio.open_nursery() as nursery:
            process = await nursery.start(run_process, ["sleep", "1000"])
            pids.append(process.pid)
            raise KeyError("raised by the test")

    pids = []
    with pytest.raises(ExceptionGroup) as caught:
        run(main)
    assert caught.group_contains(KeyError, depth=1)
    must_be_gone(pids[0])


def test_interrupt_from_the_keyboard_ends_the_child(run):
    pids = []

    async def main():
        async with uringtrio.open_nursery() as nursery:
            process = await nursery.start(run_process, ["sleep", "1000"])
            pids.append(process.pid)
            signal.raise_signal(signal.SIGINT)
            await uringtrio.sleep_forever()

    with pytest.raises(BaseExceptionGroup) as caught:
        run(main)
    assert caught.group_contains(KeyboardInterrupt)
    must_be_gone(pids[0])


# At random.

STORM = [
    (["true"], {}),
    (["sleep", "1000"], {}),
    (["cat"], {"stdin": BIG, "capture_stdout": True}),
    (["yes"], {"capture_stdout": True}),
    (["sh", "-c", "exec <&-; sleep 0.002"], {"stdin": BIG}),
    (["sh", "-c", "trap '' TERM; exec sleep 1000"], {}),
]


@pytest.mark.filterwarnings("ignore:.*ignored SIGTERM")
@pytest.mark.parametrize("notice_kind", ["pidfd", "no pidfd"], indirect=True)
@pytest.mark.usefixtures("hurry", "notice_kind")
def test_1000_cancellations_at_random_leave_nothing(run):
    """Neither a child nor a descriptor, as is checked after every test here."""
    rng = random.Random(20)
    ends = {"cancelled": 0, "completed": 0}

    async def worker(count):
        for _ in range(count):
            command, options = rng.choice(STORM)
            with uringtrio.move_on_after(rng.expovariate(1 / 0.005)) as scope:
                await run_process(command, **options)
            ends["cancelled" if scope.cancelled_caught else "completed"] += 1

    async def main():
        async with uringtrio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(worker, 50)

    run(main, seconds=60)
    assert sum(ends.values()) == 1000
    assert ends["cancelled"] > 500, ends
