"""RecvMultishot: a receive that stays armed, and keeps what comes before anybody asks for it.

What it keeps is out of the kernel, so that only this object can still give it. It is therefore for
streams alone, whose socket nobody else receives from; see `_net/ahead.py` for the rest of the rule.

A task that stops waiting leaves the kernel's op armed: a cancelled receive costs no system call,
and what was on its way is kept for the next one.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Any

from .op import POLLIN, Multishot

if TYPE_CHECKING:
    import socket
    from collections.abc import Sequence

    from uringtrio._ring.ring import Ring

    from .op import Interruption

# A receive that has brought this much ends, and the next begins when a task waits and nothing is
# ahead: else the kernel's own buffer fills up, and the peer waits. Together with one buffer of the
# ring it is the most that can be ahead of the tasks of one socket. With half of it, each full
# buffer would end the receive; twice as much is no faster (benchmarks/echo.py, 100 KiB).
AHEAD_BYTES_MAX = 131072

# How a receive ends that has met neither an error nor the end: cancelled; all provided buffers
# were out; a signal came; the kernel does not know it.
NO_RESULT = frozenset({-errno.ECANCELED, -errno.ENOBUFS, -errno.EINTR, -errno.EINVAL})


class RecvMultishot(Multishot):
    """recv(2) with IORING_RECV_MULTISHOT: returns 1 to `size` bytes, none at the end of the stream.

    Returns None instead, having received nothing, when there is no more receiving ahead.

    Attributes:
        sock: keeps the descriptor open until the last completion.
        size: the most bytes to give to the task that waits, at least 1.
        ahead: what was received and not asked for yet. Empty while a task waits.
        error: the errno that comes after `ahead`, which the kernel reports only once; 0 for none.
            The end of the stream it reports again.
        is_over: whether to receive ahead no more.
        runner: of the run in which it is or was in flight; None before.

    Source: io_uring_prep_recv_multishot(3); with a limit since Linux 6.17.
    """

    __slots__ = ("ahead", "error", "is_over", "runner", "size", "sock")

    def __init__(self, sock: socket.socket, size: int) -> None:
        super().__init__(sock.fileno(), POLLIN)
        self.sock = sock
        self.size = size
        self.ahead = b""
        self.error = 0
        self.is_over = False
        self.runner: Any = None
        self.is_indirect = True

    def prepare(self, ring: Ring) -> int:
        return ring.recv_multishot(self.id, self.fd, AHEAD_BYTES_MAX)

    def arm(self, task: Any) -> None:
        if task._scope._effectively_cancelled or task._ki_pending:
            task._interrupt_now()
        elif self.ahead:
            task._resume(self.take(self.size))
        elif self.id:
            self.waiter = task
            task._parked = self
        else:
            self._begin(task)

    def _begin(self, task: Any) -> None:
        """Start in the kernel, for `task`, as there is nothing ahead."""
        runner = task._runner
        if self.error:
            task._resume_with(self.take_error())
        elif self.is_over or not runner.driver.has_multishot:
            task._resume(None)
        else:
            self.runner = runner
            super().arm(task)
            if not self.id:
                # It was refused, and that has been told.
                self.waiter = None

    def abort(self, task: Any, interruption: Interruption) -> bool:
        del task, interruption
        self.waiter = None
        return True

    def more(self, data: bytes) -> None:
        task = self.waiter
        if task is None:
            self.ahead += data
            return
        self.waiter = None
        if len(data) > self.size:
            self.ahead = data[self.size :]
            data = data[: self.size]
        # `task._resume(data)` without the call, for 60 ns (benchmarks/echo.py).
        task._parked = None
        task.custom_sleep_data = None
        task._value = data
        self.runner.runq.append(task)

    def ended(self, res: int) -> None:
        self.id = 0
        if res == -errno.EINVAL:
            # A kernel without a limit to what it receives; any other reason a single one will say.
            self.runner.driver.has_multishot = False
        interruption, self.interruption = self.interruption, None
        if interruption is not None:
            interruption.ended()
        task, self.waiter = self.waiter, None
        if task is None:
            # The error of a receive that is being closed interests nobody.
            if res < 0 and interruption is None and res not in NO_RESULT:
                self.error = -res
        elif res >= 0:
            task._resume(b"")
        elif interruption is not None:
            task._resume_with(interruption.exception())
        elif res in NO_RESULT:
            self._begin(task)
        else:
            self.error = -res
            task._resume_with(self.take_error())

    def cancel(self) -> None:
        """Ask the kernel for the last completion, if it is in flight."""
        if self.id:
            self.runner.driver.cancel(self)

    def take_error(self) -> OSError:
        """Return the error that the kernel has reported, and forget it as the kernel does."""
        number, self.error = self.error, 0
        return OSError(number, os.strerror(number))

    def take(self, size: int) -> bytes:
        """Return at most `size` bytes of what is ahead."""
        data = self.ahead
        if len(data) <= size:
            self.ahead = b""
            return data
        self.ahead = data[size:]
        return data[:size]

    def take_into(self, buffers: Sequence[Any], *, is_peek: bool) -> int:
        """Fill `buffers` with what is ahead; return how many bytes that was.

        Args:
            buffers: flat writable memoryviews.
            is_peek: leave them ahead.
        """
        data = memoryview(self.ahead)
        count = 0
        for buffer in buffers:
            part = data[count : count + len(buffer)]
            buffer[: len(part)] = part
            count += len(part)
        if not is_peek:
            self.ahead = bytes(data[count:])
        return count
