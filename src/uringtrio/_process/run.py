"""run_process: start a child process, feed it, collect its output, and see it end."""

from __future__ import annotations

import contextlib
import subprocess
import warnings
from typing import TYPE_CHECKING, Any

from uringtrio._errors import BrokenResourceError
from uringtrio._scheduler.cancel import CancelScope
from uringtrio._scheduler.nursery import TASK_STATUS_IGNORED, open_nursery
from uringtrio._timeouts import sleep

from .spawn import open_process

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from _typeshed import StrOrBytesPath

    from uringtrio._abc import Buffer, ReceiveStream, SendStream
    from uringtrio._net.readiness import HasFileno
    from uringtrio._scheduler.nursery import Nursery, TaskStatus

    from .process import Process

# From SIGTERM to SIGKILL. Trio's figure.
GRACE_SECONDS = 5


async def run_process(  # noqa: PLR0913  # Trio's arguments
    command: StrOrBytesPath | Sequence[StrOrBytesPath],
    *,
    stdin: Buffer | int | HasFileno | None = b"",
    capture_stdout: bool = False,
    capture_stderr: bool = False,
    check: bool = True,
    deliver_cancel: Callable[[Process], Awaitable[object]] | None = None,
    task_status: TaskStatus[Process] = TASK_STATUS_IGNORED,
    **options: Any,
) -> subprocess.CompletedProcess[bytes]:
    """Run a command in a child process and return what became of it.

    Called directly, it is like a function call. With `await nursery.start(run_process, ...)` the
    child runs in the background, and what `start` returns is its `Process`.

    Args:
        command: the program and its arguments, see `lowlevel.open_process`.
        stdin: bytes to feed to the child, which then reads the end; they are borrowed until the
            call ends. None lets it read what this program reads. Or a file, as in
            `lowlevel.open_process`; under `Nursery.start` also `subprocess.PIPE`.
        capture_stdout: whether to collect what the child writes to its standard output, in
            memory and without limit; else it goes where this program's goes, or where `stdout`
            in `options` says. `stderr=subprocess.STDOUT` adds the errors, in their order.
        capture_stderr: the same for its standard error.
        check: whether an exit status other than 0 raises.
        deliver_cancel: an async function that makes the child exit when this call is cancelled;
            it gets the `Process`, and is cancelled when the child has exited. None sends SIGTERM
            and after 5 seconds SIGKILL. If it raises, the child is killed.
        task_status: for `nursery.start`, which returns the `Process` once the program runs.
        options: `stdout`, `stderr` and the other options of `lowlevel.open_process`.

    Returns:
        `args`, `returncode` (see `Process.returncode`), and `stdout` and `stderr`, which are None
        unless captured. The streams may outlive the child, if it has left them to others: then
        the call goes on until they end.

    Raises:
        OSError: the child cannot be started, see `lowlevel.open_process`.
        subprocess.CalledProcessError: the exit status is not 0; it has what was captured.
        UnicodeError: `stdin` is a str.
        ValueError: a stream is captured and redirected as well, or `subprocess.PIPE` is given
            where nobody could get at the pipe.
        TypeError: see `lowlevel.open_process`.
        ExceptionGroup: of what `deliver_cancel` has raised, or of an error in a pipe.

    A child that closes its standard input early is no error.

    Warns:
        RuntimeWarning: without `deliver_cancel`: SIGTERM was ignored, or may not be sent.

    Checkpoint: always. If it is cancelled, it still waits for the child to exit, as it does when
    anything else goes wrong, and no process is left behind.
    """
    if isinstance(stdin, str):
        raise UnicodeError("stdin must be bytes, not str: encode it")
    if task_status is TASK_STATUS_IGNORED:
        _check_pipes({"stdin": stdin, **options})
    data: Buffer | None = None
    if isinstance(stdin, (bytes, bytearray, memoryview)):
        data, stdin = stdin, subprocess.PIPE
    outputs: dict[str, bytearray] = {}
    for name, is_captured in (("stdout", capture_stdout), ("stderr", capture_stderr)):
        if is_captured:
            if name in options:
                raise ValueError(f"can't specify both {name} and capture_{name}")
            options[name] = subprocess.PIPE
            outputs[name] = bytearray()
    # Outside of the nursery: what is wrong with the command is raised as it is.
    process = await open_process(command, stdin=stdin, **options)
    async with open_nursery() as nursery:
        try:
            _serve(process, nursery, data, outputs)
            task_status.started(process)
            await process.wait()
        except BaseException:
            await _end(process, nursery, deliver_cancel or _deliver_cancel)
            raise
    code = process.returncode
    assert code is not None
    captured = {name: bytes(output) for name, output in outputs.items()}
    stdout, stderr = captured.get("stdout"), captured.get("stderr")
    if check and code:
        raise subprocess.CalledProcessError(code, process.args, stdout, stderr)
    return subprocess.CompletedProcess(process.args, code, stdout, stderr)


def _check_pipes(streams: dict[str, object]) -> None:
    for name in ("stdin", "stdout", "stderr"):
        if streams.get(name) == subprocess.PIPE:
            instead = "; use nursery.start or pass the data you want to write directly"
            raise ValueError(
                f"{name}=subprocess.PIPE is only valid with nursery.start, since that's the only "
                f"way to access the pipe{instead if name == 'stdin' else ''}"
            )


def _serve(
    process: Process,
    nursery: Nursery,
    data: Buffer | None,
    outputs: dict[str, bytearray],
) -> None:
    """Start the tasks that feed and collect; their streams are no longer the process's."""
    if data is not None:
        assert process.stdin is not None
        nursery.start_soon(_feed, process.stdin, data)
        process.stdin = process.stdio = None
    if "stdout" in outputs:
        assert process.stdout is not None
        nursery.start_soon(_collect, process.stdout, outputs["stdout"])
        process.stdout = process.stdio = None
    if "stderr" in outputs:
        assert process.stderr is not None
        nursery.start_soon(_collect, process.stderr, outputs["stderr"])
        process.stderr = None


async def _feed(stream: SendStream, data: Buffer) -> None:
    # A child need not read all that it is given.
    async with stream:
        with contextlib.suppress(BrokenResourceError):
            await stream.send_all(data)


async def _collect(stream: ReceiveStream, output: bytearray) -> None:
    async with stream:
        async for chunk in stream:
            output += chunk


async def _end(
    process: Process, nursery: Nursery, deliver_cancel: Callable[[Process], Awaitable[object]]
) -> None:
    """Have the child end, and wait for that whatever happens."""
    killing = CancelScope(shield=True)

    async def kill() -> None:
        with killing:
            try:
                await deliver_cancel(process)
            except BaseException:
                # Or else it might live for ever, and with it the shielded wait. If it has exited,
                # which is what cancels this, nothing happens.
                process.kill()
                raise

    with CancelScope(shield=True):
        nursery.start_soon(kill)
        await process.wait()
        killing.cancel(reason="the process has exited")


async def _deliver_cancel(process: Process) -> None:
    try:
        process.terminate()
        await sleep(GRACE_SECONDS)
        warnings.warn(
            f"{process!r} ignored SIGTERM for {GRACE_SECONDS} seconds and is sent SIGKILL now: "
            "if it has another way to exit, pass a deliver_cancel to run_process",
            RuntimeWarning,
            stacklevel=1,
        )
        process.kill()
    except OSError as exc:
        warnings.warn(f"{process!r} cannot be made to exit: {exc!r}", RuntimeWarning, stacklevel=1)
