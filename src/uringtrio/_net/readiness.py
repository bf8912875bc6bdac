"""Waiting for descriptors that somebody else reads and writes.

Source: poll(2); IORING_OP_POLL_ADD, Linux 5.1.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING, Protocol

from uringtrio._errors import BusyResourceError, ClosedResourceError
from uringtrio._ops.net import Poll
from uringtrio._ops.op import POLLIN, POLLOUT
from uringtrio._scheduler.current import get_runner
from uringtrio._scheduler.locals import RunVar
from uringtrio._scheduler.traps import checkpoint

from .ahead import has_something
from .socket import Socket

if TYPE_CHECKING:
    from uringtrio._ops.op import Op


class HasFileno(Protocol):
    """A socket, a file: anything with a descriptor."""

    def fileno(self) -> int:
        """Return the descriptor."""


class _Closing:
    """The interruption of waits for a descriptor that is about to be closed."""

    def exception(self) -> BaseException:
        return ClosedResourceError("another task closed this descriptor")

    def ended(self) -> None:
        pass


# The waits of a run by descriptor and direction: at most one of each.
_WAITS: RunVar[dict[tuple[int, int], Op]] = RunVar("waits for readiness")


def _waits() -> dict[tuple[int, int], Op]:
    try:
        return _WAITS.get()
    except LookupError:
        waits: dict[tuple[int, int], Op] = {}
        _WAITS.set(waits)
        return waits


def _as_fd(fd: int | HasFileno) -> int:
    number = fd if isinstance(fd, int) else fd.fileno()
    if number < 0:
        raise ValueError(f"a descriptor is at least 0, not {number}: is it closed?")
    return number


async def _wait(fd: int | HasFileno, direction: int, doing: str) -> None:
    number = _as_fd(fd)
    if direction == POLLIN and isinstance(fd, Socket) and has_something(fd):
        await checkpoint()
        return
    mode = os.fstat(number).st_mode
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
        # A ring would say that they are always ready, epoll refuses: be the same everywhere.
        raise PermissionError(errno.EPERM, "files on disks have no readiness to wait for")
    waits = _waits()
    key = (number, direction)
    if key in waits:
        raise BusyResourceError(f"another task is already {doing} descriptor {number}")
    waits[key] = op = Poll(number, direction)
    try:
        await op
    finally:
        del waits[key]


async def wait_readable(fd: int | HasFileno) -> None:
    """Wait until `fd` is readable: reading would not wait, or fail, or find the end.

    Args:
        fd: a descriptor, or an object with `fileno()`; a socket, pipe, terminal or the like. Tell
            `notify_closing` before you close it.

    Raises:
        BusyResourceError: another task waits for the same.
        ClosedResourceError: `notify_closing` was called meanwhile.
        ValueError: the descriptor is negative.
        OSError: it is not open (EBADF), or has no readiness (EPERM).

    Checkpoint: always.
    """
    await _wait(fd, POLLIN, "waiting to read from")


async def wait_writable(fd: int | HasFileno) -> None:
    """Wait until `fd` is writable: writing a little would not wait, or fail.

    The argument and the errors are those of `wait_readable`.

    Checkpoint: always.
    """
    await _wait(fd, POLLOUT, "waiting to write to")


def notify_closing(fd: int | HasFileno) -> None:
    """Let the tasks that wait for `fd` raise ClosedResourceError: call it before closing.

    Args:
        fd: as in `wait_readable`.

    Checkpoint: never; this is no async function.
    """
    runner = get_runner("uringtrio.lowlevel.notify_closing()")
    number = fd if isinstance(fd, int) else fd.fileno()
    waits = _waits()
    for direction in (POLLIN, POLLOUT):
        op = waits.get((number, direction))
        if op is not None and op.id and op.interruption is None:
            op.interruption = _Closing()
            runner.driver.cancel(op)
            # It may be the host of a guest run that closes, while a thread waits for the driver.
            runner.end_sleep()
