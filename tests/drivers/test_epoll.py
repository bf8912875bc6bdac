"""What the epoll driver makes of a copy of a descriptor, which keeps a file in its epoll set."""

import os

import pytest

epoll = pytest.importorskip("uringtrio._drivers.epoll")

from uringtrio._ops.net import Recv, Send  # noqa: E402  # after the skip

from .traffic import fill  # noqa: E402  # after the skip


@pytest.fixture(params=["epoll"])
def driver_name(request):
    return request.param


def test_both_directions_end_when_a_closed_descriptor_lives_on_in_a_copy(bench, pair):
    """epoll still reports the number for the copy; arming it again fails with EBADF."""
    left, right = pair
    fill(left)
    copy = left.dup()
    receive = bench.submit(Recv(left, 10))
    send = bench.submit(Send(left, b"x"))
    bench.settle()
    os.close(left.detach())
    right.send(b"hello")
    bench.finish(receive)
    if not bench.completions[id(send)]:
        bench.cancel(send)
    (res,) = bench.finish(send)
    copy.close()

    assert receive.res < 0
    assert res < 0
    bench.settle()
