"""ExitNotice: a descriptor that tells, by becoming readable, that a child process has exited.

Facts. Linux has three ways to wait for a child without taking a thread's time: a signal (SIGCHLD),
which belongs to the program and not to us; IORING_OP_WAITID (6.7); and a pidfd (5.3), which polls
readable from the exit on, also after the child was reaped.

Choice: the pidfd. Every driver can poll it, any number of tasks at once and in any run, and a
cancelled wait leaves nothing behind. IORING_OP_WAITID would save a descriptor and two cheap system
calls for each child, 1.6 us where starting one and seeing it end takes 300 us (one_by_one in
benchmarks/processes.py), and be a second path beside this one.

Where there is no pidfd (an older kernel, a sandbox, another system) a thread waits in its place,
one for each child however often the wait is cancelled, and hangs up a socket: a descriptor that
becomes readable, like the other.

Nothing here reaps: that is left to `subprocess.Popen`, whose `poll` and `send_signal` know by it
whether the process id still means the child.
"""

from __future__ import annotations

import contextlib
import functools
import os
import socket
from typing import TYPE_CHECKING

from uringtrio._ops.net import Poll
from uringtrio._ops.op import POLLIN
from uringtrio._thread_cache import start_thread_soon

if TYPE_CHECKING:
    import subprocess


class ExitNotice:
    """The descriptor for one child, and how many tasks wait for it.

    Args:
        child: running, or not yet reaped.

    Raises:
        OSError: there is no descriptor left (EMFILE, ENFILE).
        RuntimeError: the system refuses a thread, where one is needed.

    May be made in any thread; belongs to the thread of the run from then on.
    """

    __slots__ = ("_fd", "_is_closing", "_waiters")

    def __init__(self, child: subprocess.Popen[bytes]) -> None:
        # Before anything can fail, so that `__del__` finds it; -1 when closed.
        self._fd = -1
        self._waiters = 0
        self._is_closing = False
        self._fd = _open(child)

    def __del__(self) -> None:
        if self._fd != -1:
            os.close(self._fd)

    async def wait(self) -> None:
        """Wait until the child has exited. Not to be called after `close`.

        Checkpoint: always.
        """
        self._waiters += 1
        try:
            await Poll(self._fd, POLLIN)
        finally:
            self._waiters -= 1
            if self._is_closing:
                self.close()

    def close(self) -> None:
        """Close the descriptor, the child having exited, as soon as no task waits for it.

        Tasks that wait are about to see the exit by themselves. Twice is allowed.
        """
        self._is_closing = True
        if self._waiters == 0 and self._fd != -1:
            fd, self._fd = self._fd, -1
            os.close(fd)


def _open(child: subprocess.Popen[bytes]) -> int:
    if hasattr(os, "pidfd_open"):
        # Whatever the reason for the refusal, a thread needs nothing of the kind.
        with contextlib.suppress(OSError):
            return os.pidfd_open(child.pid)
    return _open_by_thread(child)


def _open_by_thread(child: subprocess.Popen[bytes]) -> int:
    reader, writer = socket.socketpair()
    work = functools.partial(_wait_in_thread, child, writer)
    try:
        start_thread_soon(work, lambda _outcome: None, f"wait for {child.pid}")
    except BaseException:
        reader.close()
        writer.close()
        raise
    return reader.detach()


def _wait_in_thread(child: subprocess.Popen[bytes], writer: socket.socket) -> None:
    """Wait until the child has exited, then make the other end of `writer` readable."""
    with writer:
        # ECHILD is an exit as well: it comes once the child is gone, if SIGCHLD is ignored.
        with contextlib.suppress(ChildProcessError):
            if hasattr(os, "waitid"):
                os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
            else:
                # PyPy; macOS before Python 3.13. It reaps: `Popen.poll` may be late by a moment.
                child.wait()
        # More than a close: it also counts for the copies that an os.fork() has made. The other
        # end may be gone.
        with contextlib.suppress(OSError):
            writer.shutdown(socket.SHUT_RDWR)
