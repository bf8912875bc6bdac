"""Compare what it costs to start a child process and to wait for it, in each runtime.

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
import process_cases
import report
from rounds import CandidateError, Round, last_line, run_rounds, tabulate

RUNTIMES = ["uringtrio", "trio", "asyncio", "uvloop", "popen"]
CASES = Path(__file__).with_name("process_cases.py")


def measure(cases: list[str], runtime: str) -> Round:
    """Run the cases once, in a new process that may use all CPUs, as its children do."""
    if runtime != "popen" and not machine.is_installed(runtime):
        raise CandidateError("it is not installed")
    command = [sys.executable, str(CASES), runtime, *cases]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise CandidateError(last_line(done.stderr))
    figures: Round = json.loads(done.stdout)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("runtimes", nargs="*", metavar="RUNTIME", help=f"of: {' '.join(RUNTIMES)}")
    parser.add_argument("--cases", nargs="+", choices=list(process_cases.SIZES), metavar="CASE")
    parser.add_argument("--rounds", type=int, default=5)
    report.add_options(parser)
    options = parser.parse_args()
    options.runtimes = options.runtimes or RUNTIMES
    options.cases = options.cases or list(process_cases.SIZES)
    measure_cases = partial(measure, options.cases)
    every, notes = run_rounds(options.runtimes, options.rounds, measure_cases)
    title = f"child processes, us each, best of {options.rounds}"
    table = tabulate(every, options.cases, title)
    report.publish(options, [table], machine.versions(), notes, every)


if __name__ == "__main__":
    main()
