"""Temporary files and directories are gone when their block ends."""

import os
import pathlib

import pytest

import uringtrio


def test_unnamed_file_can_be_written_and_read(run, tmp_path):
    async def main():
        async with uringtrio.TemporaryFile("w+", encoding="utf-8", dir=str(tmp_path)) as file:
            await file.write("t\u20acxt")
            await file.seek(0)
            assert await file.read() == "t\u20acxt"
            assert list(tmp_path.iterdir()) == []
        assert file.closed

    run(main)


def test_file_system_without_unnamed_files_has_it_for_a_moment(run, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "O_TMPFILE", 0)

    async def main():
        async with uringtrio.TemporaryFile(dir=str(tmp_path)) as file:
            await file.write(b"data")
        assert list(tmp_path.iterdir()) == []

    run(main)


@pytest.mark.parametrize("delete", [True, False])
def test_named_file_is_removed_with_the_block(run, tmp_path, delete):
    async def main():
        temporary = uringtrio.NamedTemporaryFile(
            "wb", suffix=".end", prefix="start-", dir=str(tmp_path), delete=delete
        )
        async with temporary as file:
            await file.write(b"data")
            path = pathlib.Path(file.name)
            assert path.name.startswith("start-")
            assert path.name.endswith(".end")
            assert path.exists()
        assert path.exists() != delete
        with pytest.raises(RuntimeError, match="entered already"):
            await temporary.__aenter__()

    run(main)


def test_wrong_arguments_leave_nothing_behind(run, tmp_path):
    async def main():
        for make in (uringtrio.NamedTemporaryFile, uringtrio.TemporaryFile):
            for options in ({"mode": "q"}, {"mode": "w", "encoding": "none such"}):
                with pytest.raises((ValueError, LookupError)):
                    async with make(dir=str(tmp_path), **options):
                        pass
        assert list(tmp_path.iterdir()) == []

    run(main)


def test_directory_goes_with_what_is_in_it_cancelled_or_not(run, tmp_path):
    async def main():
        with uringtrio.CancelScope() as scope:
            async with uringtrio.TemporaryDirectory(dir=str(tmp_path)) as path:
                await uringtrio.Path(path, "file").write_text("content")
                scope.cancel()
        assert list(tmp_path.iterdir()) == []

    run(main)


def test_spooled_file_goes_to_the_disk_when_it_is_large(run):
    async def main():
        async with uringtrio.SpooledTemporaryFile(10) as file:
            assert await file.write(b"in memory") == 9
            assert not file.is_on_disk
            await file.seek(0)
            assert await file.read() == b"in memory"
            await file.write(b" no more")
            assert file.is_on_disk
            await file.seek(0)
            assert [line async for line in file] == [b"in memory no more"]
        assert file.closed

    run(main)


def test_spooled_file_of_text_and_rollover(run):
    async def main():
        async with uringtrio.SpooledTemporaryFile(mode="w+") as file:
            await file.writelines(["one\n", "two\n"])
            await file.rollover()
            assert file.is_on_disk
            await file.seek(0)
            assert await file.readlines() == ["one\n", "two\n"]
            await file.truncate(0)

    run(main)
