"""Process: a child process, as the program that started it sees it."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any, final

from uringtrio._abc import Sealed
from uringtrio._net.staple import StapledStream
from uringtrio._scheduler.traps import checkpoint

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Sequence

    from _typeshed import StrOrBytesPath

    from uringtrio._abc import ReceiveStream, SendStream

    from .exit_notice import ExitNotice

_PRIVATE = object()


@final
class Process(Sealed):
    """A child process, made by `run_process` under `Nursery.start`, or by `lowlevel.open_process`.

    All of it may be used as long as the object lives, also in another run. If it is dropped while
    the child runs, the child goes on, and Python warns of it.

    Attributes:
        args: the command, as it was given.
        pid: the process id; it means this child until the exit was noticed.
        stdin: where to send what the child reads, if it was started with `stdin=subprocess.PIPE`;
            else None. The stream is the caller's to close.
        stdout: where to receive what the child writes to its standard output, likewise.
        stderr: the same for its standard error.
        stdio: `stdin` and `stdout` as one stream, if there are both; else None.
    """

    __slots__ = (
        "__dict__", "__weakref__", "_notice", "_popen", "args", "pid", "stderr", "stdin", "stdio",
        "stdout",
    )  # fmt: skip

    def __init__(
        self,
        private: object = None,
        popen: subprocess.Popen[bytes] | Any = None,
        notice: ExitNotice | Any = None,
        stdin: SendStream | None = None,
        stdout: ReceiveStream | None = None,
        stderr: ReceiveStream | None = None,
    ) -> None:
        if private is not _PRIVATE:
            raise TypeError(
                "uringtrio.Process has no public constructor: use "
                "`await nursery.start(uringtrio.run_process, command)`, or "
                "`await uringtrio.lowlevel.open_process(command)`"
            )
        self._popen = popen
        self._notice = notice
        self.args: StrOrBytesPath | Sequence[StrOrBytesPath] = popen.args
        self.pid: int = popen.pid
        self.stdin = stdin
        self.stdout = stdout
        self.stderr = stderr
        self.stdio: StapledStream[SendStream, ReceiveStream] | None = None
        if stdin is not None and stdout is not None:
            self.stdio = StapledStream(stdin, stdout)

    def __repr__(self) -> str:
        code = self.returncode
        if code is None:
            state = f"running with PID {self.pid}"
        elif code < 0:
            state = f"exited with signal {-code}"
        else:
            state = f"exited with status {code}"
        return f"<uringtrio.Process {self.args!r}: {state}>"

    @property
    def returncode(self) -> int | None:
        """The exit status; minus the number of the signal that ended it; None while it runs.

        Always up to date: it asks the system.
        """
        code: int | None = self._popen.poll()
        if code is not None:
            self._notice.close()
        return code

    def poll(self) -> int | None:
        """Return `returncode`: there for programs that were written for `subprocess`."""
        return self.returncode

    async def wait(self) -> int:
        """Wait until the child has exited. Any number of tasks may.

        Returns:
            The `returncode`; 0 if the program ignores SIGCHLD, as the system then tells nobody.

        Checkpoint: always. If it is cancelled, the child goes on.
        """
        if self.returncode is None:
            await self._notice.wait()
            # Not `poll`: the notice may come a moment before the child can be reaped.
            self._popen.wait()
        else:
            await checkpoint()
        code = self.returncode
        assert code is not None
        return code

    def send_signal(self, sig: signal.Signals | int) -> None:
        """Send a signal to the child; nothing happens if it has exited.

        Args:
            sig: its number, such as `signal.SIGTERM`.

        Raises:
            OSError: the child may not be signalled (EPERM), as it changed its user.
        """
        self._popen.send_signal(sig)

    def terminate(self) -> None:
        """Send SIGTERM: ask the child to exit, which it may ignore.

        Raises: what `send_signal` raises.
        """
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL, which no program can ignore; `wait` to see it gone.

        Raises: what `send_signal` raises.
        """
        self.send_signal(signal.SIGKILL)


def new_process(
    popen: subprocess.Popen[bytes],
    notice: ExitNotice,
    stdin: SendStream | None,
    stdout: ReceiveStream | None,
    stderr: ReceiveStream | None,
) -> Process:
    """Make a `Process`, which becomes the owner of all that it is given."""
    return Process(_PRIVATE, popen, notice, stdin, stdout, stderr)
