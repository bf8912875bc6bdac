"""Compare what it costs to start a child process and to wait for it, in each runtime.

Every round runs all cases of each runtime in a process of its own, the runtimes in turn; the best
round of each counts. README.md beside this file says how to read the figures.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

import machine
import process_cases
import report

RUNTIMES = ["uringtrio", "trio", "asyncio", "uvloop", "popen"]
CASES = Path(__file__).with_name("process_cases.py")

# The figures of one round: microseconds by case.
Round = dict[str, float]


class RuntimeFailedError(Exception):
    """A runtime did not get through the cases; the message is the last line of its error."""


def measure(runtime: str, cases: list[str]) -> Round:
    """Run the cases once, in a new process that may use all CPUs, as its children do."""
    command = [sys.executable, str(CASES), runtime, *cases]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeFailedError((done.stderr.strip().splitlines() or ["no message"])[-1])
    figures: Round = json.loads(done.stdout)
    return figures


def run_rounds(options: argparse.Namespace) -> tuple[dict[str, list[Round]], list[str]]:
    """Measure everything; return it by runtime, and a note for each runtime that was left out."""
    every: dict[str, list[Round]] = {}
    left_out: dict[str, str] = {}
    for runtime in options.runtimes:
        if runtime == "popen" or machine.is_installed(runtime):
            every[runtime] = []
        else:
            left_out[runtime] = "it is not installed"
    for index in range(options.rounds):
        for runtime in list(every):
            print(f"round {index + 1}: {runtime}", end="\033[K\r", file=sys.stderr)
            try:
                every[runtime].append(measure(runtime, options.cases))
            except RuntimeFailedError as error:
                left_out[runtime] = str(error)
                del every[runtime]
    print(end="\033[K", file=sys.stderr)
    return every, [f"Left out: {runtime}: {reason}." for runtime, reason in left_out.items()]


def tabulate(every: dict[str, list[Round]], options: argparse.Namespace) -> report.Figures:
    """Return microseconds for each case, and how many times faster the first runtime is."""
    first, *others = every
    rows = []
    for case in options.cases:
        best = {runtime: min(figures[case] for figures in every[runtime]) for runtime in every}
        row = [case, *(f"{best[runtime]:,.0f}" for runtime in every)]
        rows.append(row + [f"{best[other] / best[first]:.2f}" for other in others])
    columns = ["case", *every, *(f"x {other}" for other in others)]
    title = f"child processes, us each, best of {options.rounds}; x: {first} is so much faster"
    return report.Figures(title, columns, rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("runtimes", nargs="*", metavar="RUNTIME", help=f"of: {' '.join(RUNTIMES)}")
    parser.add_argument("--cases", nargs="+", choices=list(process_cases.SIZES), metavar="CASE")
    parser.add_argument("--rounds", type=int, default=5)
    report.add_options(parser)
    options = parser.parse_args()
    options.runtimes = options.runtimes or RUNTIMES
    options.cases = options.cases or list(process_cases.SIZES)
    every, notes = run_rounds(options)
    if not every:
        raise SystemExit("\n".join(notes))
    report.publish(options, [tabulate(every, options)], machine.versions(), notes, every)


if __name__ == "__main__":
    main()
