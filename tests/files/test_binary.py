"""Files of bytes, where they differ from `open`'s: cancellation, concurrency, closing."""

import errno
import os
import resource

import pytest

import uringtrio
import uringtrio.testing
from uringtrio._drivers.scripted import ScriptedDriver


@pytest.fixture
def path(tmp_path):
    return tmp_path / "file"


@pytest.fixture
def pipe():
    """The ends of a pipe; whoever opens files on them closes them."""
    return os.pipe()


def test_read_that_is_cancelled_in_a_pipe_takes_nothing(run, pipe):
    receive_fd, send_fd = pipe

    async def main():
        async with await uringtrio.open_file(receive_fd, "rb") as file:
            os.write(send_fd, b"the first ten")
            with uringtrio.move_on_after(0.05) as scope:
                await file.read(100)
            assert scope.cancelled_caught
            os.write(send_fd, b" and more")
            os.close(send_fd)
            assert await file.read() == b"the first ten and more"

    run(main)


def test_readline_that_is_cancelled_in_a_pipe_takes_nothing(run, pipe):
    receive_fd, send_fd = pipe

    async def main():
        async with await uringtrio.open_file(receive_fd, "rb") as file:
            for piece in (b"half", b" a line", b"\nrest"):
                with uringtrio.move_on_after(0.02):
                    await file.readline()
                with uringtrio.move_on_after(0.02):
                    await file.readinto(bytearray(100))
                os.write(send_fd, piece)
            os.close(send_fd)
            assert [line async for line in file] == [b"half a line\n", b"rest"]

    run(main)


def read_in_a_pipe(order, pipe):
    """Read 5 bytes while a cancel and the completion come in `order`; return what came of it."""
    receive_fd, send_fd = pipe
    driver = ScriptedDriver(cancels_complete=False)
    outcome = []

    async def main():
        with uringtrio.CancelScope() as scope:

            @driver.at_wait
            def both(driver):
                (read,) = driver.find("Read")
                read.pins[0][:5] = b"hello"
                if order == "completion first":
                    driver.complete(read, 5)
                    scope.cancel()
                else:
                    scope.cancel()
                    driver.complete(read, 5 if order == "cancel too late" else -errno.ECANCELED)

            file = await uringtrio.open_file(receive_fd, "rb", buffering=0)
            outcome.append(await file.read(5))

        # The file has answered that it would have to wait, so closing it is an op too.
        @driver.at_wait
        def closes(driver):
            (close,) = driver.find("Close")
            os.close(close.fd)
            driver.complete(close, 0)

        await file.aclose()

    uringtrio.run(main, driver=driver)
    os.close(send_fd)
    return outcome


@pytest.mark.parametrize("order", ["completion first", "cancel too late"])
def test_bytes_that_were_read_are_returned_cancelled_or_not(order, pipe):
    assert read_in_a_pipe(order, pipe) == [b"hello"]


def test_read_that_was_cancelled_in_time_returns_nothing(pipe):
    assert read_in_a_pipe("cancel first", pipe) == []


def test_closing_ends_a_read_in_a_pipe(run, pipe):
    receive_fd, send_fd = pipe

    async def main():
        file = await uringtrio.open_file(receive_fd, "r")
        async with uringtrio.open_nursery() as nursery:

            @nursery.start_soon
            async def read():
                with pytest.raises(uringtrio.ClosedResourceError):
                    await file.read(1)

            await uringtrio.testing.wait_all_tasks_blocked()
            await file.aclose()
            assert file.closed
        with pytest.raises(ValueError, match="closed"):
            await file.read(1)

    run(main)
    os.close(send_fd)


def test_closing_waits_for_reads_at_offsets(run, path):
    path.write_bytes(os.urandom(1 << 16))

    async def main():
        file = await uringtrio.open_file(path, "rb")
        found = []

        async def read(offset):
            buffer = bytearray(100)
            # Past the page cache, as it were.
            file._raw._can_try = False
            found.append(await file.pread_into(buffer, offset))

        async with uringtrio.open_nursery() as nursery:
            for offset in range(0, 6400, 100):
                nursery.start_soon(read, offset)
            nursery.start_soon(file.aclose)
        closed = found.count(100)
        assert closed == len(found) == 64

    try:
        run(main)
    except* ValueError:
        # Those that had not begun found it closed.
        pass


def test_calls_of_many_tasks_are_made_one_after_the_other(run, path):
    async def main():
        async with await uringtrio.open_file(path, "wb") as file:
            async with uringtrio.open_nursery() as nursery:
                for i in range(50):
                    nursery.start_soon(file.write, bytes([i]) * 5000)
        data = path.read_bytes()
        assert len(data) == 50 * 5000
        assert {len(set(data[i : i + 5000])) for i in range(0, len(data), 5000)} == {1}

    run(main)


def test_full_device_is_reported_with_its_name_and_the_file_is_closed(run):
    async def main():
        file = await uringtrio.open_file("/dev/full", "wb")
        await file.write(b"x")
        with pytest.raises(OSError, match="/dev/full") as caught:
            await file.flush()
        assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, "/dev/full")
        with pytest.raises(OSError, match="/dev/full"):
            await file.write(b"x" * 100_000)
        with pytest.raises(OSError, match="No space left"):
            await file.aclose()
        assert file.closed

    run(main)


def test_file_size_limit_is_an_error_with_the_name_and_loses_nothing_before(run, path):
    """Stands in for a full disk: the write that does not fit is short, and the next one fails."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    async def main():
        async with await uringtrio.open_file(path, "wb", buffering=0) as file:
            resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
            try:
                with pytest.raises(OSError, match="file") as caught:
                    await file.pwrite(b"x" * 20_000, 0)
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, limits)
            assert caught.value.errno == errno.EFBIG

    run(main)
    assert path.read_bytes() == b"x" * 10_000


def test_file_that_was_removed_goes_on(run, path):
    async def main():
        async with await uringtrio.open_file(path, "w+b") as file:
            await file.write(b"data")
            path.unlink()
            await file.seek(0)
            assert await file.read() == b"data"
            await file.write(b" and more")
            await file.fsync()
        assert not path.exists()

    run(main)


def test_cancelled_scope_stops_a_call_before_it_does_anything(run, path):
    async def main():
        async with await uringtrio.open_file(path, "wb") as file:
            with uringtrio.CancelScope() as scope:
                scope.cancel()
                await file.write(b"not written")
            assert scope.cancelled_caught
        assert path.read_bytes() == b""

    run(main)


def test_closing_in_a_cancelled_scope_writes_and_closes(run, path):
    async def main():
        with uringtrio.CancelScope() as scope:
            file = await uringtrio.open_file(path, "wb")
            await file.write(b"written")
            scope.cancel()
            await file.aclose()
        assert scope.cancelled_caught
        assert file.closed
        assert path.read_bytes() == b"written"

    run(main)


def test_file_that_nobody_closes_is_written_with_a_warning(run, path):
    async def main():
        file = await uringtrio.open_file(path, "w")
        await file.write("text")
        with pytest.warns(ResourceWarning, match="unclosed file"):
            del file
        assert path.read_text() == "text"

    run(main)


def test_sync_objects_below_are_ordinary_files(run, path):
    path.write_bytes(b"one\ntwo\nthree\n")

    async def main():
        file = await uringtrio.open_file(path, "r+b")
        try:
            assert await file.readline() == b"one\n"
            assert file.wrapped.readline() == b"two\n"
            file.wrapped.seek(0, os.SEEK_END)
            file.wrapped.write(b"four\n")
            assert await file.seek(0) == 0
            assert (await file.readlines())[-1] == b"four\n"
            raw = await file.detach()
            assert raw.wrapped.read(10) == b""
        finally:
            await raw.aclose()

    run(main)


def test_read_that_is_not_in_the_cache_goes_to_the_driver(run, path):
    path.write_bytes(os.urandom(1 << 20))

    async def main():
        async with await uringtrio.open_file(path, "rb", buffering=0) as file:
            await file.fsync()
            await file.advise(os.POSIX_FADV_DONTNEED)
            before = uringtrio.lowlevel.current_statistics().io_statistics.sqes
            assert await file.read(4096) == path.read_bytes()[:4096]
            after = uringtrio.lowlevel.current_statistics().io_statistics.sqes
            return after - before

    assert run(main) >= 0


def test_many_reads_of_one_turn_are_one_submission(run, path):
    if uringtrio.probe().available is False:
        pytest.skip(uringtrio.probe().reason)
    path.write_bytes(os.urandom(1 << 18))

    async def main():
        async with await uringtrio.open_file(path, "rb", buffering=0) as file:
            file._raw._can_try = False
            found = {}

            async def read(offset):
                found[offset] = await file.pread(4096, offset)

            statistics = uringtrio.lowlevel.current_statistics
            before = statistics().io_statistics.enters
            async with uringtrio.open_nursery() as nursery:
                for offset in range(0, 1 << 17, 4096):
                    nursery.start_soon(read, offset)
            assert b"".join(found[o] for o in sorted(found)) == path.read_bytes()[: 1 << 17]
            return statistics().io_statistics.enters - before

    assert run(main, driver="io_uring") <= 4


@pytest.mark.parametrize("mode", ["rb", "r"])
def test_fifo_is_opened_when_both_ends_are(run, tmp_path, mode):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)

    async def main():
        found = []

        async def read():
            async with await uringtrio.open_file(fifo, mode) as file:
                found.append(await file.read())

        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(read)
            await uringtrio.sleep(0.05)
            async with await uringtrio.open_file(fifo, "wb") as file:
                await file.write(b"through")
        assert found in ([b"through"], ["through"])

    run(main)


@pytest.mark.parametrize("buffering", [-1, 0, 7])
def test_read_that_is_partly_in_the_cache_is_whole(run, path, monkeypatch, buffering):
    content = os.urandom(20_000)
    path.write_bytes(content)
    preadv = os.preadv
    calls = []

    def partly(fd, buffers, offset, flags=0):
        calls.append(flags)
        if flags and len(calls) % 2:
            return preadv(fd, [buffers[0][:10]], offset, flags)
        if flags:
            raise BlockingIOError
        return preadv(fd, buffers, offset)

    monkeypatch.setattr(os, "preadv", partly)

    async def main():
        async with await uringtrio.open_file(path, "rb", buffering) as file:
            assert await file.read(5000) == content[:5000]
            assert await file.tell() == 5000
            with uringtrio.CancelScope() as scope:
                scope.cancel()
                await file.read(5000)
            assert await file.readinto(bytearray(100)) == 100
            assert await file.pread(5000, 3) == content[3:5003]
            assert await file.read() == content[5100:]

    run(main)


def test_read_that_is_cancelled_with_a_part_of_it_there_goes_back(path, monkeypatch):
    path.write_bytes(b"0123456789" * 10)
    driver = ScriptedDriver()
    preadv = os.preadv

    def partly(fd, buffers, offset, flags):
        if partly.is_first:
            partly.is_first = False
            return preadv(fd, [buffers[0][:10]], offset, flags)
        raise BlockingIOError

    partly.is_first = True
    monkeypatch.setattr(os, "preadv", partly)
    fd = os.open(path, os.O_RDONLY)

    async def main():
        file = await uringtrio.open_file(fd, "rb", closefd=False)
        with uringtrio.CancelScope() as scope:

            @driver.at_wait
            def cancels(driver):
                assert driver.find("Read")
                scope.cancel()

            await file.read(50)
        assert scope.cancelled_caught
        assert await file.tell() == 0
        await file.aclose()

    uringtrio.run(main, driver=driver)
    assert os.lseek(fd, 0, os.SEEK_CUR) == 0
    os.close(fd)
