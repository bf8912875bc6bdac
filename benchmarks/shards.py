"""Measure what more shards bring, and what it costs to pass objects between them.

Each case runs in a process of its own, the cases in turn, and the best round of each counts. On a
machine with two CPUs, whatever else runs takes from the second shard. README.md beside this file
says how to read the figures.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

import machine
import report

CASES = Path(__file__).with_name("shards_cases.py")

WORK = ("process 1", "process 2", "thread 1", "thread 2")
CHANNELS = ("shared process", "shared thread", "multiprocessing.Queue", "queue.Queue")
WAKES = ("shared process", "shared thread", "multiprocessing.Queue", "queue.Queue")


def measure(*arguments: str) -> dict[str, float]:
    """Run one case in a new process; return its figures."""
    done = subprocess.run(
        [sys.executable, str(CASES), *arguments], capture_output=True, text=True, check=True
    )
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


def run_rounds(rounds: int) -> dict[str, list[dict[str, float]]]:
    every: dict[str, list[dict[str, float]]] = {}
    wanted = [("work", *case.split()) for case in WORK]
    wanted += [("channel", case) for case in CHANNELS]
    wanted += [("wake", case) for case in WAKES]
    for index in range(rounds):
        for arguments in wanted:
            name = " ".join(arguments)
            print(f"round {index + 1}: {name}", end="\033[K\r", file=sys.stderr)
            every.setdefault(name, []).append(measure(*arguments))
    print(end="\033[K", file=sys.stderr)
    return every


def best(every: dict[str, list[dict[str, float]]], name: str, figure: str) -> float:
    """Return the largest figure of all rounds."""
    return max(figures[figure] for figures in every[name])


def least(every: dict[str, list[dict[str, float]]], name: str, figure: str) -> float:
    return min(figures[figure] for figures in every[name])


def tabulate(every: dict[str, list[dict[str, float]]], rounds: int) -> list[report.Figures]:
    """Return a table for each kind of case."""
    rates = {case: best(every, f"work {case}", "per_second") for case in WORK}
    work_rows = [
        [case, f"{rate:,.0f}", f"{rate / rates[case.split()[0] + ' 1']:.2f}"]
        for case, rate in rates.items()
    ]
    channel_rates = {case: best(every, f"channel {case}", "per_second") for case in CHANNELS}
    queue_rate = channel_rates["multiprocessing.Queue"]
    channel_rows = [
        [case, f"{rate:,.0f}", f"{rate / queue_rate:.2f}"] for case, rate in channel_rates.items()
    ]
    wake_rows = [
        [case, *(f"{least(every, f'wake {case}', name):.0f}" for name in ("p50_us", "p99_us"))]
        for case in WAKES
    ]
    return [
        report.Figures(
            f"CPU-bound requests, best of {rounds}", ["kind, shards", "1/s", "x one shard"],
            work_rows,
        ),
        report.Figures(
            f"objects from one to another, best of {rounds}",
            ["channel", "1/s", "x multiprocessing.Queue"],
            channel_rows,
        ),
        report.Figures(
            f"there and back, us, least of {rounds}", ["channel", "p50", "p99"], wake_rows
        ),
    ]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    report.add_options(parser)
    options = parser.parse_args()
    every = run_rounds(options.rounds)
    report.publish(options, tabulate(every, options.rounds), machine.versions(), [], every)


if __name__ == "__main__":
    main()
