"""Path does what pathlib.Path does."""

import errno
import inspect
import os
import pathlib
import pickle

import pytest

import uringtrio
from uringtrio._ops.path import Mkdir

SYNC = {
    "absolute", "as_uri", "from_uri", "info", "is_reserved", "joinpath", "match", "parser",
    "relative_to", "is_relative_to", "with_segments",
}  # fmt: skip


@pytest.fixture
def path(tmp_path):
    return uringtrio.Path(tmp_path / "path")


def test_every_method_of_pathlib_is_there():
    public = {name for name in dir(pathlib.Path) if not name.startswith("_")}
    missing = {name for name in public if not hasattr(uringtrio.Path, name)}
    of_files = public - set(dir(pathlib.PurePath))
    blocking = {
        name
        for name in of_files - SYNC - {"walk"}
        if not inspect.iscoroutinefunction(getattr(uringtrio.Path, name))
    }

    assert (missing, blocking) == (set(), set())


QUESTIONS = [
    "exists", "is_dir", "is_file", "is_symlink", "is_socket", "is_fifo", "is_block_device",
    "is_char_device", "is_mount",
]  # fmt: skip


@pytest.mark.parametrize("question", QUESTIONS)
def test_questions_are_answered_as_by_pathlib(run, tmp_path, question):
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "broken").symlink_to("nothing")
    (tmp_path / "loop").symlink_to("loop")
    os.mkfifo(tmp_path / "fifo")
    paths = [
        *(tmp_path / name for name in ("file", "link", "broken", "loop", "fifo", "none", "file/x")),
        tmp_path, pathlib.Path("/dev/null"), pathlib.Path("/"), pathlib.Path("."),
    ]  # fmt: skip

    async def main():
        return [await getattr(uringtrio.Path(path), question)() for path in paths]

    assert run(main) == [getattr(path, question)() for path in paths]


def test_info_is_what_was_there_when_it_was_first_asked(run, path):
    directory, link, absent = path / "directory", path / "link", path / "absent"

    async def kinds(info, **options):
        is_link = await info.is_symlink()
        return (
            await info.exists(**options), await info.is_dir(**options),
            await info.is_file(**options), is_link,
        )  # fmt: skip

    async def main():
        await directory.mkdir(parents=True)
        await link.symlink_to("directory")
        for _ in range(2):
            assert await kinds(directory.info) == (True, True, False, False)
            assert await kinds(link.info) == (True, True, False, True)
            assert await kinds(link.info, follow_symlinks=False) == (True, False, False, True)
            assert await kinds(absent.info) == (False, False, False, False)
            assert await kinds((absent / "\0").info) == (False, False, False, False)
            # No longer so, but asked before.
            await absent.touch()
        assert await kinds((path / "absent").info) == (True, False, True, False)
        assert await kinds((absent / "below").info) == (False, False, False, False)
        assert "absent" in repr(absent.info)
        assert pickle.loads(pickle.dumps(absent)) == absent

    run(main)


def test_stat_is_that_of_os(run, tmp_path):
    (tmp_path / "file").write_bytes(b"x" * 5000)
    (tmp_path / "link").symlink_to("file")
    os.utime(tmp_path / "file", ns=(-1_500_000_000, 1_234_567_890_123_456_789))
    names = ["file", "link", "."]

    def fields(status):
        return {name: getattr(status, name) for name in dir(status) if name.startswith("st_")}

    async def main():
        for name in [*(tmp_path / name for name in names), "/dev/null", "/proc/self", "/dev/pts"]:
            path = uringtrio.Path(name)
            assert fields(await path.stat()) == fields(os.stat(name))
            assert fields(await path.lstat()) == fields(os.lstat(name))

    run(main)


def failing(path):
    """Yield calls that fail, as functions of a Path or pathlib.Path."""
    directory, file, none = path / "directory", path / "file", path / "none" / "none"
    yield from (
        lambda new: new(none).stat(),
        lambda new: new(none).unlink(),
        lambda new: new(directory).unlink(),
        lambda new: new(file).rmdir(),
        lambda new: new(path).rmdir(),
        lambda new: new(none).mkdir(),
        lambda new: new(file).mkdir(),
        lambda new: new(file).mkdir(exist_ok=True),
        lambda new: new(none).rename(path / "x"),
        lambda new: new(file).rename(directory),
        lambda new: new(directory).rename(directory / "below"),
        lambda new: new(file).symlink_to("anything"),
        lambda new: new(file).hardlink_to(none),
        lambda new: new(path / "new").hardlink_to(directory),
        lambda new: new(file).touch(exist_ok=False),
        lambda new: new(file).readlink(),
        lambda new: new(none).resolve(strict=True),
        lambda new: new(none).read_text(),
        lambda new: new(directory).read_bytes(),
        lambda new: new(directory).write_bytes(b""),
        lambda new: new("zero\0").stat(),
        lambda new: new("zero\0").mkdir(),
        lambda new: new("zero\0").open(),
        lambda new: new("x" * 300).stat(),
        lambda new: new(file).write_text(b"bytes"),
        lambda new: new(file).write_bytes("text"),
        lambda new: new("~nobody-of-this-name").expanduser(),
        lambda new: new(none).samefile(file),
        lambda new: new("relative").as_uri(),
    )


def test_failures_are_those_of_pathlib(run, tmp_path):
    (tmp_path / "directory").mkdir()
    (tmp_path / "file").write_text("content")

    def facts(exc):
        return (
            type(exc),
            *(getattr(exc, name, None) for name in ("errno", "filename", "filename2")),
        )

    async def main():
        for i, call in enumerate(failing(tmp_path)):
            with pytest.raises(Exception) as theirs:  # noqa: PT011  # whatever pathlib raises
                call(pathlib.Path)
            with pytest.raises(Exception) as ours:  # noqa: PT011  # as above
                await call(uringtrio.Path)
            expected, found = facts(theirs.value), facts(ours.value)
            assert found[:2] == expected[:2], i
            assert [name and os.fspath(name) for name in found[2:]] == [
                name and os.fspath(name) for name in expected[2:]
            ], i
        assert (tmp_path / "file").read_text() == "content"

    run(main)


def test_what_changes_the_file_system(run, path):
    async def main():
        await (path / "a" / "b").mkdir(parents=True)
        await (path / "a").mkdir(exist_ok=True)
        file = path / "a" / "file"
        assert await file.write_text("t\u20acxt\n", encoding="utf-8") == 5
        assert await file.read_bytes() == "t\u20acxt\n".encode()
        assert await file.write_bytes(bytearray(b"bytes")) == 5
        assert await file.read_text() == "bytes"
        moved = await file.rename(str(path / "moved"))
        assert isinstance(moved, uringtrio.Path)
        assert await moved.replace(path / "again") == path / "again"
        await (path / "link").symlink_to("again")
        assert await (path / "link").readlink() == pathlib.Path("again")
        assert await (path / "link").resolve() == path / "again"
        await (path / "hard").hardlink_to(path / "again")
        assert await (path / "hard").samefile(path / "link")
        assert (await (path / "hard").stat()).st_nlink == 2
        await (path / "hard").chmod(0o600)
        assert (await (path / "hard").stat()).st_mode & 0o777 == 0o600
        await (path / "touched").touch()
        await (path / "none").unlink(missing_ok=True)
        await (path / "a" / "b").rmdir()
        assert await (path / "a").is_dir()
        return sorted(entry.name for entry in await path.iterdir())

    assert run(main) == ["a", "again", "hard", "link", "touched"]


def test_listings_are_those_of_pathlib(run, path):
    sync = pathlib.Path(path)
    for name in ("a/x.txt", "a/b/y.txt", "c/z.dat", "w.txt"):
        (sync / name).parent.mkdir(parents=True, exist_ok=True)
        (sync / name).touch()

    async def main():
        for found, expected in (
            (await path.glob("*.txt"), sync.glob("*.txt")),
            (await path.rglob("*.txt"), sync.rglob("*.txt")),
            (await path.glob("**/b/*"), sync.glob("**/b/*")),
            (await path.iterdir(), sync.iterdir()),
        ):
            entries = list(found)
            assert all(isinstance(entry, uringtrio.Path) for entry in entries)
            assert sorted(entries) == sorted(map(uringtrio.Path, expected))
        if hasattr(sync, "walk"):
            walked = [(str(root), sorted(d), sorted(f)) async for root, d, f in path.walk()]
            assert sorted(walked) == sorted(
                (str(root), sorted(d), sorted(f)) for root, d, f in sync.walk()
            )

    run(main)


def test_long_listing_can_be_cancelled(run, path):
    sync = pathlib.Path(path)
    sync.mkdir()
    for i in range(2000):
        (sync / str(i)).touch()

    async def main():
        with uringtrio.move_on_after(0.01) as scope:
            while True:
                assert len(list(await path.iterdir())) == 2000
        assert scope.cancelled_caught

    run(main)


def test_it_is_a_path_like_any_other(path):
    assert path == pathlib.Path(path)
    assert hash(path) == hash(pathlib.Path(path))
    assert pickle.loads(pickle.dumps(path)) == path  # our own
    assert repr(path) == f"uringtrio.Path({str(path)!r})"
    assert isinstance(path.parent, uringtrio.PosixPath)
    assert isinstance("x" / path, uringtrio.Path)
    assert isinstance(path.with_suffix(".y"), uringtrio.Path)
    with pytest.raises(TypeError):
        type("Sub", (uringtrio.PosixPath,), {})


def test_paths_of_windows_are_made_but_not_looked_for(run):
    path = uringtrio.WindowsPath("C:\\x")
    assert path.name == "x"

    async def main():
        with pytest.raises(NotImplementedError):
            await path.stat()
        with pytest.raises(NotImplementedError):
            await path.resolve()

    run(main)


def test_what_an_old_ring_does_not_know_is_done_in_a_thread(run, path, monkeypatch):
    def refuse(op, ring):
        del op, ring
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    monkeypatch.setattr(Mkdir, "prepare", refuse)

    async def main():
        await path.mkdir()
        assert await path.is_dir()
        with pytest.raises(FileExistsError):
            await path.mkdir()

    run(main)
