"""Matcher: what one exception in a group must be; and what `RaisesGroup` has in common with it."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from textwrap import indent
from typing import TYPE_CHECKING, Generic, TypeAlias, TypeGuard, TypeVar, cast, final, overload

from uringtrio._abc import Sealed

if TYPE_CHECKING:
    from collections.abc import Callable

ExcT = TypeVar("ExcT", bound=BaseException)
ExcT_co = TypeVar("ExcT_co", bound=BaseException, covariant=True)

Pattern: TypeAlias = "str | re.Pattern[str]"

# What `re` adds to a pattern compiled from str without flags.
FLAGS_OF_STR = re.compile("").flags


class Expectation(ABC, Generic[ExcT_co]):
    """What an exception must be, and why the last one that was looked at was not.

    Attributes:
        match: searched for in the message and the notes; None, any text will do.
        check: called with an exception that fits in all other respects; None, not called.
    """

    __slots__ = ("__weakref__", "_fail_reason", "_is_nested", "check", "match")

    def __init__(self, match: Pattern | None, check: Callable[[ExcT_co], bool] | None) -> None:
        self.match = re.compile(match) if isinstance(match, str) else match
        self.check = check
        self._fail_reason: str | None = None
        # Whether a `RaisesGroup` has this one: its report then shows it with `check` already.
        self._is_nested = False

    @property
    def fail_reason(self) -> str | None:
        """Why the last exception given to `matches` did not match; None if it did."""
        return self._fail_reason

    @abstractmethod
    def matches(self, exception: BaseException, /) -> bool:
        """Say whether `exception` is what is expected, and set `fail_reason`."""

    def _text_problem(self, exc: BaseException) -> str | None:
        """Say why `match` does not fit the text of `exc`; None if it does."""
        if self.match is None:
            return None
        text = text_of(exc)
        if self.match.search(text):
            return None
        whose = f" of {type(exc).__name__!r}" if isinstance(exc, BaseExceptionGroup) else ""
        pattern = as_given(self.match)
        problem = f"Regex pattern {pattern!r} did not match {text!r}{whose}"
        if pattern == text:
            problem += "\n  Did you mean to `re.escape()` the regex?"
        return problem

    def _check_problem(self: Expectation[ExcT], exc: ExcT) -> str | None:
        """Say that `check` turned `exc` down; None if it did not."""
        if self.check is None or self.check(exc):
            return None
        which = "" if self._is_nested else f" {self.check!r}"
        return f"check{which} did not return True"

    def _conditions(self) -> list[str]:
        """Return `match` and `check` as they are written in a call, for `__repr__`."""
        given = []
        if self.match is not None:
            given.append(f"match={as_given(self.match)!r}")
        if self.check is not None:
            given.append(f"check={self.check!r}")
        return given


@final
class Matcher(Expectation[ExcT_co], Sealed):
    """What one exception of a group must be, where its type alone does not say it.

    At least one argument is needed. The class is deprecated: `pytest.RaisesExc` does the same.

    Args:
        exception_type: the exception must be an instance of it; None, of any class.
        match: a regular expression, searched for in the exception's message and notes (for a
            group, its message without the count of exceptions).
        check: called with the exception if it fits so far; must return true.

    Raises:
        ValueError: there is no argument, or `exception_type` is no exception class.

    Source: the documentation of `trio.testing.Matcher`.
    """

    __slots__ = ("exception_type",)

    @overload
    def __init__(
        self,
        exception_type: type[ExcT_co],
        match: Pattern | None = None,
        check: Callable[[ExcT_co], bool] | None = None,
    ) -> None: ...

    @overload
    def __init__(
        self: Matcher[BaseException],
        exception_type: None = None,
        match: Pattern | None = None,
        check: Callable[[BaseException], bool] | None = None,
    ) -> None: ...

    def __init__(
        self,
        exception_type: type[ExcT_co] | None = None,
        match: Pattern | None = None,
        check: Callable[[ExcT_co], bool] | None = None,
    ) -> None:
        super().__init__(match, check)
        if exception_type is None and match is None and check is None:
            raise ValueError("You must specify at least one parameter to match on.")
        if exception_type is not None and not is_exception_type(exception_type):
            raise ValueError(f"exception_type {exception_type} must be a subclass of BaseException")
        self.exception_type = exception_type

    def matches(self, exception: BaseException) -> TypeGuard[ExcT_co]:
        """Say whether `exception` is what is expected.

        Returns:
            True; or False, and `fail_reason` says why.
        """
        self._fail_reason = self._problem(exception)
        return self._fail_reason is None

    def _problem(self, exc: BaseException) -> str | None:
        if self.exception_type is not None and not isinstance(exc, self.exception_type):
            return type_problem(self.exception_type, exc)
        # Without a type, `check` takes any exception: the second overload says so.
        return self._text_problem(exc) or self._check_problem(cast("ExcT_co", exc))

    def __repr__(self) -> str:
        given = [] if self.exception_type is None else [self.exception_type.__name__]
        return f"Matcher({', '.join([*given, *self._conditions()])})"


# What `RaisesGroup` takes for each exception.
Expected: TypeAlias = "type[BaseException] | Expectation[BaseException]"


def is_exception_type(value: object) -> TypeGuard[type[BaseException]]:
    """Say whether `value` is an exception class."""
    return isinstance(value, type) and issubclass(value, BaseException)


def text_of(exc: BaseException) -> str:
    """Return what `match` is searched for in: the message, and a line for each note."""
    # A group's str() ends with the count of its exceptions, which nobody wants to match.
    return "\n".join([str(getattr(exc, "message", exc)), *getattr(exc, "__notes__", ())])


def as_given(pattern: re.Pattern[str]) -> Pattern:
    """Return a pattern without flags as the str that it was made of."""
    return pattern.pattern if pattern.flags == FLAGS_OF_STR else pattern


def name_of(expected: Expected) -> str:
    """Return what a report calls `expected`: a class by its name."""
    return repr(expected.__name__ if isinstance(expected, type) else expected)


def type_problem(expected: type[BaseException], exc: BaseException) -> str:
    """Say that `exc` is no instance of `expected`."""
    actual_name, expected_name = repr(type(exc).__name__), repr(expected.__name__)
    if isinstance(exc, BaseExceptionGroup) and not issubclass(expected, BaseExceptionGroup):
        return f"Unexpected nested {actual_name}, expected {expected_name}"
    return f"{actual_name} is not of type {expected_name}"


def problem_of(expected: Expected, exc: BaseException) -> str | None:
    """Say why `exc` is not what is expected; None if it is.

    Returns:
        One line, or several, in which case there is a newline before the first.
    """
    if isinstance(expected, type):
        return None if isinstance(exc, expected) else type_problem(expected, exc)
    if expected.matches(exc):
        return None
    reason = expected.fail_reason or ""
    if reason.startswith("\n"):
        return f"\n{expected!r}: {indent(reason, '  ')}"
    return f"{expected!r}: {reason}"
