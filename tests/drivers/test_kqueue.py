"""What the kqueue driver makes of filters, of closed descriptors, and of an end of stream."""

import errno
import os
import select
import socket
import subprocess
import sys

import pytest

from uringtrio._drivers import kqueue as kqueue_module
from uringtrio._ops.net import Poll, Recv, Send
from uringtrio._ops.op import POLLIN, POLLOUT


@pytest.fixture(params=["kqueue"])
def driver_name(request):
    return request.param


def fill(sock):
    while True:
        try:
            sock.send(bytes(65536))
        except BlockingIOError:
            return


def test_cancel_after_the_descriptor_was_closed_completes(bench, pair):
    left, _ = pair
    op = bench.submit(Recv(left, 10))
    bench.settle()
    os.close(left.detach())
    bench.cancel(op)

    assert bench.finish(op) == [-errno.ECANCELED]
    bench.settle()


def test_filter_of_a_cancelled_op_reports_to_nobody_and_once(bench, pair):
    left, right = pair
    op = bench.submit(Recv(left, 10))
    bench.settle()
    bench.cancel(op)
    bench.finish(op)
    right.send(b"x")
    bench.settle()

    assert bench.driver._kqueue.control(None, 10, 0) == []
    assert bench.do(Recv(left, 10)) == 1


def test_number_used_again_after_close_is_armed_anew(bench, pairs):
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


def test_both_directions_are_reported_in_one_wait(bench, pair):
    left, right = pair
    fill(left)
    receive = bench.submit(Recv(left, 10))
    send = bench.submit(Send(left, b"x"))
    bench.settle()
    right.send(b"hello")
    while len(right.recv(1 << 20)) == 1 << 20:
        pass
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


def test_data_before_the_end_of_the_stream_comes_before_it(bench, pair):
    """EV_EOF is set while there is data left: it is no reason to stop."""
    left, right = pair
    right.send(b"last words")
    right.close()

    assert bench.do(Recv(left, 4)) == 4
    assert bench.do(Recv(left, 100)) == 6
    assert bench.do(Recv(left, 100)) == 0


def test_closed_descriptor_is_an_error_of_the_op(bench):
    assert bench.do(Poll(10_000, POLLIN)) in {-errno.EBADF, select.POLLNVAL}


def test_more_ready_descriptors_than_one_wait_takes(bench, pairs):
    ops = []
    for _ in range(kqueue_module.EVENTS_MAX + 50):
        left, right = pairs()
        ops.append(bench.submit(Poll(left.fileno(), POLLIN)))
        ops.append(bench.submit(Poll(left.fileno(), POLLOUT)))
        right.send(b"x")

    assert all(res & (POLLIN | POLLOUT) for res in bench.finish(*ops))


@pytest.mark.skipif(hasattr(select, "kqueue"), reason="this system has kqueue")
def test_system_without_kqueue_is_told_who_has_it():
    program = "import uringtrio\nasync def f(): pass\nuringtrio.run(f, driver='kqueue')"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )

    assert "driver 'kqueue' is not available: kqueue exists on the BSDs and macOS only" in (
        done.stderr
    )
