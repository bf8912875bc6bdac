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
    """pread(2), or read(2) at `offset` -1, into the caller's buffer.

    Attributes:
        pins: (the buffer, the ring's pin of it); the last completion lets it go.
    """

    __slots__ = ("_offset",)

    def __init__(self, fd: int, buffer: Any, offset: int = -1) -> None:
        super().__init__(fd, pollable(fd, POLLIN))
        self.pins = (buffer, None)
        self._offset = offset
        # The descriptor may be a blocking one.
        self.arms_first = True

    def prepare(self, ring: Ring) -> int:
        buffer, _ = self.pins
        pin = ring.pin(buffer, writable=True)
        self.pins = (buffer, pin)
        return ring.read(self.id, self.fd, pin, len(pin), self._offset)

    def perform(self) -> int:
        buffer, _ = self.pins
        if self._offset < 0:
            return os.readv(self.fd, [buffer])
        return os.preadv(self.fd, [buffer], self._offset)


class Write(Op):
    """pwrite(2), or write(2) at `offset` -1: returns how many bytes were written.

    Attributes:
        pins: (the data, the ring's pin of it); the last completion lets it go.
    """

    __slots__ = ("_offset",)

    def __init__(self, fd: int, data: Any, offset: int = -1) -> None:
        super().__init__(fd, pollable(fd, POLLOUT))
        self.pins = (data, None)
        self._offset = offset
        # The descriptor may be a blocking one.
        self.arms_first = True

    def prepare(self, ring: Ring) -> int:
        data, _ = self.pins
        pin = ring.pin(data, writable=False)
        self.pins = (data, pin)
        return ring.write(self.id, self.fd, pin, len(pin), self._offset)

    def perform(self) -> int:
        data, _ = self.pins
        if self._offset < 0 and self.interest and self.arms_first:
            # Readiness promises room for this much; more would block on a blocking descriptor.
            return os.write(self.fd, memoryview(data).cast("B")[: select.PIPE_BUF])
        if self._offset < 0:
            return os.write(self.fd, data)
        return os.pwrite(self.fd, data, self._offset)
