"""Compare schedulers: what a checkpoint, a task, a nursery, a timeout ... cost in each runtime.

Every round runs all cases of each runtime in a process of its own, the runtimes in turn; the best
round of each counts. README.md beside this file says how to read the figures.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from functools import partial
from pathlib import Path

import machine
import report
import scheduler_cases
from rounds import CandidateError, Round, last_line, run_rounds, tabulate

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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("runtimes", nargs="*", metavar="RUNTIME", help=f"of: {' '.join(RUNTIMES)}")
    parser.add_argument("--cases", nargs="+", choices=list(scheduler_cases.SIZES), metavar="CASE")
    parser.add_argument("--rounds", type=int, default=5)
    report.add_options(parser)
    options = parser.parse_args()
    options.runtimes = options.runtimes or RUNTIMES
    options.cases = options.cases or list(scheduler_cases.SIZES)
    measure_cases = partial(measure, options.cases)
    every, notes = run_rounds(options.runtimes, options.rounds, measure_cases)
    title = f"scheduler, ns per operation, best of {options.rounds}"
    table = tabulate(every, options.cases, title)
    report.publish(options, [table], machine.versions(), notes, every)


if __name__ == "__main__":
    main()
