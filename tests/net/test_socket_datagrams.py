"""Datagrams, which are received and sent at once where that needs no waiting."""

import contextlib
import errno
import os
import select
import socket as stdlib

import pytest

import uringtrio
from uringtrio import lowlevel, socket
from uringtrio._drivers.scripted import ScriptedDriver
from uringtrio._ops.datagram import RecvFrom, SendTo


def in_flight():
    """Return how many ops are under way in this run."""
    return sum(lowlevel.current_statistics().io_statistics.in_flight.values())


async def bound_pair():
    """Return two sockets that can send to each other."""
    left, right = (socket.socket(type=socket.SOCK_DGRAM) for _ in range(2))
    for sock in (left, right):
        await sock.bind(("127.0.0.1", 0))
    return left, right


def test_what_need_not_wait_never_gets_to_the_driver(run):
    async def main():
        left, right = await bound_pair()
        with left, right:
            await left.sendto(b"x", right.getsockname())
            before = lowlevel.current_statistics().io_statistics.sqes
            for _ in range(10):
                await left.sendto(b"y", right.getsockname())
                await right.recvfrom(10)
            assert lowlevel.current_statistics().io_statistics.sqes == before

    run(main)


def test_receive_that_will_most_likely_wait_is_not_tried_before(run, settle, monkeypatch):
    """Trying in vain costs as much as waiting; but a flood of datagrams must not be waited for."""
    tries = []
    perform = RecvFrom.perform

    def noted(op):
        # Within a wait the driver tries, when there is something.
        tries.append(op.id == 0)
        return perform(op)

    monkeypatch.setattr(RecvFrom, "perform", noted)

    async def main():
        left, right = await bound_pair()
        with left, right:

            async def answer_late():
                for number in range(10):
                    await settle()
                    await left.sendto(b"%d" % number, right.getsockname())

            async with uringtrio.open_nursery() as nursery:
                nursery.start_soon(answer_late)
                assert [(await right.recvfrom(10))[0] for _ in range(10)] == [
                    b"%d" % number for number in range(10)
                ]
            assert sum(tries) < 5
            for _ in range(100):
                await left.sendto(b"flood", right.getsockname())
            tries.clear()
            for _ in range(100):
                await right.recvfrom(10)
            assert sum(tries) >= 95

    run(main)


def test_tasks_that_send_at_the_same_time_send_what_is_theirs(run):
    async def main():
        left, right = await bound_pair()
        with left, right:
            counts = {}

            async def send(size):
                counts[size] = await left.sendto(bytes(size), right.getsockname())

            async with uringtrio.open_nursery() as nursery:
                for size in range(20):
                    nursery.start_soon(send, size)
            assert counts == {size: size for size in range(20)}
            received = [len((await right.recvfrom(100))[0]) for _ in range(20)]
            assert sorted(received) == list(range(20))

    run(main)


def test_tasks_that_receive_in_turn_get_a_datagram_each(run):
    async def main():
        left, right = await bound_pair()
        with left, right:
            received = []

            async def receive():
                received.append((await right.recvfrom(100))[0])

            for number in range(20):
                await left.sendto(b"%d" % number, right.getsockname())
            async with uringtrio.open_nursery() as nursery:
                for _ in range(20):
                    nursery.start_soon(receive)
            assert sorted(received) == sorted(b"%d" % number for number in range(20))

    run(main)


def test_datagram_that_is_too_large_is_an_error_of_its_sender(run):
    async def main():
        left, right = await bound_pair()
        with left, right:
            with pytest.raises(OSError, match="Message too long") as caught:
                await left.sendto(bytes(100_000), right.getsockname())
            assert caught.value.errno == errno.EMSGSIZE
            await left.sendto(b"x", right.getsockname())
            assert await right.recv(10) == b"x"

    run(main)


def test_cancelled_before_it_began_sends_and_receives_nothing(run):
    async def main():
        left, right = await bound_pair()
        with left, right:
            await left.sendto(b"first", right.getsockname())
            with uringtrio.CancelScope() as scope:
                scope.cancel()
                await left.sendto(b"second", right.getsockname())
            with uringtrio.CancelScope() as scope:
                scope.cancel()
                await right.recvfrom(100)
            assert (await right.recvfrom(100))[0] == b"first"
            with uringtrio.move_on_after(0.01) as scope:
                await right.recvfrom(100)
            assert scope.cancelled_caught

    run(main)


def test_datagram_is_received_or_stays_when_the_cancel_comes_in_the_same_moment(run):
    async def main():
        left, right = await bound_pair()
        with left, right:
            for _ in range(50):
                received = []

                async def receive(scope, received=received):
                    with scope:
                        received.append((await right.recvfrom(100))[0])

                async def cancel(scope):
                    scope.cancel()

                scope = uringtrio.CancelScope()
                await left.sendto(b"x", right.getsockname())
                async with uringtrio.open_nursery() as nursery:
                    nursery.start_soon(receive, scope)
                    nursery.start_soon(cancel, scope)
                assert received == [b"x"] or (await right.recvfrom(100))[0] == b"x"

    run(main)


def test_full_receiver_makes_the_sender_wait_until_it_is_cancelled_or_there_is_room(run, tmp_path):
    async def main():
        with (
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender,
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver,
        ):
            path = str(tmp_path / "receiver")
            await receiver.bind(path)
            sent = 0
            while True:
                with uringtrio.move_on_after(0.05) as scope:
                    await sender.sendto(b"%d" % sent, path)
                    sent += 1
                if scope.cancelled_caught:
                    break
            assert in_flight() == 0
            async with uringtrio.open_nursery() as nursery:
                nursery.start_soon(sender.sendto, b"last", path)
                received = [await receiver.recv(100) for _ in range(sent + 1)]
            assert received == [*(b"%d" % number for number in range(sent)), b"last"]

    run(main)


@pytest.fixture
def full_receiver(tmp_path, monkeypatch):
    """Opens (sender, receiver, its path, list of tries) with no room at the receiver's."""
    path = str(tmp_path / "full")
    tries = []
    perform = SendTo.perform

    def noted(op):
        tries.append(op)
        return perform(op)

    @contextlib.asynccontextmanager
    async def open_both():
        sender, receiver = (socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) for _ in range(2))
        with sender, receiver:
            await receiver.bind(path)
            with uringtrio.move_on_after(0.05):
                while True:
                    await sender.sendto(b"before", path)
            monkeypatch.setattr(SendTo, "perform", noted)
            yield sender, receiver, path, tries

    return open_both


def test_sender_to_a_full_receiver_does_not_try_for_ever(run, full_receiver):
    """The sending socket has room all the while, and so poll(2) said: one CPU was busy asking."""

    async def main():
        async with full_receiver() as (sender, receiver, path, tries):
            async with uringtrio.open_nursery() as nursery:
                nursery.start_soon(sender.sendto, b"after", path)
                await uringtrio.sleep(0.05)
                assert len(tries) == 1
                assert in_flight() == 1
                while await receiver.recv(10) == b"before":
                    pass
            assert len(tries) <= 3

    run(main)


def test_full_receiver_that_goes_away_ends_the_wait_for_room(run, full_receiver):
    async def main():
        async with full_receiver() as (sender, receiver, path, _):
            async with uringtrio.open_nursery() as nursery:

                async def send():
                    with pytest.raises(ConnectionError):
                        await sender.sendto(b"after", path)

                nursery.start_soon(send)
                await uringtrio.sleep(0.01)
                receiver.close()

    run(main)


@pytest.mark.parametrize("how", ["cancel", "close"])
def test_wait_for_room_at_the_receiver_leaves_nothing_open(run, full_receiver, settle, how):
    async def main():
        async with full_receiver() as (sender, _receiver, path, _):
            before = len(os.listdir("/proc/self/fd"))
            async with uringtrio.open_nursery() as nursery:

                async def send():
                    with pytest.raises(
                        uringtrio.Cancelled if how == "cancel" else uringtrio.ClosedResourceError
                    ):
                        await sender.sendto(b"after", path)

                nursery.start_soon(send)
                await settle()
                assert len(os.listdir("/proc/self/fd")) == before + 1
                if how == "cancel":
                    nursery.cancel_scope.cancel()
                else:
                    sender.close()
            assert len(os.listdir("/proc/self/fd")) == before - (how == "close")
            if how == "cancel":
                # The next one asks the socket itself again.
                with pytest.raises(FileNotFoundError):
                    await sender.sendto(b"x", path + "-none")

    run(main)


def test_sender_that_waits_holds_up_none_that_need_not(run, settle, tmp_path):
    async def main():
        with (
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender,
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as full,
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as empty,
        ):
            await full.bind(str(tmp_path / "full"))
            await empty.bind(str(tmp_path / "empty"))
            with uringtrio.move_on_after(0.05):
                while True:
                    await sender.sendto(b"x", str(tmp_path / "full"))
            async with uringtrio.open_nursery() as nursery:
                nursery.start_soon(sender.sendto, b"y", str(tmp_path / "full"))
                await settle()
                for _ in range(5):
                    await sender.sendto(b"z", str(tmp_path / "empty"))
                    assert await empty.recv(10) == b"z"
                with pytest.raises(uringtrio.BusyResourceError):
                    await sender.sendto(b"y", str(tmp_path / "full"))
                while await full.recv(10) == b"x":
                    pass
            assert in_flight() == 0

    run(main)


def test_second_receiver_is_refused_even_if_a_datagram_is_there(run, settle):
    async def main():
        left, right = await bound_pair()
        with left, right, stdlib.socket(type=stdlib.SOCK_DGRAM) as other:
            async with uringtrio.open_nursery() as nursery:
                nursery.start_soon(right.recvfrom, 100)
                await settle()
                other.sendto(b"x", right.getsockname())
                with pytest.raises(uringtrio.BusyResourceError):
                    await right.recvfrom(100)

    run(main)


@pytest.mark.parametrize(("cancel_first", "res"), [(False, 1), (True, 1), (True, -errno.ECANCELED)])
def test_completion_and_cancel_in_both_orders(cancel_first, res):
    driver = ScriptedDriver(cancels_complete=False)
    scope = uringtrio.CancelScope()
    answer = (b"x", ("127.0.0.1", 9))
    received = []

    @driver.at_wait
    def both(driver):
        (op,) = driver.find("RecvFrom")
        if cancel_first:
            scope.cancel()
        driver.complete(op, res, answer if res >= 0 else None)
        scope.cancel()

    async def main():
        with socket.socket(type=socket.SOCK_DGRAM) as sock, scope:
            await sock.bind(("127.0.0.1", 0))
            received.append(await sock.recvfrom(100))
            await lowlevel.checkpoint()
        assert scope.cancelled_caught

    uringtrio.run(main, driver=driver)
    assert received == ([answer] if res >= 0 else [])
    assert driver.in_flight == {}


def test_close_wakes_who_waits_for_a_datagram(run, settle):
    async def main():
        sock = socket.socket(type=socket.SOCK_DGRAM)
        await sock.bind(("127.0.0.1", 0))
        fd = sock.fileno()

        async def receive():
            with pytest.raises(uringtrio.ClosedResourceError):
                await sock.recvfrom(100)

        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(receive)
            await settle()
            sock.close()
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(fd)

    run(main)


def test_sender_whose_own_buffer_is_full_keeps_no_cpu_busy(run, tmp_path):
    path = str(tmp_path / "receiver")

    async def main():
        with (
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver,
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender,
        ):
            await receiver.bind(path)
            with uringtrio.move_on_after(0.1):
                while True:
                    await sender.sendto(bytes(60_000), path)
            before = lowlevel.current_statistics().io_statistics.enters
            with uringtrio.move_on_after(0.1) as scope:
                await sender.sendto(bytes(60_000), path)
            assert scope.cancelled_caught
            assert lowlevel.current_statistics().io_statistics.enters - before < 20

    run(main)


def test_urgent_data_is_received_after_a_receive_that_had_to_wait(run, settle):
    async def main():
        with socket.socket() as listener:
            await listener.bind(("127.0.0.1", 0))
            listener.listen()
            with socket.socket() as client:
                await client.connect(listener.getsockname())
                server, _ = await listener.accept()
                with server:
                    async with uringtrio.open_nursery() as nursery:
                        nursery.start_soon(server.recvfrom, 10)
                        await settle()
                        await client.send(b"a")
                    await client.send(b"!", socket.MSG_OOB)
                    # It is not what a socket becomes readable for.
                    with select.epoll() as epoll:
                        epoll.register(server.fileno(), select.EPOLLPRI)
                        await uringtrio.to_thread.run_sync(epoll.poll)
                    assert (await server.recvfrom(1, socket.MSG_OOB))[0] == b"!"

    run(main)
