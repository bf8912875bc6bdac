"""Runs the cases of scheduler.py in a process of their own: scheduler_cases.py RUNTIME [CASE]...

Prints one line of JSON: nanoseconds for one operation, by case, the best of some repeats within
one run of the runtime, as in a program that lives long.
"""

from __future__ import annotations

import importlib
import json
import sys

import cases_asyncio
from cases_trio import TrioCases
from timing import time_cases

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


def main() -> None:
    name, *wanted = sys.argv[1:]
    runtime = importlib.import_module(name)
    names = wanted or list(SIZES)
    if name in {"asyncio", "uvloop"}:
        figures = runtime.run(time_cases(cases_asyncio, names, SIZES))
    else:
        figures = runtime.run(time_cases, TrioCases(runtime), names, SIZES)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
