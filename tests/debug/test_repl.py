"""`python -m uringtrio`: lines run in a run, and Ctrl-C interrupts them or the prompt."""

import os
import pty
import signal
import subprocess
import sys

import pytest

import uringtrio
from uringtrio._debug import repl

COMMAND = [sys.executable, "-u", "-m", "uringtrio"]
TIMEOUT_SECONDS = 20


def converse(*lines):
    """Return (standard output, standard error, exit status) of a session that types `lines`."""
    done = subprocess.run(
        COMMAND,
        input="".join(f"{line}\n" for line in lines),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )
    return done.stdout.replace(">>> ", "").replace("... ", ""), done.stderr, done.returncode


class Session:
    """A session whose output is read as it comes."""

    def __init__(self, pid, stdin, stdout):
        self.pid = pid
        self._stdin = stdin
        self._stdout = stdout

    def type(self, text):
        os.write(self._stdin, text)

    def read_until(self, end):
        """Return the output up to `end`; a session that hangs is ended by the alarm."""
        signal.alarm(TIMEOUT_SECONDS)
        read = b""
        while not read.endswith(end):
            chunk = os.read(self._stdout, 4096)
            assert chunk, read
            read += chunk
        signal.alarm(0)
        return read.replace(b"\r\n", b"\n")


@pytest.fixture
def session():
    """A session on pipes, with standard error in its output."""
    with subprocess.Popen(
        COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, bufsize=0
    ) as process:
        yield Session(process.pid, process.stdin.fileno(), process.stdout.fileno())
        process.stdin.close()
        assert process.wait(TIMEOUT_SECONDS) == 0


@pytest.fixture
def terminal():
    """A session on a terminal of its own."""
    pid, fd = pty.fork()
    if pid == 0:
        os.execv(sys.executable, COMMAND)
    yield Session(pid, fd, fd)
    # Ctrl-D.
    os.write(fd, b"\x04")
    _, status = os.waitpid(pid, 0)
    os.close(fd)
    assert os.waitstatus_to_exitcode(status) == 0


def test_lines_may_await_and_share_their_names():
    output, errors, status = converse(
        "x = 20",
        "async def double(n):",
        "    await uringtrio.sleep(0)",
        "    return 2 * n",
        "",
        "await double(x) + 2",
        "for _ in range(2):",
        "    print(uringtrio.lowlevel.in_trio_task())",
        "",
        "__name__",
    )

    assert output.split() == ["42", "True", "True", "'__main__'"]
    assert "uringtrio REPL, Python" in errors
    assert errors.count("\n") == 5  # The banner, and the end of the last line.
    assert status == 0


def test_errors_are_shown_without_the_runtimes_frames():
    output, errors, status = converse(
        "1 / 0",
        "errors = [KeyError('one'), SystemExit()]",
        "async def fail(): raise BaseExceptionGroup('several', errors)",
        "",
        "await fail()",
        "raise BaseException('base')",
        "import sys; sys.last_value",
        "syntax error",
    )

    assert "ZeroDivisionError: division by zero" in errors
    assert "KeyError: 'one'" in errors
    assert "BaseException: base" in errors
    assert "SyntaxError" in errors
    assert "uringtrio/" not in errors
    assert output.strip() == "BaseException('base')"
    assert status == 0


def test_exit_ends_it_with_its_status():
    output, _, status = converse("exit(7)", "print('not reached')")

    assert "reached" not in output
    assert status == 7


def test_tasks_go_on_while_somebody_types(session):
    session.read_until(b"import uringtrio\n>>> ")
    session.type(b"event = uringtrio.Event()\n")
    session.type(b"async def late():\n  await uringtrio.sleep(0.05)\n  print('late')\n\n")
    session.type(b"task = uringtrio.lowlevel.spawn_system_task(late)\n")
    session.read_until(b">>> late\n")


def test_interrupts_on_pipes(session):
    session.read_until(b"import uringtrio\n>>> ")
    os.kill(session.pid, signal.SIGINT)
    # The line that was being typed is dropped.
    session.read_until(b"press Enter for a new line")
    session.type(b"print('dropped')\n")
    assert session.read_until(b">>> ") == b"KeyboardInterrupt\n>>> "
    session.type(b"print('READY'); await uringtrio.sleep_forever()\n")
    session.read_until(b"READY\n")
    os.kill(session.pid, signal.SIGINT)
    assert session.read_until(b">>> ").endswith(b"\nKeyboardInterrupt\n>>> ")
    session.type(b"import time; print('READY'); time.sleep(1000)\n")
    session.read_until(b"READY\n")
    os.kill(session.pid, signal.SIGINT)
    assert session.read_until(b">>> ").endswith(b"\nKeyboardInterrupt\n>>> ")
    session.type(b"6 * 7\n")
    assert session.read_until(b">>> ") == b"42\n>>> "


def test_interrupt_on_a_terminal_drops_what_was_typed(terminal):
    terminal.read_until(b"import uringtrio\r\n>>> ")
    terminal.type(b"if True:\n")
    terminal.read_until(b"... ")
    terminal.type(b"  print('drop")
    # Once it is echoed, it is read.
    terminal.read_until(b"drop")
    terminal.type(b"\x03")
    answer = terminal.read_until((b">>> ", b"new line"))
    if answer.endswith(b"new line"):
        # This kernel lets nobody type in another's place.
        terminal.type(b"\n")
        answer = terminal.read_until(b">>> ")
    assert answer.endswith(b"KeyboardInterrupt\n>>> ")
    terminal.type(b"6 * 7\n")
    assert b"\n42\n" in terminal.read_until(b"\n>>> ")


def test_line_is_ended_by_hand_where_the_kernel_forbids_it(monkeypatch, capsys):
    def refuse(*_args):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(repl.fcntl, "ioctl", refuse)
    repl.end_line()

    assert capsys.readouterr().out == "\ninterrupted: press Enter for a new line"


def test_interrupted_console_says_so_on_a_line_of_its_own(capsys):
    async def main():
        console = repl.Console({})
        await uringtrio.to_thread.run_sync(type_interrupt, console)

    def type_interrupt(console):
        console._is_interrupted = True
        console.write("\nKeyboardInterrupt\n")
        console.write("\nKeyboardInterrupt\n")

    uringtrio.run(main)
    assert capsys.readouterr().err == "KeyboardInterrupt\n\nKeyboardInterrupt\n"
