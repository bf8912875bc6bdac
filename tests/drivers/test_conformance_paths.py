"""What every driver promises about ops that name files by paths, and about whole files."""

import errno
import os

import pytest

from uringtrio._ops.file import Fsync, ReadV, WriteV
from uringtrio._ops.path import Link, Mkdir, OpenAt, Rename, Statx, Symlink, Unlink

ECANCELED = -errno.ECANCELED


@pytest.fixture
def place(tmp_path):
    """A function from a name to the bytes of a path."""
    return lambda name: os.fsencode(tmp_path / name)


def test_openat_opens_without_inheriting(bench, place):
    flags = os.O_RDWR | os.O_CREAT
    fd = bench.do(OpenAt(place("new"), flags, 0o640))

    assert not os.get_inheritable(fd)
    assert os.fstat(fd).st_mode & 0o777 == 0o640
    os.close(fd)
    assert bench.do(OpenAt(place("new"), flags | os.O_EXCL)) == -errno.EEXIST
    assert bench.do(OpenAt(place("none/none"), os.O_RDONLY)) == -errno.ENOENT


def test_descriptor_without_a_taker_is_closed(bench, place):
    op = OpenAt(place("new"), os.O_RDWR | os.O_CREAT)
    fd = bench.do(op)
    op.finish_unclaimed()

    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)


def test_statx_says_what_stat_says(bench, place):
    os.symlink("target", place("link"))
    with open(place("target"), "wb") as file:
        file.write(b"12345")
        for op, expected in (
            (Statx(place("link")), os.stat(place("link"))),
            (Statx(place("link"), follow_symlinks=False), os.lstat(place("link"))),
            (Statx(b"", fd=file.fileno()), os.fstat(file.fileno())),
        ):
            assert bench.do(op) == 0
            assert op.value == expected
    assert bench.do(Statx(place("none"))) == -errno.ENOENT


def test_names_are_made_changed_and_removed(bench, place):
    assert bench.do(Mkdir(place("directory"), 0o700)) == 0
    assert bench.do(Mkdir(place("directory"))) == -errno.EEXIST
    assert bench.do(Symlink(b"directory", place("link"))) == 0
    assert os.readlink(place("link")) == b"directory"
    assert bench.do(Link(place("link"), place("again"))) == 0
    assert os.readlink(place("again")) == b"directory"
    assert bench.do(Rename(place("again"), place("other"))) == 0
    assert bench.do(Rename(place("again"), place("other"))) == -errno.ENOENT
    assert bench.do(Unlink(place("other"))) == 0
    assert bench.do(Unlink(place("link"))) == 0
    assert bench.do(Unlink(place("directory"))) in (-errno.EISDIR, -errno.EPERM)
    assert bench.do(Unlink(place("directory"), is_directory=True)) == 0
    assert os.listdir(place(".")) == []


def test_several_buffers_are_written_and_read_in_their_order(bench, place):
    fd = os.open(place("file"), os.O_RDWR | os.O_CREAT)
    try:
        assert bench.do(WriteV(fd, [b"one", bytearray(b" two"), memoryview(b" three")], 2)) == 13
        buffers = [bytearray(4), bytearray(0), bytearray(20)]
        assert bench.do(ReadV(fd, buffers, 1)) == 14
        assert b"".join(buffers).rstrip(b"\0") == b"\0one two three"
        assert bench.do(Fsync(fd, data_only=False)) == bench.do(Fsync(fd, data_only=True)) == 0
    finally:
        os.close(fd)


@pytest.mark.parametrize("kind", ["Statx", "OpenAt", "Fsync", "Mkdir"])
def test_cancelled_op_completes_once_with_its_effect_or_without(bench, place, kind):
    fd = os.open(place("file"), os.O_RDWR | os.O_CREAT)
    op = {
        "Statx": lambda: Statx(place("file")),
        "OpenAt": lambda: OpenAt(place("file"), os.O_RDONLY),
        "Fsync": lambda: Fsync(fd, data_only=False),
        "Mkdir": lambda: Mkdir(place("directory")),
    }[kind]()
    bench.submit(op)
    bench.cancel(op)
    (res,) = bench.finish(op)

    assert res == ECANCELED or res >= 0
    if kind == "Mkdir":
        assert os.path.exists(place("directory")) == (res >= 0)
    op.finish_unclaimed()
    os.close(fd)
    bench.settle()
