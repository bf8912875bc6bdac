"""What the io_uring driver promises of multishot receives, asked of a real kernel."""

import errno
import socket
import sys
import time

import pytest

import uringtrio
from uringtrio._drivers.driver import choose_driver
from uringtrio._ops.net import Recv
from uringtrio._ops.receive_ahead import AHEAD_BYTES_MAX, RecvMultishot

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or not uringtrio.probe().available, reason="it is about io_uring"
)
SECOND_NS = 1_000_000_000


class Runner:
    """What a `RecvMultishot` knows of its run."""

    def __init__(self, driver):
        self.driver = driver
        self.runq = []


class Armed:
    """A receive in flight without a run: nobody waits for it."""

    def __init__(self, options):
        self.driver = choose_driver("io_uring", options)
        listener = socket.create_server(("127.0.0.1", 0))
        self.peer = socket.create_connection(listener.getsockname())
        self.sock, _ = listener.accept()
        listener.close()
        self.op = RecvMultishot(self.sock, 100)
        self.op.runner = Runner(self.driver)
        self.driver.submit(self.op)

    def wait_until(self, is_done):
        give_up = time.monotonic() + 10
        while not is_done():
            assert time.monotonic() < give_up
            assert self.driver.wait(SECOND_NS // 100) in ([], ())

    def close(self):
        self.driver.close()
        self.peer.close()
        self.sock.close()


@pytest.fixture
def armed(request):
    armed = Armed(getattr(request, "param", None))
    if not armed.driver.has_multishot:
        armed.close()
        pytest.skip("this kernel has no deferred task work")
    armed.driver.wait(0)
    if not armed.driver.has_multishot:
        armed.close()
        pytest.skip("this kernel has no limit to a multishot receive")
    yield armed
    armed.close()


def test_one_submission_receives_many_times(armed):
    sqes = armed.driver.statistics().sqes
    for count in range(1, 6):
        armed.peer.sendall(b"x")
        armed.wait_until(lambda count=count: len(armed.op.ahead) == count)
    assert armed.op.id
    assert armed.driver.statistics().sqes == sqes
    assert armed.driver.statistics().in_flight == {"RecvMultishot": 1}


def test_what_one_submission_receives_is_limited(armed):
    armed.peer.setblocking(False)
    sent = armed.peer.send(b"x" * 2**22)
    armed.wait_until(lambda: not armed.op.id)
    assert AHEAD_BYTES_MAX <= len(armed.op.ahead) < AHEAD_BYTES_MAX + 65536
    assert sent > len(armed.op.ahead)
    assert armed.driver.statistics().in_flight == {}


def test_end_of_stream_and_error_end_it(armed):
    armed.peer.sendall(b"data")
    armed.peer.close()
    armed.wait_until(lambda: not armed.op.id)
    assert (armed.op.ahead, armed.op.error) == (b"data", 0)


def test_error_is_remembered(armed):
    armed.peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    armed.peer.close()
    armed.wait_until(lambda: not armed.op.id)
    assert armed.op.error == errno.ECONNRESET


def test_end_returns_when_the_kernel_is_done_and_takes_nothing_on_the_way(armed):
    for _ in range(100):
        armed.peer.sendall(b"data")
        armed.driver.end(armed.op)
        assert armed.op.id == 0
        assert armed.op.ahead == b""
        assert armed.sock.recv(100) == b"data"
        armed.driver.submit(armed.op)
        armed.driver.wait(0)


def test_end_keeps_what_else_completes_for_the_next_wait(armed):
    left, right = socket.socketpair()
    with left, right:
        other = Recv(right, 10)
        armed.driver.submit(other)
        left.send(b"data")
        armed.driver.end(armed.op)
        start = time.monotonic()
        done = []
        while not done:
            done += armed.driver.wait(10 * SECOND_NS)
        assert done == [other]
        assert other.value == b"data"
        assert time.monotonic() - start < 5


def test_end_swallows_no_wake(armed):
    armed.driver.wake()
    armed.driver.end(armed.op)
    start = time.monotonic()
    armed.driver.wait(10 * SECOND_NS)
    assert time.monotonic() - start < 5


@pytest.mark.parametrize(
    "armed", [uringtrio.RingOptions(buffer_count=2, buffer_size=4)], indirect=True
)
def test_no_buffer_left_ends_it_without_losing_anything(armed):
    """It does not start again by itself, since nobody waits."""
    armed.peer.sendall(b"0123456789")
    armed.wait_until(lambda: not armed.op.id)
    assert armed.op.ahead == b"01234567"
    assert armed.op.error == 0
    armed.driver.submit(armed.op)
    armed.wait_until(lambda: len(armed.op.ahead) == 10)


def test_closing_the_driver_ends_it():
    armed = Armed(None)
    armed.close()
    assert armed.op.id == 0


@pytest.mark.parametrize(
    "options", [uringtrio.RingOptions(sqpoll=True), uringtrio.RingOptions(buffer_count=0)]
)
def test_rings_that_cannot_have_it_say_so(options):
    try:
        driver = choose_driver("io_uring", options)
    except uringtrio.DriverUnavailableError:
        pytest.skip("not allowed here")
    try:
        assert not driver.has_multishot
    finally:
        driver.close()


def test_kernel_that_refuses_it_gets_single_receives(run):
    async def main():
        driver = uringtrio.lowlevel.current_task()._runner.driver
        ring = driver._ring
        if not driver.has_multishot:
            return
        refused = []

        def refuse(op_id, fd, _total_max):
            refused.append(op_id)
            # On a connected socket this is EINVAL.
            return ring.accept(op_id, fd, ring.null(), ring.null(), 0)

        ring.recv_multishot = refuse
        (listener,) = await uringtrio.open_tcp_listeners(0, host="127.0.0.1")
        async with listener:
            address = listener.socket.getsockname()
            for _ in range(2):
                async with await uringtrio.open_tcp_stream(*address) as client:
                    async with await listener.accept() as server:
                        for _ in range(4):
                            await server.send_all(b"data")
                            assert await client.receive_some() == b"data"
        assert len(refused) == 1
        assert not driver.has_multishot

    run(main, driver="io_uring")
