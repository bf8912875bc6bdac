"""Each race of a multishot receive with the tasks that want its bytes, in both orders."""

import errno
import os
import socket as stdlib

import pytest

import uringtrio
from uringtrio import lowlevel, socket
from uringtrio._drivers.driver import Driver
from uringtrio._drivers.scripted import ScriptedDriver
from uringtrio._ops.receive_ahead import AHEAD_BYTES_MAX, RecvMultishot


class Receiving:
    """A stream whose multishot receive is armed, and a kernel that the script plays.

    Each step is a function, called when every task waits.

    Attributes:
        results: what each call of `receive` came to: the bytes, or the type of the exception.
    """

    def __init__(self):
        self.driver = ScriptedDriver(cancels_complete=False, has_multishot=True)
        self.results = []
        self.scope = uringtrio.CancelScope()
        self.sizes = [None]

    @property
    def op(self):
        (op,) = self.driver.find("RecvMultishot")
        return op

    def more(self, data):
        self.driver.complete(self.op, len(data), data, more=True)

    def last(self, data):
        self.driver.complete(self.op, len(data), data)

    def end(self, res):
        self.driver.complete(self.op, res)

    def cancel(self):
        self.scope.cancel()

    def close(self):
        self.stream.socket.close()

    def single(self, data):
        (op,) = self.driver.find("Recv")
        self.driver.complete(op, len(data), data)

    async def receive(self, size=None):
        try:
            self.results.append(await self.stream.receive_some(size))
        except (uringtrio.BrokenResourceError, uringtrio.ClosedResourceError) as exc:
            self.results.append(type(exc))

    def run(self, main, *steps):
        """Run `main(self)` with the stream armed and nobody waiting; then nothing is in flight."""
        steps = [lambda: self.single(b"first"), lambda: self.more(b"second"), *steps]
        for step in steps:
            self.driver.at_wait(lambda _driver, step=step: step())
        uringtrio.run(self._main, main, driver=self.driver)
        assert self.driver.in_flight == {}

    async def _main(self, main):
        self.stream = uringtrio.SocketStream(socket.socket())
        assert [await self.stream.receive_some() for _ in range(2)] == [b"first", b"second"]
        await main(self)
        self.close()
        if self.driver.in_flight:
            self.end(-errno.ECANCELED)
        self.tell()

    def tell(self):
        """Let the op know what was posted, as the next wait would."""
        assert self.driver.wait(0) == []


@pytest.fixture
def receiving():
    return Receiving()


async def receive_once(receiving):
    with receiving.scope:
        await receiving.receive()


async def receive_after_cancel(receiving):
    """The cancelled receive, and then the one that must have its bytes."""
    with receiving.scope:
        await receiving.receive()
    receiving.results.append("next")
    await receiving.receive()


def test_waiter_gets_data_and_op_stays_in_flight(receiving):
    async def main(receiving):
        op = receiving.op
        await receiving.receive()
        await receiving.receive()
        assert receiving.op is op
        assert op.waiter is None

    receiving.run(main, lambda: receiving.more(b"a"), lambda: receiving.more(b"b"))

    assert receiving.results == [b"a", b"b"]


def test_cancel_before_data_keeps_data_for_the_next_receive(receiving):
    def cancel_and_complete():
        receiving.cancel()
        receiving.more(b"data")

    receiving.run(receive_after_cancel, cancel_and_complete)

    assert receiving.results == ["next", b"data"]


def test_data_before_cancel_in_one_batch_is_kept_for_the_next_receive(receiving):
    def complete_and_cancel():
        receiving.more(b"data")
        receiving.cancel()

    receiving.run(receive_after_cancel, complete_and_cancel)

    assert receiving.results == ["next", b"data"]


def test_cancel_after_the_data_was_handed_out_delivers_it(receiving):
    async def main(receiving):
        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(receive_once, receiving)
            await lowlevel.checkpoint()
            await lowlevel.checkpoint()
            receiving.op.more(b"data")
            receiving.cancel()
        assert not receiving.op.ahead

    receiving.run(main)

    assert receiving.results == [b"data"]


def test_cancel_asks_the_kernel_for_nothing(receiving):
    async def main(receiving):
        with receiving.scope:
            await receiving.receive()
        assert not receiving.driver.cancelled
        assert receiving.op.id

    receiving.run(main, receiving.cancel)


def test_receive_in_a_cancelled_scope_takes_nothing_of_what_is_ahead(receiving):
    async def main(receiving):
        receiving.more(b"data")
        receiving.tell()
        with uringtrio.CancelScope() as scope:
            scope.cancel()
            await receiving.receive()
        assert scope.cancelled_caught
        assert receiving.op.ahead == b"data"

    receiving.run(main)

    assert receiving.results == []


def test_second_chunk_of_a_batch_is_kept(receiving):
    async def main(receiving):
        await receiving.receive()
        assert receiving.op.ahead == b"bc"
        await receiving.receive()

    receiving.run(main, lambda: [receiving.more(data) for data in (b"a", b"b", b"c")])

    assert receiving.results == [b"a", b"bc"]


def test_next_receive_of_another_task_waits_while_the_first_has_yet_to_resume(receiving):
    """Two tasks, served in two batches, in whichever order they run."""

    async def main(receiving):
        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(receiving.receive)
            await lowlevel.checkpoint()
            await lowlevel.checkpoint()
            receiving.op.more(b"a")  # served, and not resumed
            receiving.results.append(receiving.op.waiter)
            nursery.start_soon(receiving.receive)

    receiving.run(main, lambda: receiving.more(b"b"))

    assert sorted(receiving.results[1:]) == [b"a", b"b"]
    assert receiving.results[0] is None


def test_a_waiting_task_excludes_another(receiving):
    async def main(receiving):
        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(receiving.receive)
            await lowlevel.checkpoint()
            await lowlevel.checkpoint()
            for call in (
                receiving.stream.receive_some,
                lambda: receiving.stream.receive_into(bytearray(1)),
                lambda: receiving.stream.socket.recv(1),
                lambda: receiving.stream.socket.recvmsg(1),
            ):
                with pytest.raises(uringtrio.BusyResourceError):
                    await call()

    receiving.run(main, lambda: receiving.more(b"a"))

    assert receiving.results == [b"a"]


def test_fewer_bytes_than_came_leave_the_rest_in_front(receiving):
    async def main(receiving):
        await receiving.receive(2)
        receiving.more(b"g")
        receiving.tell()
        await receiving.receive(3)
        await receiving.receive(100)

    receiving.run(main, lambda: receiving.more(b"abcdef"))

    assert receiving.results == [b"ab", b"cde", b"fg"]


@pytest.mark.parametrize("is_end_with_data", [True, False])
def test_end_and_data_in_one_batch_are_told_in_order(receiving, is_end_with_data):
    async def main(receiving):
        await receiving.receive()
        await receiving.receive()
        # The kernel says so again.
        await receiving.receive()

    def data_and_end():
        receiving.more(b"data")
        receiving.end(0)

    steps = [data_and_end] if is_end_with_data else [lambda: receiving.more(b"data"), lambda: (
        receiving.end(0))]  # fmt: skip
    again = [lambda: receiving.end(0)] * (2 if is_end_with_data else 1)
    receiving.run(main, *steps, *again)

    assert receiving.results == [b"data", b"", b""]


@pytest.mark.parametrize("is_error_with_data", [True, False])
def test_error_comes_after_data_and_once(receiving, is_error_with_data):
    async def main(receiving):
        await receiving.receive()
        await receiving.receive()
        await receiving.receive()

    def data_and_error():
        receiving.more(b"data")
        receiving.end(-errno.ECONNRESET)

    steps = [data_and_error] if is_error_with_data else [lambda: receiving.more(b"data"), lambda: (
        receiving.end(-errno.ECONNRESET))]  # fmt: skip
    receiving.run(main, *steps, lambda: receiving.end(0))

    assert receiving.results == [b"data", uringtrio.BrokenResourceError, b""]


def test_last_completion_may_bring_data_for_the_waiter(receiving):
    async def main(receiving):
        await receiving.receive()
        assert receiving.driver.in_flight == {}
        await receiving.receive()

    receiving.run(main, lambda: receiving.last(b"a"), lambda: receiving.more(b"b"))

    assert receiving.results == [b"a", b"b"]


def test_limit_reached_while_nobody_waits_arms_again_only_when_all_is_taken(receiving):
    async def main(receiving):
        receiving.last(b"x" * AHEAD_BYTES_MAX)
        receiving.tell()
        await receiving.receive(AHEAD_BYTES_MAX - 1)
        assert receiving.driver.in_flight == {}
        await receiving.receive()
        assert receiving.driver.in_flight == {}
        await receiving.receive()

    receiving.run(main, lambda: receiving.more(b"y"))

    assert receiving.results == [b"x" * (AHEAD_BYTES_MAX - 1), b"x", b"y"]


def test_limit_reached_in_the_batch_in_which_a_task_begins_to_wait(receiving):
    async def main(receiving):
        # Posted, and told only after the task has armed.
        receiving.last(b"data")
        await receiving.receive()
        await receiving.receive()

    receiving.run(main, lambda: receiving.more(b"more"))

    assert receiving.results == [b"data", b"more"]


@pytest.mark.parametrize("res", [-errno.ENOBUFS, -errno.ECANCELED, -errno.EINTR])
def test_ending_without_a_result_starts_again_for_the_waiter(receiving, res):
    ids = []

    async def main(receiving):
        ids.append(receiving.op.id)
        await receiving.receive()
        ids.append(receiving.op.id)

    receiving.run(main, lambda: receiving.end(res), lambda: receiving.more(b"data"))

    assert receiving.results == [b"data"]
    assert ids[0] != ids[1]


@pytest.mark.parametrize("res", [-errno.ENOBUFS, -errno.ECANCELED, -errno.EINTR])
def test_ending_without_a_result_waits_for_the_next_receive(receiving, res):
    async def main(receiving):
        receiving.end(res)
        receiving.tell()
        assert receiving.driver.in_flight == {}
        await receiving.receive()

    receiving.run(main, lambda: receiving.more(b"data"))

    assert receiving.results == [b"data"]


def test_kernel_without_a_limit_gets_single_receives(receiving):
    async def main(receiving):
        await receiving.receive()
        await receiving.receive()
        assert not receiving.driver.has_multishot

    receiving.run(
        main,
        lambda: receiving.end(-errno.EINVAL),
        lambda: receiving.single(b"a"),
        lambda: receiving.single(b"b"),
    )

    assert receiving.results == [b"a", b"b"]


def test_data_before_close_in_one_batch_is_delivered(receiving):
    def data_and_close():
        receiving.more(b"data")
        receiving.close()

    receiving.run(receive_once, data_and_close, lambda: receiving.end(-errno.ECANCELED))

    assert receiving.results == [b"data"]


def test_data_after_close_is_delivered(receiving):
    def close_and_data():
        receiving.close()
        (op,) = receiving.driver.cancelled
        receiving.driver.complete(op, 4, b"data")

    receiving.run(receive_once, close_and_data)

    assert receiving.results == [b"data"]


def test_close_of_a_waiting_receive_tells_it_when_the_kernel_is_done(receiving):
    fd = None

    def close():
        nonlocal fd
        fd = receiving.op.fd
        receiving.close()
        os.fstat(fd)  # The kernel may still use it.

    async def main(receiving):
        await receiving.receive()
        with pytest.raises(OSError, match="descriptor"):
            os.fstat(fd)

    receiving.run(main, close, lambda: receiving.end(-errno.ECANCELED))

    assert receiving.results == [uringtrio.ClosedResourceError]


def test_close_while_nobody_waits_closes_the_descriptor_at_the_last_completion(receiving):
    async def main(receiving):
        op = receiving.op
        receiving.close()
        os.fstat(op.fd)
        receiving.driver.complete(op, -errno.ECANCELED)
        receiving.tell()
        with pytest.raises(OSError, match="descriptor"):
            os.fstat(op.fd)

    receiving.run(main)


def test_stop_while_data_is_in_the_completion_queue_keeps_it(receiving):
    async def main(receiving):
        receiving.more(b"data")
        assert receiving.stream.socket.fileno() >= 0
        assert receiving.driver.in_flight == {}
        assert receiving.stream.socket.is_readable()
        await receiving.receive()
        # And from now on only what is asked for.
        await receiving.receive()

    receiving.run(main, lambda: receiving.single(b"single"))

    assert receiving.results == [b"data", b"single"]


@pytest.mark.parametrize("has_data", [True, False])
def test_stop_while_a_task_waits_lets_it_go_on_with_a_single_receive(receiving, has_data):
    def stop():
        if has_data:
            receiving.more(b"data")
        receiving.stream.socket.fileno()

    async def main(receiving):
        await receiving.receive()
        assert not receiving.driver.find("RecvMultishot")

    steps = [stop] if has_data else [stop, lambda: receiving.single(b"data")]
    receiving.run(main, *steps)

    assert receiving.results == [b"data"]


def test_refused_submission_is_told_to_the_task_and_frees_the_op():
    class Refusing(ScriptedDriver):
        def submit(self, op):
            if type(op) is RecvMultishot:
                raise RuntimeError("no ring")
            super().submit(op)

    async def main():
        with stdlib.socket() as sock:
            op = RecvMultishot(sock, 10)
            for _ in range(2):
                with pytest.raises(RuntimeError, match="no ring"):
                    await op
            assert op.waiter is None

    uringtrio.run(main, driver=Refusing(has_multishot=True))


def test_needs_a_driver_that_has_multishot():
    with stdlib.socket() as sock:
        op = RecvMultishot(sock, 1)
        with pytest.raises(NotImplementedError, match="RecvMultishot needs a ring"):
            op.perform()
    driver = ScriptedDriver()
    try:
        with pytest.raises(NotImplementedError, match="has no multishot ops"):
            Driver.end(driver, op)
        assert not driver.has_multishot
    finally:
        driver.close()
