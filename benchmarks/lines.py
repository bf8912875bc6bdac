"""Lines: what `async for` costs for each, at least, and what a file adds to that.

    python benchmarks/lines.py

Nanoseconds of CPU time for each line; the best of several repeats, which take turns.
"""

from __future__ import annotations

import contextlib
import io
import os
import tempfile
import time
from typing import TYPE_CHECKING, Any

import uringtrio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterator

REPEATS = 7
LINE = "line number 123456 of the file\n"
LINE_COUNT = 1_000_000
CHUNK_LINES = 264
CHUNK = LINE * CHUNK_LINES
CHUNK_COUNT = LINE_COUNT // CHUNK_LINES


class FromLists:
    """Lines that are there already, from one list after the other."""

    def __init__(self) -> None:
        self.chunks = iter([[LINE] * CHUNK_LINES for _ in range(CHUNK_COUNT)])
        self.lines: Iterator[str] = iter(())

    def __aiter__(self) -> FromLists:
        return self

    async def __anext__(self) -> str:
        for line in self.lines:
            return line
        self.lines = self.next_lines()
        return next(self.lines)

    def next_lines(self) -> Iterator[str]:
        """Return the lines of the next chunk."""
        chunk = next(self.chunks, None)
        if chunk is None:
            raise StopAsyncIteration
        return iter(chunk)


class FromText(FromLists):
    """Lines that are made from one chunk of text after the other."""

    def next_lines(self) -> Iterator[str]:
        super().next_lines()
        return io.StringIO(CHUNK, "\n")


class WithoutCoroutine(FromLists):
    """As the first, with an object that is its own awaitable."""

    def __anext__(self) -> Any:
        return self

    def __await__(self) -> WithoutCoroutine:
        return self

    def __iter__(self) -> WithoutCoroutine:
        return self

    def __next__(self) -> None:
        for line in self.lines:
            raise StopIteration(line)
        self.lines = self.next_lines()
        raise StopIteration(next(self.lines))


async def generated() -> AsyncIterator[str]:
    """As the first, by an async generator."""
    for chunk in FromLists().chunks:
        for line in chunk:
            yield line


async def iterate(lines: Any) -> None:
    """Do nothing with each line."""
    async for _ in lines:
        pass


async def iterate_file(path: str, mode: str) -> None:
    """The same, for a file."""
    async with await uringtrio.open_file(path, mode) as file:
        await iterate(file)


async def read_lines(path: str, mode: str) -> None:
    """Have all lines of a file in a list."""
    async with await uringtrio.open_file(path, mode) as file:
        await file.readlines()


def iterate_builtin(path: str, mode: str) -> None:
    """What `open` does."""
    with open(path, mode) as file:
        for _ in file:
            pass


def read_lines_builtin(path: str, mode: str) -> None:
    """What `open` does for a list."""
    with open(path, mode) as file:
        file.readlines()


def drive(main: Coroutine[Any, Any, None]) -> None:
    """Run what never waits."""
    with contextlib.suppress(StopIteration):
        main.send(None)


def cases(path: str) -> dict[str, Callable[[], object]]:
    """Return what to time, by name."""
    found: dict[str, Callable[[], object]] = {
        "async def __anext__, from lists": lambda: drive(iterate(FromLists())),
        "async def __anext__, from text": lambda: drive(iterate(FromText())),
        "__anext__ without a coroutine": lambda: drive(iterate(WithoutCoroutine())),
        "async generator": lambda: drive(iterate(generated())),
    }
    for mode in ("r", "rb"):
        found[f"open, {mode}"] = lambda mode=mode: iterate_builtin(path, mode)
        found[f"open, {mode}, readlines"] = lambda mode=mode: read_lines_builtin(path, mode)
        found[f"open_file, {mode}"] = lambda mode=mode: uringtrio.run(iterate_file, path, mode)
        found[f"open_file, {mode}, readlines"] = lambda mode=mode: uringtrio.run(
            read_lines, path, mode
        )
    return found


def main() -> None:
    """Print a row for each case."""
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "lines")
        with open(path, "w") as file:
            file.writelines(CHUNK for _ in range(CHUNK_COUNT))
        best = {}
        for _ in range(REPEATS):
            for name, case in cases(path).items():
                start = time.process_time()
                case()
                best[name] = min(best.get(name, float("inf")), time.process_time() - start)
    for name, seconds in best.items():
        print(f"{name:34s}{seconds / CHUNK_COUNT / CHUNK_LINES * 1e9:6.0f} ns")


if __name__ == "__main__":
    main()
