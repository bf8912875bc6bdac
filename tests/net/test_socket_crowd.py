"""Many sockets at once, on a ring that is far too small for them: late perhaps, lost never."""

import contextlib

import pytest

import uringtrio
from uringtrio import lowlevel, socket

PAIRS = 150
SMALL = uringtrio.RingOptions(entries=4, cq_entries=8, buffer_count=2, buffer_size=1024)
BARE = uringtrio.RingOptions(entries=4, cq_entries=8, buffer_count=0)


@pytest.fixture(params=[SMALL, BARE, None], ids=["small", "no provided buffers", "usual"])
def ring(request):
    return request.param


@contextlib.contextmanager
def open_pairs(kind=socket.SOCK_STREAM):
    with contextlib.ExitStack() as stack:
        pairs = []
        for _ in range(PAIRS):
            pair = socket.socketpair(socket.AF_UNIX, kind)
            for sock in pair:
                stack.enter_context(sock)
            pairs.append(pair)
        yield pairs


@pytest.mark.parametrize(
    "kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM], ids=["stream", "datagram"]
)
def test_data_that_comes_for_all_at_once_reaches_all(run, settle, ring, kind):
    async def main():
        received = {}

        async def receive(number, sock):
            received[number] = await sock.recv(100)

        with open_pairs(kind) as pairs:
            for _ in range(3):
                received.clear()
                async with uringtrio.open_nursery() as nursery:
                    for number, (left, _) in enumerate(pairs):
                        nursery.start_soon(receive, number, left)
                    await settle()
                    for number, (_, right) in enumerate(pairs):
                        nursery.start_soon(right.send, b"%d" % number)
                assert received == {number: b"%d" % number for number in range(PAIRS)}

    run(main, ring=ring)


def test_data_that_is_there_before_reaches_all(run, ring):
    async def main():
        received = []

        async def receive(sock):
            data = b""
            while len(data) < 3000:
                data += await sock.recv(5000)
            received.append(data)

        with open_pairs() as pairs:
            for _, right in pairs:
                await right.send(b"x" * 3000)
            async with uringtrio.open_nursery() as nursery:
                for left, _ in pairs:
                    nursery.start_soon(receive, left)
            assert received == [b"x" * 3000] * PAIRS

    run(main, ring=ring)


def test_cancelling_all_at_once_ends_all(run, settle, ring):
    async def main():
        with open_pairs() as pairs:
            for _ in range(3):
                async with uringtrio.open_nursery() as nursery:
                    for left, _ in pairs:
                        nursery.start_soon(left.recv, 100)
                    await settle()
                    assert lowlevel.current_statistics().io_statistics.in_flight == {"Recv": PAIRS}
                    nursery.cancel_scope.cancel()
                assert lowlevel.current_statistics().io_statistics.in_flight == {}

    run(main, ring=ring)


def test_cancelling_before_anything_was_entered_ends_all(run, ring):
    """The cancels are queued behind their ops, which have not been submitted yet."""

    async def main():
        with open_pairs() as pairs:
            async with uringtrio.open_nursery() as nursery:
                for left, _ in pairs:
                    nursery.start_soon(left.recv, 100)
                await lowlevel.checkpoint()
                nursery.cancel_scope.cancel()
            assert lowlevel.current_statistics().io_statistics.in_flight == {}

    run(main, ring=ring)


def test_closing_all_at_once_ends_all(run, settle, ring):
    async def main():
        closed = []

        async def receive(sock):
            with pytest.raises(uringtrio.ClosedResourceError):
                await sock.recv(100)
            closed.append(sock)

        with open_pairs() as pairs:
            async with uringtrio.open_nursery() as nursery:
                for left, _ in pairs:
                    nursery.start_soon(receive, left)
                await settle()
                for left, _ in pairs:
                    left.close()
            assert len(closed) == PAIRS
            for _, right in pairs:
                assert await right.recv(1) == b""

    run(main, ring=ring)


def test_everything_crosses_with_everything(run, ring):
    """Receives, sends, cancels and closes in one crowd: every byte sent is accounted for."""

    async def main():
        async def echo(sock):
            while data := await sock.recv(64):
                await sock.send(data)

        async def client(sock, number):
            for turn in range(10):
                data = b"%d.%d" % (number, turn)
                await sock.send(data)
                with uringtrio.move_on_after(0 if turn % 3 == 0 else 10):
                    assert await sock.recv(64) == data
                    continue
                # It was cancelled before it took anything: the answer is still to come.
                assert await sock.recv(64) == data
            sock.close()

        with open_pairs() as pairs:
            async with uringtrio.open_nursery() as nursery:
                for number, (left, right) in enumerate(pairs):
                    nursery.start_soon(echo, left)
                    nursery.start_soon(client, right, number)

    run(main, ring=ring)
