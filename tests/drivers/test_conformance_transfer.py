"""What every driver promises about splices, files to sockets, and sends that are not copied."""

import contextlib
import errno
import os
import socket

import pytest

from uringtrio._ops.net import Send
from uringtrio._ops.op import POLLIN, POLLOUT
from uringtrio._ops.transfer import SEND_FILE_BYTES, SendFile, SendZC, Splice

from .traffic import drain, fill

ECANCELED = -errno.ECANCELED
DATA = bytes(range(256)) * 64


@pytest.fixture
def pipe(open_bench):  # noqa: ARG001  # closed after the drivers, whose threads may be in it
    reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    yield reader, writer
    for fd in (reader, writer):
        os.close(fd)


@pytest.fixture
def file(tmp_path, open_bench):  # noqa: ARG001  # likewise
    fd = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    os.write(fd, DATA)
    yield fd
    os.close(fd)


def to_pipe(sock, pipe, size):
    return Splice(sock.fileno(), pipe[1], size, waits_for=sock.fileno(), interest=POLLIN)


def from_pipe(pipe, sock, size):
    return Splice(pipe[0], sock.fileno(), size, waits_for=sock.fileno(), interest=POLLOUT)


# Splice.


def test_splice_from_a_file_takes_from_the_offset(bench, file, pipe):
    os.lseek(file, 5, os.SEEK_SET)
    assert bench.do(Splice(file, pipe[1], 100, offset=300)) == 100
    assert os.read(pipe[0], 1000) == DATA[300:400]
    assert os.lseek(file, 0, os.SEEK_CUR) == 5


def test_splice_from_a_file_without_offset_moves_its_position(bench, file, pipe):
    os.lseek(file, 5, os.SEEK_SET)
    assert bench.do(Splice(file, pipe[1], 100)) == 100
    assert os.read(pipe[0], 1000) == DATA[5:105]
    assert os.lseek(file, 0, os.SEEK_CUR) == 105


def test_splice_of_a_file_ends_with_it(bench, file, pipe):
    assert bench.do(Splice(file, pipe[1], 100, offset=len(DATA) - 10)) == 10
    assert bench.do(Splice(file, pipe[1], 100, offset=len(DATA))) == 0
    assert bench.do(Splice(file, pipe[1], 100, offset=len(DATA) + 5)) == 0


def test_splice_to_a_file_writes_at_its_position(bench, file, pipe):
    os.write(pipe[1], b"hello")
    os.lseek(file, 10, os.SEEK_SET)
    assert bench.do(Splice(pipe[0], file, 5)) == 5
    assert os.pread(file, 25, 0) == DATA[:10] + b"hello" + DATA[15:25]


def test_splice_from_a_socket_waits_for_data_and_ends_with_it(bench, pair, pipe):
    left, right = pair
    op = bench.submit(to_pipe(left, pipe, 100))
    bench.settle()
    right.send(b"hello")
    assert bench.finish(op) == [5]
    assert os.read(pipe[0], 100) == b"hello"
    right.close()
    assert bench.do(to_pipe(left, pipe, 100)) == 0


def test_splice_to_a_socket_waits_for_room(bench, pair, pipe):
    left, right = pair
    fill(left)
    os.write(pipe[1], b"hello")
    op = bench.submit(from_pipe(pipe, left, 5))
    bench.settle()
    drain(right)
    assert bench.finish(op) == [5]
    assert right.recv(100) == b"hello"


@pytest.mark.parametrize("direction", ["from", "to"])
def test_cancelled_splice_of_a_socket_moves_nothing(bench, pair, pipe, direction):
    left, right = pair
    if direction == "to":
        fill(left)
        os.write(pipe[1], b"hello")
    op = bench.submit(to_pipe(left, pipe, 5) if direction == "from" else from_pipe(pipe, left, 5))
    bench.settle()
    bench.cancel(op)
    assert bench.finish(op) == [ECANCELED]
    if direction == "from":
        right.send(b"x")
        with pytest.raises(BlockingIOError):
            os.read(pipe[0], 100)
    else:
        assert os.read(pipe[0], 100) == b"hello"


def test_cancelled_splice_of_a_file_completes_all_the_same(bench, file, pipe):
    op = bench.submit(Splice(file, pipe[1], 100, offset=0))
    bench.cancel(op)
    (res,) = bench.finish(op)
    assert res in {100, ECANCELED}
    bench.settle()


def test_splice_to_a_peer_that_is_gone_fails(bench, pair, pipe):
    left, right = pair
    right.close()
    os.write(pipe[1], b"hello")
    assert bench.do(from_pipe(pipe, left, 5)) == -errno.EPIPE


def test_splice_of_what_splices_not_is_refused(bench, pipe):
    fd = os.open("/proc/self/environ", os.O_RDONLY)
    try:
        assert bench.do(Splice(fd, pipe[1], 100, offset=0)) == -errno.EINVAL
    finally:
        os.close(fd)


# SendFile.


@pytest.fixture(params=["kernel's pipe", "pipe of ours"])
def through(request, pipe, open_bench):  # noqa: ARG001  # likewise
    """What a file is sent through; empty before and after each time."""
    if request.param == "kernel's pipe":
        yield None
        return
    reader, writer = pipe
    null = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
    yield reader, writer, null
    os.close(null)
    with pytest.raises(BlockingIOError):
        os.read(reader, 1)


def test_send_file_sends_from_the_offset(bench, pair, file, through):
    left, right = pair
    assert bench.do(SendFile(left, file, 300, 100, through)) == 100
    assert right.recv(1000) == DATA[300:400]
    assert bench.do(SendFile(left, file, len(DATA), 100, through)) == 0


def test_send_file_waits_for_room(bench, pair, file, through):
    left, right = pair
    fill(left)
    op = bench.submit(SendFile(left, file, 0, 100, through))
    bench.settle()
    drain(right)
    assert bench.finish(op) == [100]
    assert right.recv(1000) == DATA[:100]


def test_send_file_sends_as_much_as_there_is_room_for(bench, pair, file, through):
    left, right = pair
    content = DATA * 100
    os.pwrite(file, content, 0)
    counts, received = [], bytearray()
    while len(received) < len(content):
        counts.append(bench.do(SendFile(left, file, len(received), len(content), through)))
        received += right.recv(len(content))
    assert received == content
    # Else the socket was never full.
    assert len(counts) > 1


def test_send_file_to_a_peer_that_is_gone_fails(bench, pair, file, through):
    left, right = pair
    right.close()
    assert bench.do(SendFile(left, file, 0, 100, through)) == -errno.EPIPE


def test_send_file_of_what_cannot_be_read_fails(bench, pair, file, through):
    left, _right = pair
    write_only = os.open(f"/proc/self/fd/{file}", os.O_WRONLY)
    try:
        assert bench.do(SendFile(left, write_only, 0, 100, through)) == -errno.EBADF
    finally:
        os.close(write_only)


def test_send_file_takes_no_more_than_its_limit(bench, pair, file):
    left, right = pair
    os.truncate(file, 4 * SEND_FILE_BYTES)
    assert 0 < bench.do(SendFile(left, file, 0, 4 * SEND_FILE_BYTES)) <= SEND_FILE_BYTES
    drain(right)


def test_cancelled_send_file_sends_nothing(bench, pair, file, through):
    left, right = pair
    fill(left)
    op = bench.submit(SendFile(left, file, 0, 100, through))
    bench.settle()
    bench.cancel(op)
    assert bench.finish(op) == [ECANCELED]
    drain(right)
    left.close()
    assert right.recv(1) == b""


# SendZC.


def settle_notifications(bench, right):
    """Receive all, which makes the kernel let go of the data."""
    data = bytearray()
    for _ in range(1000):
        with contextlib.suppress(BlockingIOError):
            data += right.recv(1 << 20)
        if not bench.in_flight():
            return bytes(data)
        assert bench.wait(0.01) == []
    raise AssertionError(f"no notification: {bench.in_flight()}")


@pytest.mark.parametrize("make", [bytes, memoryview, bytearray])
def test_zero_copy_send_over_tcp_completes_once(bench, pairs, make):
    left, right = pairs(socket.AF_INET)
    op = bench.submit(SendZC(left, make(DATA)))
    assert bench.finish(op) == [len(DATA)]
    assert settle_notifications(bench, right) == DATA
    bench.settle()
    assert bench.completions[id(op)] == 1


def test_zero_copy_send_keeps_its_data_until_the_kernel_lets_go(bench, pairs):
    left, right = pairs(socket.AF_INET)
    data = bytearray(DATA)
    assert bench.do(SendZC(left, data)) == len(DATA)
    if bench.in_flight():
        assert bench.in_flight() == {"Notification": 1}
        # It cannot move, as nobody must take the memory away.
        with pytest.raises(BufferError):
            data.append(0)
    settle_notifications(bench, right)
    data.append(0)


def test_cancelled_zero_copy_send_counts_what_went_out(bench, pairs):
    left, right = pairs(socket.AF_INET)
    data = bytes(1 << 24)
    op = bench.submit(SendZC(left, data, socket.MSG_WAITALL | socket.MSG_NOSIGNAL))
    bench.settle()
    bench.cancel(op)
    (res,) = bench.finish(op)
    assert 0 < res < len(data)
    left.close()
    right.setblocking(True)
    assert sum(map(len, iter(lambda: right.recv(1 << 20), b""))) == res
    settle_notifications(bench, right)


def test_cancelled_zero_copy_send_without_room_sent_nothing(bench, pairs):
    left, right = pairs(socket.AF_INET)
    fill(left)
    op = bench.submit(SendZC(left, DATA))
    bench.settle()
    bench.cancel(op)
    assert bench.finish(op) == [ECANCELED]
    settle_notifications(bench, right)


def test_zero_copy_send_through_a_unix_socket_is_refused_or_done(bench, pair):
    """The refusal too comes with a notification."""
    left, right = pair
    res = bench.do(SendZC(left, DATA))
    assert res in {len(DATA), -errno.EOPNOTSUPP}
    data = settle_notifications(bench, right)
    assert data == (DATA if res > 0 else b"")


def test_zero_copy_send_to_a_peer_that_is_gone_fails(bench, pairs):
    left, right = pairs(socket.AF_INET)
    left.shutdown(socket.SHUT_WR)
    assert bench.do(SendZC(left, DATA)) == -errno.EPIPE
    settle_notifications(bench, right)


def test_close_with_a_notification_to_come_does_not_wait_for_it_in_vain(bench, pairs):
    left, right = pairs(socket.AF_INET)
    assert bench.do(SendZC(left, DATA)) == len(DATA)
    left.close()
    right.close()
    bench.close()


# The data of any send.


@pytest.mark.parametrize("kind", [Send, SendZC])
def test_data_is_pinned_once_more_when_the_queue_was_full(open_bench, pairs, kind):
    """What had been pinned was pinned again, which failed for all but bytes."""
    bench = open_bench(entries=1, cq_entries=64)
    some = [pairs(socket.AF_INET) for _ in range(8)]
    ops = [bench.submit(kind(left, bytearray(DATA))) for left, _ in some]
    assert bench.finish(*ops) == [len(DATA)] * 8
    for _, right in some:
        assert right.recv(len(DATA), socket.MSG_WAITALL)[:256] == DATA[:256]
    settle_notifications(bench, some[0][1])
