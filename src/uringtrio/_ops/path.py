"""The ops that name a file by its path.

Paths are bytes without a zero byte, as `os.fsencode` makes them; relative ones start at the
working directory. None of these ops has readiness: without a ring each runs in a thread.
"""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING

from .op import Op

if TYPE_CHECKING:
    from uringtrio._ring.ring import Ring

AT_FDCWD = -100
AT_SYMLINK_NOFOLLOW = 0x100
AT_REMOVEDIR = 0x200
AT_EMPTY_PATH = 0x1000

STATX_BASIC_STATS = 0x7FF
STATX_SIZE_BYTES = 256
# struct statx, linux/stat.h: mask, blksize, attributes, nlink, uid, gid, mode, ino, size, blocks,
# attributes_mask, (seconds, nanoseconds) of atime, btime, ctime, mtime, then the major and minor
# numbers of rdev and dev.
STATX = struct.Struct("=IIQIIIHxxQQQQ qIxxxx qIxxxx qIxxxx qIxxxx IIII")


class OpenAt(Op):
    """open(2): its value is a new descriptor, never inherited. One without a taker is closed.

    Attributes:
        has_waited: whether open(2) itself was called, which waits for the other end of a pipe with
            a name; a ring does not.
    """

    __slots__ = ("_flags", "_mode", "_path", "has_waited")

    def __init__(self, path: bytes, flags: int, mode: int = 0o666) -> None:
        super().__init__()
        self._path = path
        self._flags = flags | os.O_CLOEXEC
        self._mode = mode
        self.has_waited = False

    def prepare(self, ring: Ring) -> int:
        return ring.openat(self.id, self._path, self._flags, self._mode)

    def perform(self) -> int:
        self.has_waited = True
        return os.open(self._path, self._flags, self._mode)

    def discard(self) -> None:
        os.close(self.res)


class Statx(Op):
    """statx(2), whose value is an `os.stat_result`; of a descriptor if `path` is empty.

    Attributes:
        pins: the ring's pin of the memory for the answer.
    """

    __slots__ = ("_follows", "_path", "_result")

    def __init__(self, path: bytes, *, follow_symlinks: bool = True, fd: int = AT_FDCWD) -> None:
        super().__init__(fd)
        self._path = path
        self._follows = follow_symlinks
        # The kernel's answer to a ring, or what the call returned.
        self._result: bytearray | os.stat_result = bytearray()

    def prepare(self, ring: Ring) -> int:
        self._result = bytearray(STATX_SIZE_BYTES)
        self.pins = ring.pin(self._result, writable=True)
        flags = 0 if self._follows else AT_SYMLINK_NOFOLLOW
        if not self._path:
            flags |= AT_EMPTY_PATH
        return ring.statx(self.id, self.fd, self._path, flags, STATX_BASIC_STATS, self.pins)

    def perform(self) -> int:
        if self._path:
            self._result = os.stat(self._path, follow_symlinks=self._follows)
        else:
            self._result = os.fstat(self.fd)
        return 0

    def collect(self, res: int) -> os.stat_result:
        del res
        result = self._result
        return result if isinstance(result, os.stat_result) else as_stat_result(result)


def as_stat_result(data: bytearray) -> os.stat_result:
    """Return what `os.stat` returns, from the bytes of a `struct statx`."""
    (
        _, blksize, _, nlink, uid, gid, mode, ino, size, blocks, _,
        atime, atime_ns, _, _, ctime, ctime_ns, mtime, mtime_ns,
        rdev_major, rdev_minor, dev_major, dev_minor,
    ) = STATX.unpack_from(data)  # fmt: skip
    times = ((atime, atime_ns), (mtime, mtime_ns), (ctime, ctime_ns))
    return os.stat_result(
        (
            mode, ino, os.makedev(dev_major, dev_minor), nlink, uid, gid, size,
            *(seconds for seconds, _ in times),
            *(seconds + 1e-9 * ns for seconds, ns in times),
            *(seconds * 1_000_000_000 + ns for seconds, ns in times),
            blksize, blocks, os.makedev(rdev_major, rdev_minor),
        )
    )  # fmt: skip


class _Pair(Op):
    """An op that makes the name `new` out of `old`."""

    __slots__ = ("_new", "_old")

    def __init__(self, old: bytes, new: bytes) -> None:
        super().__init__()
        self._old = old
        self._new = new


class Rename(_Pair):
    """rename(2): `new` takes the place of what is there."""

    __slots__ = ()

    def prepare(self, ring: Ring) -> int:
        return ring.rename(self.id, self._old, self._new)

    def perform(self) -> int:
        os.rename(self._old, self._new)
        return 0


class Unlink(Op):
    """unlink(2), or rmdir(2) with `is_directory`."""

    __slots__ = ("_is_directory", "_path")

    def __init__(self, path: bytes, *, is_directory: bool = False) -> None:
        super().__init__()
        self._path = path
        self._is_directory = is_directory

    def prepare(self, ring: Ring) -> int:
        return ring.unlink(self.id, self._path, AT_REMOVEDIR if self._is_directory else 0)

    def perform(self) -> int:
        (os.rmdir if self._is_directory else os.unlink)(self._path)
        return 0


class Mkdir(Op):
    """mkdir(2)."""

    __slots__ = ("_mode", "_path")

    def __init__(self, path: bytes, mode: int = 0o777) -> None:
        super().__init__()
        self._path = path
        self._mode = mode

    def prepare(self, ring: Ring) -> int:
        return ring.mkdir(self.id, self._path, self._mode)

    def perform(self) -> int:
        os.mkdir(self._path, self._mode)
        return 0


class Symlink(_Pair):
    """symlink(2): makes `new`, which points to `old`, whether that is there or not."""

    __slots__ = ()

    def prepare(self, ring: Ring) -> int:
        return ring.symlink(self.id, self._old, self._new)

    def perform(self) -> int:
        os.symlink(self._old, self._new)
        return 0


class Link(_Pair):
    """link(2): makes `new`, another name of the file `old`; a symlink is not followed."""

    __slots__ = ()

    def prepare(self, ring: Ring) -> int:
        return ring.link(self.id, self._old, self._new)

    def perform(self) -> int:
        os.link(self._old, self._new, follow_symlinks=False)
        return 0
