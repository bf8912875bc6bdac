"""Both orders of a completion and a cancellation, as streams and listeners see them."""

import errno
import os
import socket as stdlib

import pytest

import uringtrio
from uringtrio import lowlevel, socket
from uringtrio._drivers.scripted import ScriptedDriver

DATA = b"hello"


class Sending:
    """A stream with one `send_all` in it, whose ops the script completes.

    Attributes:
        outcome: "returned", or the type of the exception.
        sizes: how many bytes each op was to send.
        sent_bytes: what the stream said at the end.
    """

    def __init__(self, data):
        self.driver = ScriptedDriver(cancels_complete=False)
        self.scope = uringtrio.CancelScope()
        self.outcome = None
        self.sizes = []
        self.sent_bytes = None
        self._data = data

    def cancel(self):
        self.scope.cancel()

    def close(self):
        self.stream.socket.close()

    def complete(self, res):
        (op,) = self.driver.in_flight.values()
        pins = op.pins[0] if type(op).__name__ == "SendMsg" else [op.pins]
        self.sizes.append(sum(map(len, pins)))
        self.driver.complete(op, res)

    def run(self, *steps):
        for step in steps:
            self.driver.at_wait(lambda _driver, step=step: step())
        uringtrio.run(self._main, driver=self.driver)
        assert self.driver.in_flight == {}

    async def _main(self):
        left, right = socket.socketpair()
        self.stream = uringtrio.SocketStream(left)
        with left, right, self.scope:
            try:
                await self.stream.send_all(self._data)
                self.outcome = "returned"
            except BaseException as exc:
                self.outcome = type(exc)
                raise
            finally:
                self.sent_bytes = self.stream.sent_bytes


@pytest.fixture(
    params=[DATA, bytearray(DATA), [b"he", b"", b"llo"]], ids=["bytes", "bytearray", "buffers"]
)
def sending(request):
    return Sending(request.param)


def cancelled_at(sending):
    return (sending.outcome, sending.sent_bytes)


def test_cancel_before_the_completion_counts_what_was_sent_all_the_same(sending):
    sending.run(sending.cancel, lambda: sending.complete(3))

    assert cancelled_at(sending) == (uringtrio.Cancelled, 3)
    assert sending.sizes == [5]


def test_completion_before_the_cancel_counts_too(sending):
    def step():
        sending.complete(3)
        sending.cancel()

    sending.run(step)

    assert cancelled_at(sending) == (uringtrio.Cancelled, 3)
    assert sending.sizes == [5]


def test_cancel_that_stops_the_kernel_in_time_sent_nothing(sending):
    sending.run(sending.cancel, lambda: sending.complete(-errno.ECANCELED))

    assert cancelled_at(sending) == (uringtrio.Cancelled, 0)


def test_cancel_that_comes_too_late_is_the_next_checkpoints(sending):
    sending.run(sending.cancel, lambda: sending.complete(5))

    assert cancelled_at(sending) == ("returned", 5)


def test_completion_of_all_before_the_cancel_returns(sending):
    def step():
        sending.complete(5)
        sending.cancel()

    sending.run(step)

    assert cancelled_at(sending) == ("returned", 5)


def test_counts_of_several_steps_are_added(sending):
    sending.run(
        lambda: sending.complete(1),
        lambda: sending.complete(2),
        sending.cancel,
        lambda: sending.complete(1),
    )

    assert cancelled_at(sending) == (uringtrio.Cancelled, 4)
    assert sending.sizes == [5, 4, 2]


def test_rest_is_sent_until_nothing_is_left(sending):
    sending.run(lambda: sending.complete(2), lambda: sending.complete(3))

    assert cancelled_at(sending) == ("returned", 5)
    assert sending.sizes == [5, 3]


def test_close_between_two_steps_keeps_the_count(sending):
    def step():
        sending.complete(3)
        sending.close()

    with pytest.raises(uringtrio.ClosedResourceError):
        sending.run(step, lambda: sending.complete(-errno.EBADF))

    assert cancelled_at(sending) == (uringtrio.ClosedResourceError, 3)


def test_error_after_a_first_step_keeps_the_count(sending):
    with pytest.raises(uringtrio.BrokenResourceError):
        sending.run(lambda: sending.complete(3), lambda: sending.complete(-errno.EPIPE))

    assert cancelled_at(sending) == (uringtrio.BrokenResourceError, 3)


def test_receive_may_begin_before_the_task_of_the_last_one_has_resumed():
    """Two completions in one turn: whoever runs first may already receive from the other's."""
    driver = ScriptedDriver()
    got = []

    async def receive(first, second):
        got.append(await first.recv(1))
        got.append(await second.recv(1))

    @driver.at_wait
    def both(driver):
        for op in driver.find("Recv"):
            driver.complete(op, 1, b"1")
        driver.at_wait(both_again)

    def both_again(driver):
        ops = driver.find("Recv")
        assert len(ops) == 2
        for op in ops:
            driver.complete(op, 1, b"2")

    async def main():
        left, right = socket.socketpair()
        with left, right:
            async with uringtrio.open_nursery() as nursery:
                nursery.start_soon(receive, left, right)
                nursery.start_soon(receive, right, left)

    uringtrio.run(main, driver=driver)
    assert sorted(got) == [b"1", b"1", b"2", b"2"]


# Listeners.


class Accepting:
    """A listener in whose accept the script puts connections."""

    def __init__(self):
        self.driver = ScriptedDriver(cancels_complete=False)
        self.scope = uringtrio.CancelScope()
        self.fds = []

    def connection_comes(self):
        left, right = stdlib.socketpair()
        right.close()
        (op,) = self.driver.find("Accept")
        self.fds.append(left.detach())
        self.driver.complete(op, self.fds[-1])

    def answer_cancel(self):
        (op,) = self.driver.find("Accept")
        self.driver.complete(op, -errno.ECANCELED)

    def run(self, main, *steps):
        for step in steps:
            self.driver.at_wait(lambda _driver, step=step: step())

        async def with_listener():
            sock = socket.socket(socket.AF_UNIX)
            await sock.bind(f"\0uringtrio-race-{os.getpid()}")
            sock.listen()
            async with uringtrio.SocketListener(sock) as listener:
                with self.scope:
                    await main(listener)

        uringtrio.run(with_listener, driver=self.driver)
        assert self.driver.in_flight == {}
        for fd in self.fds:
            with pytest.raises(OSError, match="Bad file descriptor"):
                os.fstat(fd)


@pytest.mark.parametrize("is_cancelled_first", [True, False])
def test_connection_that_comes_with_the_cancel_is_handed_out(is_cancelled_first):
    accepting = Accepting()
    steps = [accepting.scope.cancel, accepting.connection_comes]
    got = []

    async def main(listener):
        async with await listener.accept() as stream:
            got.append(stream.socket.fileno())

    if is_cancelled_first:
        accepting.run(main, *steps)
    else:
        accepting.run(main, lambda: [step() for step in reversed(steps)])

    assert got == accepting.fds


@pytest.mark.parametrize("is_cancelled_first", [True, False])
def test_server_that_is_cancelled_closes_the_connection_that_came(is_cancelled_first):
    accepting = Accepting()
    steps = [accepting.scope.cancel, accepting.connection_comes]
    handled = []

    async def handler(stream):
        handled.append(stream.socket.fileno())
        await stream.send_all(b"too late")
        raise AssertionError("the server was cancelled")

    async def main(listener):
        await uringtrio.serve_listeners(handler, [listener])

    # The connection is taken, and the next accept is refused by the cancelled scope.
    if is_cancelled_first:
        accepting.run(main, *steps)
    else:
        accepting.run(main, lambda: [step() for step in reversed(steps)])

    assert handled == accepting.fds


def test_cancel_without_a_connection_hands_out_nothing():
    accepting = Accepting()

    async def main(listener):
        await listener.accept()
        raise AssertionError("there was no connection")

    accepting.run(main, accepting.scope.cancel, accepting.answer_cancel)
    assert accepting.fds == []


@pytest.mark.parametrize("how", ["cancel", "close"])
def test_send_to_a_half_closed_peer_that_does_not_read_can_be_ended(run, how):
    """On a ring a worker carries it out, where one cancel was spent on MSG_WAITALL's next part."""

    async def send(stream):
        try:
            await stream.send_all(bytes(1 << 25))
        except uringtrio.ClosedResourceError:
            assert how == "close"

    async def main():
        listener = uringtrio.socket.socket()
        await listener.bind(("127.0.0.1", 0))
        listener.listen()
        mine = uringtrio.socket.socket()
        await mine.connect(listener.getsockname())
        other, _ = await listener.accept()
        peer, stream = uringtrio.SocketStream(mine), uringtrio.SocketStream(other)
        with listener:
            async with peer, stream:
                await peer.send_eof()
                async with uringtrio.open_nursery() as nursery:
                    nursery.start_soon(send, stream)
                    for _ in range(10):
                        await lowlevel.checkpoint()
                    if how == "cancel":
                        nursery.cancel_scope.cancel()
                    else:
                        await stream.aclose()
        assert 0 < stream.sent_bytes < 1 << 25

    run(main, seconds=5)
