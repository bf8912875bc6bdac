"""Files that are sent by a stream: which bytes of them, and where a cancelled one has come to."""

import contextlib
import errno
import io
import os
import random
import socket as stdlib
import struct
import threading

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

import uringtrio
from uringtrio import socket
from uringtrio._net import send_file as send_files
from uringtrio._net.send_file import FileSending
from uringtrio._net.splice_pipe import RunPipe
from uringtrio._ops.transfer import SEND_FILE_BYTES, SendFile, Splice
from uringtrio.testing import assert_checkpoints

CONTENT_BYTES = 3 * SEND_FILE_BYTES + 12_345
CONTENT = random.Random(7).randbytes(CONTENT_BYTES)

# Something on no disk, which splice(2) and sendfile(2) refuse, and which stays the same.
UNSPLICEABLE = "/proc/self/environ"

LINGER_RESET = struct.pack("ii", 1, 0)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("files") / "file"
    path.write_bytes(CONTENT)
    return path


@pytest.fixture
def file(path):
    with open(path, "rb") as file:
        yield file


@pytest.fixture
def streams(stream_pair):
    @contextlib.asynccontextmanager
    async def open_streams():
        async with stream_pair() as pair:
            yield tuple(map(uringtrio.SocketStream, pair))

    return open_streams


async def received(stream, send, *args, **kwargs):
    """Run `send`, then end the sending; return what came, and what `send` returned."""
    chunks = []
    result = []

    async def receive(peer):
        chunks.extend([chunk async for chunk in peer])

    left, right = stream
    async with uringtrio.open_nursery() as nursery:
        nursery.start_soon(receive, right)
        result.append(await send(left, *args, **kwargs))
        await left.send_eof()
    return b"".join(chunks), result[0]


def send_file(stream, *args, **kwargs):
    return stream.send_file(*args, **kwargs)


def test_whole_file_arrives(run, streams, file):
    async def main():
        async with streams() as pair:
            assert await received(pair, send_file, file) == (CONTENT, CONTENT_BYTES)
            assert pair[0].sent_bytes == CONTENT_BYTES

    run(main)


@pytest.mark.parametrize("way", ["in memory", "on a disk", "without splice"])
def test_any_part_arrives_as_it_is_in_the_file(run, tcp_pair, file, monkeypatch, way):
    monkeypatch.setattr(FileSending, "_is_in_memory", lambda *_: way == "in memory")
    if way == "without splice":
        monkeypatch.setattr(send_files, "HAS_SPLICE", False)
    near = st.sampled_from([0, 4095, 4096, SEND_FILE_BYTES - 1, SEND_FILE_BYTES, CONTENT_BYTES - 1])

    @settings(
        max_examples=25,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )
    @given(
        offset=st.integers(0, CONTENT_BYTES + 10) | near,
        count=st.none() | st.integers(0, CONTENT_BYTES + 10) | near,
        before=st.binary(max_size=10),
    )
    def check(offset, count, before):
        expected = CONTENT[offset:] if count is None else CONTENT[offset : offset + count]

        async def between_other_data(stream):
            await stream.send_all(before)
            sent = await stream.send_file(file, offset, count)
            assert stream.sent_bytes == sent
            await stream.send_all(b"after")
            return sent

        async def main():
            async with tcp_pair() as socks:
                pair = [uringtrio.SocketStream(sock) for sock in socks]
                data, sent = await received(pair, between_other_data)
                assert data == before + expected + b"after"
                assert sent == len(expected)

        run(main)

    check()


def test_descriptor_will_do_and_its_position_does_not_matter(run, streams, file):
    async def main():
        os.lseek(file.fileno(), 77, os.SEEK_SET)
        async with streams() as pair:
            data, sent = await received(pair, send_file, file.fileno(), 10, 20)
        assert (data, sent) == (CONTENT[10:30], 20)
        assert os.lseek(file.fileno(), 0, os.SEEK_CUR) == 77

    run(main)


def test_file_may_be_closed_while_it_is_sent(run, streams, path, settle):
    async def main():
        async with streams() as (left, right):
            file = open(path, "rb")  # noqa: SIM115  # closed in the middle
            async with uringtrio.open_nursery() as nursery:
                nursery.start_soon(left.send_file, file)
                await settle()
                file.close()
                data = bytearray()
                while len(data) < CONTENT_BYTES:
                    data += await right.receive_some()
            assert data == CONTENT

    run(main)


def test_file_that_the_kernel_cannot_splice_is_read(run, streams):
    with open(UNSPLICEABLE, "rb") as file:
        left, right = stdlib.socketpair()
        with left, right, pytest.raises(OSError, match="Invalid argument"):
            os.sendfile(left.fileno(), file.fileno(), 0, 1)
        expected = file.read()

        async def main():
            async with streams() as pair:
                data, sent = await received(pair, send_file, file)
            assert data == expected
            assert sent == len(expected)
            async with streams() as pair:
                data, sent = await received(pair, send_file, file, 3, 5)
            assert (data, sent) == (expected[3:8], 5)

        run(main)


@pytest.fixture
def steps(monkeypatch):
    """The kinds of the ops that touched the file."""
    kinds = []

    def note(cls):
        begin = cls.__init__

        def noted(op, source, *args, **kwargs):
            begin(op, source, *args, **kwargs)
            if not (cls is Splice and op.interest):
                kinds.append(cls)

        monkeypatch.setattr(cls, "__init__", noted)

    note(SendFile)
    note(Splice)
    return kinds


@pytest.mark.parametrize("where", ["first", "last"])
def test_what_is_not_in_memory_is_waited_for_by_somebody_else(
    run, streams, file, steps, monkeypatch, where
):
    """The file system is asked about both ends of each part, by reads that must not wait."""
    missing = 0 if where == "first" else SEND_FILE_BYTES - 1
    read = os.preadv

    def preadv(fd, buffers, offset, flags=0):
        if flags == os.RWF_NOWAIT:
            if offset == missing:
                raise BlockingIOError(errno.EAGAIN, "not in memory")
            return 1
        return read(fd, buffers, offset, flags)

    monkeypatch.setattr(os, "preadv", preadv)

    async def main():
        async with streams() as pair:
            data, sent = await received(pair, send_file, file)
        assert (data, sent) == (CONTENT, CONTENT_BYTES)

    run(main)
    assert steps.count(Splice) == 1
    assert steps[0] is Splice


def test_file_system_that_cannot_say_what_is_in_memory_is_not_waited_for(
    run, streams, file, steps, monkeypatch
):
    def preadv(*_args):
        raise OSError(errno.EOPNOTSUPP, "no such flag")

    monkeypatch.setattr(os, "preadv", preadv)

    async def main():
        async with streams() as pair:
            assert await received(pair, send_file, file) == (CONTENT, CONTENT_BYTES)

    run(main)
    # But for the end, after which the next part begins.
    assert set(steps) == {Splice}


def test_file_that_fills_the_socket_need_not_be_read_by_the_peer(run, streams, tmp_path):
    path = tmp_path / "small"
    path.write_bytes(bytes(100_000))

    async def main():
        async with streams() as (left, _right):
            with open(path, "rb") as file, uringtrio.fail_after(5):
                assert await left.send_file(file) == 100_000

    run(main)


def test_files_of_a_run_share_one_pipe_as_long_as_there_are_any(run, streams, file, monkeypatch):
    monkeypatch.setattr(FileSending, "_is_in_memory", lambda *_: True)
    found = []
    look = RunPipe.descriptors

    def descriptors(pipe):
        found.append(look(pipe))
        return found[-1]

    monkeypatch.setattr(RunPipe, "descriptors", descriptors)

    async def send(nursery, left, right):
        async def receive():
            async for _ in right:
                pass

        nursery.start_soon(receive)
        await left.send_file(file)
        await left.send_eof()

    async def main():
        async with streams() as first, streams() as second:
            async with uringtrio.open_nursery() as nursery:
                nursery.start_soon(send, nursery, *first)
                nursery.start_soon(send, nursery, *second)
            (descriptors,) = set(found)
            for fd in descriptors:
                with pytest.raises(OSError, match="Bad file descriptor"):
                    os.fstat(fd)

    run(main)


@pytest.mark.parametrize("lack", ["descriptors", "room in pipes"])
def test_file_is_sent_without_a_pipe_to_spare(run, streams, file, monkeypatch, lack):
    monkeypatch.setattr(FileSending, "_is_in_memory", lambda *_: True)
    if lack == "descriptors":

        def pipe2(_flags):
            raise OSError(errno.EMFILE, "Too many open files")

        monkeypatch.setattr(os, "pipe2", pipe2)
    else:
        monkeypatch.setattr("uringtrio._net.splice_pipe.F_SETPIPE_SZ", -1)

    async def main():
        async with streams() as pair:
            assert await received(pair, send_file, file) == (CONTENT, CONTENT_BYTES)

    run(main)


def test_nothing_is_sent_of_nothing(run, streams, path, tmp_path):
    empty = tmp_path / "empty"
    empty.touch()

    async def main():
        async with streams() as (left, right):
            for name, offset, count in (
                (empty, 0, None),
                (empty, 5, 5),
                (path, CONTENT_BYTES, None),
                (path, CONTENT_BYTES + 5, 1),
                (path, 0, 0),
            ):
                with open(name, "rb") as file, assert_checkpoints():
                    assert await left.send_file(file, offset, count) == 0
                assert left.sent_bytes == 0
            await left.send_eof()
            assert await right.receive_some() == b""

    run(main)


def test_send_of_a_part_is_a_checkpoint(run, streams, file):
    async def main():
        async with streams() as (left, _right):
            with assert_checkpoints():
                assert await left.send_file(file, 0, 10) == 10

    run(main)


def test_file_that_is_cut_short_meanwhile_ends_there(run, streams, tmp_path, settle):
    path = tmp_path / "shrinking"
    path.write_bytes(CONTENT)

    async def main():
        async with streams() as (left, right):
            sent = []
            data = bytearray()

            async def send():
                with open(path, "rb") as file:
                    sent.append(await left.send_file(file, 0, CONTENT_BYTES))
                await left.send_eof()

            async with uringtrio.open_nursery() as nursery:
                nursery.start_soon(send)
                await settle()
                os.truncate(path, 100)
                async for chunk in right:
                    data += chunk
        assert sent == [len(data)]
        assert 100 <= len(data) <= CONTENT_BYTES
        assert data[:100] == CONTENT[:100]

    run(main)


def test_cancelled_send_tells_exactly_where_to_go_on(run, streams, file):
    async def main():
        async with streams() as (left, right):
            data = bytearray()
            sent = cancels = 0

            async def receive():
                async for chunk in right:
                    data.extend(chunk)
                    await uringtrio.sleep(0.0005)

            async with uringtrio.open_nursery() as nursery:
                nursery.start_soon(receive)
                while sent < CONTENT_BYTES:
                    with uringtrio.move_on_after(0.004) as scope:
                        await left.send_file(file, sent)
                    cancels += scope.cancelled_caught
                    sent += left.sent_bytes
                await left.send_eof()
            assert data == CONTENT
            assert cancels

    run(main)


def test_cancelled_before_it_began_it_sent_nothing(run, streams, file):
    async def main():
        async with streams() as (left, right):
            await left.send_all(b"x")
            with uringtrio.CancelScope() as scope:
                scope.cancel()
                await left.send_file(file)
            assert scope.cancelled_caught
            assert left.sent_bytes == 0
            await left.send_eof()
            assert await right.receive_some() == b"x"
            assert await right.receive_some() == b""

    run(main)


async def fill(stream):
    with uringtrio.move_on_after(0.05):
        await stream.send_all(bytes(1 << 24))


def test_other_senders_are_refused_meanwhile(run, streams, file, settle):
    async def main():
        async with streams() as (left, _right):
            await fill(left)
            async with uringtrio.open_nursery() as nursery:
                nursery.start_soon(left.send_file, file)
                await settle()
                for send in (
                    lambda: left.send_all(b"x"),
                    lambda: left.send_all([b"x"]),
                    lambda: left.send_file(file),
                    lambda: left.send_file(file, 0, 0),
                    left.send_eof,
                    left.wait_send_all_might_not_block,
                    lambda: uringtrio.copy(file, left),
                ):
                    with pytest.raises(uringtrio.BusyResourceError, match="already sending"):
                        await send()
                nursery.cancel_scope.cancel()

    run(main)


def test_it_is_refused_while_another_sends(run, streams, file, settle):
    async def main():
        async with streams() as (left, _right):
            async with uringtrio.open_nursery() as nursery:
                nursery.start_soon(left.send_all, bytes(1 << 24))
                await settle()
                with pytest.raises(uringtrio.BusyResourceError):
                    await left.send_file(file)
                nursery.cancel_scope.cancel()

    run(main)


def test_closing_the_stream_ends_it(run, streams, file, settle):
    async def main():
        async with streams() as (left, _right):
            await fill(left)

            async def send():
                with pytest.raises(uringtrio.ClosedResourceError):
                    await left.send_file(file)

            async with uringtrio.open_nursery() as nursery:
                nursery.start_soon(send)
                await settle()
                await left.aclose()
            for count in (None, 0, 5):
                with pytest.raises(uringtrio.ClosedResourceError):
                    await left.send_file(file, 0, count)

    run(main)


def test_after_the_end_was_sent_it_is_refused(run, streams, file):
    async def main():
        async with streams() as (left, _right):
            await left.send_eof()
            with pytest.raises(uringtrio.ClosedResourceError, match="after sending EOF"):
                await left.send_file(file)

    run(main)


@pytest.mark.parametrize("is_reset", [True, False])
def test_peer_that_goes_in_the_middle_breaks_the_stream(run, tcp_pair, file, is_reset):
    async def main():
        async with tcp_pair() as (left, right):
            stream = uringtrio.SocketStream(left)
            got = []

            async def send_for_ever():
                while True:
                    await stream.send_file(file)

            async def send():
                with pytest.raises(uringtrio.BrokenResourceError):
                    await send_for_ever()
                assert stream.sent_bytes < CONTENT_BYTES

            async with uringtrio.open_nursery() as nursery:
                nursery.start_soon(send)
                got.append(await right.recv(100_000))
                if is_reset:
                    right.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_RESET)
                right.close()

    run(main)


def test_what_is_no_file_is_refused(run, streams, file, tmp_path):
    async def main():
        async with streams() as (left, _right):
            reader, writer = os.pipe()
            directory = os.open(tmp_path, os.O_RDONLY)
            try:
                for wrong in (reader, left.socket, directory):
                    with pytest.raises(ValueError, match=r"uringtrio\.copy"):
                        await left.send_file(wrong)
            finally:
                for fd in (reader, writer, directory):
                    os.close(fd)
            with open(os.devnull, "rb") as closed:
                pass
            for wrong in (closed, -1):
                with pytest.raises(ValueError, match="closed"):
                    await left.send_file(wrong)
            for wrong in ("file", b"file", None, tmp_path, True):
                with pytest.raises(TypeError, match="fileno"):
                    await left.send_file(wrong)
            with pytest.raises(io.UnsupportedOperation):
                await left.send_file(io.BytesIO(b"x"))
            with pytest.raises(ValueError, match="offset must be at least 0"):
                await left.send_file(file, -1)
            with pytest.raises(ValueError, match="count must be at least 0"):
                await left.send_file(file, 0, -1)
            for wrong in (1.0, "1", True):
                with pytest.raises(TypeError, match="offset must be an int"):
                    await left.send_file(file, wrong)
                with pytest.raises(TypeError, match="count must be an int"):
                    await left.send_file(file, 0, wrong)

    run(main)


def test_file_that_cannot_be_read_is_the_files_error(run, streams, path):
    async def main():
        async with streams() as (left, _right):
            fd = os.open(path, os.O_WRONLY)
            try:
                with pytest.raises(OSError, match="Bad file descriptor") as caught:
                    await left.send_file(fd)
            finally:
                os.close(fd)
            assert caught.value.errno == errno.EBADF
            await left.send_all(b"the stream is as it was")

    run(main)


class SlowSocket(socket.SocketType):
    """A socket of a user, over one of ours; a send takes at most 1000 bytes."""

    type = socket.SOCK_STREAM
    did_shutdown_SHUT_WR = False  # noqa: N815  # Trio's name

    def __init__(self, sock):
        super().__init__()
        self.sock = sock

    def setsockopt(self, *_args):
        pass

    def fileno(self):
        return self.sock.fileno()

    def close(self):
        self.sock.close()

    async def send(self, data, flags=0):
        return await self.sock.send(data[:1000], flags)


def test_socket_of_ones_own_gets_it_through_its_send(run, file, settle):
    async def main():
        left, right = socket.socketpair()
        with left, right:
            stream = uringtrio.SocketStream(SlowSocket(left))
            async with uringtrio.open_nursery() as nursery:
                nursery.start_soon(stream.send_file, file, 100, 300_000)
                await settle()
                with pytest.raises(uringtrio.BusyResourceError):
                    await stream.send_all(b"x")
                data = bytearray()
                while len(data) < 300_000:
                    data += await right.recv(1 << 20)
            assert data == CONTENT[100:300_100]
            assert stream.sent_bytes == 300_000

    run(main)


def test_many_files_at_once_reach_a_reader_outside(run, file):
    """The peers are threads with plain sockets: nothing of ours is on their side."""
    count = 20
    got = {}

    def read(number, sock):
        with sock:
            got[number] = b"".join(iter(lambda: sock.recv(65536), b""))

    async def send(sock):
        async with uringtrio.SocketStream(socket.from_stdlib_socket(sock)) as stream:
            assert await stream.send_file(file) == CONTENT_BYTES

    async def main():
        threads = []
        async with uringtrio.open_nursery() as nursery:
            for number in range(count):
                ours, theirs = stdlib.socketpair()
                threads.append(threading.Thread(target=read, args=(number, theirs)))
                threads[-1].start()
                nursery.start_soon(send, ours)
        for thread in threads:
            thread.join()

    run(main)
    assert set(got) == set(range(count))
    assert set(got.values()) == {CONTENT}
