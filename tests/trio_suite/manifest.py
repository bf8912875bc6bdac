"""Which of Trio's tests apply to a package that offers Trio's public API, and why others do not."""

import json
from dataclasses import dataclass
from pathlib import Path

PATH = Path(__file__).with_name("manifest.json")


@dataclass(frozen=True, slots=True)
class Manifest:
    """The sorted tests of one release of Trio's.

    Attributes:
        trio: that release.
        pythons: the versions of Python on which Trio's tests were sorted.
        applicable: {file: [id]}, what a public API can be judged by.
        excluded: {id: why not}.
    """

    trio: str
    pythons: list[str]
    applicable: dict[str, list[str]]
    excluded: dict[str, str]

    def ids(self):
        """Return the ids of all tests that apply."""
        return {test_id for tests in self.applicable.values() for test_id in tests}


def load(path=PATH):
    found = json.loads(path.read_text(encoding="utf-8"))
    applicable = {}
    excluded = {}
    for file, tests in found["files"].items():
        if tests["applicable"]:
            applicable[file] = [f"{file}::{test}" for test in tests["applicable"]]
        excluded |= {f"{file}::{test}": why for test, why in tests["excluded"].items()}
    return Manifest(found["trio"], found["pythons"], applicable, excluded)
