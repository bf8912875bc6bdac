"""Path: `pathlib.Path` whose methods that go to the file system are async.

On the ring where it has an op, else in threads. A ring of an old kernel lacks some of these ops,
and says EINVAL to them: so whatever gets EINVAL is asked for again in a thread, which knows the op,
or the true reason.
"""

from __future__ import annotations

import errno
import os
import pathlib
import stat
import sys
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self, final

from uringtrio._abc import Sealed
from uringtrio._ops.path import Link, Mkdir, Rename, Statx, Symlink, Unlink
from uringtrio._scheduler.traps import checkpoint
from uringtrio._threads.to_thread import run_sync

from .open import open_file
from .path_info import PathInfo
from .walking import Walk, collect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from uringtrio._abc import Buffer
    from uringtrio._ops.op import Op

    from .wrapper import AsyncIOWrapper

StrPath = str | os.PathLike[str]

# Errors by which a question about a file is answered with no.
ABSENT: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.EBADF, errno.ELOOP})


class Path(pathlib.PurePath):
    """A path whose methods that go to the file system are async; the others are `PurePath`'s.

    It is no `pathlib.Path`, but compares equal to one, and can be joined with one. Methods that
    return paths return ones of this class. Making a `Path` makes a `PosixPath` or `WindowsPath`.

    Each async method does what the method of `pathlib.Path` with its name does, raises what that
    raises, and is a checkpoint. It looks for a cancellation first; what has begun is waited for.

    Source: Python's documentation of `pathlib`.
    """

    __slots__ = ("_info",)

    _sync_class: ClassVar[type[pathlib.Path]]
    # Not there before it is asked for.
    _info: PathInfo

    def __new__(cls, *args: StrPath) -> Self:
        if cls is Path:
            cls = WindowsPath if os.name == "nt" else PosixPath  # type: ignore[assignment]  # noqa: PLW0642  # as pathlib does
        return super().__new__(cls, *args)

    def __repr__(self) -> str:
        return f"uringtrio.Path({str(self)!r})"

    def _sync(self) -> pathlib.Path:
        return self._sync_class(self)

    @classmethod
    async def cwd(cls) -> Self:
        """Return the working directory."""
        await checkpoint()
        return cls(os.getcwd())

    @classmethod
    async def home(cls) -> Self:
        """Return the user's home directory."""
        return cls(await run_sync(pathlib.Path.home))

    # What a ring can do.

    async def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
        """Return what `os.stat` does: the size, the times, the mode and more."""
        op = Statx(encoded(self), follow_symlinks=follow_symlinks)
        return await carry_out(op, self)  # type: ignore[no-any-return]  # what its op collects

    async def lstat(self) -> os.stat_result:
        """Return the same as `stat`, of a symlink itself."""
        return await self.stat(follow_symlinks=False)

    async def _mode(self, *, follow_symlinks: bool = True) -> int:
        """Return the mode, 0 if there is no such file."""
        try:
            return (await self.stat(follow_symlinks=follow_symlinks)).st_mode
        except OSError as exc:
            if exc.errno not in ABSENT and sys.version_info < (3, 14):
                raise
        except ValueError:
            # No file has such a name.
            await checkpoint()
        return 0

    async def exists(self, *, follow_symlinks: bool = True) -> bool:
        """Return whether there is a file or directory."""
        return bool(await self._mode(follow_symlinks=follow_symlinks))

    async def is_dir(self, *, follow_symlinks: bool = True) -> bool:
        """Return whether this is a directory."""
        return stat.S_ISDIR(await self._mode(follow_symlinks=follow_symlinks))

    async def is_file(self, *, follow_symlinks: bool = True) -> bool:
        """Return whether this is a regular file."""
        return stat.S_ISREG(await self._mode(follow_symlinks=follow_symlinks))

    async def is_symlink(self) -> bool:
        """Return whether this is a symlink."""
        return stat.S_ISLNK(await self._mode(follow_symlinks=False))

    async def is_socket(self) -> bool:
        """Return whether this is a Unix socket."""
        return stat.S_ISSOCK(await self._mode())

    async def is_fifo(self) -> bool:
        """Return whether this is a pipe with a name."""
        return stat.S_ISFIFO(await self._mode())

    async def is_block_device(self) -> bool:
        """Return whether this is a block device."""
        return stat.S_ISBLK(await self._mode())

    async def is_char_device(self) -> bool:
        """Return whether this is a character device."""
        return stat.S_ISCHR(await self._mode())

    @property
    def info(self) -> PathInfo:
        """What kind of file this is, asked for once: the methods of this object remember."""
        try:
            return self._info
        except AttributeError:
            self._info = PathInfo(type(self)(self))
            return self._info

    async def samefile(self, other_path: StrPath) -> bool:
        """Return whether `other_path` is the same file, under whatever name."""
        ours = await self.stat()
        theirs = await self._new(other_path).stat()
        return os.path.samestat(ours, theirs)

    def _new(self, path: StrPath) -> Self:
        return path if isinstance(path, type(self)) else type(self)(path)

    async def rename(self, target: StrPath) -> Self:
        """Rename this to `target`, whose place it takes; return that."""
        target = self._new(target)
        await carry_out(Rename(encoded(self), encoded(target)), self, target)
        return target

    async def replace(self, target: StrPath) -> Self:
        """Rename this to `target`, whose place it takes; return that."""
        return await self.rename(target)

    async def unlink(self, missing_ok: bool = False) -> None:
        """Remove this file or symlink; with `missing_ok` it need not be there."""
        try:
            await carry_out(Unlink(encoded(self)), self)
        except FileNotFoundError:
            if not missing_ok:
                raise

    async def rmdir(self) -> None:
        """Remove this directory, which must be empty."""
        await carry_out(Unlink(encoded(self), is_directory=True), self)

    async def mkdir(
        self,
        mode: int = 0o777,
        parents: bool = False,
        exist_ok: bool = False,
    ) -> None:
        """Make this directory; with `parents` those above it, with `exist_ok` only if needed."""
        try:
            await carry_out(Mkdir(encoded(self), mode), self)
        except FileNotFoundError:
            if not parents or self.parent == self:
                raise
            await self.parent.mkdir(parents=True, exist_ok=True)
            await self.mkdir(mode, parents=False, exist_ok=exist_ok)
        except OSError:
            # Not only EEXIST: which error it is differs where several apply.
            if not exist_ok or not await self.is_dir():
                raise

    async def symlink_to(
        self,
        target: StrPath,
        target_is_directory: bool = False,
    ) -> None:
        """Make this a symlink to `target`; `target_is_directory` matters on Windows only."""
        del target_is_directory
        op = Symlink(encoded(target), encoded(self))
        await carry_out(op, os.fspath(target), self)

    async def hardlink_to(self, target: StrPath) -> None:
        """Make this another name of the file `target`."""
        await carry_out(Link(encoded(target), encoded(self)), os.fspath(target), self)

    if sys.version_info < (3, 12):

        async def link_to(self, target: StrPath) -> None:
            """Make `target` another name of this file; deprecated by Python: see `hardlink_to`."""
            await self._new(target).hardlink_to(self)

    async def open(
        self,
        mode: str = "r",
        buffering: int = -1,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
    ) -> AsyncIOWrapper[Any]:
        """Open this file; see `open_file`."""
        encoded(self)
        return await open_file(self, mode, buffering, encoding, errors, newline)

    async def read_bytes(self) -> bytes:
        """Return the whole content."""
        async with await self.open("rb", buffering=0) as file:
            return await file.readall()  # type: ignore[no-any-return]  # bytes, in this mode

    async def _read_text(
        self, encoding: str | None, errors: str | None, newline: str | None
    ) -> str:
        async with await self.open("r", -1, encoding, errors, newline) as file:
            return await file.read()  # type: ignore[no-any-return]  # str, in this mode

    if sys.version_info >= (3, 13):

        async def read_text(
            self,
            encoding: str | None = None,
            errors: str | None = None,
            newline: str | None = None,
        ) -> str:
            """Return the whole content as text."""
            return await self._read_text(encoding, errors, newline)
    else:

        async def read_text(self, encoding: str | None = None, errors: str | None = None) -> str:
            """Return the whole content as text."""
            return await self._read_text(encoding, errors, None)

    async def write_bytes(self, data: Buffer) -> int:
        """Make `data` the whole content; return its size in bytes."""
        # A str is refused before the file is emptied.
        view = memoryview(data)
        async with await self.open("wb") as file:
            return await file.write(view)  # type: ignore[no-any-return]  # int, in this mode

    async def write_text(
        self,
        data: str,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
    ) -> int:
        """Make `data` the whole content; return its length in characters."""
        if not isinstance(data, str):
            raise TypeError(f"data must be str, not {type(data).__name__}")
        async with await self.open("w", -1, encoding, errors, newline) as file:
            return await file.write(data)  # type: ignore[no-any-return]  # int, in this mode

    # What no ring can do: in threads.

    async def touch(self, mode: int = 0o666, exist_ok: bool = True) -> None:
        """Make this file, or set its times to now if it is there and `exist_ok`."""
        await run_sync(self._sync().touch, mode, exist_ok)

    async def chmod(self, mode: int, *, follow_symlinks: bool = True) -> None:
        """Set the permissions."""
        sync = self._sync()
        await run_sync(lambda: sync.chmod(mode, follow_symlinks=follow_symlinks))

    async def lchmod(self, mode: int) -> None:
        """Set the permissions of a symlink itself, where the system has such."""
        await run_sync(self._sync().lchmod, mode)

    async def owner(self) -> str:
        """Return the name of the user who owns this."""
        return await run_sync(self._sync().owner)

    async def group(self) -> str:
        """Return the name of the group that owns this."""
        return await run_sync(self._sync().group)

    async def is_mount(self) -> bool:
        """Return whether this is where a file system is mounted."""
        return await run_sync(self._sync().is_mount)

    async def readlink(self) -> Self:
        """Return what this symlink points to."""
        return type(self)(await run_sync(self._sync().readlink))

    async def resolve(self, strict: bool = False) -> Self:
        """Return the absolute path without symlinks and dots; with `strict` it must be there.

        As `pathlib.Path.resolve`.
        """
        return type(self)(await run_sync(self._sync().resolve, strict))

    async def expanduser(self) -> Self:
        """Return the path with `~` or `~user` at its start replaced."""
        return type(self)(await run_sync(self._sync().expanduser))

    async def absolute(self) -> Self:
        """Return the path from the root on, with its dots and symlinks."""
        await checkpoint()
        return type(self)(self._sync().absolute())

    async def iterdir(self) -> Iterator[Self]:
        """Return an iterator over what is in this directory, in no order.

        All of it is listed before this returns, in pieces between which a cancellation counts.
        """
        return await self._all_of(self._sync().iterdir)

    async def glob(
        self, pattern: str, *, case_sensitive: bool | None = None, recurse_symlinks: bool = False
    ) -> Iterator[Self]:
        """Return an iterator over what matches `pattern` below this directory; as `iterdir`.

        `case_sensitive` needs Python 3.12, `recurse_symlinks` Python 3.13.
        """
        options = _given(case_sensitive, recurse_symlinks=recurse_symlinks)
        return await self._all_of(lambda: self._sync().glob(pattern, **options))

    async def rglob(
        self, pattern: str, *, case_sensitive: bool | None = None, recurse_symlinks: bool = False
    ) -> Iterator[Self]:
        """Return an iterator over what matches `pattern` at any depth; as `glob`."""
        options = _given(case_sensitive, recurse_symlinks=recurse_symlinks)
        return await self._all_of(lambda: self._sync().rglob(pattern, **options))

    async def _all_of(self, begin: Callable[[], Iterator[pathlib.Path]]) -> Iterator[Self]:
        found = await collect(begin)
        return map(type(self), found)

    def as_uri(self) -> str:
        """Return the path as a `file:` URI; it must be absolute."""
        return self._sync().as_uri()

    if sys.version_info >= (3, 12):

        async def is_junction(self) -> bool:
            """Return whether this is a junction: never, but on Windows."""
            return await run_sync(self._sync().is_junction)

        def walk(
            self,
            top_down: bool = True,
            on_error: Callable[[OSError], object] | None = None,
            follow_symlinks: bool = False,
        ) -> Walk:
            """Iterate, by `async for`, over this directory and all below it.

            Yields:
                (the path, the names of its directories, the names of its other files). With
                `top_down`, what is removed from the names of directories is left out.
            """
            return Walk(self._sync().walk(top_down, on_error, follow_symlinks), type(self))

    if sys.version_info >= (3, 13):

        @classmethod
        def from_uri(cls, uri: str) -> Self:
            """Return the path of a `file:` URI."""
            return cls(pathlib.Path.from_uri(uri))

        async def full_match(  # type: ignore[override]  # async, as Trio has it
            self, pattern: StrPath, *, case_sensitive: bool | None = None
        ) -> bool:
            """Return whether the whole path matches the pattern."""
            await checkpoint()
            return self._sync().full_match(os.fspath(pattern), case_sensitive=case_sensitive)

    if sys.version_info >= (3, 14):

        async def copy(self, target: StrPath, **options: Any) -> Self:
            """Copy this file or directory to `target`; return that."""
            sync = self._sync()
            return type(self)(await run_sync(lambda: sync.copy(target, **options)))

        async def copy_into(self, target_dir: StrPath, **options: Any) -> Self:
            """Copy this file or directory into `target_dir`; return the copy."""
            sync = self._sync()
            return type(self)(await run_sync(lambda: sync.copy_into(target_dir, **options)))

        async def move(self, target: StrPath) -> Self:
            """Move this file or directory to `target`; return that."""
            sync = self._sync()
            return type(self)(await run_sync(lambda: sync.move(target)))

        async def move_into(self, target_dir: StrPath) -> Self:
            """Move this file or directory into `target_dir`; return where it is."""
            sync = self._sync()
            return type(self)(await run_sync(lambda: sync.move_into(target_dir)))


@final
class PosixPath(Sealed, Path, pathlib.PurePosixPath):
    """A `Path` of a POSIX system."""

    __slots__ = ()

    _sync_class: ClassVar[type[pathlib.Path]] = pathlib.PosixPath


@final
class WindowsPath(Sealed, Path, pathlib.PureWindowsPath):
    """A `Path` of Windows; elsewhere its async methods raise NotImplementedError."""

    __slots__ = ()

    _sync_class: ClassVar[type[pathlib.Path]] = pathlib.WindowsPath


def _given(case_sensitive: bool | None, *, recurse_symlinks: bool) -> dict[str, Any]:
    """Return the options of a glob that were given; older versions of Python know none."""
    options: dict[str, Any] = {}
    if case_sensitive is not None:
        options["case_sensitive"] = case_sensitive
    if recurse_symlinks:
        options["recurse_symlinks"] = True
    return options


def encoded(path: StrPath) -> bytes:
    """Return the bytes that the system knows a path by.

    Raises:
        ValueError: it contains a zero byte.
        NotImplementedError: it is a path of another system.
    """
    if isinstance(path, pathlib.PureWindowsPath) and os.name != "nt":
        raise NotImplementedError(f"{path!r} is no path of this system: use uringtrio.Path")
    data = os.fsencode(path)
    if b"\0" in data:
        raise ValueError(f"embedded null byte in path {os.fspath(path)!r}")
    return data


async def carry_out(op: Op, path: StrPath, other: StrPath | None = None) -> Any:
    """Await an op; let its error name the paths, as `os` does.

    Checkpoint: always.
    """
    try:
        try:
            return await op
        except OSError as exc:
            if exc.errno != errno.EINVAL:
                raise
            return op.collect(await run_sync(op.perform))
    except OSError as exc:
        names = (os.fspath(path), None, None if other is None else os.fspath(other))
        raise OSError(exc.errno, exc.strerror, *names) from None
