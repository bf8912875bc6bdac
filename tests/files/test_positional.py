"""Reads and writes at offsets, and what is about the disk."""

import mmap
import os

import pytest

import uringtrio


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(bytes(range(256)) * 64)
    return path


@pytest.fixture(params=[True, False], ids=["cached", "op"])
def is_cached(request):
    return request.param


def opened(run, path, mode, fn, *, is_cached=True, **options):
    async def main():
        async with await uringtrio.open_file(path, mode, **options) as file:
            file._raw._can_try &= is_cached
            return await fn(file)

    return run(main)


def test_pread_neither_uses_nor_moves_the_position(run, path, is_cached):
    async def read(file):
        await file.seek(100)
        found = [await file.pread(4, offset) for offset in (0, 10, 16382, 99999)]
        assert await file.tell() == 100
        assert await file.read(1) == b"d"
        return found

    found = opened(run, path, "rb", read, is_cached=is_cached)
    assert found == [bytes([0, 1, 2, 3]), bytes([10, 11, 12, 13]), bytes([254, 255]), b""]


def test_readv_fills_buffers_in_their_order(run, path):
    async def read(file):
        buffers = [bytearray(3), bytearray(0), bytearray(5)]
        assert await file.readv(buffers, 16_378) == 6
        assert await file.readv([], 0) == 0
        return b"|".join(buffers)

    assert opened(run, path, "rb", read) == bytes([250, 251, 252]) + b"||" + bytes(
        [253, 254, 255, 0, 0]
    )


def test_pwrite_and_writev_write_all(run, path):
    async def write(file):
        await file.write(b"at the start")
        assert await file.pwrite(b"at ten", 10) == 6
        assert await file.writev([b"a", b"", bytearray(b"bc"), memoryview(b"d")], 20) == 4
        assert await file.tell() == 12

    opened(run, path, "r+b", write)
    assert path.read_bytes()[:24] == b"at the staat ten" + bytes([16, 17, 18, 19]) + b"abcd"


def test_writev_takes_more_buffers_than_one_call(run, path):
    pieces = [bytes([i % 256]) for i in range(3000)]

    async def write(file):
        assert await file.writev(pieces, 5) == 3000

    opened(run, path, "r+b", write)
    assert path.read_bytes()[5:3005] == b"".join(pieces)


@pytest.mark.parametrize("data_only", [True, False])
def test_fsync_flushes_first(run, path, data_only):
    async def write(file):
        await file.write(b"safe")
        await file.fsync(data_only=data_only)
        assert path.read_bytes()[:4] == b"safe"

    opened(run, path, "r+b", write)


def test_fsync_of_what_is_no_file_is_an_error_with_its_name(run):
    async def write(file):
        with pytest.raises(OSError, match="/dev/null"):
            await file.fsync()

    opened(run, "/dev/null", "wb", write)


def test_allocate_makes_the_file_as_long(run, path):
    async def allocate(file):
        await file.allocate(0, 100_000)
        await file.advise(os.POSIX_FADV_RANDOM)

    opened(run, path, "r+b", allocate)
    assert path.stat().st_size == 100_000


def test_lock_keeps_out_another_open_file(run, path):
    async def main():
        async with (
            await uringtrio.open_file(path, "r+b") as one,
            await uringtrio.open_file(path, "rb") as other,
        ):
            await one.lock()
            with uringtrio.move_on_after(0.05) as scope:
                await other.lock(shared=True)
            assert scope.cancelled_caught
            async with uringtrio.open_nursery() as nursery:
                nursery.start_soon(other.lock)
                await uringtrio.sleep(0.01)
                await one.unlock()
            await other.unlock()

    run(main)


def test_direct_reads_and_writes_use_aligned_buffers(run, tmp_path):
    path = tmp_path / "file"

    def open_direct(name, flags):
        return os.open(name, flags | os.O_DIRECT, 0o600)

    async def main():
        data = uringtrio.aligned_buffer(8192)
        data[:5] = b"hello"
        async with await uringtrio.open_file(path, "w+b", 0, opener=open_direct) as file:
            assert await file.pwrite(data, 0) == 8192
            assert await file.pread(4096, 0) == bytes(data[:4096])
            buffer = uringtrio.aligned_buffer(4096)
            assert await file.pread_into(buffer, 4096) == 4096
            assert await file.read(4096) == bytes(data[:4096])
            assert await file.pread(8192, 4096) == bytes(4096)

    try:
        run(main)
    except OSError as exc:
        pytest.skip(f"no O_DIRECT here: {exc}")


def test_aligned_buffer_starts_at_a_page():
    buffer = uringtrio.aligned_buffer(100)

    assert len(buffer) == 100
    assert not buffer.readonly
    assert isinstance(buffer.obj, mmap.mmap)


@pytest.mark.parametrize("call", [("pread", -1, 0), ("pread", 1, -1), ("pwrite", b"", -1)])
def test_negative_arguments_are_refused(run, path, call):
    async def fail(file):
        with pytest.raises(ValueError, match="at least 0"):
            await getattr(file, call[0])(*call[1:])

    opened(run, path, "r+b", fail)
