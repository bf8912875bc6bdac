"""FdStream: streams over pipes and other descriptors that are no sockets."""

import contextlib
import gc
import os
import pty
import tty

import pytest

import uringtrio
from uringtrio import lowlevel
from uringtrio.testing import (
    assert_checkpoints,
    check_one_way_stream,
    check_two_way_stream,
    wait_all_tasks_blocked,
)

# More than a pipe takes.
BIG = bytes(range(256)) * 2048


def pipe():
    """Return (sending stream, receiving stream) of a pipe."""
    receive_fd, send_fd = os.pipe()
    return lowlevel.FdStream(send_fd), lowlevel.FdStream(receive_fd)


async def fill(stream):
    while True:
        await stream.send_all(b"x" * 10000)


async def clogged_pipe():
    send_stream, receive_stream = pipe()
    async with uringtrio.open_nursery() as nursery:
        nursery.start_soon(fill, send_stream)
        await wait_all_tasks_blocked(0.01)
        nursery.cancel_scope.cancel()
    return send_stream, receive_stream


async def open_pipe():
    return pipe()


def test_pipe_keeps_the_contract_of_one_way_streams(run):
    run(check_one_way_stream, open_pipe, clogged_pipe, seconds=60)


def test_two_pipes_keep_the_contract_of_two_way_streams(run):
    async def open_two():
        one, two = pipe(), pipe()
        return (
            uringtrio.StapledStream(one[0], two[1]),
            uringtrio.StapledStream(two[0], one[1]),
        )

    async def clogged_two():
        one, two = await clogged_pipe(), await clogged_pipe()
        return (
            uringtrio.StapledStream(one[0], two[1]),
            uringtrio.StapledStream(two[0], one[1]),
        )

    run(check_two_way_stream, open_two, clogged_two, seconds=60)


def test_stream_is_what_the_contracts_say():
    send_stream, receive_stream = pipe()

    for stream in (send_stream, receive_stream):
        assert isinstance(stream, uringtrio.abc.Stream)
        # The end of sending cannot be told from here.
        assert not isinstance(stream, uringtrio.abc.HalfCloseableStream)
        stream.close()
    with pytest.raises(TypeError, match="final"):
        type("Mine", (lowlevel.FdStream,), {})


def test_large_amounts_arrive_whole(run):
    async def main():
        send_stream, receive_stream = pipe()

        async def send():
            async with send_stream:
                await send_stream.send_all(BIG)

        received = bytearray()
        async with uringtrio.open_nursery() as nursery, receive_stream:
            nursery.start_soon(send)
            async for chunk in receive_stream:
                received += chunk
        assert received == BIG

    run(main)


def test_receive_takes_at_most_what_is_asked_for(run):
    async def main():
        send_stream, receive_stream = pipe()
        async with send_stream, receive_stream:
            await send_stream.send_all(b"abc")
            assert await receive_stream.receive_some(2) == b"ab"
            assert await receive_stream.receive_some(2) == b"c"

    run(main)


@pytest.mark.parametrize(
    ("max_bytes", "error"),
    [(0, ValueError), (-1, ValueError), (1.5, TypeError), ("1", TypeError)],
)
def test_sizes_that_make_no_sense_are_refused(run, max_bytes, error):
    async def main():
        send_stream, receive_stream = pipe()
        async with send_stream, receive_stream:
            with pytest.raises(error, match="max_bytes must be"):
                await receive_stream.receive_some(max_bytes)

    run(main)


def test_cancelled_receive_loses_no_byte(run):
    async def main():
        send_stream, receive_stream = pipe()
        async with send_stream, receive_stream:
            with uringtrio.move_on_after(0.01) as scope:
                await receive_stream.receive_some()
            assert scope.cancelled_caught
            await send_stream.send_all(b"x")
            with uringtrio.CancelScope() as scope:
                scope.cancel()
                await receive_stream.receive_some()
            assert scope.cancelled_caught
            assert await receive_stream.receive_some() == b"x"

    run(main)


def test_peer_that_is_gone_breaks_the_sender_with_the_cause(run):
    async def main():
        send_stream, receive_stream = pipe()
        async with send_stream:
            await receive_stream.aclose()
            with pytest.raises(uringtrio.BrokenResourceError) as caught:
                await send_stream.send_all(b"x")
            assert isinstance(caught.value.__cause__, BrokenPipeError)
            with pytest.raises(uringtrio.BrokenResourceError):
                await send_stream.send_all(b"x")

    run(main)


def test_peer_that_goes_away_breaks_a_waiting_sender(run):
    async def main():
        send_stream, receive_stream = await clogged_pipe()
        async with send_stream, uringtrio.open_nursery() as nursery:

            async def send():
                with pytest.raises(uringtrio.BrokenResourceError):
                    await send_stream.send_all(BIG)

            nursery.start_soon(send)
            await wait_all_tasks_blocked(0.01)
            receive_stream.close()

    run(main)


@pytest.mark.parametrize("call", ["send_all", "wait_send_all_might_not_block"])
def test_sending_twice_at_once_is_refused_and_the_first_goes_on(run, call):
    async def main():
        send_stream, receive_stream = await clogged_pipe()
        args = (b"x",) if call == "send_all" else ()
        async with send_stream, receive_stream, uringtrio.open_nursery() as nursery:
            nursery.start_soon(send_stream.send_all, BIG)
            await wait_all_tasks_blocked(0.01)
            with pytest.raises(uringtrio.BusyResourceError, match="sending through"):
                await getattr(send_stream, call)(*args)
            nursery.cancel_scope.cancel()

    run(main)


def test_receiving_twice_at_once_is_refused_and_the_first_goes_on(run, record):
    async def main():
        send_stream, receive_stream = pipe()

        async def receive():
            record(await receive_stream.receive_some())

        async with send_stream, receive_stream, uringtrio.open_nursery() as nursery:
            nursery.start_soon(receive)
            await wait_all_tasks_blocked(0.01)
            with pytest.raises(uringtrio.BusyResourceError, match="receiving from"):
                await receive_stream.receive_some()
            await send_stream.send_all(b"x")

    run(main)

    assert record.events == [b"x"]


def test_close_wakes_everybody_who_waits_in_it(run, record):
    async def main():
        send_stream, other_end = await clogged_pipe()
        other_start, receive_stream = pipe()
        fds = send_stream.fileno(), receive_stream.fileno()

        async def wait(async_fn, *args):
            with pytest.raises(uringtrio.ClosedResourceError):
                await async_fn(*args)
            record("closed")

        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(wait, send_stream.send_all, BIG)
            nursery.start_soon(wait, receive_stream.receive_some)
            await wait_all_tasks_blocked(0.01)
            send_stream.close()
            receive_stream.close()
            assert send_stream.fileno() == receive_stream.fileno() == -1
        for fd in fds:
            with pytest.raises(OSError, match="Bad file descriptor"):
                os.fstat(fd)
        other_end.close()
        other_start.close()

    run(main)

    assert record.events == ["closed", "closed"]


def test_closed_stream_refuses_everything_but_closing(run):
    async def main():
        for stream in pipe():
            stream.close()
            stream.close()
            with assert_checkpoints():
                await stream.aclose()
            with pytest.raises(uringtrio.ClosedResourceError):
                await stream.send_all(b"x")
            with pytest.raises(uringtrio.ClosedResourceError):
                await stream.send_all(b"")
            with pytest.raises(uringtrio.ClosedResourceError):
                await stream.wait_send_all_might_not_block()
            with pytest.raises(uringtrio.ClosedResourceError):
                await stream.receive_some()

    run(main)


def test_close_needs_no_run_and_gives_the_number_back():
    send_stream, receive_stream = pipe()
    fd = send_stream.fileno()

    send_stream.close()
    receive_stream.close()

    assert send_stream.fileno() == -1
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)


def test_cancelled_aclose_closes(run):
    async def main():
        send_stream, receive_stream = pipe()
        for stream in (send_stream, receive_stream):
            with uringtrio.CancelScope() as scope:
                scope.cancel()
                await stream.aclose()
            assert scope.cancelled_caught
            assert stream.fileno() == -1

    run(main)


@pytest.mark.parametrize("was_blocking", [True, False])
def test_blocking_mode_is_put_back(was_blocking):
    receive_fd, send_fd = os.pipe()
    os.set_blocking(send_fd, was_blocking)
    # Shares the open file, and so its mode, with the stream.
    other_fd = os.dup(send_fd)
    stream = lowlevel.FdStream(send_fd)
    assert os.get_blocking(other_fd) is False

    stream.close()

    assert os.get_blocking(other_fd) is was_blocking
    os.close(other_fd)
    os.close(receive_fd)


def test_forgotten_stream_closes_its_descriptor():
    receive_fd, send_fd = os.pipe()
    stream = lowlevel.FdStream(send_fd)
    del stream
    gc.collect()

    assert os.read(receive_fd, 1) == b""
    os.close(receive_fd)


@pytest.mark.parametrize("what", [None, "1", 1.5, "file"])
def test_what_is_no_descriptor_is_refused(what):
    with open(os.devnull, "rb") as file, pytest.raises(TypeError, match="must be an int"):
        lowlevel.FdStream(file if what == "file" else what)


def test_descriptor_that_is_not_open_is_an_os_error():
    fd = os.open(os.devnull, os.O_RDONLY)
    os.close(fd)

    with pytest.raises(OSError, match="Bad file descriptor"):
        lowlevel.FdStream(fd)
    with pytest.raises(OSError, match="Bad file descriptor"):
        lowlevel.FdStream(-1)


def test_wait_for_room_ends_when_the_peer_reads(run, record):
    async def main():
        send_stream, receive_stream = await clogged_pipe()

        async def drain():
            async for _ in receive_stream:
                pass

        async def wait():
            await send_stream.wait_send_all_might_not_block()
            record("room")
            nursery.cancel_scope.cancel()

        async with send_stream, receive_stream, uringtrio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await wait_all_tasks_blocked(0.01)
            assert record.events == []
            nursery.start_soon(drain)

    run(main)


def test_terminal_is_read_and_written(run):
    """A pty answers the end of its peer with EIO instead of an end of stream."""

    async def main():
        ours, theirs = pty.openpty()
        tty.setraw(theirs)
        one, two = lowlevel.FdStream(ours), lowlevel.FdStream(theirs)
        async with one, two:
            await one.send_all(b"to the program")
            assert await two.receive_some() == b"to the program"
            await two.send_all(b"to the terminal")
            assert await one.receive_some() == b"to the terminal"
            two.close()
            with pytest.raises(uringtrio.BrokenResourceError) as caught:
                await one.receive_some()
            assert isinstance(caught.value.__cause__, OSError)

    run(main)


def test_one_descriptor_for_both_directions_receives_while_it_sends(run):
    async def main():
        ours, theirs = pty.openpty()
        tty.setraw(theirs)
        one, two = lowlevel.FdStream(ours), lowlevel.FdStream(theirs)
        async with one, two, uringtrio.open_nursery() as nursery:

            async def echo():
                with contextlib.suppress(uringtrio.BrokenResourceError):
                    async for chunk in two:
                        await two.send_all(chunk)

            nursery.start_soon(echo)
            nursery.start_soon(one.send_all, b"x" * 3000)
            received = 0
            while received < 3000:
                received += len(await one.receive_some())
            nursery.cancel_scope.cancel()

    run(main)


def test_descriptor_number_that_comes_again_is_not_mixed_up(run):
    async def main():
        for number in range(50):
            send_stream, receive_stream = pipe()
            async with send_stream, receive_stream, uringtrio.open_nursery() as nursery:
                nursery.start_soon(send_stream.send_all, b"%d" % number)
                assert await receive_stream.receive_some() == b"%d" % number
                with uringtrio.move_on_after(0):
                    await receive_stream.receive_some()

    run(main)


def test_sending_end_of_a_pipe_cannot_be_received_from(run):
    """It waited for ever where readiness is asked for, since such an end never gets readable."""

    async def main():
        send_stream, receive_stream = pipe()
        async with send_stream, receive_stream:
            with pytest.raises(uringtrio.ClosedResourceError):
                await send_stream.receive_some()

    run(main)


def test_receiving_end_of_a_pipe_cannot_be_sent_through(run):
    async def main():
        send_stream, receive_stream = pipe()
        async with send_stream, receive_stream:
            with pytest.raises(uringtrio.ClosedResourceError):
                await receive_stream.send_all(b"x")
            await send_stream.send_all(b"y")
            assert await receive_stream.receive_some() == b"y"

    run(main)
