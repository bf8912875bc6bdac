"""open_file: the arguments of `open`, and which objects they ask for."""

from __future__ import annotations

import errno
import io
import os
import stat
import sys
from typing import TYPE_CHECKING, Any, NoReturn

from uringtrio._ops.path import OpenAt
from uringtrio._scheduler.traps import checkpoint
from uringtrio._threads.to_thread import run_sync

from .binary import UnbufferedFile
from .buffered import BufferedFile
from .raw import RawFile
from .text import TextFile

if TYPE_CHECKING:
    from collections.abc import Callable

    from _typeshed import FileDescriptorOrPath

    from .wrapper import AsyncIOWrapper

# The largest buffer that a file system may ask for, as `open` has it since Python 3.14.
BUFFER_BYTES_MAX = 1 << 23


class _Checked(BaseException):
    """Python's `open` has no objection, and is about to open a file."""

    def __init__(self, path: str | bytes, flags: int) -> None:
        self.path = path
        self.flags = flags


def _refuse(path: str | bytes, flags: int) -> NoReturn:
    raise _Checked(path, flags)


async def open_file(  # noqa: PLR0913, PLR0917  # those of open
    file: FileDescriptorOrPath,
    mode: str = "r",
    buffering: int = -1,
    encoding: str | None = None,
    errors: str | None = None,
    newline: str | None = None,
    closefd: bool = True,
    opener: Callable[[str, int], int] | None = None,
) -> AsyncIOWrapper[Any]:
    r"""Open a file, as Python's `open` does, and return an async file object.

    Its methods give the results and raise the exceptions of those of the file that `open` would
    return, and are async where they may have to wait: reading, writing, seeking, flushing,
    closing. What is in the page cache is read at once; all else goes to the ring, and to threads
    where there is none. Files of bytes also have the methods of `Positional`.

    Args:
        file: a path, or an open descriptor.
        mode: "r", "w", "x" or "a", with "b" for bytes and "+" for both reading and writing.
        buffering: the size of the buffer in bytes; 0 is none, for bytes only; 1 writes each line
            of text at once; -1 is the file system's block size, and lines for terminals.
        encoding: of text; None is the locale's.
        errors: what to do with text that cannot be decoded or encoded; None raises.
        newline: of text. None takes "\r" and "\r\n" for "\n", "" keeps them, and the other
            values "\n", "\r" and "\r\n" are the only line end, also written for "\n".
        closefd: whether closing the file closes the descriptor that was given.
        opener: called with the path and the flags of open(2), in a thread, instead of that; it
            returns a descriptor.

    Returns:
        A file object to be closed; use it in `async with`.

    Raises:
        OSError: it cannot be opened; with its name.
        ValueError: an argument is wrong, or they do not fit together.
        TypeError: likewise.
        LookupError: there is no such encoding.

    Checkpoint: always. If it is cancelled, nothing was opened, except perhaps by `opener`.

    Source: Python's documentation of `open`.
    """
    if isinstance(file, int):
        _check("/", mode, buffering, encoding, errors, newline, closefd=True)
        await checkpoint()
        if file < 0:
            raise ValueError("negative file descriptor")
        raw = _new_raw(file, mode, name=file, closefd=closefd, status=os.fstat(file))
    else:
        path, flags = _check(file, mode, buffering, encoding, errors, newline, closefd=closefd)
        if opener is None:
            fd, status = await _open(path, flags)
        else:
            fd, status = await run_sync(_call_opener, opener, path, flags)
        try:
            raw = _new_raw(fd, mode, name=path, closefd=True, status=status)
        except BaseException:
            os.close(fd)
            raise
    try:
        return _build(raw, mode, buffering, encoding, errors, newline)
    except BaseException:
        raw.close()
        raise


def _check(  # noqa: PLR0913  # those of open
    file: Any,
    mode: str,
    buffering: int,
    encoding: str | None,
    errors: str | None,
    newline: str | None,
    *,
    closefd: bool,
) -> tuple[str | bytes, int]:
    """Let `open` itself look at the arguments; return the path, and the flags of open(2)."""
    try:
        open(file, mode, buffering, encoding, errors, newline, closefd, _refuse)  # noqa: SIM115  # it opens nothing
    except _Checked as checked:
        return checked.path, checked.flags
    raise AssertionError("open() opened a file without its opener")


async def _open(path: str | bytes, flags: int) -> tuple[int, os.stat_result]:
    op = OpenAt(os.fsencode(path), flags)
    try:
        fd: int = await op
    except OSError as exc:
        if exc.errno != errno.ENXIO:
            raise OSError(exc.errno, exc.strerror, path) from None
        # A ring says so of a pipe with a name that nobody reads; open(2) waits.
        return await run_sync(_open_waiting, path, flags)
    status = os.fstat(fd)
    is_reader = not flags & os.O_ACCMODE
    if is_reader and stat.S_ISFIFO(status.st_mode) and not op.has_waited:
        # A ring does not wait for who writes, and the first read would find the end.
        try:
            return await run_sync(_open_waiting, path, flags)
        finally:
            os.close(fd)
    return fd, status


def _open_waiting(path: str | bytes, flags: int) -> tuple[int, os.stat_result]:
    fd = os.open(path, flags, 0o666)
    return fd, os.fstat(fd)


def _call_opener(
    opener: Callable[[Any, int], int], path: str | bytes, flags: int
) -> tuple[int, os.stat_result]:
    fd: object = opener(path, flags)
    if not isinstance(fd, int):
        raise TypeError("expected integer from opener")
    if fd < 0:
        raise ValueError(f"opener returned {fd}")
    os.set_inheritable(fd, False)
    return fd, os.fstat(fd)


def _new_raw(fd: int, mode: str, *, name: object, closefd: bool, status: os.stat_result) -> RawFile:
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), name)
    raw_mode = "".join(letter for letter in mode if letter in "rwxa+")
    return RawFile(fd, raw_mode, name=name, closefd=closefd, status=status)


def _build(
    raw: RawFile,
    mode: str,
    buffering: int,
    encoding: str | None,
    errors: str | None,
    newline: str | None,
) -> AsyncIOWrapper[Any]:
    """Put the layers on `raw` that `open` would."""
    is_text = "b" not in mode
    if buffering == 0:
        if is_text:
            raise ValueError("can't have unbuffered text I/O")
        return UnbufferedFile(raw, raw)
    writes_lines = buffering == 1 or (buffering < 0 and not raw.is_regular and raw.isatty())
    size_bytes = buffering if buffering > 1 else _default_size(raw.block_bytes)
    buffer: Any
    if "+" in mode:
        buffer = io.BufferedRandom(raw, size_bytes)
    elif "r" in mode:
        buffer = io.BufferedReader(raw, size_bytes)
    else:
        buffer = io.BufferedWriter(raw, size_bytes)
    binary = BufferedFile(raw, buffer, size_bytes)
    if not is_text:
        return binary
    text = io.TextIOWrapper(buffer, encoding, errors, newline, writes_lines)
    text.mode = mode  # type: ignore[misc]  # as open does
    return TextFile(binary, text, newline)


def _default_size(block_bytes: int) -> int:
    size_bytes = block_bytes if block_bytes > 1 else io.DEFAULT_BUFFER_SIZE
    if sys.version_info >= (3, 14):
        size_bytes = max(min(block_bytes, BUFFER_BYTES_MAX), io.DEFAULT_BUFFER_SIZE)
    return size_bytes
