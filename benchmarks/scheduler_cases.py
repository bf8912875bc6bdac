"""Runs the cases of scheduler.py in a process of their own: scheduler_cases.py RUNTIME [CASE]...

Prints one line of JSON: nanoseconds for one operation, by case, the best of some repeats within
one run of the runtime, as in a program that lives long.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from typing import Any

import cases_asyncio
from cases_trio import TrioCases

REPEATS = 3

# The cases, and the operations in one repeat of each: some tens of milliseconds.
SIZES = {
    "checkpoint": 50_000,
    "spawn": 10_000,
    "nursery": 10_000,
    "cancel_scope": 50_000,
    "timeout": 20_000,
    "channel": 10_000,
    "lock": 20_000,
    "event_ping_pong": 10_000,
    "sleepers": 5_000,
    "cancel_tree": 5_000,
}


async def time_cases(cases: Any, names: list[str]) -> dict[str, float]:
    """Return the nanoseconds of one operation for each of the named cases."""
    figures = {}
    for name in names:
        case, size = getattr(cases, name), SIZES[name]
        repeats_ns = []
        for _ in range(REPEATS):
            started_ns = time.perf_counter_ns()
            await case(size)
            repeats_ns.append(time.perf_counter_ns() - started_ns)
        figures[name] = min(repeats_ns) / size
    return figures


def main() -> None:
    name, *wanted = sys.argv[1:]
    runtime = importlib.import_module(name)
    names = wanted or list(SIZES)
    if name in {"asyncio", "uvloop"}:
        figures = runtime.run(time_cases(cases_asyncio, names))
    else:
        figures = runtime.run(time_cases, TrioCases(runtime), names)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
