"""wait_readable, wait_writable and notify_closing: descriptors that somebody else uses."""

import errno
import os
import socket as stdlib_socket

import pytest

import uringtrio
from uringtrio import lowlevel
from uringtrio.testing import assert_checkpoints, wait_all_tasks_blocked


@pytest.fixture
def pair():
    """Two connected sockets of the standard library that do not block."""
    left, right = stdlib_socket.socketpair()
    left.setblocking(False)
    right.setblocking(False)
    with left, right:
        yield left, right


def fill(sock):
    """Send until no byte more fits."""
    try:
        while True:
            sock.send(b"x" * 65536)
    except BlockingIOError:
        pass


def empty(sock):
    try:
        while sock.recv(65536):
            pass
    except BlockingIOError:
        pass


def by_number(sock):
    return sock.fileno()


def by_object(sock):
    return sock


named = pytest.mark.parametrize("name", [by_number, by_object])


@named
def test_readable_once_there_is_something(run, record, pair, name):
    left, right = pair

    async def main():
        async def wait():
            await lowlevel.wait_readable(name(left))
            record(left.recv(10))

        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await wait_all_tasks_blocked(0.01)
            assert record.events == []
            right.send(b"x")

    run(main)

    assert record.events == [b"x"]


@named
def test_writable_once_there_is_room(run, record, pair, name):
    left, right = pair
    fill(left)

    async def main():
        async def wait():
            await lowlevel.wait_writable(name(left))
            record("room")

        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await wait_all_tasks_blocked(0.01)
            assert record.events == []
            empty(right)

    run(main)

    assert record.events == ["room"]


def test_readiness_is_a_level_and_not_an_edge(run, pair):
    left, right = pair
    right.send(b"xy")

    async def main():
        for _ in range(3):
            with assert_checkpoints():
                await lowlevel.wait_readable(left)
            await lowlevel.wait_writable(left)
        left.recv(1)
        await lowlevel.wait_readable(left)
        left.recv(1)
        with uringtrio.move_on_after(0.01) as scope:
            await lowlevel.wait_readable(left)
        assert scope.cancelled_caught

    run(main)


def test_end_of_stream_is_readable(run, pair):
    left, right = pair

    async def main():
        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(lowlevel.wait_readable, left)
            await wait_all_tasks_blocked(0.01)
            right.close()
        assert left.recv(1) == b""

    run(main)


def test_peer_that_is_gone_makes_a_full_socket_writable(run, pair):
    left, right = pair
    fill(left)

    async def main():
        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(lowlevel.wait_writable, left)
            await wait_all_tasks_blocked(0.01)
            right.close()

    run(main)


def test_cancelled_wait_takes_nothing_and_may_be_repeated(run, pair):
    left, right = pair

    async def main():
        for _ in range(3):
            with uringtrio.move_on_after(0.005) as scope:
                await lowlevel.wait_readable(left)
            assert scope.cancelled_caught
        right.send(b"x")
        with uringtrio.CancelScope() as scope:
            scope.cancel()
            await lowlevel.wait_readable(left)
        assert scope.cancelled_caught
        await lowlevel.wait_readable(left)

    run(main)


def test_second_wait_for_the_same_is_refused_and_the_first_goes_on(run, record, pair):
    left, right = pair
    fill(left)

    async def main():
        async def wait(async_fn):
            await async_fn(left)
            record(async_fn.__name__)

        async with uringtrio.open_nursery() as nursery:
            # One to read and one to write go together.
            nursery.start_soon(wait, lowlevel.wait_readable)
            nursery.start_soon(wait, lowlevel.wait_writable)
            await wait_all_tasks_blocked(0.01)
            with pytest.raises(uringtrio.BusyResourceError, match="waiting to read from"):
                await lowlevel.wait_readable(left.fileno())
            with pytest.raises(uringtrio.BusyResourceError, match="waiting to write to"):
                await lowlevel.wait_writable(left)
            right.send(b"x")
            empty(right)

    run(main)

    assert sorted(record.events) == ["wait_readable", "wait_writable"]


def test_reader_and_writer_are_woken_apart(run, record, pair):
    left, right = pair
    fill(left)

    async def main():
        async def wait(async_fn):
            await async_fn(left)
            record(async_fn.__name__)

        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(wait, lowlevel.wait_readable)
            nursery.start_soon(wait, lowlevel.wait_writable)
            await wait_all_tasks_blocked(0.01)
            right.send(b"x")
            await wait_all_tasks_blocked(0.01)
            assert record.events == ["wait_readable"]
            empty(right)

    run(main)

    assert record.events == ["wait_readable", "wait_writable"]


@named
def test_notify_closing_wakes_both_with_closed(run, record, pair, name):
    left, _ = pair
    fill(left)

    async def main():
        async def wait(async_fn):
            with pytest.raises(uringtrio.ClosedResourceError, match="closed this descriptor"):
                await async_fn(name(left))
            record("closed")

        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(wait, lowlevel.wait_readable)
            nursery.start_soon(wait, lowlevel.wait_writable)
            await wait_all_tasks_blocked(0.01)
            lowlevel.notify_closing(name(left))
            left.close()

    run(main)

    assert record.events == ["closed", "closed"]


def test_notify_closing_of_what_nobody_waits_for_does_nothing(run, pair):
    left, right = pair

    async def main():
        lowlevel.notify_closing(left)
        lowlevel.notify_closing(-1)
        right.send(b"x")
        await lowlevel.wait_readable(left)

    run(main)


def test_notify_closing_after_the_news_delivers_one_of_both(run, record, pair):
    left, right = pair

    async def main():
        async def wait():
            try:
                await lowlevel.wait_readable(left)
            except uringtrio.ClosedResourceError:
                record("closed")
            else:
                record("readable")

        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await wait_all_tasks_blocked(0.01)
            right.send(b"x")
            lowlevel.notify_closing(left)

    run(main)

    assert len(record.events) == 1


def test_number_of_a_closed_descriptor_may_come_again(run, record):
    async def main():
        async def wait(fd):
            try:
                await lowlevel.wait_readable(fd)
            except uringtrio.ClosedResourceError:
                record("closed")

        for _ in range(5):
            receive_fd, send_fd = os.pipe()
            async with uringtrio.open_nursery() as nursery:
                nursery.start_soon(wait, receive_fd)
                await wait_all_tasks_blocked(0.005)
                lowlevel.notify_closing(receive_fd)
                os.close(receive_fd)
            os.close(send_fd)
        receive_fd, send_fd = os.pipe()
        os.write(send_fd, b"x")
        await lowlevel.wait_readable(receive_fd)
        os.close(receive_fd)
        os.close(send_fd)

    run(main)

    assert record.events == ["closed"] * 5


def test_descriptor_closed_without_a_word_does_not_break_the_run(run):
    async def main():
        receive_fd, send_fd = os.pipe()
        with uringtrio.move_on_after(0.05):
            async with uringtrio.open_nursery() as nursery:
                nursery.start_soon(lowlevel.wait_readable, receive_fd)
                await wait_all_tasks_blocked(0.01)
                os.close(receive_fd)
                os.close(send_fd)
        # Everything else goes on, also with descriptors of the same numbers.
        receive_fd, send_fd = os.pipe()
        os.write(send_fd, b"x")
        await lowlevel.wait_readable(receive_fd)
        os.close(receive_fd)
        os.close(send_fd)
        return "fine"

    assert run(main) == "fine"


@pytest.mark.parametrize("wait", [lowlevel.wait_readable, lowlevel.wait_writable])
def test_what_has_no_readiness_is_an_error_of_the_call(run, wait, tmp_path):
    async def main():
        with pytest.raises(ValueError, match="at least 0"):
            await wait(-1)
        closed = stdlib_socket.socket()
        closed.close()
        with pytest.raises(ValueError, match="is it closed"):
            await wait(closed)
        fd = os.open(os.devnull, os.O_RDWR)
        os.close(fd)
        with pytest.raises(OSError, match="Bad file descriptor") as caught:
            await wait(fd)
        assert caught.value.errno == errno.EBADF
        with pytest.raises(PermissionError) as caught, (tmp_path / "file").open("wb") as file:
            await wait(file)
        assert caught.value.errno == errno.EPERM
        with pytest.raises(AttributeError):
            await wait("no descriptor")

    run(main)


def test_waits_of_two_runs_in_two_threads_do_not_meet(run, pair):
    left, right = pair

    async def main():
        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(lowlevel.wait_readable, left)
            await wait_all_tasks_blocked(0.01)
            # The other run waits for the same descriptor, and is no second waiter of this one.
            nursery.start_soon(
                uringtrio.to_thread.run_sync, uringtrio.run, lowlevel.wait_readable, left
            )
            await uringtrio.sleep(0.02)
            right.send(b"x")

    run(main)


def test_calls_outside_of_a_run_say_so(pair):
    with pytest.raises(RuntimeError, match="must be called from async context"):
        lowlevel.notify_closing(pair[0])
