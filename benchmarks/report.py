"""Tables of figures: for a terminal, for Markdown, and as JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    import argparse


@dataclass(frozen=True, slots=True)
class Figures:
    """A table of words: the first column names the row, the others are numbers."""

    title: str
    columns: list[str]
    rows: list[list[str]]


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `publish` to a benchmark's command line."""
    parser.add_argument("--markdown", action="store_true", help="print Markdown, for the README")
    parser.add_argument("--json", type=Path, metavar="OUT", help="also write every round here")


def parse(parser: argparse.ArgumentParser, name: str, known: list[str]) -> argparse.Namespace:
    """Parse a benchmark's command line, whose words are what to measure, called `name`.

    Args:
        parser: with all options but those of `publish`.
        name: where the words are in the result.
        known: what can be measured; all of it is, if there are no words.
    """
    metavar = name.removesuffix("s").upper()
    parser.add_argument(name, nargs="*", metavar=metavar, help=f"of: {' '.join(known)}")
    add_options(parser)
    options = parser.parse_args()
    words = getattr(options, name) or known
    if unknown := set(words) - set(known):
        parser.error(f"unknown: {' '.join(sorted(unknown))}")
    setattr(options, name, words)
    return options


def publish(
    options: argparse.Namespace,
    tables: list[Figures],
    versions: dict[str, str],
    notes: list[str],
    rounds: object,
) -> None:
    """Print the tables as the options ask, then what they depend on and what is missing."""
    depends = ", ".join(f"{name} {version}" for name, version in versions.items())
    if options.markdown:
        for table in tables:
            print(markdown(table))
        print("\n\n".join([*notes, f"Measured on: {depends}."]))
    else:
        console = Console()
        for table in tables:
            console.print(terminal(table))
        for line in [*notes, depends]:
            console.print(line, style="dim", highlight=False)
    if options.json:
        text = json.dumps({"versions": versions, "notes": notes, "rounds": rounds}, indent=2)
        options.json.write_text(text + "\n")


def terminal(figures: Figures) -> Table:
    """Return a table for a terminal."""
    table = Table(title=figures.title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for index, column in enumerate(figures.columns):
        table.add_column(column, justify="right" if index else "left", no_wrap=not index)
    for row in figures.rows:
        table.add_row(*row)
    return table


def markdown(figures: Figures) -> str:
    """Return a table in Markdown, with its title before it."""
    lines = [figures.columns, ["---", *["---:"] * (len(figures.columns) - 1)], *figures.rows]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"{figures.title}:\n\n{table}\n"
