"""Compare schedulers: what a checkpoint, a task, a nursery, a timeout ... cost in each runtime.

Every round runs all cases of each runtime in a process of its own, the runtimes in turn; the best
round of each counts. README.md beside this file says how to read the figures.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import machine
import scheduler_cases
from rounds import CandidateError, Round, compare, last_line

RUNTIMES = ["uringtrio", "trio", "asyncio", "uvloop"]
CASES = Path(__file__).with_name("scheduler_cases.py")


def measure(cases: list[str], runtime: str) -> Round:
    """Run the cases once, in a new process on one CPU."""
    if not machine.is_installed(runtime):
        raise CandidateError("it is not installed")
    command = [sys.executable, str(CASES), runtime, *cases]
    with machine.pinned(command, machine.cpu_pair()[0], stderr=subprocess.PIPE) as process:
        output, errors = process.communicate()
    if process.returncode != 0:
        raise CandidateError(last_line(errors))
    figures: Round = json.loads(output)
    return figures


if __name__ == "__main__":
    compare(__doc__, RUNTIMES, scheduler_cases.SIZES, "scheduler, ns per operation", measure)
