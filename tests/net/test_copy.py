"""copy: whatever the two ends are, the same bytes come out, in the same order, once."""

import contextlib
import os
import random
import socket as stdlib
import subprocess
import sys

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

import uringtrio
from uringtrio import lowlevel, socket
from uringtrio._net import copy as copies
from uringtrio._net.splice_pipe import PIPE_BYTES
from uringtrio.testing import assert_checkpoints, memory_stream_pair

SIZE = 2 * PIPE_BYTES + 4321
CONTENT = random.Random(11).randbytes(SIZE)


@pytest.fixture(params=[True, False], ids=["splice", "loop"], autouse=True)
def has_splice(request, monkeypatch):
    if not request.param:
        monkeypatch.setattr(copies, "HAS_SPLICE", False)
    return request.param


class Bench:
    """Makes ends of copies, and the far ends that tests hold.

    A source is (end, an async function that gives it bytes and ends it); a sink is (end, an async
    function that returns what came).
    """

    def __init__(self, tmp_path):
        self.tmp_path = tmp_path
        self.stack = contextlib.AsyncExitStack()

    def close_later(self, fd):
        def close():
            with contextlib.suppress(OSError):
                os.close(fd)

        self.stack.callback(close)
        return fd

    def sockets(self):
        left, right = map(uringtrio.SocketStream, socket.socketpair())
        self.stack.push_async_callback(left.aclose)
        self.stack.push_async_callback(right.aclose)
        return left, right

    def pipe(self):
        reader, writer = os.pipe()
        return self.close_later(reader), self.close_later(writer)

    def stream(self, fd):
        stream = lowlevel.FdStream(os.dup(fd))
        os.close(fd)
        self.stack.push_async_callback(stream.aclose)
        return stream

    def source(self, kind):
        if kind == "file":
            path = self.tmp_path / "source"

            async def write(data):
                path.write_bytes(data)

            path.touch()
            return self.close_later(os.open(path, os.O_RDONLY)), write
        if kind in {"fd stream", "bare pipe"}:
            reader, writer = self.pipe()
            far = self.stream(writer)
            near = self.stream(reader) if kind == "fd stream" else reader
        elif kind == "memory":
            near, far = memory_stream_pair()
        else:
            near, far = self.sockets()
            if kind == "bare socket":
                near = near.socket.fileno()

        async def send(data):
            await far.send_all(data)
            await far.aclose()

        return near, send

    def sink(self, kind):
        if kind == "file":
            path = self.tmp_path / "sink"

            async def read():
                return path.read_bytes()

            return self.close_later(os.open(path, os.O_RDWR | os.O_CREAT)), read
        if kind in {"fd stream", "bare pipe"}:
            reader, writer = self.pipe()
            far = self.stream(reader)
            near = self.stream(writer) if kind == "fd stream" else writer
        elif kind == "memory":
            near, far = memory_stream_pair()
        else:
            near, far = self.sockets()
            if kind == "bare socket":
                near = near.socket.fileno()

        async def receive():
            return b"".join([chunk async for chunk in far])

        return near, receive


@contextlib.asynccontextmanager
async def open_bench(tmp_path):
    one = Bench(tmp_path)
    async with one.stack:
        yield one


async def end(sink):
    if isinstance(sink, int):
        if not stdlib_is_file(sink):
            os.close(sink)
    else:
        await sink.aclose()


def stdlib_is_file(fd):
    return os.path.isfile(f"/proc/self/fd/{fd}")


KINDS = ["socket", "fd stream", "file", "bare pipe", "memory"]


@pytest.mark.parametrize("sink_kind", KINDS)
@pytest.mark.parametrize("source_kind", KINDS)
def test_everything_is_copied(run, tmp_path, source_kind, sink_kind):
    async def main():
        async with open_bench(tmp_path) as bench:
            source, send = bench.source(source_kind)
            sink, receive = bench.sink(sink_kind)
            got = []

            async def read():
                got.append(await receive())

            if source_kind == "file":
                await send(CONTENT)
            async with uringtrio.open_nursery() as nursery:
                if source_kind != "file":
                    nursery.start_soon(send, CONTENT)
                if sink_kind != "file":
                    nursery.start_soon(read)
                assert await uringtrio.copy(source, sink) == SIZE
                if isinstance(sink, uringtrio.SocketStream):
                    assert sink.sent_bytes == SIZE
                await end(sink)
            if sink_kind == "file":
                await read()
            assert got == [CONTENT]

    run(main)


@pytest.mark.parametrize(("source_kind", "sink_kind"), [("file", "socket"), ("socket", "file")])
def test_any_count_is_copied_from_the_position_on(run, tmp_path, source_kind, sink_kind):
    near = st.sampled_from([0, 1, 4095, 4096, 4097, 9999, 10_000])

    @settings(
        max_examples=20,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )
    @given(skip=near | st.integers(0, 10_010), count=st.none() | near | st.integers(0, 10_010))
    def check(skip, count):
        content = CONTENT[:10_000]
        left = content[skip:]
        expected = left if count is None else left[:count]

        async def main():
            async with open_bench(tmp_path) as bench:
                source, send = bench.source(source_kind)
                sink, receive = bench.sink(sink_kind)
                await send(content if source_kind == "file" else left)
                if source_kind == "file":
                    os.lseek(source, skip, os.SEEK_SET)
                else:
                    os.ftruncate(sink, 0)
                assert await uringtrio.copy(source, sink, count) == len(expected)
                if source_kind == "file":
                    assert os.lseek(source, 0, os.SEEK_CUR) == skip + len(expected)
                    await end(sink)
                assert await receive() == expected

        run(main)

    check()


def test_file_objects_will_do(run, tmp_path):
    (tmp_path / "a").write_bytes(CONTENT)

    async def main():
        with open(tmp_path / "a", "rb") as source, open(tmp_path / "b", "wb") as sink:
            assert await uringtrio.copy(source, sink) == SIZE
            assert not source.closed
        assert (tmp_path / "b").read_bytes() == CONTENT

    run(main)


def test_file_for_appending_is_written_at_its_end(run, tmp_path):
    """splice(2) refuses it, with what came already in the pipe."""
    (tmp_path / "a").write_bytes(CONTENT)
    (tmp_path / "b").write_bytes(b"before")

    async def main():
        with open(tmp_path / "a", "rb") as source, open(tmp_path / "b", "ab") as sink:
            assert await uringtrio.copy(source, sink) == SIZE

    run(main)
    assert (tmp_path / "b").read_bytes() == b"before" + CONTENT


def test_source_that_splices_not_is_read(run, tmp_path):
    with open("/proc/self/environ", "rb") as source:
        expected = source.read()
        source.seek(0)

        async def main():
            with open(tmp_path / "b", "wb", buffering=0) as sink:
                assert await uringtrio.copy(source, sink) == len(expected)

        run(main)
    assert (tmp_path / "b").read_bytes() == expected


@pytest.mark.parametrize("blocking", [True, False])
def test_bare_descriptor_is_non_blocking_only_meanwhile(run, settle, blocking):
    reader, writer = os.pipe()
    os.set_blocking(reader, blocking)

    async def main():
        left, right = map(uringtrio.SocketStream, socket.socketpair())
        async with left, right, uringtrio.open_nursery() as nursery:
            nursery.start_soon(uringtrio.copy, reader, left)
            await settle()
            assert not os.get_blocking(reader)
            os.write(writer, b"hello")
            assert await right.receive_some() == b"hello"
            nursery.cancel_scope.cancel()

    run(main)
    assert os.get_blocking(reader) == blocking
    os.close(reader)
    os.close(writer)


def test_output_of_a_process_goes_to_a_socket(run):
    async def main():
        left, right = map(uringtrio.SocketStream, socket.socketpair())
        code = f"import sys; sys.stdout.buffer.write(bytes({SIZE}))"
        with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
            async with left, right, uringtrio.open_nursery() as nursery:
                got = []

                async def read():
                    got.append(sum([len(chunk) async for chunk in right]))

                nursery.start_soon(read)
                assert await uringtrio.copy(process.stdout, left) == SIZE
                await left.send_eof()
            assert got == [SIZE]

    run(main)


def test_two_copies_make_a_proxy(run):
    """Both directions of two sockets at once."""

    async def main():
        client, inner = map(uringtrio.SocketStream, socket.socketpair())
        outer, server = map(uringtrio.SocketStream, socket.socketpair())

        async def forward(source, sink):
            await uringtrio.copy(source, sink)
            await sink.send_eof()

        async def echo():
            async for chunk in server:
                await server.send_all(chunk)
            await server.send_eof()

        async def ask():
            await client.send_all(CONTENT)
            await client.send_eof()

        async with client, inner, outer, server, uringtrio.open_nursery() as nursery:
            nursery.start_soon(forward, inner, outer)
            nursery.start_soon(forward, outer, inner)
            nursery.start_soon(echo)
            nursery.start_soon(ask)
            assert b"".join([chunk async for chunk in client]) == CONTENT

    run(main)


def test_nothing_and_the_end_are_checkpoints(run, tmp_path):
    (tmp_path / "empty").touch()

    async def main():
        left, right = map(uringtrio.SocketStream, socket.socketpair())
        async with left, right:
            with assert_checkpoints():
                assert await uringtrio.copy(left, right, 0) == 0
            with open(tmp_path / "empty", "rb") as file, assert_checkpoints():
                assert await uringtrio.copy(file, left) == 0

    run(main)


def test_both_directions_are_taken_meanwhile(run, settle):
    async def main():
        source, source_peer = map(uringtrio.SocketStream, socket.socketpair())
        sink, sink_peer = map(uringtrio.SocketStream, socket.socketpair())
        async with source, source_peer, sink, sink_peer:
            async with uringtrio.open_nursery() as nursery:
                nursery.start_soon(uringtrio.copy, source, sink)
                await settle()
                for call in (
                    source.receive_some,
                    lambda: source.receive_into(bytearray(1)),
                    lambda: uringtrio.copy(source, sink_peer),
                    lambda: sink.send_all(b"x"),
                    lambda: uringtrio.copy(source_peer, sink),
                ):
                    with pytest.raises(uringtrio.BusyResourceError):
                        await call()
                # The other directions are free.
                await source.send_all(b"x")
                assert await source_peer.receive_some() == b"x"
                nursery.cancel_scope.cancel()
            await source_peer.send_all(b"free")
            assert await source.receive_some() == b"free"
            await sink.send_all(b"free")

    run(main)


@pytest.mark.parametrize("which", ["source", "sink"])
@pytest.mark.parametrize("kind", ["socket", "fd stream"])
def test_closing_an_end_ends_it(run, tmp_path, which, kind):
    async def main():
        async with open_bench(tmp_path) as bench:
            source, _ = bench.source(kind)
            sink, _ = bench.sink(kind)
            if which == "sink":
                source = os.open("/dev/zero", os.O_RDONLY)

            async def copy():
                with pytest.raises(uringtrio.ClosedResourceError):
                    await uringtrio.copy(source, sink)

            async with uringtrio.open_nursery() as nursery:
                nursery.start_soon(copy)
                await uringtrio.sleep(0.01)
                await (source if which == "source" else sink).aclose()
            if which == "sink":
                os.close(source)
            with pytest.raises(uringtrio.ClosedResourceError):
                await uringtrio.copy(
                    *((source, sink) if which == "source" else (bench.sockets()[0], sink))
                )

    run(main)


def test_sink_whose_peer_is_gone_breaks(run, tmp_path):
    (tmp_path / "a").write_bytes(CONTENT)

    async def main():
        async with open_bench(tmp_path) as bench:
            left, right = bench.sockets()
            await right.aclose()
            with (
                open(tmp_path / "a", "rb") as source,
                pytest.raises(uringtrio.BrokenResourceError),
            ):
                await uringtrio.copy(source, left)
            left, right = bench.sockets()
            await left.send_eof()
            with pytest.raises(uringtrio.ClosedResourceError, match="after sending EOF"):
                await uringtrio.copy(right, left)

    run(main)


def test_what_is_nothing_of_the_kind_is_refused(run):
    async def main():
        left, right = map(uringtrio.SocketStream, socket.socketpair())
        async with left, right:
            for wrong in (None, "file", b"file", True, object()):
                with pytest.raises(TypeError, match="copy takes"):
                    await uringtrio.copy(wrong, left)
                with pytest.raises(TypeError, match="copy takes"):
                    await uringtrio.copy(left, wrong)
            with pytest.raises(ValueError, match="closed"):
                await uringtrio.copy(-1, left)
            with pytest.raises(ValueError, match="count must be at least 0"):
                await uringtrio.copy(left, right, -1)
            with pytest.raises(TypeError, match="count must be an int"):
                await uringtrio.copy(left, right, 1.5)
            # Nothing is held by a copy that was refused.
            await left.send_all(b"x")
            assert await right.receive_some() == b"x"
            sock, peer = stdlib.socketpair()
            with sock, peer:
                peer.close()
                assert await uringtrio.copy(sock, left) == 0

    run(main)
