"""What the run prints: a table of files for each driver, then what is not as it should be."""

import re
from collections import Counter

from rich import box
from rich.markup import escape
from rich.table import Table

# Lines of a failed test's message that are shown here; the log has all of them.
MESSAGE_LINES = 6


class DriverReport:
    """The outcomes on one driver, sorted by whether they were to be expected.

    Args:
        driver: its name.
        results: {file: (outcomes, seconds)}.
        expected: the list.
        is_whole: whether these are all tests that apply, and not a selection of them.
    """

    def __init__(self, driver, results, expected, *, is_whole):
        self.driver = driver
        self._results = results
        self._expected = expected
        outcomes = [outcome for found, _ in results.values() for outcome in found]
        self.failed = []
        self.failed_as_expected = []
        self.passed_unexpectedly = []
        for outcome in outcomes:
            if not outcome.passed:
                may_fail = expected.reason_for(outcome.id, driver) is not None
                (self.failed_as_expected if may_fail else self.failed).append(outcome)
            elif expected.must_fail(outcome.id, driver):
                self.passed_unexpectedly.append(outcome)
        self.outdated = expected.outdated_patterns(outcomes) if is_whole else []
        self.count = len(outcomes)

    @property
    def is_good(self):
        return not (self.failed or self.passed_unexpectedly or self.outdated)

    def show(self, console):
        console.print(self._table())
        for outcome in self.failed:
            console.print(f"[red]{outcome.kind.upper()}[/] {escape(outcome.id)}", soft_wrap=True)
            lines = brief(outcome).splitlines()[:MESSAGE_LINES]
            console.print(escape("\n".join(f"    {line}" for line in lines)), soft_wrap=True)
        for outcome in self.passed_unexpectedly:
            console.print(
                f"[red]PASSED, BUT LISTED[/] as failing: delete {escape(outcome.id)}",
                soft_wrap=True,
            )
        for pattern in self.outdated:
            console.print(
                f"[red]BUILT BY NOW[/]: all tests pass in {escape(pattern)}: delete it from "
                "not_built_yet",
                soft_wrap=True,
            )
        console.print(
            f"{self.driver}: {self.count} apply, {self.passed_count} passed, "
            f"{len(self.failed_as_expected)} failed as expected, {len(self.failed)} failed, "
            f"{len(self.passed_unexpectedly)} passed although listed",
            soft_wrap=True,
        )

    @property
    def passed_count(self):
        return self.count - len(self.failed) - len(self.failed_as_expected)

    def _table(self):
        table = Table(box=box.SIMPLE_HEAD, title=f"Trio's tests on {self.driver}")
        table.add_column("file", no_wrap=True)
        for column in ("apply", "passed", "expected", "failed", "s"):
            table.add_column(column, justify="right")
        failed = {outcome.id for outcome in self.failed}
        for file, (outcomes, seconds) in sorted(self._results.items()):
            kinds = Counter(
                "passed" if o.passed else "failed" if o.id in failed else "expected"
                for o in outcomes
            )
            # The longest that remains leaves room for the figures in 80 columns.
            name = file.removeprefix("trio/").removesuffix(".py").replace("_tests/test_", "")
            counts = [str(kinds[kind] or "") for kind in ("passed", "expected", "failed")]
            style = "red" if kinds["failed"] else None
            table.add_row(name, str(len(outcomes)), *counts, f"{seconds:.1f}", style=style)
        return table


def brief(outcome):
    """Return the lines of a message that say most: those of the error, or of the main thread."""
    if outcome.kind == "hang":
        # The main thread is the last one in a dump.
        return outcome.message.rpartition("most recent call first")[2].lstrip("):\n")
    text = re.sub(r"^\[(call|setup|teardown)\] ", "", outcome.message)
    return text.strip() or outcome.kind


def show_reasons(console, reports, expected):
    """Print why the tests that failed as expected do so, each reason once."""
    reasons = {}
    for report in reports:
        for outcome in report.failed_as_expected:
            reason = expected.reason_for(outcome.id, report.driver)
            # A test by its id; a file that is not built yet as a whole.
            is_listed = outcome.id in expected.tests
            name = outcome.id if is_listed else expected.pattern_for(outcome.id)
            reasons.setdefault((name, reason), set()).add(report.driver)
    if not reasons:
        return
    console.print("\nExpected to fail:")
    for (name, reason), drivers in sorted(reasons.items()):
        only = "" if len(drivers) == len(reports) else f" ({', '.join(sorted(drivers))} only)"
        console.print(f"  {escape(name)}{only}\n      {escape(reason)}", soft_wrap=True)
