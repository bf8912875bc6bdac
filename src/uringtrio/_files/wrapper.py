"""AsyncIOWrapper: a synchronous file object whose methods are called in threads."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Final, Generic, Self, TypeVar

from uringtrio._abc import AsyncResource
from uringtrio._scheduler.cancel import CancelScope
from uringtrio._scheduler.traps import checkpoint_if_cancelled
from uringtrio._threads.to_thread import run_sync

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

FileT_co = TypeVar("FileT_co", covariant=True)
FileT = TypeVar("FileT")

# What a file object may have that cannot block, and what may; Trio's lists.
SYNC_ATTRIBUTES: Final = frozenset({
    "buffer", "closed", "closefd", "encoding", "errors", "fileno", "getbuffer", "getvalue",
    "isatty", "line_buffering", "mode", "name", "newlines", "raw", "readable", "seekable",
    "writable",
})  # fmt: skip
ASYNC_METHODS: Final = frozenset({
    "flush", "peek", "read", "read1", "readall", "readinto", "readinto1", "readline", "readlines",
    "seek", "tell", "truncate", "write", "writelines",
})  # fmt: skip


class AsyncIOWrapper(AsyncResource, Generic[FileT_co]):
    """A file object with async methods; what `wrap_file` and `open_file` return.

    It has those methods and attributes of `io`'s classes that the file has which it wraps, and no
    others: reading, writing, seeking and flushing are async, the rest is not. Iterating over it
    asynchronously yields lines. `async with` closes it; there is no synchronous `close`.
    """

    def __init__(self, file: FileT_co) -> None:
        self._wrapped = file

    @property
    def wrapped(self) -> FileT_co:
        """The synchronous file object. Using it blocks."""
        return self._wrapped

    def __getattr__(self, name: str) -> Any:
        if name in SYNC_ATTRIBUTES:
            return getattr(self._wrapped, name)
        if name not in ASYNC_METHODS:
            raise AttributeError(
                f"{type(self).__name__!r} object has no attribute {name!r}: of what it wraps only "
                "the methods and attributes of io's classes are forwarded; use `wrapped`"
            )
        method = in_thread(getattr(self._wrapped, name), self._wrapped, name)
        # The next time it is found without coming here.
        setattr(self, name, method)
        return method

    def __dir__(self) -> Iterable[str]:
        forwarded = SYNC_ATTRIBUTES | ASYNC_METHODS
        return {*super().__dir__(), *(name for name in forwarded if hasattr(self._wrapped, name))}

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        line = await self.readline()
        if not line:
            raise StopAsyncIteration
        return line

    async def detach(self) -> AsyncIOWrapper[Any]:
        """Take the object below this one, as `io.BufferedIOBase.detach`.

        Returns:
            An async file object around it. This one can no longer be used.

        Checkpoint: always.
        """
        file: Any = self._wrapped
        return wrap_file(await run_sync(file.detach))

    async def aclose(self) -> None:
        """Flush and close the file; cancelled or not, it is closed afterwards.

        What closing raises comes out: an OSError may mean that data was lost.

        Checkpoint: always, after the file was closed.
        """
        file: Any = self._wrapped
        with CancelScope(shield=True):
            await run_sync(file.close)
        await checkpoint_if_cancelled()


def in_thread(method: Callable[..., Any], file: object, name: str) -> Callable[..., Any]:
    """Return an async function that calls `method` of `file` in a thread."""

    async def call(*args: Any, **options: Any) -> Any:
        return await run_sync(functools.partial(method, *args, **options))

    call.__name__ = name
    call.__qualname__ = f"{AsyncIOWrapper.__name__}.{name}"
    call.__module__ = AsyncIOWrapper.__module__
    cls = type(file)
    # A mock says what class it stands for.
    cls = getattr(file, "__class__", cls)
    call.__doc__ = f"Like `{cls.__module__}.{cls.__qualname__}.{name}`, in a worker thread."
    return call


def wrap_file(file: FileT) -> AsyncIOWrapper[FileT]:
    """Return an async file object around a synchronous one; its methods are called in threads.

    For what is a file without being one that `open_file` could open: `io.StringIO`, archives,
    files of other libraries.

    Args:
        file: has `close`, and `read` or `write`. Nobody else should use it meanwhile.

    Raises:
        TypeError: it has not.
    """

    def has(name: str) -> bool:
        return callable(getattr(file, name, None))

    if not (has("close") and (has("read") or has("write"))):
        raise TypeError(
            f"{file!r} is no file object: wrap_file needs one with close() and with read() or "
            "write()"
        )
    return AsyncIOWrapper(file)
