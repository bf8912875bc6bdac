"""Pipes, and standard streams that are files, pipes or terminals."""

import os
import pty
import subprocess
import sys

import pytest

import uringtrio
import uringtrio.testing

PROGRAM = """
import uringtrio

async def main():
    stdin, stdout, stderr = uringtrio.open_stdin(), uringtrio.open_stdout(), uringtrio.open_stderr()
    while data := await stdin.receive_some(3):
        await stdout.send_all(data.upper())
    await stderr.send_all(b"done\\n")
    await stdin.aclose()

uringtrio.run(main)
"""


def test_pipe_carries_bytes_to_its_end(run):
    async def main():
        send, receive = uringtrio.open_pipe()
        async with uringtrio.open_nursery() as nursery:

            @nursery.start_soon
            async def sends():
                async with send:
                    await send.send_all(b"x" * 300_000)

            async with receive:
                assert sum([len(data) async for data in receive]) == 300_000

    run(main)


def test_standard_streams_may_be_files(tmp_path):
    (tmp_path / "in").write_bytes(b"some input\n" * 10)
    with (tmp_path / "in").open("rb") as stdin, (tmp_path / "out").open("wb") as stdout:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM], stdin=stdin, stdout=stdout, stderr=subprocess.PIPE,
            check=False, timeout=30,
        )  # fmt: skip

    assert done.stderr == b"done\n"
    assert (tmp_path / "out").read_bytes() == b"SOME INPUT\n" * 10


def test_standard_streams_may_be_pipes():
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], input=b"some input", capture_output=True, check=False,
        timeout=30,
    )  # fmt: skip

    assert (done.stdout, done.stderr) == (b"SOME INPUT", b"done\n")


def test_standard_streams_may_be_a_terminal():
    ours, theirs = pty.openpty()
    child = subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    os.write(ours, b"line\n\x04")
    child.wait(timeout=30)
    found = os.read(ours, 1000)
    os.close(ours)

    assert b"LIN" in found
    assert found.endswith(b"done\r\n")


def test_closing_ends_a_wait_and_leaves_the_descriptor_open(run):
    receive_fd, send_fd = os.pipe()

    async def main():
        stream = uringtrio.open_stdin()
        stream._fd = receive_fd
        async with uringtrio.open_nursery() as nursery:

            @nursery.start_soon
            async def waits():
                with pytest.raises(uringtrio.ClosedResourceError):
                    await stream.receive_some()

            await uringtrio.testing.wait_all_tasks_blocked()
            with pytest.raises(uringtrio.BusyResourceError):
                await stream.receive_some()
            await stream.aclose()
        with pytest.raises(uringtrio.ClosedResourceError):
            await stream.receive_some()
        assert os.get_blocking(receive_fd)

    run(main)
    os.close(receive_fd)
    os.close(send_fd)


def test_standard_stream_is_not_made_by_hand():
    with pytest.raises(TypeError, match="open_stdin"):
        uringtrio.StandardStream()
