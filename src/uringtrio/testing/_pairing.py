"""Who is who: each expected exception gets one that was raised; and a report if that fails."""

from __future__ import annotations

from textwrap import indent
from typing import TYPE_CHECKING

from ._matcher import name_of, problem_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ._matcher import Expected

INDENT = " " * 4

GREEDY = (
    "There exist a possible match when attempting an exhaustive check, but RaisesGroup uses a "
    "greedy algorithm. Please make your expected exceptions more stringent with `Matcher` etc so "
    "the greedy algorithm can function."
)


class Pairing:
    """Gives each expected exception, in order, the first raised one left that matches it.

    All exceptions are known by their index, as the same one may be there more than once.

    Attributes:
        unmet: the expected ones without a partner.
        surplus: the raised ones without a partner.
    """

    __slots__ = ("_expected", "_partners", "_problems", "_raised", "surplus", "unmet")

    def __init__(self, expected: Sequence[Expected], raised: Sequence[BaseException]) -> None:
        self._expected = expected
        self._raised = raised
        # (expected, raised): why they do not match, None if they do. No pair is tried twice: a
        # user's `check` is called for each.
        self._problems: dict[tuple[int, int], str | None] = {}
        # expected: raised.
        self._partners: dict[int, int] = {}
        self.unmet: list[int] = []
        self.surplus = list(range(len(raised)))
        for index in range(len(expected)):
            self._find_partner(index)

    def _find_partner(self, expected: int) -> None:
        for raised in self.surplus:
            if self._problem(expected, raised) is None:
                self.surplus.remove(raised)
                self._partners[expected] = raised
                return
        self.unmet.append(expected)

    def _problem(self, expected: int, raised: int) -> str | None:
        pair = (expected, raised)
        if pair not in self._problems:
            self._problems[pair] = problem_of(self._expected[expected], self._raised[raised])
        return self._problems[pair]

    def problem(self) -> str | None:
        """Say why the two sides differ; None if each has found its partner.

        Returns:
            One line, or several, in which case there is a newline before the first.
        """
        if not self.unmet and not self.surplus:
            return None
        if len(self._expected) == len(self._raised) == 1:
            return self._problem(0, 0)
        # One that matches somebody else's partner is a mix-up, which only the table can explain.
        is_mixed_up = self._any_match(self.unmet, range(len(self._raised))) or self._any_match(
            range(len(self._expected)), self.surplus
        )
        brief = None if is_mixed_up else self._brief_problem()
        return self._table() if brief is None else self._matched() + brief

    def _any_match(self, expected: Iterable[int], raised: Sequence[int]) -> bool:
        return any(self._problem(e, r) is None for e in expected for r in raised)

    def _matched(self) -> str:
        count = len(self._partners)
        return f"{count} matched exception{'s' if count > 1 else ''}. " if count else ""

    def _brief_problem(self) -> str | None:
        if not self.unmet:
            return f"Unexpected exception(s): {[self._raised[i] for i in self.surplus]!r}"
        if not self.surplus:
            names = ", ".join(name_of(self._expected[i]) for i in self.unmet)
            return f"Too few exceptions raised, found no match for: [{names}]"
        if len(self.unmet) == len(self.surplus) == 1:
            return self._problem(self.unmet[0], self.surplus[0])
        return None

    def _table(self) -> str:
        lines = [""]
        if self._partners:
            lines.append(self._matched())
        if not self.surplus:
            lines.append("Too few exceptions raised!")
        elif not self.unmet:
            lines.append("Unexpected exception(s)!")
        if self.unmet:
            lines.append("The following expected exceptions did not find a match:")
            for index in self.unmet:
                lines += self._lines_of_expected(index)
        if self.surplus:
            lines.append("The following raised exceptions did not find a match")
            for index in self.surplus:
                lines += self._lines_of_raised(index)
        if self._could_pair_all():
            lines.append(GREEDY)
        return "\n".join(lines)

    def _lines_of_expected(self, expected: int) -> list[str]:
        lines = [f"  {name_of(self._expected[expected])}"]
        for partner, raised in sorted(self._partners.items(), key=lambda pair: pair[1]):
            if self._problem(expected, raised) is None:
                lines.append(
                    f"{INDENT}It matches {self._raised[raised]!r} "
                    f"which was paired with {name_of(self._expected[partner])}"
                )
        return lines

    def _lines_of_raised(self, raised: int) -> list[str]:
        lines = [f"  {self._raised[raised]!r}:"]
        for index, expected in enumerate(self._expected):
            problem = self._problem(index, raised)
            if problem is None:
                lines.append(
                    f"{INDENT}It matches {name_of(expected)} "
                    f"which was paired with {self._raised[self._partners[index]]!r}"
                )
            elif index in self.unmet:
                lines.append(indent(problem.removeprefix("\n"), INDENT))
        return lines

    def _could_pair_all(self) -> bool:
        """Say whether there is a pairing without anybody left, by augmenting paths."""
        if len(self._expected) != len(self._raised):
            return False
        owners: dict[int, int] = {}

        def find_place(expected: int, tried: set[int]) -> bool:
            for raised in range(len(self._raised)):
                if raised in tried or self._problem(expected, raised) is not None:
                    continue
                tried.add(raised)
                if raised not in owners or find_place(owners[raised], tried):
                    owners[raised] = expected
                    return True
            return False

        return all(find_place(expected, set()) for expected in range(len(self._expected)))
