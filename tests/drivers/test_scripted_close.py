"""Both orders of every completion and close: who gets what, and that the descriptor goes once."""

import errno
import gc
import os
import random
import socket as stdlib

import pytest

import uringtrio
from uringtrio import lowlevel, socket
from uringtrio._drivers.scripted import ScriptedDriver
from uringtrio._ops.net import Accept


def is_open(fd):
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


class Closing:
    """One socket with a receive and, if asked for, a send in flight; the script closes it.

    Attributes:
        results: what each task got, by its name: a value, or the type of an exception.
    """

    def __init__(self, *names):
        self.driver = ScriptedDriver(cancels_complete=False)
        self.results = {}
        self.sock = None
        self.fd = -1
        self.scope = uringtrio.CancelScope()
        self._names = names

    def close(self):
        self.sock.close()

    def cancel(self):
        self.scope.cancel()

    def complete(self, kind, res, data=None):
        (op,) = self.driver.find(kind)
        self.driver.complete(op, res, data)

    def run(self, *steps):
        for step in steps:
            self.driver.at_wait(lambda _driver, step=step: step())
        uringtrio.run(self._main, driver=self.driver)
        assert self.driver.in_flight == {}
        assert not is_open(self.fd)

    async def _main(self):
        self.sock, peer = socket.socketpair()
        self.fd = self.sock.fileno()
        with peer, self.scope:
            async with uringtrio.open_nursery() as nursery:
                for name in self._names:
                    nursery.start_soon(self._keep_result, name)

    async def _keep_result(self, name):
        try:
            self.results[name] = await (
                self.sock.recv(100) if name == "recv" else self.sock.send(b"hello")
            )
        except uringtrio.Cancelled:
            self.results[name] = uringtrio.Cancelled
            raise
        except Exception as exc:  # noqa: BLE001  # kept for the test
            self.results[name] = type(exc)


def test_close_raises_in_the_waiter_and_closes_when_the_kernel_let_go():
    closing = Closing("recv")

    def let_go():
        assert is_open(closing.fd)
        assert closing.results == {}
        closing.complete("Recv", -errno.ECANCELED)

    closing.run(closing.close, let_go)
    assert closing.results == {"recv": uringtrio.ClosedResourceError}


def test_completion_before_the_close_is_delivered():
    closing = Closing("recv")

    def step():
        closing.complete("Recv", 5, b"hello")
        closing.sock.close()

    closing.run(step)
    assert closing.results == {"recv": b"hello"}


def test_result_after_the_close_is_delivered_all_the_same():
    closing = Closing("recv")
    closing.run(closing.close, lambda: closing.complete("Recv", 5, b"hello"))

    assert closing.results == {"recv": b"hello"}


@pytest.mark.parametrize("order", [("Recv", "Send"), ("Send", "Recv")])
def test_last_of_two_completions_closes(order):
    closing = Closing("recv", "send")

    def first():
        closing.complete(order[0], -errno.ECANCELED)

    def second():
        assert is_open(closing.fd)
        assert len(closing.results) == 1
        closing.complete(order[1], -errno.ECANCELED)

    closing.run(closing.close, first, second)
    assert set(closing.results.values()) == {uringtrio.ClosedResourceError}


@pytest.mark.parametrize("order", [("Recv", "Send"), ("Send", "Recv")])
def test_one_completion_before_and_one_after_the_close(order):
    closing = Closing("recv", "send")

    def step():
        closing.complete(order[0], 5, b"hello" if order[0] == "Recv" else None)
        closing.sock.close()

    def let_go():
        assert is_open(closing.fd)
        closing.complete(order[1], -errno.ECANCELED)

    closing.run(step, let_go)
    assert closing.results[order[1].lower()] is uringtrio.ClosedResourceError
    assert closing.results[order[0].lower()] in (b"hello", 5)


def test_close_twice_while_in_flight():
    closing = Closing("recv")

    def step():
        closing.sock.close()
        closing.sock.close()

    closing.run(step, lambda: closing.complete("Recv", -errno.ECANCELED))
    assert closing.results == {"recv": uringtrio.ClosedResourceError}
    assert closing.driver.statistics().cancels == 1


def test_cancel_then_close_is_cancelled_and_closed():
    closing = Closing("recv")
    closing.run(
        closing.cancel,
        closing.close,
        lambda: closing.complete("Recv", -errno.ECANCELED),
    )

    assert closing.results == {"recv": uringtrio.Cancelled}
    assert closing.driver.statistics().cancels == 1


def test_close_then_cancel_closes_once():
    closing = Closing("recv")
    closing.run(
        closing.close,
        closing.cancel,
        lambda: closing.complete("Recv", -errno.ECANCELED),
    )

    assert closing.results["recv"] in (uringtrio.ClosedResourceError, uringtrio.Cancelled)
    assert closing.driver.statistics().cancels == 1


@pytest.mark.parametrize("closer_is_first", [True, False])
def test_close_in_the_turn_of_the_completion(monkeypatch, closer_is_first):
    """The descriptor stayed open for ever: the op was done, but its task had not run yet."""
    monkeypatch.setattr(random, "random", lambda: 0.9)  # No turn is reversed.
    driver = ScriptedDriver()
    got = []

    async def main():
        left, right = socket.socketpair()
        signal_left, signal_right = socket.socketpair()
        fd = left.fileno()

        async def receive():
            got.append(await left.recv(10))

        async def close():
            await signal_left.recv(1)
            left.close()

        tasks = [close, receive] if closer_is_first else [receive, close]
        with right, signal_left, signal_right:
            async with uringtrio.open_nursery() as nursery:
                for task in tasks:
                    nursery.start_soon(task)
            assert not is_open(fd)

    @driver.at_wait
    def step(driver):
        for op in driver.find("Recv"):
            driver.complete(op, 1, b"x")

    uringtrio.run(main, driver=driver)
    assert got == [b"x"]


def test_cancel_of_who_is_done_does_not_reach_the_next_user_of_the_op():
    """Sockets use one op object again: it is the second task's when the first is cancelled."""
    driver = ScriptedDriver()
    got = []

    async def main():
        left, right = socket.socketpair()
        with left, right:
            async with uringtrio.open_nursery() as nursery:
                scope = await nursery.start(first, left)
                got.append(await left.recv(10))
                nursery.start_soon(cancel, scope)
                got.append(await left.recv(10))

    async def first(sock, task_status):
        with uringtrio.CancelScope() as scope:
            got.append(await sock.recv(10))
            task_status.started(scope)
            await uringtrio.sleep_forever()

    async def cancel(scope):
        scope.cancel()

    for data in (b"one", b"two", b"three"):
        driver.at_wait(lambda driver, data=data: driver.complete(*driver.find("Recv"), 3, data))
    uringtrio.run(main, driver=driver)
    assert got == [b"one", b"two", b"three"]
    assert driver.statistics().cancels == 0


def test_accept_against_close_leaves_no_descriptor():
    """The connection that came in spite of the close is handed out, and nothing else is left."""
    driver = ScriptedDriver(cancels_complete=False)
    accepted = []

    def connection_comes(driver):
        left, right = stdlib.socketpair()
        driver.complete(*driver.find("Accept"), left.detach())
        right.close()

    async def main():
        listener, peer = socket.socketpair()
        fd = listener.fileno()
        driver.at_wait(lambda _driver: listener.close())
        driver.at_wait(connection_comes)
        with peer:
            conn, _ = await listener.accept()
            accepted.append(conn.fileno())
            conn.close()
        assert not is_open(fd)

    uringtrio.run(main, driver=driver)
    assert len(accepted) == 1


# The task is destroyed while its op is in flight.


class Destroyed:
    """A task that waits in `start(sock)`, and is destroyed by the first step of the script."""

    def __init__(self, start):
        self.driver = ScriptedDriver(cancels_complete=False)
        self.sock = None
        self._start = start

    def run(self, *steps):
        self.driver.at_wait(self._destroy)
        for step in steps:
            self.driver.at_wait(step)
        self.driver.at_wait(self._end_task)
        with pytest.raises(ExceptionGroup) as caught:
            uringtrio.run(self._main, driver=self.driver)
        assert caught.group_contains(RuntimeError, match="cannot reuse already awaited coroutine")
        assert self.driver.in_flight == {}

    async def _main(self):
        self.sock, peer = socket.socketpair()
        with self.sock, peer:
            async with uringtrio.open_nursery() as nursery:
                nursery.start_soon(self._start, self.sock)
                await lowlevel.checkpoint()
                (self.task,) = nursery.child_tasks

    def _destroy(self, _driver):
        self.task.coro.close()

    def _end_task(self, _driver):
        # So that its nursery hears of it: running it again is an error.
        self.task._runner.runq.append(self.task)


def test_accepted_descriptor_of_a_destroyed_task_is_closed():
    left, right = stdlib.socketpair()
    fd = left.detach()
    destroyed = Destroyed(lambda sock: sock.accept())
    with right:
        destroyed.run(lambda driver: driver.complete(*driver.find("Accept"), fd))

        assert not is_open(fd)
        assert right.recv(1) == b""


def test_data_of_a_destroyed_task_is_dropped_without_an_error():
    destroyed = Destroyed(lambda sock: sock.recv(10))
    destroyed.run(lambda driver: driver.complete(*driver.find("Recv"), 3, b"abc"))


def test_error_of_a_destroyed_task_is_dropped():
    destroyed = Destroyed(lambda sock: sock.recv(10))
    destroyed.run(lambda driver: driver.complete(*driver.find("Recv"), -errno.ECONNRESET))


def test_close_waits_for_the_op_of_a_destroyed_task():
    destroyed = Destroyed(lambda sock: sock.recv(10))
    fds = []

    def close(_driver):
        fds.append(destroyed.sock.fileno())
        destroyed.sock.close()
        assert is_open(fds[0])

    def let_go(driver):
        assert is_open(fds[0])
        driver.complete(*driver.find("Recv"), -errno.ECANCELED)

    destroyed.run(close, let_go)
    assert not is_open(fds[0])


def test_op_of_a_destroyed_task_is_not_used_for_another_receive():
    """It is still in flight: a second submission of the object would give it two ids."""
    destroyed = Destroyed(lambda sock: sock.recv(10))

    def receive_again(driver):
        (old,) = driver.find("Recv")
        try:
            new = destroyed.sock._start_recv(10)
        except uringtrio.BusyResourceError:
            pass
        else:
            assert new is not old
        driver.complete(old, -errno.ECANCELED)

    destroyed.run(receive_again)


# The run itself crashes.


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_crash_of_the_run_closes_the_sockets_of_its_tasks(driver_name, leftovers):
    """What is left of the tasks closes its sockets when it is collected: nothing is in flight."""
    leftovers.allowed = True
    fds = []

    async def main():
        left, right = socket.socketpair()
        fds.extend([left.fileno(), right.fileno()])
        with left, right:
            async with uringtrio.open_nursery() as nursery:
                nursery.start_soon(left.recv, 10)
                nursery.start_soon(right.recv, 10)
                lowlevel.current_trio_token().run_sync_soon(crash)

    def crash():
        raise ValueError("on purpose")

    with pytest.raises(uringtrio.TrioInternalError):
        uringtrio.run(main, driver=driver_name)
    gc.collect()
    assert [fd for fd in fds if is_open(fd)] == []


def test_end_of_the_run_closes_what_was_accepted_for_nobody():
    """A connection that is there when the run is torn down has no taker any more."""
    op = Accept(stdlib.socket())
    left, right = stdlib.socketpair()
    op.res = left.detach()
    op.finish_unclaimed()
    op.sock.close()

    with right:
        assert right.recv(1) == b""
