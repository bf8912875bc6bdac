"""Shards that are processes: what cannot be sent, how they die, and that nothing is left."""

import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from uringtrio import ShardError, run_sharded

from . import mains
from .test_run import errors_of, names

SECONDS_MAX = 30


def test_exception_brings_its_traceback_along(tmp_path):
    (error,) = errors_of(run_sharded, mains.fail_in_last, str(tmp_path), shards=2, kind="process")

    text, who = error.__notes__
    assert text.startswith("In the shard:\nTraceback (most recent call last):")
    assert "mains.py" in text
    assert "fail_in_last" in text
    assert "(process " in who


def test_exception_that_cannot_be_sent_is_described():
    (error,) = errors_of(run_sharded, mains.fail_unpicklably, shards=1, kind="process")

    assert isinstance(error, ShardError)
    assert "UnpicklableError: one and two" in str(error)
    assert any("fail_unpicklably" in note for note in error.__notes__)


def test_result_that_cannot_be_sent_names_the_shard():
    (error,) = errors_of(run_sharded, mains.return_lambda, shards=1, kind="process")

    assert isinstance(error, ShardError)
    assert error.index == 0
    assert str(error).startswith("shard 0 returned a function that cannot be sent")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ((lambda: None,), r"args\[0\] cannot be sent to the shards' processes: <function"),
        ((1, threading.Lock()), r"args\[1\] cannot be sent .*: <unlocked _thread.lock"),
        ((mains.FailsToPickle(),), r"args\[0\] cannot be sent .* never"),
    ],
)
def test_argument_that_cannot_be_sent_is_refused_before_anything_starts(args, message):
    with pytest.raises(TypeError, match=message):
        run_sharded(mains.take, *args, shards=1, kind="process")


def test_main_that_cannot_be_sent_is_refused_before_anything_starts():
    async def inner():
        pass

    with pytest.raises(TypeError, match=r'main cannot be sent .* use kind="thread"'):
        run_sharded(inner, shards=1, kind="process")


def test_what_cannot_be_loaded_in_the_shard_is_an_error_of_the_shard():
    (error,) = errors_of(run_sharded, mains.take, mains.FailsToLoad(), shards=1, kind="process")

    assert isinstance(error, mains.MainError)
    assert any("could not load" in note for note in error.__notes__)


def test_any_number_of_sockets_can_be_arguments():
    """The kernel passes at most 253 descriptors with one message."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert run_sharded(mains.count_sockets, [ours] * 600, shards=1, kind="process") == [600]


def test_closed_socket_is_refused():
    ours, theirs = socket.socketpair()
    ours.close()
    theirs.close()
    with pytest.raises(TypeError, match="a socket or channel in it is closed"):
        run_sharded(mains.take, ours, shards=1, kind="process")


def test_exit_of_a_process_is_an_error():
    (error,) = errors_of(run_sharded, mains.exit_at_once, shards=1, kind="process")

    assert isinstance(error, ShardError)
    assert error.exitcode == 7
    assert "exited with status 7" in str(error)


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGSEGV, signal.SIGUSR1])
def test_shard_ended_by_a_signal_is_an_error_and_the_others_clean_up(tmp_path, signum):
    (error,) = errors_of(
        run_sharded, mains.end_by_signal, signum, str(tmp_path), shards=2, kind="process"
    )

    assert isinstance(error, ShardError)
    assert (error.index, error.exitcode) == (0, -signum)
    assert signal.Signals(signum).name in str(error)
    assert names(tmp_path, "cleaned") == ["cleaned1"]


def test_sigterm_to_one_shard_cancels_it_and_is_an_error(tmp_path):
    (error,) = errors_of(
        run_sharded, mains.end_by_signal, signal.SIGTERM, str(tmp_path), shards=2, kind="process"
    )

    assert isinstance(error, ShardError)
    assert str(error) == "shard 0 ended because it got SIGTERM"
    assert names(tmp_path, "cleaned") == ["cleaned0", "cleaned1"]


def test_shard_whose_forked_child_stays_is_seen_to_end():
    start = time.monotonic()

    assert run_sharded(mains.fork_a_child_that_stays, 8, shards=1, kind="process") == ["done"]
    assert time.monotonic() - start < 6


def test_system_without_pidfd(monkeypatch):
    monkeypatch.delattr(os, "pidfd_open")

    assert run_sharded(mains.return_index, shards=2, kind="process") == [0, 1]


def test_process_that_cannot_be_started_is_an_error(monkeypatch):
    def refuse(*_args):
        raise OSError(11, "no more processes")

    monkeypatch.setattr("multiprocessing.util.spawnv_passfds", refuse)
    errors = errors_of(run_sharded, mains.return_index, shards=2, kind="process")

    assert {str(error) for error in errors} == {"[Errno 11] no more processes"}


# Programs of their own.

PROGRAM = """
    import os, signal, sys, time
    import uringtrio

    async def wait(directory):
        index = uringtrio.current_shard().index
        open(f"{directory}/started{index}", "w").write(str(os.getpid()))
        try:
            await uringtrio.sleep_forever()
        finally:
            with uringtrio.CancelScope(shield=True):
                open(f"{directory}/cleaning{index}", "w").close()
                await uringtrio.sleep(float(sys.argv[2]))
            open(f"{directory}/cleaned{index}", "w").close()

    if __name__ == "__main__":
        try:
            open(f"{sys.argv[1]}/begun", "w").close()
            uringtrio.run_sharded(wait, sys.argv[1], shards=2, kind=sys.argv[3])
        except KeyboardInterrupt:
            print("interrupted")
"""


class Program:
    """A program with two shards, in a process group of its own like one in a terminal."""

    def __init__(self, directory, kind, cleaning_seconds):
        self.directory = directory
        path = directory / "program.py"
        path.write_text(textwrap.dedent(PROGRAM))
        self.process = subprocess.Popen(
            [sys.executable, str(path), str(directory), str(cleaning_seconds), kind],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def wait_for(self, what, count=2):
        give_up = time.monotonic() + SECONDS_MAX
        while len(names(self.directory, what)) < count:
            assert time.monotonic() < give_up
            assert self.process.poll() is None, self.process.communicate()
            time.sleep(0.005)

    def kill(self, signum, *, group):
        (os.killpg if group else os.kill)(self.process.pid, signum)

    def end(self):
        """Wait for the end, and check that no process is left of it."""
        try:
            output, errors = self.process.communicate(timeout=SECONDS_MAX)
        finally:
            left = []
            give_up = time.monotonic() + SECONDS_MAX
            while time.monotonic() < give_up:
                left = processes_of_session(self.process.pid)
                if not left:
                    break
                time.sleep(0.02)
            if left:
                os.killpg(self.process.pid, signal.SIGKILL)
        assert not left
        return self.process.returncode, output, errors


def processes_of_session(session):
    """Return what runs in a session; the tracker ends a moment after its program."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            fields = (path / "stat").read_text().rpartition(")")[2].split()
            if int(fields[3]) == session and fields[0] != "Z":
                found.append((path / "cmdline").read_bytes())
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


@pytest.mark.parametrize("group", [True, False])
def test_ctrl_c_cancels_all_shards_and_waits(tmp_path, kind, group):
    program = Program(tmp_path, kind, 0.1)
    program.wait_for("started")
    program.kill(signal.SIGINT, group=group)

    assert program.end() == (0, "interrupted\n", "")
    assert names(tmp_path, "cleaned") == ["cleaned0", "cleaned1"]


@pytest.mark.parametrize("group", [True, False])
def test_sigterm_cancels_all_shards_and_then_ends_the_program(tmp_path, kind, group):
    program = Program(tmp_path, kind, 0.1)
    program.wait_for("started")
    program.kill(signal.SIGTERM, group=group)

    assert program.end() == (-signal.SIGTERM, "", "")
    assert names(tmp_path, "cleaned") == ["cleaned0", "cleaned1"]


@pytest.mark.parametrize(
    "delay",
    [
        0, 0.01, 0.1,
        *(pytest.param(n / 200, marks=[pytest.mark.stress], id=f"stress-{n}") for n in range(80)),
    ],
)  # fmt: skip
def test_ctrl_c_while_the_shards_start(tmp_path, kind, delay):
    """Whenever it comes, all processes end, and no shard prints a traceback."""
    program = Program(tmp_path, kind, 0)
    program.wait_for("begun", 1)
    time.sleep(delay)
    program.kill(signal.SIGINT, group=True)

    assert program.end() == (0, "interrupted\n", "")
    assert names(tmp_path, "cleaned") == [
        name.replace("started", "cleaned") for name in names(tmp_path, "started")
    ]


def test_second_ctrl_c_cuts_the_grace_short(tmp_path):
    program = Program(tmp_path, "process", 20)
    program.wait_for("started")
    program.kill(signal.SIGINT, group=True)
    program.wait_for("cleaning")
    program.kill(signal.SIGINT, group=True)

    assert program.end() == (0, "interrupted\n", "")
    assert names(tmp_path, "cleaned") == []


def test_shards_end_when_their_supervisor_is_killed(tmp_path):
    program = Program(tmp_path, "process", 0.1)
    program.wait_for("started")
    program.kill(signal.SIGKILL, group=False)

    assert program.end()[0] == -signal.SIGKILL
    assert names(tmp_path, "cleaned") == ["cleaned0", "cleaned1"]


def test_call_without_the_main_guard_says_so(tmp_path):
    path = tmp_path / "program.py"
    path.write_text(
        "import uringtrio\n"
        "async def main(): pass\n"
        "uringtrio.run_sharded(main, shards=1, kind='process')\n"
    )
    done = subprocess.run(
        [sys.executable, path], capture_output=True, text=True, timeout=SECONDS_MAX, check=False
    )

    assert done.returncode == 1
    assert 'put the call under `if __name__ == "__main__":`' in done.stderr
    assert "exited with status 1" in done.stderr


def test_function_of_a_program_without_a_file_cannot_be_found(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(PROGRAM), str(tmp_path), "0", "process"],
        capture_output=True,
        text=True,
        timeout=SECONDS_MAX,
        check=False,
    )

    assert done.returncode == 1
    assert "could not load what to run" in done.stderr
