"""The ops of files and other descriptors."""

from __future__ import annotations

import os
import select
import stat
from typing import TYPE_CHECKING, Any

from .op import POLLIN, POLLOUT, Op

if TYPE_CHECKING:
    from collections.abc import Sequence

    from uringtrio._ring.ring import Ring

# The most that one read or write transfers, whatever it is asked for: MAX_RW_COUNT, read(2).
TRANSFER_BYTES_MAX = 0x7FFFF000
FSYNC_DATASYNC = 1


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
        # What has offsets has no readiness.
        super().__init__(fd, 0 if offset >= 0 else pollable(fd, POLLIN))
        self.pins = (buffer, None)
        self._offset = offset
        # The descriptor may be a blocking one.
        self.arms_first = True

    def prepare(self, ring: Ring) -> int:
        buffer, _ = self.pins
        pin = ring.pin(buffer, writable=True)
        self.pins = (buffer, pin)
        return ring.read(self.id, self.fd, pin, min(len(pin), TRANSFER_BYTES_MAX), self._offset)

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
        super().__init__(fd, 0 if offset >= 0 else pollable(fd, POLLOUT))
        self.pins = (data, None)
        self._offset = offset
        # The descriptor may be a blocking one.
        self.arms_first = True

    def prepare(self, ring: Ring) -> int:
        data, _ = self.pins
        pin = ring.pin(data, writable=False)
        self.pins = (data, pin)
        return ring.write(self.id, self.fd, pin, min(len(pin), TRANSFER_BYTES_MAX), self._offset)

    def perform(self) -> int:
        data, _ = self.pins
        if self._offset < 0 and self.interest and self.arms_first:
            # Readiness promises room for this much; more would block on a blocking descriptor.
            return os.write(self.fd, memoryview(data).cast("B")[: select.PIPE_BUF])
        if self._offset < 0:
            return os.write(self.fd, data)
        return os.pwrite(self.fd, data, self._offset)


class ReadV(Op):
    """preadv(2) into the caller's buffers, in their order, at `offset` >= 0.

    Attributes:
        pins: (the buffers, what pins them); the last completion lets them go.
    """

    __slots__ = ("_offset",)

    def __init__(self, fd: int, buffers: Sequence[Any], offset: int) -> None:
        super().__init__(fd)
        self.pins = (buffers, None)
        self._offset = offset

    def prepare(self, ring: Ring) -> int:
        buffers, _ = self.pins
        pins = [ring.pin(buffer, writable=True) for buffer in buffers]
        vectors = ring.new_vectors(pins)
        self.pins = (buffers, (pins, vectors))
        return ring.readv(self.id, self.fd, vectors, len(pins), self._offset)

    def perform(self) -> int:
        buffers, _ = self.pins
        return os.preadv(self.fd, buffers, self._offset)


class WriteV(Op):
    """pwritev(2) of the buffers, in their order, at `offset` >= 0: returns how many bytes.

    Attributes:
        pins: (the buffers, what pins them); the last completion lets them go.
    """

    __slots__ = ("_offset",)

    def __init__(self, fd: int, buffers: Sequence[Any], offset: int) -> None:
        super().__init__(fd)
        self.pins = (buffers, None)
        self._offset = offset

    def prepare(self, ring: Ring) -> int:
        buffers, _ = self.pins
        pins = [ring.pin(buffer, writable=False) for buffer in buffers]
        vectors = ring.new_vectors(pins)
        self.pins = (buffers, (pins, vectors))
        return ring.writev(self.id, self.fd, vectors, len(pins), self._offset)

    def perform(self) -> int:
        buffers, _ = self.pins
        return os.pwritev(self.fd, buffers, self._offset)


class Fsync(Op):
    """fsync(2), or fdatasync(2) with `data_only`."""

    __slots__ = ("_data_only",)

    def __init__(self, fd: int, *, data_only: bool) -> None:
        super().__init__(fd)
        self._data_only = data_only

    def prepare(self, ring: Ring) -> int:
        return ring.fsync(self.id, self.fd, FSYNC_DATASYNC if self._data_only else 0)

    def perform(self) -> int:
        if self._data_only and hasattr(os, "fdatasync"):
            os.fdatasync(self.fd)
        else:
            os.fsync(self.fd)
        return 0
