"""Files: what each operation costs in each way, and whole jobs against other libraries.

    python benchmarks/files.py ladder          # inline, ring, thread and blocking, per operation
    python benchmarks/files.py jobs [NAME...]  # against open, trio, anyio on trio, aiofiles

Times are the best of several repeats. Those of jobs are seconds, those in which the CPUs worked
for the process (for the kernel's threads too), and these as a multiple of `open`'s. Libraries that
are not installed are left out.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import importlib
import os
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from file_jobs import JOBS, MIB, Aiofiles, Builtin, Job, Ours, Structured

import uringtrio
from uringtrio._ops.file import Close, Fsync, Read, Write
from uringtrio._ops.path import Mkdir, OpenAt, Rename, Statx

REPEATS = 5
JOB_REPEATS = 7
QUICK = ("open", "uringtrio")

# (operation, how often, the way by the ring, the call, what undoes it, the way inline)
Row = tuple[
    str,
    int,
    Callable[[], Awaitable[object]] | None,
    Callable[[], object],
    Callable[[], object],
    Callable[[], object] | None,
]


def nothing() -> None:
    """Undo what needs no undoing."""


async def best_us(fn: Callable[[], Awaitable[object]], count: int) -> float:
    """Return the microseconds of one `await fn()`."""
    best = float("inf")
    for _ in range(REPEATS):
        start = time.perf_counter()
        for _ in range(count):
            await fn()
        best = min(best, time.perf_counter() - start)
    return best / count * 1e6


def transfers(fd: int) -> Iterator[Row]:
    """Yield what reads and writes an open file."""
    partial = functools.partial
    for size in (4096, 65536, MIB):
        into = bytearray(size)
        call = partial(os.preadv, fd, [into], 0)
        inline = partial(os.preadv, fd, [into], 0, os.RWF_NOWAIT)
        name = f"read {size >> 10} KiB, cached"
        yield name, 300, partial(Read, fd, into, 0), call, nothing, inline
    page = bytearray(4096)
    drop = partial(os.posix_fadvise, fd, 0, 0, os.POSIX_FADV_DONTNEED)
    call = partial(os.preadv, fd, [page], 0)
    yield "read 4 KiB, not cached", 50, partial(Read, fd, page, 0), call, drop, None
    for size, count in ((4096, 300), (MIB, 20)):
        data = b"x" * size
        write = partial(os.pwrite, fd, data, 0)
        yield f"write {size >> 10} KiB", count, partial(Write, fd, data, 0), write, nothing, None
    dirty = partial(os.pwrite, fd, b"x" * 4096, 0)
    sync = partial(Fsync, fd, data_only=False)
    yield "fsync of 4 KiB", 30, sync, partial(os.fsync, fd), dirty, None
    yield "truncate", 100, None, partial(os.ftruncate, fd, 4096), nothing, None


def names(path: str) -> Iterator[Row]:
    """Yield what is done to paths."""
    partial = functools.partial
    new, old_name, new_name = f"{path}.new", os.fsencode(path), os.fsencode(f"{path}.new")

    def open_close(path: str, flags: int) -> None:
        os.close(os.open(path, flags))

    async def open_close_ops(name: bytes, flags: int) -> None:
        await Close(await OpenAt(name, flags))

    ring = partial(open_close_ops, old_name, os.O_RDONLY)
    yield "open and close", 300, ring, partial(open_close, path, os.O_RDONLY), nothing, None
    flags = os.O_RDWR | os.O_CREAT
    ring = partial(open_close_ops, new_name, flags)
    yield (
        "create and close",
        100,
        ring,
        partial(open_close, new, flags),
        partial(os.unlink, new),
        None,
    )
    yield "stat", 300, partial(Statx, old_name), partial(os.stat, path), nothing, None
    remove = partial(os.rmdir, new)
    yield "mkdir", 100, partial(Mkdir, new_name), partial(os.mkdir, new), remove, None
    rename, back = partial(os.rename, path, new), partial(os.rename, new, path)
    yield "rename", 100, partial(Rename, old_name, new_name), rename, back, None


async def print_ladder(directory: str) -> None:
    """Print a row for each operation."""
    path = os.path.join(directory, "file")
    fd = os.open(path, os.O_RDWR | os.O_CREAT)
    os.pwrite(fd, os.urandom(4 * MIB), 0)
    os.fsync(fd)
    print(f"{'us':24s}{'inline':>10s}{'ring':>10s}{'thread':>10s}{'blocking':>10s}")
    for rows in (names(path), transfers(fd)):
        for operation, count, ring, call, undo, inline in rows:
            cells = [f"{operation:24s}"]
            cells += [
                f"{await best_us(way, count):10.2f}" if way else " " * 10
                for way in ways(ring, call, undo, inline)
            ]
            print("".join(cells), flush=True)
    os.close(fd)


def ways(
    ring: Callable[[], Awaitable[object]] | None,
    call: Callable[[], object],
    undo: Callable[[], object],
    inline: Callable[[], object] | None,
) -> list[Callable[[], Awaitable[object]] | None]:
    """Return the ways inline, by the ring, in a thread and blocking, as async functions."""

    async def by_ring() -> None:
        assert ring is not None
        await ring()
        undo()

    async def in_thread() -> None:
        await uringtrio.to_thread.run_sync(call)
        undo()

    async def blocking() -> None:
        call()
        undo()

    async def at_once() -> None:
        assert inline is not None
        inline()

    return [at_once if inline else None, by_ring if ring else None, in_thread, blocking]


def contenders(place: str, scale: int) -> Iterator[tuple[str, Job, Callable[..., Any]]]:
    """Yield (name, its jobs, what runs one)."""
    yield "open", Builtin(place, scale), lambda job: job()
    for driver in ("io_uring", "epoll"):
        yield (
            f"uringtrio {driver}",
            Ours(place, scale),
            functools.partial(uringtrio.run, driver=driver),
        )
    for name in ("trio", "anyio", "aiofiles"):
        try:
            library, trio = importlib.import_module(name), importlib.import_module("trio")
        except ImportError:
            continue
        jobs: Any = (Aiofiles if name == "aiofiles" else Structured)(place, scale)
        jobs.library = library if name == "aiofiles" else trio
        jobs.open_file = getattr(library, "open_file", None)
        yield name, jobs, (lambda job: asyncio.run(job())) if name == "aiofiles" else trio.run


def measured(run: Callable[[Any], object], job: Any) -> tuple[float, float]:
    """Return the seconds that a job took, and those that the CPUs worked for it."""
    start, worked = time.perf_counter(), time.process_time()
    run(job)
    return time.perf_counter() - start, time.process_time() - worked


def print_jobs(place: str, wanted: list[str], scale: int) -> None:
    """Print the seconds of each job with each library, which take turns."""
    Job(place, scale).make()
    libraries = list(contenders(place, scale))
    print(f"{'job':20s}{'library':20s}{'seconds':>10s}{'CPU':>10s}{'x open':>10s}")
    for name in JOBS:
        if wanted and name not in wanted:
            continue
        best: dict[str, list[float]] = {}
        for turn in range(JOB_REPEATS):
            for library, jobs, run in libraries:
                job = getattr(jobs, name, None)
                # What goes to a thread for each call takes a minute for some jobs: once is enough.
                if job and (not turn or library.startswith(QUICK)):
                    seconds = measured(run, job)
                    best[library] = list(map(min, best.get(library, seconds), seconds))
        for library, (seconds, cpu) in best.items():
            times = f"{cpu / best['open'][1]:10.2f}" if "open" in best else ""
            print(f"{name:20s}{library:20s}{seconds:10.4f}{cpu:10.4f}{times}", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("what", choices=["ladder", "jobs"])
    parser.add_argument("names", nargs="*", help=", ".join(JOBS))
    parser.add_argument("--scale", type=int, default=1, help="what to divide the sizes by")
    parser.add_argument("--dir", default=None, help="on the file system to measure")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.dir) as directory:
        if options.what == "jobs":
            print_jobs(directory, options.names, options.scale)
        else:
            uringtrio.run(print_ladder, directory, driver="io_uring")
