"""Runs the cases of processes.py in a process of their own: process_cases.py RUNTIME [CASE]...

Prints one line of JSON: microseconds for one child, by case, the best of some repeats within one
run of the runtime. RUNTIME "popen" is the standard library without any runtime.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import subprocess
import sys
from typing import Any

from timing import time_cases

WIDTH = 20
DATA = bytes(2**20)
COMMAND = "/bin/true"
FILTER = "/bin/cat"

# The cases, and the children in one repeat of each: some tenths of a second.
SIZES = {"one_by_one": 200, "twenty_at_once": 400, "filter_1_mib": 100}


class PopenCases:
    """Each method starts `count` children, one after the other, and blocks until they end."""

    async def one_by_one(self, count: int) -> None:
        for _ in range(count):
            subprocess.Popen([COMMAND], stdin=subprocess.DEVNULL).wait()

    async def twenty_at_once(self, count: int) -> None:
        for _ in range(count // WIDTH):
            children = [subprocess.Popen([COMMAND], stdin=subprocess.DEVNULL) for _ in range(WIDTH)]
            for child in children:
                child.wait()

    async def filter_1_mib(self, count: int) -> None:
        for _ in range(count):
            done = subprocess.run([FILTER], input=DATA, stdout=subprocess.PIPE, check=True)
            assert len(done.stdout) == len(DATA)


class TrioCases:
    """The same on Trio, and on anything with its API."""

    def __init__(self, runtime: Any) -> None:
        self.runtime = runtime

    async def one_by_one(self, count: int) -> None:
        for _ in range(count):
            await self.runtime.run_process([COMMAND], stdin=subprocess.DEVNULL)

    async def twenty_at_once(self, count: int) -> None:
        async with self.runtime.open_nursery() as nursery:
            for _ in range(WIDTH):
                nursery.start_soon(self.one_by_one, count // WIDTH)

    async def filter_1_mib(self, count: int) -> None:
        for _ in range(count):
            done = await self.runtime.run_process([FILTER], stdin=DATA, capture_stdout=True)
            assert len(done.stdout) == len(DATA)


class AsyncioCases:
    """The same on asyncio, and on what runs under its API."""

    async def one_by_one(self, count: int) -> None:
        for _ in range(count):
            child = await asyncio.create_subprocess_exec(COMMAND, stdin=subprocess.DEVNULL)
            assert await child.wait() == 0

    async def twenty_at_once(self, count: int) -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(WIDTH):
                group.create_task(self.one_by_one(count // WIDTH))

    async def filter_1_mib(self, count: int) -> None:
        for _ in range(count):
            child = await asyncio.create_subprocess_exec(
                FILTER, stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
            output, _ = await child.communicate(DATA)
            assert len(output) == len(DATA)


def main() -> None:
    name, *wanted = sys.argv[1:]
    names = wanted or list(SIZES)
    if name == "popen":
        figures = asyncio.run(time_cases(PopenCases(), names, SIZES))
    elif name in {"asyncio", "uvloop"}:
        figures = importlib.import_module(name).run(time_cases(AsyncioCases(), names, SIZES))
    else:
        runtime = importlib.import_module(name)
        figures = runtime.run(time_cases, TrioCases(runtime), names, SIZES)
    print(json.dumps({case: ns / 1000 for case, ns in figures.items()}))


if __name__ == "__main__":
    main()
