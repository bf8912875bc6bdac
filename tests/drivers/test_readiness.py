"""What the drivers by readiness make of descriptors that close, are shared, or are no sockets."""

import errno
import importlib
import os
import select
import socket

import pytest

from uringtrio._drivers import readiness
from uringtrio._drivers.driver import SYSTEMS
from uringtrio._ops.file import Read
from uringtrio._ops.net import Poll, Recv, Send
from uringtrio._ops.op import POLLIN, POLLOUT

from .traffic import drain, fill


@pytest.fixture(params=[name for name in SYSTEMS if name != "io_uring"])
def driver_name(request):
    return request.param


# Descriptors that are closed behind the driver's back.


def test_cancel_after_the_descriptor_was_closed_completes(bench, pair):
    """The error of epoll_ctl ended the run, and the op was lost."""
    left, _ = pair
    op = bench.submit(Recv(left, 10))
    bench.settle()
    os.close(left.detach())
    bench.cancel(op)

    assert bench.finish(op) == [-errno.ECANCELED]
    bench.settle()


def test_close_of_the_driver_after_the_descriptor_was_closed(open_bench, pair):
    bench = open_bench()
    left, _ = pair
    fill(left)
    ops = [bench.submit(Recv(left, 10)), bench.submit(Send(left, b"x"))]
    os.close(left.detach())
    bench.close()

    assert all(op.res < 0 for op in ops)


def test_number_used_again_after_close_is_armed_anew(bench, pairs):
    left, right = pairs()
    fd = left.fileno()
    right.send(b"x")
    bench.do(Recv(left, 10))
    bench.do(Poll(fd, POLLOUT))
    left.close()
    again, peer = pairs()
    if again.fileno() != fd:
        os.dup2(again.fileno(), fd)
        again.close()
        again = socket.socket(fileno=fd)
    op = bench.submit(Recv(again, 10))
    bench.settle()
    peer.send(b"hello")

    assert bench.finish(op) == [5]
    again.close()


def test_number_used_again_after_a_cancelled_wait_is_armed_anew(bench, pairs):
    left, right = pairs()
    fd = left.fileno()
    op = bench.submit(Recv(left, 10))
    bench.settle()
    bench.cancel(op)
    bench.finish(op)
    again, peer = pairs()
    os.close(left.detach())
    right.close()
    os.dup2(again.fileno(), fd)
    with socket.socket(fileno=fd) as new:
        waiting = bench.submit(Recv(new, 10))
        bench.settle()
        peer.send(b"hello")
        assert bench.finish(waiting) == [5]


def test_old_file_under_a_reused_number_does_not_wake_the_new_one(bench, pairs):
    """A copy keeps the old file in an epoll set, under the number that is another's now."""
    left, right = pairs()
    copy = left.dup()
    op = bench.submit(Recv(left, 10))
    bench.settle()
    bench.cancel(op)
    bench.finish(op)
    fd = left.detach()
    again, peer = pairs()
    os.dup2(again.fileno(), fd)
    with socket.socket(fileno=fd) as new:
        waiting = bench.submit(Recv(new, 100))
        bench.settle()
        right.send(b"for the old one")
        bench.settle()
        assert bench.in_flight() == {"Recv": 1}
        peer.send(b"for the new one")
        assert bench.finish(waiting) == [15]
        assert waiting.value == b"for the new one"
    copy.close()


def test_closed_descriptor_is_an_error_of_the_op(bench):
    assert bench.do(Poll(10_000, POLLIN)) in {-errno.EBADF, select.POLLNVAL}


# Who waits, and for what.


def test_two_sockets_on_one_file(bench, pair):
    left, right = pair
    with left.dup() as copy:
        ops = [bench.submit(Poll(sock.fileno(), POLLIN)) for sock in (left, copy)]
        bench.settle()
        right.send(b"x")

        assert all(res & POLLIN for res in bench.finish(*ops))


def test_ops_in_one_direction_are_served_in_order(bench, pair):
    left, right = pair
    first, second = bench.submit(Recv(left, 1)), bench.submit(Recv(left, 1))
    bench.settle()
    right.send(b"ab")
    bench.finish(first, second)

    assert (first.value, second.value) == (b"a", b"b")


def test_both_directions_are_reported_in_one_wait(bench, pair):
    left, right = pair
    fill(left)
    receive = bench.submit(Recv(left, 10))
    send = bench.submit(Send(left, b"x"))
    bench.settle()
    right.send(b"hello")
    drain(right)
    bench.finish(receive, send)

    assert receive.res == 5
    assert send.res == 1


def test_one_direction_is_ready_and_the_other_still_waits(bench, pair):
    left, right = pair
    fill(left)
    receive = bench.submit(Recv(left, 10))
    send = bench.submit(Send(left, b"x"))
    right.send(b"hello")
    bench.finish(receive)
    bench.settle()
    assert bench.in_flight() == {"Send": 1}

    right.close()
    assert bench.finish(send) == [-errno.EPIPE]


def test_hang_up_ends_both_directions(bench, pair):
    left, right = pair
    fill(left)
    receive = bench.submit(Recv(left, 10))
    send = bench.submit(Send(left, b"x"))
    bench.settle()
    right.close()

    results = bench.finish(receive, send)
    assert results[0] in (0, -errno.ECONNRESET)
    assert results[1] in (-errno.EPIPE, -errno.ECONNRESET)


def test_data_before_the_end_of_the_stream_comes_before_it(bench, pair):
    """A kqueue sets EV_EOF while there is data left: it is no reason to stop."""
    left, right = pair
    right.send(b"last words")
    right.close()

    assert bench.do(Recv(left, 4)) == 4
    assert bench.do(Recv(left, 100)) == 6
    assert bench.do(Recv(left, 100)) == 0


def test_more_ready_descriptors_than_one_wait_takes(bench, driver_name, pairs):
    events_max = importlib.import_module(f"uringtrio._drivers.{driver_name}").EVENTS_MAX
    ops = []
    for _ in range(events_max + 50):
        left, right = pairs()
        ops.append(bench.submit(Poll(left.fileno(), POLLIN)))
        ops.append(bench.submit(Poll(left.fileno(), POLLOUT)))
        right.send(b"x")

    assert all(res & (POLLIN | POLLOUT) for res in bench.finish(*ops))


# What has no readiness.


def test_file_goes_to_a_thread(bench, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"data")
    fd = os.open(path, os.O_RDONLY)
    buffer = bytearray(4)
    op = bench.submit(Read(fd, buffer, 0))
    assert bench.in_flight() == {"Read": 1}

    assert bench.finish(op) == [4]
    os.close(fd)


def test_no_thread_to_be_had_leaves_nothing_in_flight(bench, tmp_path, monkeypatch):
    """The op stayed in the table of the threads, and closing waited for it for ever."""

    def refuse(*_args):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(readiness, "start_thread_soon", refuse)
    fd = os.open(tmp_path, os.O_RDONLY)
    op = Read(fd, bytearray(4), 0)
    try:
        bench.driver.submit(op)
    except (RuntimeError, OSError):
        pass
    else:
        assert bench.finish(op)[0] < 0
    os.close(fd)

    assert bench.in_flight() == {}


def test_error_of_any_kind_in_a_thread_completes_the_op(bench, tmp_path):
    fd = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    op = bench.submit(Read(fd, b"immutable", 0))

    assert bench.finish(op)[0] < 0
    os.close(fd)
