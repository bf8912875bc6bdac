"""A bench on which a driver carries out ops without the scheduler."""

import collections
import os
import socket
import time

import pytest

import uringtrio
from uringtrio._drivers.driver import ENVIRONMENT, SYSTEMS, choose_driver

# A completion that takes longer never comes, however busy the machine is.
LIMIT_SECONDS = 40.0
# Longer than any close that needs not wait.
CLOSE_SECONDS_MAX = 10.0


class Stop:
    """An interruption, as the scheduler sets one before it cancels an op."""

    def __init__(self):
        self.ended_count = 0

    def exception(self):
        return RuntimeError("stopped by the test")

    def ended(self):
        self.ended_count += 1


class Bench:
    """Submits to a driver as the run loop does, and counts the completions of each op.

    Attributes:
        ids: the id of each submission, in order.
        completions: how often each op, by its identity, has completed.
    """

    def __init__(self, driver):
        self.driver = driver
        self.ids = []
        self.completions = collections.Counter()
        self._ops = []
        self._is_closed = False

    def submit(self, op):
        op.interruption = None
        self.driver.submit(op)
        self.ids.append(op.id)
        self._ops.append(op)  # So that no identity is used twice.
        return op

    def cancel(self, op):
        op.interruption = Stop()
        self.driver.cancel(op)

    def wait(self, seconds=0.0):
        done = list(self.driver.wait(round(seconds * 1e9)))
        self.completions.update(id(op) for op in done)
        return done

    def finish(self, *ops):
        """Wait until each of `ops` has completed, once; return their `res`."""
        end = time.monotonic() + LIMIT_SECONDS
        pending = {id(op) for op in ops if not self.completions[id(op)]}
        while pending:
            assert time.monotonic() < end, f"not completed: {self.in_flight()}"
            pending.difference_update(id(op) for op in self.wait(1.0))
        assert all(self.completions[id(op)] == 1 for op in ops)
        return [op.res for op in ops]

    def cancel_and_finish(self, op):
        """Cancel an op that waits, which completes once; return its `res`."""
        self.settle()
        self.cancel(op)
        (res,) = self.finish(op)
        self.settle()
        return res

    def do(self, op):
        """Carry out one op; return its `res`."""
        return self.finish(self.submit(op))[0]

    def settle(self):
        """Let everything come that is still to come: it must be nothing."""
        for _ in range(3):
            assert self.wait(0) == []
        assert self.wait(0.001) == []

    def submitted(self):
        return list(self._ops)

    def forget(self):
        """Let go of the ops that were submitted."""
        self._ops.clear()

    def close(self):
        """Close the driver, once; that must not take long."""
        if self._is_closed:
            return
        self._is_closed = True
        start = time.monotonic()
        self.driver.close()
        assert time.monotonic() - start < CLOSE_SECONDS_MAX, "close had to wait"

    def in_flight(self):
        return self.driver.statistics().in_flight


# The suite runs once for each driver: then each time for the one that the environment names.
WANTED = os.environ.get(ENVIRONMENT)


@pytest.fixture(params=[WANTED] if WANTED in SYSTEMS else SYSTEMS)
def driver_name(request):
    """The name of each driver that can be had here and is asked for."""
    report = uringtrio.probe()
    if request.param == "io_uring" and not report.available:
        pytest.skip(report.reason)
    return request.param


@pytest.fixture
def open_bench(driver_name, pairs, listener):  # noqa: ARG001  # closed after the drivers
    """Return a function that opens a bench with the given RingOptions."""
    benches = []

    def open_one(**options):
        benches.append(Bench(choose_driver(driver_name, uringtrio.RingOptions(**options))))
        return benches[-1]

    yield open_one
    for bench in benches:
        bench.close()


@pytest.fixture
def bench(open_bench):
    """A bench with the default options."""
    return open_bench()


@pytest.fixture
def pairs():
    """Return a function that makes connected non-blocking sockets."""
    made = []

    def make(family=socket.AF_UNIX, kind=socket.SOCK_STREAM):
        if family == socket.AF_UNIX:
            left, right = socket.socketpair(family, kind)
        else:
            with socket.create_server(("127.0.0.1", 0)) as listener:
                left = socket.create_connection(listener.getsockname())
                right, _ = listener.accept()
        for sock in (left, right):
            sock.setblocking(False)
            made.append(sock)
        return left, right

    yield make
    for sock in made:
        sock.close()


@pytest.fixture
def pair(pairs):
    """Two connected stream sockets."""
    return pairs()


@pytest.fixture
def listener():
    """A listening TCP socket on the loopback."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        sock.setblocking(False)
        yield sock
