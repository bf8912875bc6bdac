"""send_all(zero_copy=True): the same bytes, of data that nobody may change."""

import mmap
import random

import pytest

import uringtrio
from uringtrio import lowlevel, socket
from uringtrio._net import zero_copy as zero_copies
from uringtrio._net.zero_copy import ZERO_COPY_BYTES_MIN
from uringtrio.testing import assert_checkpoints

DATA = random.Random(9).randbytes(3_000_000)


@pytest.fixture
def streams(stream_pair):
    class Streams:
        async def __aenter__(self):
            self._sockets = stream_pair()
            pair = await self._sockets.__aenter__()
            return [uringtrio.SocketStream(sock) for sock in pair]

        async def __aexit__(self, *exc_info):
            await self._sockets.__aexit__(*exc_info)
            await notified()

    return Streams


def in_flight():
    return lowlevel.current_statistics().io_statistics.in_flight


async def notified():
    """Wait until the kernel has let go of all data."""
    while "Notification" in in_flight():
        await uringtrio.sleep(0.001)


async def receive(stream, size):
    data = bytearray()
    while len(data) < size:
        chunk = await stream.receive_some()
        assert chunk
        data += chunk
    return data


@pytest.mark.parametrize(
    "make",
    [
        bytes,
        memoryview,
        lambda data: memoryview(bytearray(data)).toreadonly(),
        lambda data: [data[:10], data[10:100_000], b"", data[100_000:]],
        lambda data: (memoryview(data),),
    ],
)
def test_all_of_it_arrives(run, streams, make):
    async def main():
        async with streams() as (left, right):
            got = []

            async def read():
                got.append(await receive(right, len(DATA)))

            async with uringtrio.open_nursery() as nursery:
                nursery.start_soon(read)
                await left.send_all(make(DATA), zero_copy=True)
                assert left.sent_bytes == len(DATA)
            assert got == [DATA]

    run(main)


def test_mapped_file_is_sent(run, streams, tmp_path):
    (tmp_path / "file").write_bytes(DATA)

    async def main():
        async with streams() as (left, right):
            with (
                open(tmp_path / "file", "rb") as file,
                mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped,
            ):
                async with uringtrio.open_nursery() as nursery:
                    nursery.start_soon(receive, right, len(DATA))
                    await left.send_all(mapped, zero_copy=True)
                # Until then it cannot be unmapped.
                await notified()

    run(main)


def test_cancelled_send_tells_exactly_how_much_was_sent(run, streams):
    async def main():
        async with streams() as (left, right):
            data = bytearray()
            sent = cancels = 0

            async def read():
                async for chunk in right:
                    data.extend(chunk)
                    await uringtrio.sleep(0.0005)

            async with uringtrio.open_nursery() as nursery:
                nursery.start_soon(read)
                while sent < len(DATA):
                    with uringtrio.move_on_after(0.002) as scope:
                        await left.send_all(DATA[sent:], zero_copy=True)
                    cancels += scope.cancelled_caught
                    sent += left.sent_bytes
                await left.send_eof()
            assert data == DATA
            assert cancels

    run(main)


def test_data_that_could_change_is_refused(run, streams):
    async def main():
        async with streams() as (left, _right):
            for wrong in (
                bytearray(100_000),
                memoryview(bytearray(10)),
                [b"x", bytearray(1)],
                bytearray(),
            ):
                with pytest.raises(TypeError, match=r"read-only .*toreadonly"):
                    await left.send_all(wrong, zero_copy=True)
            for wrong in ("x", None, 5, ["x"]):
                with pytest.raises(TypeError):
                    await left.send_all(wrong, zero_copy=True)
            assert left.sent_bytes == 0

    run(main)


@pytest.mark.parametrize("data", [b"", [], [b"", b""], b"x", DATA[:20_000]])
def test_it_is_a_checkpoint(run, streams, data):
    async def main():
        async with streams() as (left, right):
            with assert_checkpoints():
                await left.send_all(data, zero_copy=True)
            expected = b"".join(data) if isinstance(data, list) else data
            assert left.sent_bytes == len(expected)
            assert await receive(right, len(expected)) == expected

    run(main)


def test_other_senders_are_refused_meanwhile(run, streams, settle):
    async def main():
        async with streams() as (left, right):
            async with uringtrio.open_nursery() as nursery:
                nursery.start_soon(lambda: left.send_all(bytes(1 << 25), zero_copy=True))
                await settle()
                for send in (
                    lambda: left.send_all(b"x"),
                    lambda: left.send_all(DATA, zero_copy=True),
                    lambda: left.send_all(b"", zero_copy=True),
                ):
                    with pytest.raises(uringtrio.BusyResourceError):
                        await send()
                nursery.cancel_scope.cancel()
            right.socket.close()

    run(main)


def test_closed_ended_and_broken_streams_say_so(run, streams, settle):
    async def main():
        async with streams() as (left, right):

            async def send():
                with pytest.raises(uringtrio.ClosedResourceError):
                    await right.send_all(bytes(1 << 25), zero_copy=True)

            async with uringtrio.open_nursery() as nursery:
                nursery.start_soon(send)
                await settle()
                await right.aclose()
            with pytest.raises(uringtrio.ClosedResourceError):
                await right.send_all(b"", zero_copy=True)
            left.socket.close()
        async with streams() as (left, right):
            await left.send_eof()
            with pytest.raises(uringtrio.ClosedResourceError):
                await left.send_all(DATA, zero_copy=True)
        async with streams() as (left, right):
            right.socket.close()

            async def send_for_ever():
                # The first may still go into the void.
                while True:
                    await left.send_all(DATA, zero_copy=True)

            with pytest.raises(uringtrio.BrokenResourceError):
                await send_for_ever()

    run(main)


def test_only_what_is_long_enough_is_sent_uncopied(run, tcp_pair):
    async def main():
        async with tcp_pair() as pair:
            left, _ = map(uringtrio.SocketStream, pair)
            await left.send_all(bytes(ZERO_COPY_BYTES_MIN - 1), zero_copy=True)
            assert in_flight() == {}
            await left.send_all(bytes(ZERO_COPY_BYTES_MIN), zero_copy=True)
            if lowlevel.current_statistics().io_statistics.driver == "io_uring" and not (
                zero_copies._refused & {(int(socket.AF_INET), 0), (int(socket.AF_INET), 6)}
            ):
                assert in_flight() == {"Notification": 1}
        await notified()

    run(main)
