"""RaisesGroup: a block must raise a group of just these exceptions."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Generic, Literal, TypeGuard, TypeVar, final, overload

from uringtrio._abc import Sealed

from ._caught import Caught
from ._matcher import (
    Expectation,
    Matcher,
    as_given,
    is_exception_type,
    name_of,
    problem_of,
)
from ._pairing import Pairing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from types import TracebackType

    from ._matcher import Expected, Pattern

ExcT = TypeVar("ExcT", bound=BaseException)
ExcT_co = TypeVar("ExcT_co", bound=BaseException, covariant=True)


@final
class RaisesGroup(Expectation[BaseExceptionGroup[ExcT_co]], Sealed, Generic[ExcT_co]):
    """A context manager that expects its block to raise a group of just these exceptions.

    The order does not matter. Each expected exception, in order, takes the first one in the group
    that matches it and is still free, so the particular ones belong before the general ones. A
    nested group is expected by a nested `RaisesGroup`. The class is deprecated:
    `pytest.RaisesGroup` does the same.

    Args:
        exception: a class, of which the raised exception must be an instance; a `Matcher`; or a
            `RaisesGroup`.
        *other_exceptions: more of them.
        allow_unwrapped: also accept the one expected exception without a group around it.
        flatten_subgroups: look at the exceptions in nested groups as if they were in this one.
        match: a regular expression, searched for in the group's message and notes.
        check: called with the group if it fits so far; must return true.

    Raises:
        ValueError: on construction: an argument is none of these, or two of them contradict
            each other.
        AssertionError: at the end of the block: it raised something else, or nothing.

    Source: the documentation of `trio.testing.RaisesGroup`.
    """

    __slots__ = (
        "allow_unwrapped",
        "excinfo",
        "expected_exceptions",
        "flatten_subgroups",
        "is_baseexceptiongroup",
    )

    @overload
    def __init__(
        self,
        exception: type[ExcT_co] | Matcher[ExcT_co],
        *,
        allow_unwrapped: Literal[True],
        flatten_subgroups: bool = False,
    ) -> None: ...

    @overload
    def __init__(
        self,
        exception: type[ExcT_co] | Matcher[ExcT_co],
        *other_exceptions: type[ExcT_co] | Matcher[ExcT_co],
        flatten_subgroups: Literal[True],
        match: Pattern | None = None,
        check: Callable[[BaseExceptionGroup[ExcT_co]], bool] | None = None,
    ) -> None: ...

    @overload
    def __init__(
        self,
        exception: type[ExcT_co] | Expectation[ExcT_co],
        *other_exceptions: type[ExcT_co] | Expectation[ExcT_co],
        match: Pattern | None = None,
        check: Callable[[BaseExceptionGroup[ExcT_co]], bool] | None = None,
    ) -> None: ...

    def __init__(
        self,
        exception: type[ExcT_co] | Expectation[ExcT_co],
        *other_exceptions: type[ExcT_co] | Expectation[ExcT_co],
        allow_unwrapped: bool = False,
        flatten_subgroups: bool = False,
        match: Pattern | None = None,
        check: Callable[[BaseExceptionGroup[ExcT_co]], bool] | None = None,
    ) -> None:
        super().__init__(match, check)
        self.expected_exceptions = (exception, *other_exceptions)
        self.allow_unwrapped = allow_unwrapped
        self.flatten_subgroups = flatten_subgroups
        if allow_unwrapped:
            self._refuse_what_needs_a_group()
        for expected in self.expected_exceptions:
            self._adopt(expected)
        # Whether the group expected may hold exceptions that are no `Exception`.
        self.is_baseexceptiongroup = any(map(_is_base, self.expected_exceptions))
        # Of the block entered last.
        self.excinfo: Caught[BaseExceptionGroup[ExcT_co]] | None = None

    def _refuse_what_needs_a_group(self) -> None:
        if len(self.expected_exceptions) > 1:
            raise ValueError(
                "You cannot specify multiple exceptions with `allow_unwrapped=True.` If you want "
                "to match one of multiple possible exceptions you should use a `Matcher`. "
                "E.g. `Matcher(check=lambda e: isinstance(e, (...)))`"
            )
        if isinstance(self.expected_exceptions[0], RaisesGroup):
            raise ValueError(  # noqa: TRY004  # Trio's class
                "`allow_unwrapped=True` has no effect when expecting a `RaisesGroup`. You might "
                "want it in the expected `RaisesGroup`, or `flatten_subgroups=True` if you don't "
                "care about the structure."
            )
        if self.match is not None or self.check is not None:
            raise ValueError(
                "`allow_unwrapped=True` bypasses the `match` and `check` parameters if the "
                "exception is unwrapped. If you intended to match/check the exception you should "
                "use a `Matcher` object. If you want to match/check the exceptiongroup when the "
                "exception *is* wrapped you need to do e.g. `if isinstance(exc.value, "
                "ExceptionGroup): assert RaisesGroup(...).matches(exc.value)` afterwards."
            )

    def _adopt(self, expected: object) -> None:
        if isinstance(expected, RaisesGroup) and self.flatten_subgroups:
            raise ValueError(
                "You cannot specify a nested structure inside a RaisesGroup with "
                "`flatten_subgroups=True`. The parameter will flatten subgroups in the raised "
                "exceptiongroup before matching, which would never match a nested structure."
            )
        if isinstance(expected, (Matcher, RaisesGroup)):
            expected._is_nested = True
        elif not is_exception_type(expected):
            raise ValueError(
                f'Invalid argument "{expected!r}" must be exception type, Matcher, or RaisesGroup.'
            )

    def matches(
        self: RaisesGroup[ExcT], exc_val: BaseException | None
    ) -> TypeGuard[BaseExceptionGroup[ExcT]]:
        """Say whether `exc_val` is the group that is expected.

        Args:
            exc_val: any exception; None, as in an empty `__cause__`, never matches.

        Returns:
            True; or False, and `fail_reason` says why.
        """
        self._fail_reason = self._problem(exc_val)
        return self._fail_reason is None

    def _problem(self: RaisesGroup[ExcT], exc: BaseException | None) -> str | None:
        if exc is None:
            return "exception is None"
        if not isinstance(exc, BaseExceptionGroup):
            return self._problem_of_bare(exc)
        raised: Sequence[BaseException] = exc.exceptions
        if self.flatten_subgroups:
            raised = _leaves(raised)
        problem = self._text_problem(exc)
        if problem is not None:
            return problem + self._hint_at_matcher(raised)
        problem = Pairing(self.expected_exceptions, raised).problem()
        if problem is not None:
            return problem + self._hint_at_flattening(raised, is_brief="\n" not in problem)
        return self._check_problem(exc)

    def _problem_of_bare(self, exc: BaseException) -> str | None:
        no_group = f"{type(exc).__name__!r} is not an exception group"
        if len(self.expected_exceptions) > 1:
            return no_group
        problem = problem_of(self.expected_exceptions[0], exc)
        if self.allow_unwrapped:
            return problem
        if problem is None:
            return f"{no_group}, but would match with `allow_unwrapped=True`"
        return no_group

    def _hint_at_matcher(self, raised: Sequence[BaseException]) -> str:
        """Return the remedy if `match` was meant for the exception in the group, else nothing."""
        expected = self.expected_exceptions[0]
        if (
            self.match is not None
            and isinstance(expected, type)
            and len(raised) == len(self.expected_exceptions) == 1
            and isinstance(raised[0], expected)
            and self._text_problem(raised[0]) is None
        ):
            return (
                f", but matched the expected {name_of(expected)}. You might want "
                f"RaisesGroup(Matcher({expected.__name__}, match={as_given(self.match)!r}))"
            )
        return ""

    def _hint_at_flattening(self, raised: Sequence[BaseException], *, is_brief: bool) -> str:
        """Return the remedy if the same exceptions without their groups would do, else nothing."""
        if (
            self.flatten_subgroups
            or any(isinstance(expected, RaisesGroup) for expected in self.expected_exceptions)
            or not any(isinstance(exc, BaseExceptionGroup) for exc in raised)
            or Pairing(self.expected_exceptions, _leaves(raised)).problem() is not None
        ):
            return ""
        # Below a table, an indented line would read as a part of the table.
        return f"\n{'  ' if is_brief else ''}Did you mean to use `flatten_subgroups=True`?"

    def __enter__(self) -> Caught[BaseExceptionGroup[ExcT_co]]:
        # Under pytest its own class, which can do more; without it nobody could use that.
        pytest = sys.modules.get("pytest")
        self.excinfo = (Caught if pytest is None else pytest.ExceptionInfo).for_later()
        return self.excinfo

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> bool:
        __tracebackhide__ = True  # pytest's traceback shall end at the block
        assert self.excinfo is not None, "__exit__ without __enter__"
        if exc_val is None:
            raise AssertionError(f"DID NOT RAISE any exception, expected {self.expected_type()}")
        if not self.matches(exc_val):
            is_bare = self.allow_unwrapped and not isinstance(exc_val, BaseExceptionGroup)
            what = "(group)" if is_bare else "group"
            raise AssertionError(f"Raised exception {what} did not match: {self._fail_reason}")
        self.excinfo.fill_unfilled((type(exc_val), exc_val, exc_tb))
        return True

    def expected_type(self) -> str:
        """Return the group that is expected as it would be written: ExceptionGroup(ValueError)."""
        names = []
        for expected in self.expected_exceptions:
            if isinstance(expected, RaisesGroup):
                names.append(expected.expected_type())
            else:
                names.append(expected.__name__ if isinstance(expected, type) else repr(expected))
        base = "Base" if self.is_baseexceptiongroup else ""
        return f"{base}ExceptionGroup({', '.join(names)})"

    def __repr__(self) -> str:
        given = [
            expected.__name__ if isinstance(expected, type) else repr(expected)
            for expected in self.expected_exceptions
        ]
        if self.allow_unwrapped:
            given.append("allow_unwrapped=True")
        if self.flatten_subgroups:
            given.append("flatten_subgroups=True")
        return f"RaisesGroup({', '.join([*given, *self._conditions()])})"


def _is_base(expected: Expected) -> bool:
    """Say whether `expected` is only to be had in a `BaseExceptionGroup`."""
    if isinstance(expected, RaisesGroup):
        return expected.is_baseexceptiongroup
    kind = expected.exception_type if isinstance(expected, Matcher) else expected
    return isinstance(kind, type) and not issubclass(kind, Exception)


def _leaves(exceptions: Iterable[BaseException]) -> list[BaseException]:
    """Return the exceptions that are no groups, out of all groups."""
    found: list[BaseException] = []
    for exc in exceptions:
        if isinstance(exc, BaseExceptionGroup):
            found += _leaves(exc.exceptions)
        else:
            found.append(exc)
    return found
