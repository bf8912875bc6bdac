"""The whole jobs of benchmarks/files.py, as the same program for each library."""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any

import uringtrio

MIB = 1 << 20
READERS = 32
COPIERS = 16
LINE = "line number {} of the file\n"
ENTRY = "entry {} of a log that is appended to\n"


class Job:
    """The data, made once.

    Args:
        directory: where to put them.
        scale: what to divide all sizes by.
    """

    def __init__(self, directory: str, scale: int) -> None:
        self.directory = Path(directory)
        self.large = self.directory / "large"
        self.lines_file = self.directory / "lines"
        self.small = self.directory / "small"
        self.large_mib = 1024 // scale
        self.small_count = 10_000 // scale
        self.line_count = 1_000_000 // scale
        self.entry_count = 100_000 // scale
        self.read_count = 20_000 // scale
        self.copies = self.directory / "copies"
        self.log_file = self.directory / "log"

    def make(self) -> None:
        """Write the files."""
        block = os.urandom(MIB)
        with self.large.open("wb") as file:
            for _ in range(self.large_mib):
                file.write(block)
        with self.lines_file.open("w") as file:
            file.writelines(LINE.format(i) for i in range(self.line_count))
        self.small.mkdir()
        for i in range(self.small_count):
            (self.small / str(i)).write_bytes(b"x" * 1000)

    def offset(self, chance: random.Random) -> int:
        """Return the offset of some 4 KiB of the large file."""
        return chance.randrange(self.large_mib << 8) << 12


class Builtin(Job):
    """Python's open, which blocks."""

    def sequential(self) -> None:
        """Read the large file, 1 MiB at a time."""
        buffer = bytearray(MIB)
        with self.large.open("rb", buffering=0) as file:
            while file.readinto(buffer):
                pass

    def lines(self) -> None:
        """Iterate over the lines of text."""
        with self.lines_file.open() as file:
            for _ in file:
                pass

    def copy(self) -> None:
        """Copy the small files."""
        self.copies.mkdir(exist_ok=True)
        for i in range(self.small_count):
            (self.copies / str(i)).write_bytes((self.small / str(i)).read_bytes())

    def log(self) -> None:
        """Append to a log, and flush it now and then."""
        with self.log_file.open("a") as file:
            for i in range(self.entry_count):
                file.write(ENTRY.format(i))
                if i % 100 == 0:
                    file.flush()

    def random_reads(self) -> None:
        """Read 4 KiB here and there."""
        chance = random.Random(1)
        fd = os.open(self.large, os.O_RDONLY)
        for _ in range(self.read_count):
            os.pread(fd, 4096, self.offset(chance))
        os.close(fd)


class Structured(Job):
    """A library with Trio's interface.

    Attributes:
        library: uringtrio or trio.
        open_file: its own, or that of a library on top of it.
    """

    library: Any = uringtrio
    open_file: Any = staticmethod(uringtrio.open_file)

    async def sequential(self) -> None:
        """Read the large file, 1 MiB at a time."""
        buffer = bytearray(MIB)
        async with await self.open_file(self.large, "rb", buffering=0) as file:
            while await file.readinto(buffer):
                pass

    async def lines(self) -> None:
        """Iterate over the lines of text."""
        async with await self.open_file(self.lines_file) as file:
            async for _ in file:
                pass

    async def copy(self) -> None:
        """Copy the small files, some at once."""
        target, source = self.library.Path(self.copies), self.library.Path(self.small)
        await target.mkdir(exist_ok=True)

        async def copy_some(start: int) -> None:
            for i in range(start, self.small_count, COPIERS):
                await (target / str(i)).write_bytes(await (source / str(i)).read_bytes())

        async with self.library.open_nursery() as nursery:
            for start in range(COPIERS):
                nursery.start_soon(copy_some, start)

    async def log(self) -> None:
        """Append to a log, and flush it now and then."""
        async with await self.open_file(self.log_file, "a") as file:
            for i in range(self.entry_count):
                await file.write(ENTRY.format(i))
                if i % 100 == 0:
                    await file.flush()

    async def read_at(self, file: Any, offset: int) -> None:
        """Read 4 KiB at `offset`."""
        await self.library.to_thread.run_sync(os.pread, file.fileno(), 4096, offset)

    async def random_reads(self, **options: Any) -> None:
        """Read 4 KiB here and there, 32 at once."""

        async def read_some(seed: int, file: Any) -> None:
            chance = random.Random(seed)
            for _ in range(self.read_count // READERS):
                await self.read_at(file, self.offset(chance))

        async with (
            await self.open_file(self.large, "rb", buffering=0, **options) as file,
            self.library.open_nursery() as nursery,
        ):
            for seed in range(READERS):
                nursery.start_soon(read_some, seed, file)


class Ours(Structured):
    """This library."""

    async def read_at(self, file: Any, offset: int) -> None:
        """Read 4 KiB at `offset`."""
        await file.pread(4096, offset)

    async def random_reads_direct(self) -> None:
        """The same past the page cache."""
        await self.random_reads(opener=lambda path, flags: os.open(path, flags | os.O_DIRECT))


class Aiofiles(Job):
    """aiofiles, on asyncio."""

    library: Any = None

    async def sequential(self) -> None:
        """Read the large file, 1 MiB at a time."""
        buffer = bytearray(MIB)
        async with self.library.open(self.large, "rb", buffering=0) as file:
            while await file.readinto(buffer):
                pass

    async def lines(self) -> None:
        """Iterate over the lines of text."""
        async with self.library.open(self.lines_file) as file:
            async for _ in file:
                pass

    async def log(self) -> None:
        """Append to a log, and flush it now and then."""
        async with self.library.open(self.log_file, "a") as file:
            for i in range(self.entry_count):
                await file.write(ENTRY.format(i))
                if i % 100 == 0:
                    await file.flush()


JOBS = ("sequential", "random_reads", "random_reads_direct", "copy", "lines", "log")
