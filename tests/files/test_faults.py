"""What goes wrong below a file: a full disk, an I/O error, a file that changes or goes."""

import contextlib
import errno
import os
import subprocess

import pytest

import uringtrio

DISK_BYTES = 256 * 1024
CHUNK = b"0123456789abcdef" * 256


@pytest.fixture
def small_disk(tmp_path):
    """The path of a file system that has room for DISK_BYTES."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", place]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount command here")
    if done.returncode:
        pytest.skip(f"a full disk needs the right to mount a small one: {done.stderr.strip()}")
    yield place
    subprocess.run(["umount", place], check=True)


def caught_full(path):
    return pytest.raises(OSError, check=lambda exc: full(exc, path))


def full(exc, path):
    return (exc.errno, exc.filename) == (errno.ENOSPC, os.fspath(path))


@pytest.mark.parametrize("buffering", [-1, 0, 1 << 20])
def test_full_disk_is_reported_and_what_fits_is_there(run, small_disk, buffering):
    path = small_disk / "file"
    written = 0

    async def main():
        nonlocal written
        file = await uringtrio.open_file(path, "wb", buffering)
        with caught_full(path):
            while True:
                written += await file.write(CHUNK)
                if buffering > 0:
                    await file.flush()
        with contextlib.suppress(OSError):
            await file.aclose()
        assert file.closed

    run(main)
    data = path.read_bytes()
    assert len(data) <= DISK_BYTES
    # All that was acknowledged, but what was in a buffer by then, and nothing else.
    assert len(data) >= written - (len(CHUNK) if buffering else 0)
    assert data == (CHUNK * 100)[: len(data)]


def test_write_that_fits_in_part_is_an_error_with_that_part_there(run, small_disk):
    path = small_disk / "file"
    large = bytes(range(256)) * (2 * DISK_BYTES // 256)

    async def main():
        async with await uringtrio.open_file(path, "wb") as file:
            with caught_full(path):
                await file.write(large)
            assert await file.tell() == path.stat().st_size
            with caught_full(path):
                await file.pwrite(large, 0)
            with caught_full(path):
                await file.writev([large[:1000], large[1000:]], 0)
            with caught_full(path):
                await file.allocate(0, len(large))

    run(main)
    data = path.read_bytes()
    assert data == large[: len(data)]
    assert len(data) > DISK_BYTES // 2


def test_buffer_that_did_not_fit_is_written_when_there_is_room(run, small_disk):
    path, ballast = small_disk / "file", small_disk / "ballast"

    async def main():
        ballast.touch()
        async with await uringtrio.open_file(path, "wb") as file:
            await file.write(b"kept")
            fill(ballast)
            with caught_full(path):
                await file.flush()
            ballast.unlink()
            await file.write(b" in order")
        assert path.read_bytes() == b"kept in order"

    run(main)


def fill(path):
    with contextlib.suppress(OSError), path.open("wb", 0) as file:
        while True:
            file.write(CHUNK)


def test_text_that_did_not_fit_is_reported_by_the_call_or_by_closing(run, small_disk):
    path = small_disk / "file"

    async def main():
        fill(small_disk / "ballast")
        file = await uringtrio.open_file(path, "w")
        await file.write("some text")
        with caught_full(path):
            await file.flush()
        with caught_full(path):
            await file.aclose()
        assert file.closed
        with caught_full(path):
            await uringtrio.Path(path).write_text("text " * 10_000)
        with pytest.raises(OSError, match="No space left"):
            async with uringtrio.NamedTemporaryFile(dir=str(small_disk)) as temporary:
                await temporary.write(b"data")

    run(main)
    assert path.read_bytes() == b""
    assert sorted(os.listdir(small_disk)) == ["ballast", "file"]


# A regular file, as far as anybody can see; where nothing is mapped, it answers EIO.
BROKEN = "/proc/self/mem"


def test_failed_read_is_reported_with_the_name_and_leaves_the_file_usable(run):
    async def main():
        for mode, buffering in (("rb", 0), ("rb", -1), ("r", -1)):
            async with await uringtrio.open_file(BROKEN, mode, buffering) as file:
                for call in (file.read(100), file.readline(), anext(file)):
                    with pytest.raises(OSError, match=BROKEN) as caught:
                        await call
                    assert (caught.value.errno, caught.value.filename) == (errno.EIO, BROKEN)
                assert await file.tell() == 0

    run(main)


def test_failed_reads_and_writes_at_offsets_are_reported_with_the_name(run):
    async def main():
        async with await uringtrio.open_file(BROKEN, "r+b", 0) as file:
            for call in (
                file.pread(100, 0),
                file.readv([bytearray(10), bytearray(10)], 0),
                file.pwrite(b"data", 0),
                file.writev([b"da", b"ta"], 0),
                file.write(b"data"),
            ):
                with pytest.raises(OSError, match=BROKEN) as caught:
                    await call
                assert (caught.value.errno, caught.value.filename) == (errno.EIO, BROKEN)

    run(main)


@pytest.mark.parametrize("mode", ["rb", "r"])
def test_file_that_shrinks_meanwhile_ends_earlier(run, tmp_path, mode):
    path = tmp_path / "file"
    path.write_bytes(b"x" * 100_000)

    async def main():
        async with await uringtrio.open_file(path, mode) as file:
            assert len(await file.read(10)) == 10
            os.truncate(path, 5)
            rest = await file.read()
            # Only what was in the buffers by then.
            assert len(rest) < 50_000
            assert not await file.read()

    run(main)


def test_directory_that_is_removed_meanwhile_leaves_its_open_file(run, tmp_path):
    place = tmp_path / "directory"
    place.mkdir()

    async def main():
        async with await uringtrio.open_file(place / "file", "w+") as file:
            await file.write("line\n")
            (place / "file").unlink()
            place.rmdir()
            await file.seek(0)
            assert await file.readline() == "line\n"
        with pytest.raises(FileNotFoundError):
            await uringtrio.open_file(place / "file", "w")

    run(main)


@pytest.mark.parametrize("mode", ["rb", "r"])
def test_closing_during_a_read_lets_it_end(run, tmp_path, mode):
    path = tmp_path / "file"
    path.write_bytes(b"0123456789" * 100_000)
    found = []

    async def main():
        file = await uringtrio.open_file(path, mode)
        # Past the page cache, as it were.
        raw = getattr(file, "_binary", file)._raw
        raw._can_try = False

        async def read():
            found.append(await file.read())

        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(read)
            while not (raw.in_flight or found):
                await uringtrio.lowlevel.checkpoint()
            await file.aclose()
        with pytest.raises(ValueError, match="closed"):
            await file.read(1)

    run(main)
    data = found[0] if mode == "rb" else found[0].encode()
    assert data == path.read_bytes()
