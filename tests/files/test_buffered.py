"""Iterating over lines: many are taken from the buffer at once, and nothing shows it."""

import os

import pytest

import uringtrio

LINES = [b"line %d of the file\n" % i for i in range(2000)] + [b"x" * 30_000 + b"\n", b"no end"]
MODES = ["rb", "r+b", "r", "r+"]


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"".join(LINES))
    return path


def expected(mode):
    return LINES if "b" in mode else [line.decode() for line in LINES]


@pytest.fixture(params=[True, False], ids=["cached", "op"])
def is_cached(request):
    return request.param


async def opened(path, mode, *, is_cached=True):
    file = await uringtrio.open_file(path, mode)
    getattr(file, "_binary", file)._raw._can_try &= is_cached
    return file


@pytest.mark.parametrize("mode", MODES)
def test_lines_are_those_of_the_file(run, path, mode, is_cached):
    async def main():
        async with await opened(path, mode, is_cached=is_cached) as file:
            assert [line async for line in file] == expected(mode)
            assert await file.readline() == expected(mode)[0][:0]
            await file.seek(0)
            assert await file.readlines() == expected(mode)
            await file.seek(0)
            assert await file.readlines(100) == expected(mode)[:6]

    run(main)


@pytest.mark.parametrize("mode", MODES)
def test_calls_between_lines_go_on_from_the_last(run, path, mode, is_cached):
    lines = expected(mode)

    async def main():
        async with await opened(path, mode, is_cached=is_cached) as file:
            i = 0
            async for line in file:
                assert line == lines[i]
                i += 1
                if i % 3 == 0:
                    assert await file.read(5) + await file.readline() == lines[i]
                    i += 1
                if i % 7 == 0:
                    place = await file.tell()
                    assert place == sum(map(len, LINES[:i]))
                    await file.seek(0)
                    assert await anext(file) == lines[0]
                    await file.seek(place)
                if i % 11 == 0:
                    assert file.wrapped.tell() == sum(map(len, LINES[:i]))
            assert i == len(lines)

    run(main)


def test_writing_between_lines_writes_there(run, path):
    async def main():
        async with await opened(path, "r+b") as file:
            for _ in range(3):
                line = await anext(file)
            await file.write(line.upper())
            assert await anext(file) == LINES[4]

    run(main)
    assert path.read_bytes().splitlines(keepends=True)[:5] == [
        *LINES[:3], LINES[2].upper(), LINES[4]
    ]  # fmt: skip


@pytest.mark.parametrize("mode", ["rb", "r"])
def test_lines_of_a_pipe_come_as_they_are_sent(run, mode):
    receive_fd, send_fd = os.pipe()
    found = []

    async def main():
        async with await uringtrio.open_file(receive_fd, mode) as file:
            os.write(send_fd, b"one\ntwo\nth")
            with uringtrio.move_on_after(0.02) as scope:
                async for line in file:
                    found.append(line)  # noqa: PERF401  # those before the cancellation count
            assert scope.cancelled_caught
            assert len(found) == 2
            os.write(send_fd, b"ree\nfour\nfive")
            found.append(await anext(file))
            found.append(await file.read(2))
            os.close(send_fd)
            found.extend([line async for line in file])

    run(main)
    assert [str(part, "ascii") if mode == "rb" else part for part in found] == [
        "one\n", "two\n", "three\n", "fo", "ur\n", "five"
    ]  # fmt: skip


@pytest.mark.parametrize("mode", MODES)
def test_closing_between_lines_ends_the_iteration(run, path, mode):
    async def main():
        file = await opened(path, mode)
        await anext(file)
        await file.aclose()
        with pytest.raises(ValueError, match="closed"):
            await anext(file)

    run(main)


@pytest.mark.parametrize("mode", MODES)
def test_iterating_lets_others_run_and_cancel(run, path, mode):
    """As often as it fills the buffer, at least: not for each line, as Trio does."""

    async def main():
        count = 0
        async with await opened(path, mode) as file, uringtrio.open_nursery() as nursery:
            with uringtrio.CancelScope() as scope:
                nursery.start_soon(uringtrio.lowlevel.checkpoint)
                nursery.start_soon(cancel, scope)
                async for line in file:
                    assert line == expected(mode)[count]
                    count += 1
            assert scope.cancelled_caught
            assert 0 < count < 2000
            # What was not returned is there still.
            assert await file.readline() == expected(mode)[count]

    async def cancel(scope):
        for _ in range(2):
            await uringtrio.lowlevel.checkpoint()
        scope.cancel()

    run(main)


def test_position_of_a_shared_descriptor_is_after_the_last_line(run, path):
    """As `open` leaves it, whose file for both goes back to where it was read to."""
    fd = os.open(path, os.O_RDWR)

    async def main():
        async with await uringtrio.open_file(fd, "r+b", closefd=False) as file:
            for _ in range(3):
                await anext(file)

    run(main)
    assert os.lseek(fd, 0, os.SEEK_CUR) == len(b"".join(LINES[:3]))
    os.close(fd)


@pytest.mark.parametrize("mode", MODES)
def test_several_tasks_share_the_lines(run, path, mode):
    lines = []

    async def main():
        async with await opened(path, mode) as file:

            async def take():
                async for line in file:
                    lines.append(line)
                    if len(lines) % 3 == 0:
                        await uringtrio.lowlevel.checkpoint()

            async with uringtrio.open_nursery() as nursery:
                for _ in range(3):
                    nursery.start_soon(take)

    run(main)
    assert sorted(lines) == sorted(expected(mode))
