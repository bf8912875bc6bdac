"""The ops of files and other descriptors."""

from __future__ import annotations

import os
import select
import stat
from typing import TYPE_CHECKING, Any

from .op import POLLIN, POLLOUT, Op

if TYPE_CHECKING:
    from uringtrio._ring.ring import Ring


def pollable(fd: int, interest: int) -> int:
    """Return `interest` if `fd` has readiness, as pipes and terminals do; 0 for files on disks."""
    mode = os.fstat(fd).st_mode
    return 0 if stat.S_ISREG(mode) or stat.S_ISBLK(mode) or stat.S_ISDIR(mode) else interest


class Nop(Op):
    """Nothing: completes at the next enter."""

    __slots__ = ()
    is_instant = True

    def prepare(self, ring: Ring) -> int:
        return ring.nop(self.id)

    def perform(self) -> int:
        return 0


class Close(Op):
    """close(2). Nothing else may be in flight on the descriptor."""

    __slots__ = ()
    is_instant = True

    def prepare(self, ring: Ring) -> int:
        return ring.close_fd(self.id, self.fd)

    def perform(self) -> int:
        os.close(self.fd)
        return 0


class Read(Op):
    """pread(2), or read(2) at `offset` -1, into the caller's buffer."""

    __slots__ = ("_buffer", "_offset")

    def __init__(self, fd: int, buffer: Any, offset: int = -1) -> None:
        super().__init__(fd, pollable(fd, POLLIN))
        self._buffer = buffer
        self._offset = offset
        # The descriptor may be a blocking one.
        self.arms_first = True

    def prepare(self, ring: Ring) -> int:
        self.pins = ring.pin(self._buffer, writable=True)
        return ring.read(self.id, self.fd, self.pins, len(self.pins), self._offset)

    def perform(self) -> int:
        if self._offset < 0:
            return os.readv(self.fd, [self._buffer])
        return os.preadv(self.fd, [self._buffer], self._offset)


class Write(Op):
    """pwrite(2), or write(2) at `offset` -1: returns how many bytes were written."""

    __slots__ = ("_data", "_offset")

    def __init__(self, fd: int, data: Any, offset: int = -1) -> None:
        super().__init__(fd, pollable(fd, POLLOUT))
        self._data = data
        self._offset = offset
        # The descriptor may be a blocking one.
        self.arms_first = True

    def prepare(self, ring: Ring) -> int:
        self.pins = ring.pin(self._data, writable=False)
        return ring.write(self.id, self.fd, self.pins, len(self.pins), self._offset)

    def perform(self) -> int:
        if self._offset < 0 and self.interest:
            # Readiness promises room for this much; more would block on a blocking descriptor.
            return os.write(self.fd, memoryview(self._data).cast("B")[: select.PIPE_BUF])
        if self._offset < 0:
            return os.write(self.fd, self._data)
        return os.pwrite(self.fd, self._data, self._offset)
