"""Starting children: commands, options, pipes, and everything that can be wrong with them."""

import asyncio
import errno
import os
import signal
import subprocess
import threading
from pathlib import Path

import pytest

import uringtrio
from uringtrio import lowlevel
from uringtrio._process import exit_notice, spawn


async def output_of(command, **options):
    """Run a command, return what it prints."""
    process = await lowlevel.open_process(command, stdout=subprocess.PIPE, **options)
    async with process.stdout:
        output = b"".join([chunk async for chunk in process.stdout])
    assert await process.wait() == 0
    return output


@pytest.mark.parametrize(
    "command",
    [
        ["echo", "hello"],
        ("echo", "hello"),
        [b"echo", b"hello"],
        [Path("/bin/echo"), Path("hello")],
    ],
)
def test_command_is_a_sequence_of_str_bytes_or_paths(run, command):
    assert run(output_of, command) == b"hello\n"


@pytest.mark.parametrize("shell_command", ["echo $((1 + 1))", b"echo $((1 + 1))"])
def test_command_for_the_shell_is_one_string(run, shell_command):
    async def main():
        return await output_of(shell_command, shell=True)

    assert run(main) == b"2\n"


def test_command_is_the_path_of_a_program(run):
    assert run(output_of, Path("/bin/pwd")) == os.fsencode(f"{Path.cwd()}\n")


def test_options_of_popen_are_passed_on(run, tmp_path):
    async def main():
        script = "pwd; echo $WORD; umask"
        options = {"cwd": tmp_path, "env": {"WORD": "hello"}, "umask": 0o27}
        return await output_of(["/bin/sh", "-c", script], **options)

    assert run(main) == os.fsencode(f"{tmp_path}\nhello\n0027\n")


def test_streams_to_and_from_open_files(run, tmp_path):
    (tmp_path / "in").write_bytes(b"hello")

    async def main():
        with (tmp_path / "in").open() as source, (tmp_path / "out").open("w") as target:
            process = await lowlevel.open_process(["cat"], stdin=source, stdout=target.fileno())
            assert process.stdin is process.stdout is None
            await process.wait()

    run(main)
    assert (tmp_path / "out").read_bytes() == b"hello"


def test_errors_go_where_the_output_goes(run):
    async def main():
        script = "echo out; echo err >&2"
        both = await output_of(["sh", "-c", script], stderr=subprocess.STDOUT)
        assert both == b"out\nerr\n"
        # Also where that is no pipe of ours.
        reader, writer = os.pipe()
        process = await lowlevel.open_process(
            ["sh", "-c", script], stdout=writer, stderr=subprocess.STDOUT
        )
        os.close(writer)
        await process.wait()
        assert process.stderr is None
        assert os.read(reader, 100) == b"out\nerr\n"
        os.close(reader)
        process = await lowlevel.open_process(
            ["sh", "-c", script], stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT
        )
        assert await process.wait() == 0

    run(main)


def test_pipes_are_not_inherited_by_other_children(run):
    """Or else the end of one child's input would wait for the exit of the other child."""

    async def main():
        first = await lowlevel.open_process(["cat"], stdin=-1, stdout=-1)
        second = await lowlevel.open_process(["sleep", "1000"], close_fds=False)
        await first.stdin.aclose()
        assert await first.stdout.receive_some() == b""
        await first.wait()
        await first.stdout.aclose()
        second.kill()
        await second.wait()

    run(main)


# What cannot be started.


async def fail_with(command, options):
    with pytest.raises(OSError) as caught:  # noqa: PT011  # the caller looks at it
        await lowlevel.open_process(command, stdin=-1, stdout=-1, stderr=-1, **options)
    return caught.value


def test_no_such_program(run):
    error = run(fail_with, ["/does/not/exist"], {})

    assert (error.errno, error.filename) == (errno.ENOENT, "/does/not/exist")


def test_no_such_directory_to_start_in(run):
    error = run(fail_with, ["true"], {"cwd": "/does/not/exist"})

    assert (error.errno, error.filename) == (errno.ENOENT, "/does/not/exist")


def test_program_that_may_not_be_executed(run, tmp_path):
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\n")
    error = run(fail_with, [program], {})

    assert (type(error), error.errno) == (PermissionError, errno.EACCES)


def test_program_in_no_known_format(run, tmp_path):
    program = tmp_path / "program"
    program.write_bytes(b"\0nothing")
    program.chmod(0o755)

    assert run(fail_with, [program], {}).errno == errno.ENOEXEC


def test_pipe_that_cannot_be_opened_closes_those_before_it(run, monkeypatch):
    pipe = os.pipe
    pipes = []

    def scarce_pipe():
        if len(pipes) == 2:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        pipes.append(pipe())
        return pipes[-1]

    monkeypatch.setattr(os, "pipe", scarce_pipe)

    assert run(fail_with, ["true"], {}).errno == errno.EMFILE


def test_child_whose_exit_could_not_be_noticed_is_not_left_running(run, monkeypatch):
    def refuse(child):
        children.append(child)
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    children = []
    monkeypatch.setattr(exit_notice, "_open", refuse)

    assert run(fail_with, ["sleep", "1000"], {}).errno == errno.EMFILE
    assert children[0].returncode == -signal.SIGKILL


# What was never meant to be started.


@pytest.mark.parametrize(
    "options",
    [
        {"text": True},
        {"universal_newlines": True},
        {"encoding": "utf-8"},
        {"errors": "replace"},
        {"bufsize": 1},
    ],
)
def test_text_and_buffering_are_refused_with_the_remedy(run, options):
    async def main():
        with pytest.raises(TypeError, match="unbuffered byte streams, so encode") as caught:
            await lowlevel.open_process(["true"], **options)
        assert f"the '{next(iter(options))}' option is not supported" in str(caught.value)

    run(main)


@pytest.mark.parametrize("option", ["text", "encoding", "bufsize"])
def test_text_options_that_ask_for_nothing_are_allowed(run, option):
    async def main():
        assert await output_of(["echo", "x"], **{option: None if option != "bufsize" else 0})

    run(main)


@pytest.mark.parametrize(
    ("command", "shell", "remedy"),
    [
        ("ls -l", False, r"like \['ls', '-l'\], and not 'ls -l': only with shell=True"),
        (b"ls", False, "and not b'ls': only with shell=True"),
        (["ls", "-l"], True, r"not \['ls', '-l'\]: leave shell=True away, or .* shlex.join"),
        (Path("/bin/ls"), True, "leave shell=True away"),
    ],
)
def test_command_that_does_not_fit_the_shell(run, command, shell, remedy):
    async def main():
        with pytest.raises(TypeError, match=remedy):
            await lowlevel.open_process(command, shell=shell)

    run(main)


@pytest.mark.parametrize("name", ["stdin", "stdout", "stderr"])
def test_stream_that_is_no_file_is_refused_by_name(run, name):
    async def main():
        with pytest.raises(TypeError, match=f"{name} must be None, .*not b'data'"):
            await lowlevel.open_process(["true"], **{name: b"data"})

    run(main)


def test_unknown_option_is_a_type_error(run):
    async def main():
        with pytest.raises(TypeError, match="timeout"):
            await lowlevel.open_process(["true"], stdin=-1, timeout=5)

    run(main)


def test_under_another_loop_says_where_it_belongs():
    with pytest.raises(RuntimeError, match="must be called from async context"):
        asyncio.run(lowlevel.open_process(["true"], stdin=-1, stdout=-1))


# Cancellation.


def test_cancelled_before_nothing_is_started(run, monkeypatch):
    monkeypatch.setattr(subprocess, "Popen", None)

    async def main():
        with uringtrio.CancelScope() as scope:
            scope.cancel()
            await lowlevel.open_process(["true"], stdin=-1, stdout=-1)
        assert scope.cancelled_caught

    run(main)


def test_cancelled_while_starting_returns_the_child_all_the_same(run, cancelled_while_starting):
    async def main():
        process = None
        with cancelled_while_starting as scope:
            process = await lowlevel.open_process(["sleep", "1000"], stdin=-1, stdout=-1)
            assert scope.cancel_called
            await lowlevel.checkpoint()
        assert scope.cancelled_caught
        process.kill()
        assert await process.wait() == -signal.SIGKILL
        await process.stdio.aclose()

    run(main)


def test_other_tasks_run_while_a_child_starts(run, monkeypatch, settle):
    real_spawn = spawn._spawn
    go_on = threading.Event()

    def slow_spawn(*args):
        assert go_on.wait(10)
        return real_spawn(*args)

    monkeypatch.setattr(spawn, "_spawn", slow_spawn)

    async def main():
        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(uringtrio.run_process, ["true"])
            await settle()
            go_on.set()

    run(main)


def test_handler_of_sigchld_stays_and_is_called(run):
    seen = []

    def handler(number, _frame):
        seen.append(number)

    async def main():
        for _ in range(5):
            await uringtrio.run_process(["true"])
        assert signal.getsignal(signal.SIGCHLD) is handler

    before = signal.signal(signal.SIGCHLD, handler)
    try:
        run(main)
        assert signal.getsignal(signal.SIGCHLD) is handler
    finally:
        signal.signal(signal.SIGCHLD, before)
    assert set(seen) == {signal.SIGCHLD}
