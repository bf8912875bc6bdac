"""Rounds of measurements: all candidates in turn, again and again, and the best round of each.

So a disturbance of the machine hurts none of them more than the others.
"""

from __future__ import annotations

import argparse
import functools
import sys
from typing import TYPE_CHECKING

import machine
import report

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

# The figures of one round of one candidate, by case; the smaller the better.
Round = dict[str, float]


class CandidateError(Exception):
    """A candidate cannot be measured; the message says why, as far as it is known."""


def last_line(text: str) -> str:
    """Return the last line of an error's report."""
    return (text.strip().splitlines() or ["no message"])[-1]


def run_rounds(
    candidates: list[str], rounds: int, measure: Callable[[str], Round]
) -> tuple[dict[str, list[Round]], list[str]]:
    """Measure each candidate `rounds` times.

    Args:
        candidates: their names.
        rounds: at least 1.
        measure: called with a name for each round; raises CandidateError to leave it out.

    Returns:
        All rounds of each candidate that was not left out, and a note for each that was.

    Raises:
        SystemExit: all of them were.
    """
    every: dict[str, list[Round]] = {name: [] for name in candidates}
    notes = []
    for index in range(rounds):
        for name in list(every):
            print(f"round {index + 1}: {name}", end="\033[K\r", file=sys.stderr)
            try:
                every[name].append(measure(name))
            except CandidateError as error:
                notes.append(f"Left out: {name}: {error}.")
                del every[name]
    print(end="\033[K", file=sys.stderr)
    if not every:
        raise SystemExit("\n".join(notes))
    return every, notes


def tabulate(
    every: dict[str, list[Round]], cases: list[str], title: str, precision: int = 0
) -> report.Figures:
    """Return the best figure for each case, and how many times better the first candidate is.

    Args:
        every: as `run_rounds` returns it.
        cases: the rows, in their order.
        title: says what the figures are, and of which unit.
        precision: digits after the point.
    """
    first, *others = every
    rows = []
    for case in cases:
        best = {name: min(figures[case] for figures in every[name]) for name in every}
        row = [case, *(f"{best[name]:,.{precision}f}" for name in every)]
        rows.append(row + [f"{best[other] / best[first]:.2f}" for other in others])
    columns = ["case", *every, *(f"x {other}" for other in others)]
    return report.Figures(f"{title}; x: {first} is so many times better", columns, rows)


def compare(
    program: str,
    runtimes: list[str],
    cases: Iterable[str],
    title: str,
    measure: Callable[[list[str], str], Round],
) -> None:
    """Be the command line of a benchmark that measures cases of one unit in several runtimes.

    Args:
        program: what it is about, its module's docstring.
        runtimes: the candidates; the first is compared with the others.
        cases: the rows.
        title: says what the figures are, and of which unit.
        measure: called with the cases and a runtime for each round, as in `run_rounds`.
    """
    parser = argparse.ArgumentParser(description=program.partition("\n")[0])
    parser.add_argument("runtimes", nargs="*", metavar="RUNTIME", help=f"of: {' '.join(runtimes)}")
    parser.add_argument("--cases", nargs="+", choices=list(cases), metavar="CASE")
    parser.add_argument("--rounds", type=int, default=5)
    report.add_options(parser)
    options = parser.parse_args()
    wanted = options.cases or list(cases)
    candidates = options.runtimes or runtimes
    every, notes = run_rounds(candidates, options.rounds, functools.partial(measure, wanted))
    table = tabulate(every, wanted, f"{title}, best of {options.rounds}")
    report.publish(options, [table], machine.versions(), notes, every)
