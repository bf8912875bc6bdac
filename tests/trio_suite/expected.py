"""The tests that may fail: the list, and the verdict on each outcome by it."""

import tomllib
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

PATH = Path(__file__).with_name("expected_failures.toml")
DRIVERS = ("io_uring", "epoll")


class ListError(Exception):
    """The list of expected failures says something that cannot be."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One test that fails.

    Attributes:
        reason: why that is right.
        drivers: those on which it fails.
    """

    reason: str
    drivers: tuple[str, ...] = DRIVERS


@dataclass(slots=True)
class ExpectedFailures:
    """The list.

    Attributes:
        tests: {id: entry}.
        not_built_yet: {pattern of files: reason}; in these files any test may fail.
    """

    tests: dict[str, Entry] = field(default_factory=dict)
    not_built_yet: dict[str, str] = field(default_factory=dict)

    def pattern_for(self, test_id):
        """Return the pattern of `not_built_yet` that a test falls under, or None."""
        file = test_id.partition("::")[0]
        return next((p for p in self.not_built_yet if fnmatchcase(file, p)), None)

    def reason_for(self, test_id, driver):
        """Return why a test may fail on a driver; None if it may not."""
        entry = self.tests.get(test_id)
        if entry is not None:
            return entry.reason if driver in entry.drivers else None
        pattern = self.pattern_for(test_id)
        return None if pattern is None else self.not_built_yet[pattern]

    def must_fail(self, test_id, driver):
        """Say whether a test is listed by its id for a driver."""
        entry = self.tests.get(test_id)
        return entry is not None and driver in entry.drivers

    def outdated_patterns(self, outcomes):
        """Return the patterns under which all tests pass by now.

        Args:
            outcomes: of all tests that apply, on one driver.
        """
        failing = {
            self.pattern_for(outcome.id)
            for outcome in outcomes
            if not outcome.passed and outcome.id not in self.tests
        }
        return [pattern for pattern in self.not_built_yet if pattern not in failing]


def load(manifest, path=PATH):
    """Return the list in a TOML file.

    Raises:
        ListError: it names a test or file that the manifest does not have, or gives no reason.
    """
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as exc:
        raise ListError(f"{path.name}: {exc}") from exc
    unknown = found.keys() - {"tests", "not_built_yet"}
    if unknown:
        raise ListError(f"{path.name}: no such section: {', '.join(sorted(unknown))}")
    listed = ExpectedFailures(not_built_yet=found.get("not_built_yet", {}))
    for pattern, reason in listed.not_built_yet.items():
        if not any(fnmatchcase(file, pattern) for file in manifest.applicable):
            raise ListError(f"{path.name}: no file of tests that apply is named {pattern!r}")
        check_reason(path, pattern, reason)
    known = manifest.ids()
    for file, tests in found.get("tests", {}).items():
        for test, entry in tests.items():
            test_id = f"{file}::{test}"
            if test_id not in known:
                why = manifest.excluded.get(test_id, "Trio has no such test")
                raise ListError(f"{path.name}: {test_id} is not run anyway: {why}")
            listed.tests[test_id] = parse(path, test_id, entry)
    return listed


def parse(path, test_id, entry):
    if isinstance(entry, str):
        entry = {"reason": entry}
    if entry.keys() - {"reason", "driver"} or entry.get("driver", DRIVERS[0]) not in DRIVERS:
        raise ListError(
            f"{path.name}: {test_id}: give a reason, or "
            f'{{ driver = "{DRIVERS[0]}" or "{DRIVERS[1]}", reason = ... }}, not {entry!r}'
        )
    reason = entry.get("reason")
    check_reason(path, test_id, reason)
    return Entry(reason, (entry["driver"],) if "driver" in entry else DRIVERS)


def check_reason(path, name, reason):
    if not isinstance(reason, str) or not reason.strip().endswith("."):
        raise ListError(f"{path.name}: {name}: the reason must be a sentence, not {reason!r}")
