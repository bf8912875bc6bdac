"""What every driver promises about files and pipes, and about doing nothing."""

import contextlib
import errno
import os
import resource
import threading
import time

import pytest

from uringtrio._files.raw import aligned_buffer
from uringtrio._ops.file import Nop, Read, Write

ECANCELED = -errno.ECANCELED
RESCUE_SECONDS = 1.0


@pytest.fixture
def pipe(open_bench):  # noqa: ARG001  # closed after the drivers, whose threads may be in it
    reader, writer = os.pipe()
    yield reader, writer
    for fd in (reader, writer):
        os.close(fd)


@pytest.fixture
def file(tmp_path):
    fd = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    yield fd
    os.close(fd)


def rescue_writers(pipes, stop):
    """Empty the pipes, again and again, once it has taken too long."""
    time_to_rescue = RESCUE_SECONDS
    while not stop.wait(time_to_rescue):
        time_to_rescue = 0.01
        for reader, _ in pipes:
            os.set_blocking(reader, False)
            with contextlib.suppress(BlockingIOError):
                while os.read(reader, 1 << 16):
                    pass


def test_nop_completes_with_nothing(bench):
    assert bench.do(Nop()) == 0
    bench.settle()


def test_write_then_read_at_an_offset(bench, file):
    assert bench.do(Write(file, b"hello world", 0)) == 11
    assert bench.do(Write(file, bytearray(b"W"), 6)) == 1
    buffer = bytearray(8)

    assert bench.do(Read(file, buffer, 6)) == 5
    assert buffer == b"World\0\0\0"
    assert os.lseek(file, 0, os.SEEK_CUR) == 0


def test_write_then_read_at_the_file_position(bench, file):
    assert bench.do(Write(file, b"hello ")) == 6
    assert bench.do(Write(file, b"world")) == 5
    os.lseek(file, 3, os.SEEK_SET)
    buffer = bytearray(100)

    assert bench.do(Read(file, buffer)) == 8
    assert buffer[:8] == b"lo world"
    assert bench.do(Read(file, bytearray(10))) == 0


@pytest.mark.parametrize("flags", [0, os.O_APPEND])
def test_position_moves_past_what_goes_past_the_cache(bench, tmp_path, flags):
    """On io_uring O_DIRECT left it where it was: each write overwrote the one before."""
    path = tmp_path / "direct"
    path.write_bytes(bytes(12288))
    try:
        fd = os.open(path, os.O_RDWR | os.O_DIRECT | flags)
    except OSError as exc:
        pytest.skip(f"no O_DIRECT here: {exc}")
    page = aligned_buffer(4096)
    try:
        assert bench.do(Read(fd, page)) == 4096
        assert os.lseek(fd, 0, os.SEEK_CUR) == 4096
        for letter in b"ab":
            page[:] = bytes([letter]) * 4096
            assert bench.do(Write(fd, page)) == 4096
        end = os.lseek(fd, 0, os.SEEK_CUR)
        assert bench.do(Read(fd, page)) == 0
        assert os.lseek(fd, 0, os.SEEK_CUR) == end == (20480 if flags else 12288)
    finally:
        os.close(fd)
    before = bytes(12288 if flags else 4096)
    assert path.read_bytes() == before + b"a" * 4096 + b"b" * 4096


@pytest.mark.parametrize("flags", [0, os.O_APPEND])
def test_position_moves_past_a_write_that_fits_in_part(bench, tmp_path, flags):
    """On io_uring it stayed: the rest of the data overwrote its start, and all seemed well."""
    path = tmp_path / "limited"
    path.write_bytes(b"0123456789")
    fd = os.open(path, os.O_RDWR | flags)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    try:
        written = bench.do(Write(fd, b"x" * 20_000))
        assert os.lseek(fd, 0, os.SEEK_CUR) == 10_000
        assert bench.do(Write(fd, b"y")) == -errno.EFBIG
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        os.close(fd)
    assert written == (9990 if flags else 10_000)
    assert path.read_bytes() == (b"0123456789" if flags else b"") + b"x" * written


def test_devices_without_readiness_are_read_and_written(bench):
    """They look as if they had some, and epoll does not take them."""
    fds = [os.open(f"/dev/{name}", os.O_RDWR) for name in ("zero", "null", "full")]
    zero, null, full = fds
    buffers = [bytearray(b"x" * 100) for _ in range(4)]
    try:
        ops = [bench.submit(Read(zero, buffer)) for buffer in buffers]
        ops += [bench.submit(Write(null, b"data")) for _ in range(4)]
        ops += [bench.submit(Write(full, b"data")) for _ in range(4)]
        assert bench.finish(*ops) == [100] * 4 + [4] * 4 + [-errno.ENOSPC] * 4
        assert buffers == [bytes(100)] * 4
        assert bench.do(Read(null, bytearray(1))) == 0
        cancelled = bench.submit(Read(zero, buffers[0]))
        bench.cancel(cancelled)
        assert bench.finish(cancelled)[0] in (100, ECANCELED)
        bench.settle()
        assert bench.in_flight() == {}
    finally:
        for fd in fds:
            os.close(fd)


def test_read_of_nothing_is_nothing(bench, file):
    os.write(file, b"data")
    assert bench.do(Read(file, bytearray(0), 0)) == 0


def test_file_errors_are_results(bench, tmp_path):
    (tmp_path / "file").touch()
    directory = os.open(tmp_path, os.O_RDONLY)
    read_only = os.open(tmp_path / "file", os.O_RDONLY)
    try:
        assert bench.do(Read(directory, bytearray(10), 0)) == -errno.EISDIR
        assert bench.do(Write(read_only, b"x", 0)) == -errno.EBADF
    finally:
        os.close(directory)
        os.close(read_only)


def test_closed_descriptor_is_refused_at_construction_or_by_the_completion(bench):
    reader, writer = os.pipe()
    os.close(reader)
    os.close(writer)
    with contextlib.suppress(OSError):
        assert bench.do(Read(reader, bytearray(10), 0)) == -errno.EBADF
    assert bench.in_flight() == {}


def test_read_into_what_cannot_be_written_is_refused(bench, file):
    """On epoll the error died in a worker thread, and the op never completed."""
    os.write(file, b"data")
    op = Read(file, b"immutable", 0)
    # Or refused by submit: then nothing is in flight.
    with contextlib.suppress(TypeError, ValueError, BufferError):
        assert bench.do(op) < 0
    assert bench.in_flight() == {}


def test_many_reads_of_one_file_at_once(bench, file):
    data = os.urandom(1 << 16)
    os.write(file, data)
    buffers = [bytearray(1024) for _ in range(64)]
    ops = [bench.submit(Read(file, buffer, i * 1024)) for i, buffer in enumerate(buffers)]

    assert bench.finish(*ops) == [1024] * 64
    assert b"".join(buffers) == data


def test_cancelled_file_read_completes_all_the_same(bench, file):
    os.write(file, b"data")
    buffer = bytearray(4)
    op = bench.submit(Read(file, buffer, 0))
    bench.cancel(op)

    (res,) = bench.finish(op)
    assert res in (4, ECANCELED)
    assert res < 0 or buffer == b"data"
    bench.settle()


@pytest.mark.parametrize("blocking", [True, False])
def test_read_of_a_pipe_waits_for_data(bench, pipe, blocking):
    reader, writer = pipe
    os.set_blocking(reader, blocking)
    buffer = bytearray(10)
    op = bench.submit(Read(reader, buffer))
    bench.settle()
    os.write(writer, b"hello")

    assert bench.finish(op) == [5]
    assert buffer[:5] == b"hello"


def test_write_to_a_pipe_waits_for_room(bench, pipe):
    reader, writer = pipe
    os.set_blocking(writer, False)
    size = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            size += os.write(writer, bytes(4096))
    os.set_blocking(writer, True)
    op = bench.submit(Write(writer, b"more"))
    bench.settle()
    assert len(os.read(reader, size)) == size

    assert bench.finish(op) == [4]
    assert os.read(reader, 10) == b"more"


def test_large_write_to_a_blocking_pipe_does_not_block_the_driver(bench):
    """On epoll the call was made as soon as there was room for some of the data."""
    # Several, as the end of another test's ring may interrupt a write(2) that blocks.
    pipes = [os.pipe() for _ in range(3)]
    ops = [bench.submit(Write(writer, bytes(1 << 20))) for _, writer in pipes]
    # Ends a write(2) that blocks, so that the test fails instead of hanging.
    stop = threading.Event()
    rescue = threading.Thread(target=rescue_writers, args=(pipes, stop))
    rescue.start()
    start = time.monotonic()
    bench.wait(0)
    bench.wait(0)
    took = time.monotonic() - start
    for op in ops:
        bench.cancel(op)
    bench.finish(*ops)
    stop.set()
    rescue.join()
    for reader, writer in pipes:
        os.close(reader)
        os.close(writer)

    assert took < RESCUE_SECONDS
    assert all(op.res > 0 for op in ops)


def test_write_to_a_pipe_without_reader_fails(bench):
    reader, writer = os.pipe()
    os.close(reader)
    try:
        assert bench.do(Write(writer, b"x")) == -errno.EPIPE
    finally:
        os.close(writer)


def test_cancelled_read_of_an_empty_pipe_ends(bench, pipe):
    """On epoll a thread sat in read(2), which nothing could end but a byte."""
    reader, writer = pipe
    op = bench.submit(Read(reader, bytearray(10)))
    bench.settle()
    late = threading.Timer(1.0, os.write, (writer, b"x"))
    late.start()
    bench.cancel(op)
    try:
        assert bench.finish(op) == [ECANCELED]
    finally:
        late.cancel()
        late.join()
