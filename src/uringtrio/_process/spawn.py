"""Starting child processes, with pipes to them."""

from __future__ import annotations

import contextlib
import os
import subprocess
from typing import TYPE_CHECKING, Any

from uringtrio._net.fd_stream import FdStream
from uringtrio._threads.to_thread import run_sync

from .exit_notice import ExitNotice
from .process import new_process

if TYPE_CHECKING:
    from collections.abc import Sequence

    from _typeshed import StrOrBytesPath

    from uringtrio._net.readiness import HasFileno

    from .process import Process

# What `subprocess` has for text and for buffering; here there are bytes, as they come.
TEXT_OPTIONS = ("universal_newlines", "text", "encoding", "errors", "bufsize")


async def open_process(
    command: StrOrBytesPath | Sequence[StrOrBytesPath],
    *,
    stdin: int | HasFileno | None = None,
    stdout: int | HasFileno | None = None,
    stderr: int | HasFileno | None = None,
    **options: Any,
) -> Process:
    """Start a child process and return it; nobody supervises it.

    Whoever calls this sees to it that the child ends and is waited for; `run_process` does both.

    Args:
        command: the program and its arguments as a sequence, or the path of a program without
            arguments; with `shell=True` one str or bytes for the shell.
        stdin: where the child reads from: None for what this program reads from,
            `subprocess.PIPE` for `Process.stdin`, `subprocess.DEVNULL` for nothing, or an open
            file: a descriptor, or an object with `fileno()`.
        stdout: where the child writes to, likewise; `subprocess.PIPE` for `Process.stdout`.
        stderr: the same for its errors; `subprocess.STDOUT` for wherever `stdout` goes.
        options: all other arguments of `subprocess.Popen`, but for those that make text of bytes
            or buffer them.

    Returns:
        A `Process`, as soon as the program runs.

    Raises:
        OSError: it cannot be started: there is no such program or `cwd` (ENOENT), it may not be
            executed (EACCES), or a resource is lacking.
        TypeError: `command` and `shell` do not fit, or an option is none of `subprocess.Popen`,
            or not for bytes.

    What else `subprocess.Popen` raises comes out unchanged.

    Checkpoint: always. A cancellation is looked for before the child is started, in a worker
    thread (see `to_thread.run_sync`), and not after that: a child that was started is returned.

    Source: Python's documentation of `subprocess.Popen`.
    """
    _check_command(command, options.get("shell"))
    _check_options(stdin, stdout, stderr, options)
    our_stdin = our_stdout = our_stderr = None
    with contextlib.ExitStack() as ours, contextlib.ExitStack() as the_childs:
        if stdin == subprocess.PIPE:
            stdin, our_end = os.pipe()
            the_childs.callback(os.close, stdin)
            our_stdin = _own(our_end, ours)
        if stdout == subprocess.PIPE:
            our_end, stdout = os.pipe()
            the_childs.callback(os.close, stdout)
            our_stdout = _own(our_end, ours)
        if stderr == subprocess.PIPE:
            our_end, stderr = os.pipe()
            the_childs.callback(os.close, stderr)
            our_stderr = _own(our_end, ours)
        options |= {"stdin": stdin, "stdout": stdout, "stderr": stderr}
        child, notice = await run_sync(_spawn, command, options)
        # What was opened for this program closes only if it failed; what was opened for the
        # child in any case, so that its exit is the end of its streams.
        ours.pop_all()
    return new_process(child, notice, our_stdin, our_stdout, our_stderr)


def _check_command(command: object, shell: object) -> None:
    if isinstance(command, (str, bytes)) and not shell:
        raise TypeError(
            f"command must be a sequence, like ['ls', '-l'], and not {command!r}: "
            "only with shell=True it is one string, for the shell to take apart"
        )
    if not isinstance(command, (str, bytes)) and shell:
        raise TypeError(
            f"command must be one str or bytes with shell=True, and not {command!r}: "
            "leave shell=True away, or quote it with shlex.join()"
        )


def _check_options(stdin: object, stdout: object, stderr: object, options: dict[str, Any]) -> None:
    for name in TEXT_OPTIONS:
        if options.get(name):
            raise TypeError(
                f"the {name!r} option is not supported: a child's pipes are unbuffered byte "
                "streams, so encode what you send and decode what you receive"
            )
    for name, value in (("stdin", stdin), ("stdout", stdout), ("stderr", stderr)):
        if not (value is None or isinstance(value, int) or hasattr(value, "fileno")):
            raise TypeError(
                f"{name} must be None, a constant of subprocess, a descriptor or an object with "
                f"fileno(), not {value!r}"
            )


def _own(fd: int, ours: contextlib.ExitStack) -> FdStream:
    stream = FdStream(fd)
    ours.callback(stream.close)
    return stream


def _spawn(
    command: StrOrBytesPath | Sequence[StrOrBytesPath], options: dict[str, Any]
) -> tuple[subprocess.Popen[bytes], ExitNotice]:
    """Start the child; in a worker thread, as it waits for the program to be loaded."""
    child: subprocess.Popen[bytes] = subprocess.Popen(command, **options)
    try:
        return child, ExitNotice(child)
    except BaseException:
        # Nobody could wait for it, so it must not go on.
        child.kill()
        child.wait()
        raise
