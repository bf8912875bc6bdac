"""dump_task_tree_on: a signal shows the tree, whatever the run is doing."""

import contextlib
import io
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

import uringtrio
from uringtrio import lowlevel

SIGNAL = signal.SIGUSR1


@pytest.fixture(autouse=True)
def outside():
    """The handler in place outside of any block; in place again afterwards."""

    def refuse(_signum, _frame):
        raise AssertionError("not handled")

    old = signal.signal(SIGNAL, refuse)
    yield refuse
    assert signal.signal(SIGNAL, old) is refuse


def kill():
    os.kill(os.getpid(), SIGNAL)


def test_signal_shows_a_run_that_waits(run):
    async def main():
        killer = threading.Timer(0.02, kill)
        killer.start()
        while not file.getvalue():
            # Woken by the signal itself.
            with uringtrio.move_on_after(0.05):
                await uringtrio.sleep_forever()
        killer.join()

    file = io.StringIO()
    with lowlevel.dump_task_tree_on(SIGNAL, file):
        run(main)

    title, *lines, last = file.getvalue().split("\n")
    assert title.startswith(f"tasks of process {os.getpid()}, on ")
    assert lines[0].startswith("task <init>: waiting for its nursery at ")
    assert "sleeping for ever in uringtrio.sleep_forever" in file.getvalue()
    assert last == ""


def test_signal_shows_where_a_task_is_stuck(run):
    def stuck():
        killer = threading.Thread(target=kill)
        killer.start()
        give_up = time.monotonic() + 20
        while not file.getvalue() and time.monotonic() < give_up:
            time.sleep(0.001)
        killer.join()

    async def main():
        stuck()

    file = io.StringIO()
    with lowlevel.dump_task_tree_on(SIGNAL, file):
        run(main)

    (line,) = (line for line in file.getvalue().splitlines() if "running" in line)
    assert line.endswith(f" in {stuck.__qualname__}")


def test_file_with_a_descriptor_gets_it_at_once(run, tmp_path):
    async def main():
        file.write("buffered")
        kill()
        return (tmp_path / "tree").read_text(encoding="ascii")

    with (tmp_path / "tree").open("w", encoding="ascii") as file:
        with lowlevel.dump_task_tree_on(SIGNAL, file):
            text = run(main)

    assert text.startswith("tasks of process")
    assert "running at" in text
    # What the file's encoding has not is still readable.
    assert "\\u2514\\u2500\\u2500 task" in text


def test_default_is_standard_error_of_that_moment(run, capfd):
    async def main():
        kill()

    with lowlevel.dump_task_tree_on(SIGNAL):
        run(main)
        assert "running at" in capfd.readouterr().err


def test_handler_is_restored_even_after_an_error(outside):
    with contextlib.suppress(ZeroDivisionError):
        with lowlevel.dump_task_tree_on(SIGNAL):
            assert signal.getsignal(SIGNAL) is not outside
            raise ZeroDivisionError
    assert signal.getsignal(SIGNAL) is outside


def test_without_a_run_it_says_so():
    file = io.StringIO()
    with lowlevel.dump_task_tree_on(SIGNAL, file):
        kill()
    assert file.getvalue() == f"tasks of process {os.getpid()}: no run in the main thread\n"


def test_signal_between_any_two_bytecodes_disturbs_nothing(run):
    """The handler looks at tasks, scopes and nurseries that are just being changed."""

    async def child(level):
        with uringtrio.move_on_after(0.001):
            async with uringtrio.open_nursery() as nursery:
                if level:
                    nursery.start_soon(child, level - 1)
                    await nursery.start(started)
                await lowlevel.checkpoint()

    async def started(task_status):
        task_status.started()
        await lowlevel.checkpoint()

    async def main():
        while file.dumps < 300:
            async with uringtrio.open_nursery() as nursery:
                for _ in range(5):
                    nursery.start_soon(child, 3)

    class Counting(io.StringIO):
        dumps = 0

        def write(self, text):
            assert text.startswith("tasks of process")
            self.dumps += 1
            # The kernel sends the next: a thread would hardly get the interpreter's lock, and a
            # busy machine would do nothing but answer if they came before they were answered.
            signal.setitimer(signal.ITIMER_REAL, 0.0005)

    file = Counting()
    with lowlevel.dump_task_tree_on(signal.SIGALRM, file):
        signal.setitimer(signal.ITIMER_REAL, 0.0005)
        try:
            run(main)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    assert file.dumps >= 300


def test_file_that_is_closed_is_logged_and_interrupts_nobody(run, caplog):
    async def main():
        kill()

    file = io.StringIO()
    file.close()
    with lowlevel.dump_task_tree_on(SIGNAL, file):
        run(main)

    (record,) = caplog.records
    assert record.name == "uringtrio.dump_task_tree_on"
    assert "I/O operation on closed file" in caplog.text


def test_other_threads_are_refused():
    errors = []

    def work():
        with pytest.raises(RuntimeError, match=r"dump_task_tree_on\(\) works in the main thread"):
            lowlevel.dump_task_tree_on(SIGNAL)
        errors.append("refused")

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert errors == ["refused"]


def test_signal_that_cannot_be_had_is_refused():
    with pytest.raises(OSError, match="cannot handle SIGKILL"):
        with lowlevel.dump_task_tree_on(signal.SIGKILL):
            raise AssertionError


PROGRAM = """
import signal, sys, uringtrio
from uringtrio import lowlevel

async def main():
    print("ready", flush=True)
    await uringtrio.sleep(30)

with lowlevel.dump_task_tree_on(signal.SIGUSR1):
    uringtrio.run(main)
"""


def test_kill_from_a_shell_shows_another_process():
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout.readline() == "ready\n"
            process.send_signal(signal.SIGUSR1)
            line = process.stderr.readline()
            assert line.startswith(f"tasks of process {process.pid}, on ")
            while "task __main__.main" not in line:
                line = process.stderr.readline()
                assert line
            assert process.poll() is None
        finally:
            process.kill()
