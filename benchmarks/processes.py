"""Compare what it costs to start a child process and to wait for it, in each runtime.

Every round runs all cases of each runtime in a process of its own, the runtimes in turn; the best
round of each counts. README.md beside this file says how to read the figures.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import machine
import process_cases
from rounds import CandidateError, Round, compare, last_line

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


if __name__ == "__main__":
    compare(__doc__, RUNTIMES, process_cases.SIZES, "child processes, us each", measure)
