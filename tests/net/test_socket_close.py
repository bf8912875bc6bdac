"""Closing sockets during use, using them after closing, and two tasks in one direction."""

import errno
import gc
import os

import pytest

import uringtrio
from uringtrio import lowlevel, socket


def operations(sock):
    """Return the calls that wait for ever on a connected, silent, full socket."""
    buffer = bytearray(10)
    return {
        "recv": lambda: sock.recv(1),
        "recv_into": lambda: sock.recv_into(buffer),
        "recvfrom": lambda: sock.recvfrom(1),
        "recvfrom_into": lambda: sock.recvfrom_into(buffer),
        "recvmsg": lambda: sock.recvmsg(1),
        "recvmsg_into": lambda: sock.recvmsg_into([buffer]),
    }


READS = sorted(operations(None))
FULL = b"x" * 2**20


async def fill(sock):
    """Send until the kernel takes no more."""
    while True:
        with uringtrio.move_on_after(0.02) as scope:
            await sock.send(FULL)
        if scope.cancelled_caught:
            return


# Closing while a task waits.


@pytest.mark.parametrize("name", READS)
def test_close_wakes_the_receiver_and_really_closes(run, settle, stream_pair, name):
    async def main():
        async with stream_pair() as (left, right):
            fd = left.fileno()

            async def receive():
                with pytest.raises(uringtrio.ClosedResourceError):
                    await operations(left)[name]()

            async with uringtrio.open_nursery() as nursery:
                nursery.start_soon(receive)
                await settle()
                left.close()
                assert left.fileno() == -1
            with pytest.raises(OSError, match="Bad file descriptor"):
                os.fstat(fd)
            assert await right.recv(1) == b""

    run(main)


def test_close_wakes_the_sender_and_really_closes(run, settle, stream_pair):
    async def main():
        async with stream_pair() as (left, right):
            await fill(left)
            fd = left.fileno()

            async def send():
                with pytest.raises(uringtrio.ClosedResourceError):
                    await left.send(FULL)

            async with uringtrio.open_nursery() as nursery:
                nursery.start_soon(send)
                await settle()
                left.close()
            with pytest.raises(OSError, match="Bad file descriptor"):
                os.fstat(fd)
            while await right.recv(2**20):
                pass

    run(main)


def test_close_wakes_sender_and_receiver_together(run, settle, stream_pair):
    async def main():
        async with stream_pair() as (left, _right):
            await fill(left)
            fd = left.fileno()

            async def send():
                with pytest.raises(uringtrio.ClosedResourceError):
                    await left.send(FULL)

            async def receive():
                with pytest.raises(uringtrio.ClosedResourceError):
                    await left.recv(1)

            async with uringtrio.open_nursery() as nursery:
                nursery.start_soon(send)
                nursery.start_soon(receive)
                await settle()
                left.close()
                left.close()
            with pytest.raises(OSError, match="Bad file descriptor"):
                os.fstat(fd)

    run(main)


def test_close_wakes_accept_and_frees_the_port(run, settle):
    async def main():
        listener = socket.socket()
        await listener.bind(("127.0.0.1", 0))
        listener.listen()
        address = listener.getsockname()

        async def accept():
            with pytest.raises(uringtrio.ClosedResourceError):
                await listener.accept()

        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(accept)
            await settle()
            listener.close()
        with socket.socket() as again:
            await again.bind(address)
            again.listen()

    run(main)


def test_close_wakes_connect(run, settle):
    async def main():
        with socket.socket() as listener:
            await listener.bind(("127.0.0.1", 0))
            listener.listen(0)
            filling = [socket.socket() for _ in range(3)]
            hanging = socket.socket()
            for sock in filling:
                with uringtrio.move_on_after(0.02):
                    await sock.connect(listener.getsockname())

            async def connect():
                with pytest.raises(uringtrio.ClosedResourceError):
                    await hanging.connect(listener.getsockname())

            async with uringtrio.open_nursery() as nursery:
                nursery.start_soon(connect)
                await settle()
                hanging.close()
            for sock in filling:
                sock.close()

    run(main)


def test_close_of_a_socket_with_a_cancelled_receive_closes_once(run, settle, stream_pair):
    """The op has been asked to end already when the close comes."""

    async def main():
        async with stream_pair() as (left, right):
            fd = left.fileno()
            seen = []

            async def receive():
                try:
                    await left.recv(1)
                except uringtrio.Cancelled:
                    seen.append("cancelled")
                    raise

            async with uringtrio.open_nursery() as nursery:
                nursery.start_soon(receive)
                await settle()
                nursery.cancel_scope.cancel()
                left.close()
            assert seen == ["cancelled"]
            with pytest.raises(OSError, match="Bad file descriptor"):
                os.fstat(fd)
            assert await right.recv(1) == b""

    run(main)


def test_close_delivers_what_had_arrived_or_raises_but_never_both(run, settle, stream_pair):
    async def main():
        for _ in range(20):
            async with stream_pair() as (left, right):
                outcomes = []

                async def receive(left=left, outcomes=outcomes):
                    try:
                        outcomes.append(await left.recv(10))
                    except uringtrio.ClosedResourceError:
                        outcomes.append("closed")

                async with uringtrio.open_nursery() as nursery:
                    nursery.start_soon(receive)
                    await settle()
                    await right.send(b"data")
                    left.close()
                assert outcomes in ([b"data"], ["closed"])

    run(main)


def test_leaving_the_with_block_closes_and_wakes(run, settle):
    async def main():
        left, right = socket.socketpair()

        async def receive():
            with pytest.raises(uringtrio.ClosedResourceError):
                await left.recv(1)

        async with uringtrio.open_nursery() as nursery:
            with left, right:
                nursery.start_soon(receive)
                await settle()
        assert left.fileno() == right.fileno() == -1

    run(main)


# After closing.


def test_closed_socket_says_bad_descriptor(run):
    async def main():
        sock = socket.socket()
        sock.close()
        sock.close()
        calls = {
            **operations(sock),
            "send": lambda: sock.send(b"x"),
            "sendto": lambda: sock.sendto(b"x", ("127.0.0.1", 9)),
            "sendmsg": lambda: sock.sendmsg([b"x"]),
            "accept": sock.accept,
            "bind": lambda: sock.bind(("127.0.0.1", 0)),
            "connect": lambda: sock.connect(("127.0.0.1", 9)),
        }
        for name, call in calls.items():
            with pytest.raises(OSError, match="Bad file descriptor") as caught:
                await call()
            assert caught.value.errno == errno.EBADF, name
        for call in (sock.getsockname, sock.listen, lambda: sock.shutdown(socket.SHUT_WR)):
            with pytest.raises(OSError, match="Bad file descriptor"):
                call()
        assert sock.fileno() == -1

    run(main)


def test_number_of_a_closed_socket_is_not_used_by_mistake(run, settle):
    """A new socket gets the old number while the old object is still around."""

    async def main():
        left, right = socket.socketpair()
        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(left.recv, 1)
            await settle()
            nursery.cancel_scope.cancel()
        number = left.fileno()
        left.close()
        new_left, new_right = socket.socketpair()
        with right, new_left, new_right:
            assert number in (new_left.fileno(), new_right.fileno())
            with pytest.raises(OSError, match="Bad file descriptor"):
                await left.recv(1)
            await new_right.send(b"a")
            await new_left.send(b"b")
            assert await new_left.recv(1) == b"a"
            assert await new_right.recv(1) == b"b"

    run(main)


def test_many_sockets_in_turn_on_the_same_number(run):
    async def main():
        for number in range(200):
            left, right = socket.socketpair()
            with left, right:
                async with uringtrio.open_nursery() as nursery:
                    nursery.start_soon(right.recv, 10)
                    await lowlevel.checkpoint()
                    await left.send(b"%d" % number)

    run(main)


def test_forgotten_socket_warns_and_is_closed():
    sock = socket.socket()
    fd = sock.fileno()
    with pytest.warns(ResourceWarning, match="unclosed"):  # noqa: PT031  # the block is what is tested
        del sock
        gc.collect()

    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)


# Two tasks in one direction.


@pytest.mark.parametrize("name", READS)
def test_second_receiver_is_refused_and_the_first_goes_on(run, settle, stream_pair, name):
    async def main():
        async with stream_pair() as (left, right):
            seen = []

            async def receive():
                seen.append(await left.recv(10))

            async with uringtrio.open_nursery() as nursery:
                nursery.start_soon(receive)
                await settle()
                with pytest.raises(uringtrio.BusyResourceError, match="receiving"):
                    await operations(left)[name]()
                await right.send(b"data")
            assert seen == [b"data"]

    run(main)


def test_second_sender_is_refused_and_the_first_goes_on(run, settle, stream_pair, big):
    async def main():
        async with stream_pair() as (left, right):
            await fill(left)
            sent = []

            async def send():
                sent.append(await left.send(big))

            async with uringtrio.open_nursery() as nursery:
                nursery.start_soon(send)
                await settle()
                for call in (
                    lambda: left.send(b"x"),
                    lambda: left.sendmsg([b"x"]),
                    lambda: left.sendto(b"x", right.getsockname()),
                ):
                    with pytest.raises(uringtrio.BusyResourceError, match="sending"):
                        await call()
                while not sent:
                    await right.recv(2**20)
            assert sent[0] > 0

    run(main)


def test_second_accept_is_refused(run, settle):
    async def main():
        with socket.socket() as listener:
            await listener.bind(("127.0.0.1", 0))
            listener.listen()
            async with uringtrio.open_nursery() as nursery:
                nursery.start_soon(listener.accept)
                await settle()
                with pytest.raises(uringtrio.BusyResourceError):
                    await listener.accept()
                nursery.cancel_scope.cancel()

    run(main)


def test_one_may_send_while_another_receives(run, settle, stream_pair):
    async def main():
        async with stream_pair() as (left, right):
            async with uringtrio.open_nursery() as nursery:
                nursery.start_soon(left.recv, 1)
                await settle()
                await left.send(b"not in the way")
                assert await right.recv(100) == b"not in the way"
                await right.send(b"x")

    run(main)
