"""Times cases inside one run of a runtime: the best of some repeats, as in a program that lives."""

from __future__ import annotations

import time
from typing import Any

REPEATS = 3


async def time_cases(cases: Any, names: list[str], sizes: dict[str, int]) -> dict[str, float]:
    """Return the nanoseconds of one operation for each of the named cases.

    Args:
        cases: has an async function of each name, which does as many operations as it is told.
        names: which of them, in order.
        sizes: the operations in one repeat, by name.
    """
    figures = {}
    for name in names:
        case, size = getattr(cases, name), sizes[name]
        repeats_ns = []
        for _ in range(REPEATS):
            started_ns = time.perf_counter_ns()
            await case(size)
            repeats_ns.append(time.perf_counter_ns() - started_ns)
        figures[name] = min(repeats_ns) / size
    return figures
