"""What every driver promises about each op that moves data: its success, errors, cancellation.

Messages are in test_conformance_messages.py, connections in test_conformance_connections.py,
files in test_conformance_files.py.
"""

import errno
import os
import socket
import struct

import pytest

from uringtrio._ops.net import Recv, RecvInto, Send

from .traffic import drain, fill

ECANCELED = -errno.ECANCELED
SEND_ALL = socket.MSG_WAITALL | socket.MSG_NOSIGNAL


def reset(sock):
    """Close with a reset instead of an orderly end."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


# Recv.


def test_recv_waits_for_data(bench, pair):
    left, right = pair
    op = bench.submit(Recv(left, 100))
    bench.settle()
    right.send(b"hello")

    assert bench.finish(op) == [5]
    assert op.value == b"hello"
    assert type(op.value) is bytes


def test_recv_takes_at_most_its_size_and_leaves_the_rest(bench, pair):
    left, right = pair
    right.send(b"hello world")
    op = Recv(left, 5)

    assert bench.do(op) == 5
    assert op.value == b"hello"
    assert left.recv(100) == b" world"


def test_recv_at_the_end_of_the_stream_is_empty(bench, pair):
    left, right = pair
    right.shutdown(socket.SHUT_WR)
    op = Recv(left, 100)

    assert bench.do(op) == 0
    assert op.value == b""


def test_recv_object_serves_again_after_each_kind_of_end(bench, pair):
    left, right = pair
    op = Recv(left, 100)
    for message in (b"one", b"three", b"x" * 100):
        right.send(message)
        bench.do(op)
        assert op.value == message
        bench.completions.clear()
    bench.submit(op)
    assert bench.cancel_and_finish(op) == ECANCELED
    bench.completions.clear()
    right.send(b"after")
    bench.do(op)
    assert op.value == b"after"
    bench.completions.clear()
    right.shutdown(socket.SHUT_WR)
    assert bench.do(op) == 0
    assert op.value == b""


def test_recv_into_with_peek_leaves_the_data(bench, pair):
    left, right = pair
    right.send(b"hello")
    buffer = bytearray(100)

    assert bench.do(RecvInto(left, memoryview(buffer), socket.MSG_PEEK)) == 5
    assert buffer[:5] == b"hello"
    assert left.recv(100) == b"hello"


def test_recv_into_with_waitall_waits_for_all(bench, pair):
    left, right = pair
    buffer = bytearray(6)
    op = bench.submit(RecvInto(left, memoryview(buffer), socket.MSG_WAITALL))
    right.send(b"abc")
    bench.settle()
    right.send(b"def")

    assert bench.finish(op) == [6]
    assert buffer == b"abcdef"


def test_recv_into_with_waitall_takes_less_at_the_end_of_the_stream(bench, pair):
    left, right = pair
    right.send(b"abc")
    right.shutdown(socket.SHUT_WR)

    assert bench.do(RecvInto(left, memoryview(bytearray(6)), socket.MSG_WAITALL)) == 3


def test_cancelled_waitall_loses_nothing(bench, pair):
    left, right = pair
    buffer = bytearray(6)
    op = bench.submit(RecvInto(left, memoryview(buffer), socket.MSG_WAITALL))
    bench.settle()
    right.send(b"abc")
    bench.settle()
    bench.cancel(op)
    (res,) = bench.finish(op)

    assert bytes(buffer[: max(res, 0)]) + drain(left) == b"abc"


def test_recv_into_with_dontwait_waits_all_the_same(bench, pair):
    left, right = pair
    buffer = bytearray(6)
    op = bench.submit(RecvInto(left, memoryview(buffer), socket.MSG_DONTWAIT))
    bench.settle()
    right.send(b"abc")

    assert bench.finish(op) == [3]
    assert buffer[:3] == b"abc"


def test_recv_of_a_reset_connection_fails(bench, pairs):
    left, right = pairs(socket.AF_INET)
    op = bench.submit(Recv(left, 10))
    bench.settle()
    reset(right)

    assert bench.finish(op) == [-errno.ECONNRESET]


def test_datagram_is_received_whole_or_cut(bench, pairs):
    left, right = pairs(kind=socket.SOCK_DGRAM)
    right.send(b"x" * 70_000)
    right.send(b"second")
    whole, cut = bytearray(80_000), bytearray(3)

    assert bench.do(RecvInto(left, memoryview(whole), 0)) == 70_000
    assert whole[:70_001] == b"x" * 70_000 + b"\0"
    assert bench.do(RecvInto(left, memoryview(cut), 0)) == 3
    assert cut == b"sec"
    assert drain(left) == b""


def test_recv_without_provided_buffers(open_bench, pair):
    bench = open_bench(buffer_count=0)
    left, right = pair
    op = bench.submit(Recv(left, 100))
    bench.settle()
    right.send(b"hello")
    bench.finish(op)
    assert op.value == b"hello"

    bench.completions.clear()
    bench.submit(op)
    assert bench.cancel_and_finish(op) == ECANCELED


def test_recv_into_fills_the_front_of_the_buffer(bench, pair):
    left, right = pair
    buffer = bytearray(b"........")
    op = bench.submit(RecvInto(left, memoryview(buffer)[:5], 0))
    bench.settle()
    right.send(b"hello world")

    assert bench.finish(op) == [5]
    assert op.value == 5
    assert buffer == b"hello..."


def test_recv_into_keeps_the_buffer_in_place_until_it_completes(bench, pair):
    left, _ = pair
    buffer = bytearray(8)
    op = bench.submit(RecvInto(left, memoryview(buffer), 0))
    if bench.driver.name == "io_uring":
        with pytest.raises(BufferError):
            buffer.clear()

    assert bench.cancel_and_finish(op) == ECANCELED
    del op
    bench.forget()
    buffer.clear()


# Send.


def test_send_returns_what_the_kernel_took(bench, pair):
    left, right = pair
    for data in (b"bytes", bytearray(b"bytearray"), memoryview(b"view")):
        op = Send(left, data)
        assert bench.do(op) == len(data)
        assert op.value == len(data)
        assert right.recv(100) == bytes(data)


def test_send_waits_for_room(bench, pair):
    left, right = pair
    before = fill(left)
    op = bench.submit(Send(left, b"more"))
    bench.settle()

    assert len(drain(right)) == before
    assert bench.finish(op) == [4]
    assert drain(right) == b"more"


def test_send_with_dontwait_waits_all_the_same(bench, pair):
    left, right = pair
    before = fill(left)
    op = bench.submit(Send(left, b"more", socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL))
    bench.settle()

    assert len(drain(right)) == before
    assert bench.finish(op) == [4]
    assert drain(right) == b"more"


def test_send_to_who_is_gone_is_an_error_without_a_signal(bench, pair):
    left, right = pair
    right.close()

    assert bench.do(Send(left, b"x")) == -errno.EPIPE


def test_cancelled_send_sent_nothing(bench, pair):
    left, right = pair
    before = fill(left)
    op = bench.submit(Send(left, b"more"))

    assert bench.cancel_and_finish(op) == ECANCELED
    assert len(drain(right)) == before


def test_send_all_completes_when_the_last_byte_is_out(bench, pair):
    left, right = pair
    data = os.urandom(3_000_000)
    op = bench.submit(Send(left, data, SEND_ALL))
    received = bytearray()
    while not bench.completions[id(op)]:
        bench.wait(0.001)
        received += drain(right)
    received += drain(right)

    assert op.res == op.value == len(data)
    assert received == data


def test_cancelled_send_all_reports_exactly_what_was_sent(bench, pair):
    left, right = pair
    data = os.urandom(3_000_000)
    op = bench.submit(Send(left, data, SEND_ALL))
    bench.settle()
    received = drain(right)
    bench.wait(0.01)
    bench.cancel(op)
    (sent,) = bench.finish(op)
    received += drain(right)

    assert 0 < sent < len(data)
    assert received == data[:sent]
    bench.settle()


def test_cancelled_send_all_without_progress_is_ecanceled(bench, pair):
    left, right = pair
    before = fill(left)
    op = bench.submit(Send(left, bytes(3_000_000), SEND_ALL))

    assert bench.cancel_and_finish(op) == ECANCELED
    assert len(drain(right)) == before
