"""The ops of files and other descriptors."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import stat
from typing import TYPE_CHECKING, Any, ClassVar

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


class _Transfer(Op):
    """Moves bytes between a file and the caller's memory.

    Args:
        fd: a descriptor.
        buffer: the memory.
        offset: where in the file; -1 is its position, which moves.

    Attributes:
        pins: (the buffer, the ring's pin of it); the last completion lets it go.
    """

    __slots__ = ("_offset", "_position_before")

    _is_write: ClassVar[bool] = False

    def __init__(self, fd: int, buffer: Any, offset: int = -1) -> None:
        interest = POLLOUT if self._is_write else POLLIN
        # What has offsets has no readiness.
        super().__init__(fd, 0 if offset >= 0 else pollable(fd, interest))
        self.pins = (buffer, None)
        self._offset = offset
        # The file's position before, if a ring is to move it; else -1.
        self._position_before = -1
        # The descriptor may be a blocking one.
        self.arms_first = True

    def _pin(self, ring: Ring) -> tuple[Any, int]:
        """Return the ring's pin of the buffer, and how many bytes of it one call takes."""
        buffer, _ = self.pins
        pin = ring.pin(buffer, writable=not self._is_write)
        self.pins = (buffer, pin)
        if self._offset < 0 and not self.interest:
            self._position_before = _position(self.fd)
            self.is_indirect = True
        return pin, min(len(pin), TRANSFER_BYTES_MAX)

    def collect(self, res: int) -> int:
        # The kernel leaves the position where it was if the op ended in a device's interrupt, as
        # with O_DIRECT, or if a part of it was done when the rest failed (Linux 6.18): the next
        # write would overwrite this one.
        before, self._position_before = self._position_before, -1
        if res and before >= 0 and _position(self.fd) == before:
            # Files of the kernel's that ignore their position may refuse to be moved.
            with contextlib.suppress(OSError):
                if self._is_write and fcntl.fcntl(self.fd, fcntl.F_GETFL) & os.O_APPEND:
                    os.lseek(self.fd, 0, os.SEEK_END)
                else:
                    os.lseek(self.fd, res, os.SEEK_CUR)
        return res


def _position(fd: int) -> int:
    """Return where a file is, -1 if it has no position."""
    try:
        return os.lseek(fd, 0, os.SEEK_CUR)
    except OSError:
        return -1


class Read(_Transfer):
    """pread(2), or read(2) at `offset` -1, into the caller's buffer."""

    __slots__ = ()

    def prepare(self, ring: Ring) -> int:
        pin, size = self._pin(ring)
        return ring.read(self.id, self.fd, pin, size, self._offset)

    def perform(self) -> int:
        buffer, _ = self.pins
        if self._offset < 0:
            return os.readv(self.fd, [buffer])
        return os.preadv(self.fd, [buffer], self._offset)


class Write(_Transfer):
    """pwrite(2), or write(2) at `offset` -1: returns how many bytes were written."""

    __slots__ = ()
    _is_write = True

    def prepare(self, ring: Ring) -> int:
        pin, size = self._pin(ring)
        return ring.write(self.id, self.fd, pin, size, self._offset)

    def perform(self) -> int:
        data, _ = self.pins
        if self._offset < 0 and self.interest and self.arms_first:
            # Readiness promises room for this much; more would block on a blocking descriptor.
            return os.write(self.fd, memoryview(data).cast("B")[: select.PIPE_BUF])
        if self._offset < 0:
            return os.write(self.fd, data)
        return os.pwrite(self.fd, data, self._offset)


class _VectorTransfer(Op):
    """Moves bytes between a file, at `offset` >= 0, and the caller's buffers, in their order.

    Attributes:
        pins: (the buffers, what pins them); the last completion lets them go.
    """

    __slots__ = ("_offset",)

    _is_write: ClassVar[bool] = False

    def __init__(self, fd: int, buffers: Sequence[Any], offset: int) -> None:
        super().__init__(fd)
        self.pins = (buffers, None)
        self._offset = offset

    def _pin(self, ring: Ring) -> tuple[Any, int]:
        """Return the vectors of the buffers, and how many there are."""
        buffers, _ = self.pins
        pins = [ring.pin(buffer, writable=not self._is_write) for buffer in buffers]
        vectors = ring.new_vectors(pins)
        self.pins = (buffers, (pins, vectors))
        return vectors, len(pins)


class ReadV(_VectorTransfer):
    """preadv(2)."""

    __slots__ = ()

    def prepare(self, ring: Ring) -> int:
        vectors, count = self._pin(ring)
        return ring.readv(self.id, self.fd, vectors, count, self._offset)

    def perform(self) -> int:
        buffers, _ = self.pins
        return os.preadv(self.fd, buffers, self._offset)


class WriteV(_VectorTransfer):
    """pwritev(2): returns how many bytes were written."""

    __slots__ = ()
    _is_write = True

    def prepare(self, ring: Ring) -> int:
        vectors, count = self._pin(ring)
        return ring.writev(self.id, self.fd, vectors, count, self._offset)

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
