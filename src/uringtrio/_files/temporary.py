"""Temporary files and directories, which are gone when their `async with` block ends."""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Self, final

from uringtrio._abc import Sealed
from uringtrio._scheduler.cancel import CancelScope
from uringtrio._scheduler.traps import checkpoint
from uringtrio._threads.to_thread import run_sync

from .open import open_file
from .wrapper import AsyncIOWrapper

if TYPE_CHECKING:
    from types import TracebackType

# The directory's file system has no files without a name, or the kernel has not.
NO_UNNAMED = frozenset({errno.EOPNOTSUPP, errno.EISDIR, errno.ENOENT, errno.EINVAL})


class _Temporary(ABC):
    """What all of them are: an async context manager that is entered once."""

    __slots__ = ("_file", "_options", "_place")

    def __init__(  # noqa: PLR0913, PLR0917  # those of tempfile
        self,
        mode: str = "w+b",
        buffering: int = -1,
        encoding: str | None = None,
        newline: str | None = None,
        suffix: str | None = None,
        prefix: str | None = None,
        dir: str | None = None,  # noqa: A002  # as tempfile has it
        *,
        errors: str | None = None,
    ) -> None:
        self._options = {
            "mode": mode, "buffering": buffering, "encoding": encoding, "newline": newline,
            "errors": errors,
        }  # fmt: skip
        self._place = (suffix, prefix, dir)
        self._file: AsyncIOWrapper[Any] | None = None

    async def __aenter__(self) -> AsyncIOWrapper[Any]:
        if self._file is not None:
            raise RuntimeError(f"this {type(self).__name__} was entered already: make another one")
        self._file = await self._open()
        return self._file

    @abstractmethod
    async def _open(self) -> AsyncIOWrapper[Any]:
        """Make the file."""

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._file is not None
        await self._file.aclose()


@final
class TemporaryFile(Sealed, _Temporary):
    """A file without a name: `async with TemporaryFile() as file`.

    Args:
        mode: as `open_file` takes it; for both reading and writing by default.
        buffering: likewise.
        encoding: likewise.
        newline: likewise.
        suffix: of the name that it has for a moment, where the system needs one.
        prefix: likewise.
        dir: where it is; None is where temporary files are, see `tempfile.gettempdir`.
        errors: as `open_file` takes it.

    Entering raises OSError if it cannot be made, and gives an async file object. Leaving closes
    it, whereupon it is gone.
    """

    __slots__ = ()

    async def _open(self) -> AsyncIOWrapper[Any]:
        suffix, prefix, directory = self._place
        fd = await run_sync(_open_unnamed, suffix, prefix, directory)
        return await _adopt(
            fd, f"<unnamed file in {directory or tempfile.gettempdir()}>", self._options
        )


@final
class NamedTemporaryFile(Sealed, _Temporary):
    """A file whose `name` others can open: `async with NamedTemporaryFile() as file`.

    Args:
        mode: as `open_file` takes it; for both reading and writing by default.
        buffering: likewise.
        encoding: likewise.
        newline: likewise.
        suffix: the end of its name.
        prefix: the start of its name.
        dir: where it is; None is where temporary files are, see `tempfile.gettempdir`.
        delete: whether it is removed when the block ends. It need not be there any more.
        errors: as `open_file` takes it.

    Entering raises OSError if it cannot be made, and gives an async file object, which leaving
    closes.
    """

    __slots__ = ("_deletes", "_path")

    def __init__(  # noqa: PLR0913, PLR0917  # those of tempfile
        self,
        mode: str = "w+b",
        buffering: int = -1,
        encoding: str | None = None,
        newline: str | None = None,
        suffix: str | None = None,
        prefix: str | None = None,
        dir: str | None = None,  # noqa: A002  # as tempfile has it
        delete: bool = True,
        *,
        errors: str | None = None,
    ) -> None:
        super().__init__(mode, buffering, encoding, newline, suffix, prefix, dir, errors=errors)
        self._deletes = delete
        self._path = ""

    async def _open(self) -> AsyncIOWrapper[Any]:
        suffix, prefix, directory = self._place
        fd, self._path = await run_sync(_open_named, suffix, prefix, directory)
        try:
            return await _adopt(fd, self._path, self._options)
        except BaseException:
            os.unlink(self._path)
            raise

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            await super().__aexit__(exc_type, exc, traceback)
        finally:
            if self._deletes:
                with CancelScope(shield=True):
                    await run_sync(_remove, self._path)


async def _adopt(fd: int, name: str, options: dict[str, Any]) -> AsyncIOWrapper[Any]:
    """Open `fd`, under `name`, which owns it from now on."""
    is_taken = False

    def give(_path: str, _flags: int) -> int:
        nonlocal is_taken
        is_taken = True
        return fd

    try:
        # A cancellation counts again as soon as the file is used.
        with CancelScope(shield=True):
            file = await open_file(name, **options, opener=give)
    except BaseException:
        if not is_taken:
            os.close(fd)
        raise
    return file


def _open_named(suffix: str | None, prefix: str | None, directory: str | None) -> tuple[int, str]:
    return tempfile.mkstemp(suffix, prefix, directory)


def _open_unnamed(suffix: str | None, prefix: str | None, directory: str | None) -> int:
    flags = getattr(os, "O_TMPFILE", 0)
    if flags:
        try:
            place = directory or tempfile.gettempdir()
            return os.open(place, flags | os.O_RDWR | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except OSError as exc:
            if exc.errno not in NO_UNNAMED:
                raise
    fd, path = tempfile.mkstemp(suffix, prefix, directory)
    os.unlink(path)
    return fd


def _remove(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


@final
class TemporaryDirectory(Sealed):
    """A directory that goes with all that is in it: `async with TemporaryDirectory() as path`.

    Args:
        suffix: the end of its name.
        prefix: the start of its name.
        dir: where it is; None is where temporary files are.
        ignore_cleanup_errors: do not raise if something cannot be removed.

    Entering gives the path, a str.
    """

    __slots__ = ("_directory", "_options")

    def __init__(
        self,
        suffix: str | None = None,
        prefix: str | None = None,
        dir: str | None = None,  # noqa: A002  # as tempfile has it
        ignore_cleanup_errors: bool = False,
    ) -> None:
        self._options = (suffix, prefix, dir, ignore_cleanup_errors)
        self._directory: tempfile.TemporaryDirectory[str] | None = None

    async def __aenter__(self) -> str:
        self._directory = await run_sync(tempfile.TemporaryDirectory, *self._options)
        return self._directory.name

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._directory is not None
        with CancelScope(shield=True):
            await run_sync(self._directory.cleanup)


@final
class SpooledTemporaryFile(Sealed, AsyncIOWrapper[Any]):
    """A file in memory, which goes to the disk when it has more than `max_size` bytes.

    In memory its methods do not go to threads; on the disk they do.

    Args:
        max_size: in bytes; 0 is no limit.
        mode: as `open_file` takes it; for both reading and writing by default.
        buffering: likewise.
        encoding: likewise.
        newline: likewise.
        suffix: of the name that it has for a moment, on the disk.
        prefix: likewise.
        dir: where it is then; None is where temporary files are.
        errors: as `open_file` takes it.

    Use it in `async with`: it is gone when it is closed.
    """

    def __init__(  # noqa: PLR0913, PLR0917  # those of tempfile
        self,
        max_size: int = 0,
        mode: str = "w+b",
        buffering: int = -1,
        encoding: str | None = None,
        newline: str | None = None,
        suffix: str | None = None,
        prefix: str | None = None,
        dir: str | None = None,  # noqa: A002  # as tempfile has it
        *,
        errors: str | None = None,
    ) -> None:
        super().__init__(
            tempfile.SpooledTemporaryFile(  # noqa: SIM115  # `aclose` closes it
                max_size, mode, buffering, encoding, newline, suffix, prefix, dir, errors=errors
            )
        )
        self._max_size = max_size
        self._is_text = "b" not in mode
        self.is_on_disk = False

    def __getattr__(self, name: str) -> Any:
        if self.is_on_disk or name not in IN_MEMORY:
            return super().__getattr__(name)
        fn = getattr(self._wrapped, name)

        async def call(*args: Any) -> Any:
            if self.is_on_disk:
                return await run_sync(fn, *args)
            await checkpoint()
            return fn(*args)

        return call

    async def rollover(self) -> None:
        """Go to the disk now.

        Checkpoint: always.
        """
        await run_sync(self._wrapped.rollover)
        self.is_on_disk = True

    async def write(self, data: Any, /) -> int:
        """Write `data`, bytes or str as the mode says; return its length.

        Checkpoint: always.
        """
        # A character has four bytes at most, in most encodings.
        size = 4 * len(data) if self._is_text else memoryview(data).nbytes
        if self.is_on_disk or (self._max_size and self._wrapped.tell() + size > self._max_size):
            count: int = await run_sync(self._wrapped.write, data)
            self.is_on_disk = self._wrapped._rolled
            return count
        await checkpoint()
        return self._wrapped.write(data)  # type: ignore[no-any-return]  # io's own

    async def writelines(self, lines: Any, /) -> None:
        """Write each of `lines`.

        Checkpoint: always.
        """
        for line in lines:
            await self.write(line)
        await checkpoint()

    async def truncate(self, size: int | None = None, /) -> None:
        """Make the file `size` bytes long, by default up to the position.

        Checkpoint: always.
        """
        await run_sync(self._wrapped.truncate, *(() if size is None else (size,)))
        self.is_on_disk = self._wrapped._rolled

    async def __aenter__(self) -> Self:
        return self


# The methods that need no thread as long as the file is in memory.
IN_MEMORY = frozenset({
    "flush", "read", "read1", "readinto", "readinto1", "readline", "readlines", "seek", "tell",
})  # fmt: skip
