"""RaisesGroup: what it accepts, and what it says of the rest."""

import re
import sys

import pytest

from uringtrio.testing._caught import Caught
from uringtrio.testing._matcher import Matcher
from uringtrio.testing._raises_group import RaisesGroup


def group(*exceptions, message=""):
    return BaseExceptionGroup(message, exceptions)


def has_message(exc):
    return bool(exc.message)


def no_match(reason, *, what="group"):
    return pytest.raises(
        AssertionError, match=f"^Raised exception {what} did not match: {re.escape(reason)}$"
    )


@pytest.mark.parametrize(
    ("expectation", "exc"),
    [
        (RaisesGroup(ValueError), group(ValueError())),
        (RaisesGroup(KeyError, ValueError), group(ValueError(), KeyError())),
        (RaisesGroup(Matcher(match="x"), OSError), group(OSError(), ValueError("x"))),
        (RaisesGroup(RaisesGroup(KeyError), OSError), group(OSError(), group(KeyError()))),
        (RaisesGroup(KeyboardInterrupt), group(KeyboardInterrupt())),
        (RaisesGroup(ExceptionGroup), group(group(ValueError()))),
        (RaisesGroup(ValueError, match="^a$"), group(ValueError(), message="a")),
        (RaisesGroup(ValueError, check=has_message), group(ValueError(), message="a")),
        (RaisesGroup(ValueError, allow_unwrapped=True), ValueError()),
        (RaisesGroup(ValueError, allow_unwrapped=True), group(ValueError())),
        (RaisesGroup(Matcher(match="^x$"), allow_unwrapped=True), ValueError("x")),
        (RaisesGroup(OSError, OSError, flatten_subgroups=True),
         group(OSError(), group(group(OSError())))),
        (RaisesGroup(RaisesGroup(KeyError, flatten_subgroups=True)),
         group(group(group(KeyError())))),
    ],
)  # fmt: skip
def test_group_that_is_expected_is_swallowed(expectation, exc):
    with expectation as excinfo:
        raise exc

    assert excinfo.value is exc
    assert excinfo.type is type(exc)
    assert expectation.matches(exc)
    assert expectation.fail_reason is None


@pytest.mark.parametrize(
    ("expectation", "exc", "reason"),
    [
        (RaisesGroup(KeyError), group(OSError()), "'OSError' is not of type 'KeyError'"),
        (RaisesGroup(RaisesGroup(KeyError)), group(group(OSError())),
         "RaisesGroup(KeyError): 'OSError' is not of type 'KeyError'"),
        (RaisesGroup(KeyError, match="a"), group(OSError(), message="b"),
         "Regex pattern 'a' did not match 'b' of 'ExceptionGroup'"),
        (RaisesGroup(KeyError, check=has_message), group(KeyError()),
         f"check {has_message!r} did not return True"),
        (RaisesGroup(KeyError, OSError), KeyError(), "'KeyError' is not an exception group"),
        (RaisesGroup(KeyError), OSError(), "'OSError' is not an exception group"),
    ],
    ids=["type", "type in a group", "text", "check", "no group", "no group of another type"],
)  # fmt: skip
def test_other_exceptions_fail_with_a_reason(expectation, exc, reason):
    with no_match(reason), expectation:
        raise exc

    assert expectation.fail_reason == reason


@pytest.mark.parametrize(
    ("expectation", "exc", "remedy"),
    [
        (RaisesGroup(KeyError), KeyError(), ", but would match with `allow_unwrapped=True`"),
        (RaisesGroup(KeyError), group(group(KeyError())),
         "\n  Did you mean to use `flatten_subgroups=True`?"),
        (RaisesGroup(KeyError, OSError), group(group(KeyError(), OSError())),
         "\nDid you mean to use `flatten_subgroups=True`?"),
        (RaisesGroup(ValueError, match="a"), group(ValueError("a"), message="b"),
         " You might want RaisesGroup(Matcher(ValueError, match='a'))"),
        (RaisesGroup(ValueError, match="a+b"), group(ValueError(), message="a+b"),
         "\n  Did you mean to `re.escape()` the regex?"),
    ],
    ids=repr,
)  # fmt: skip
def test_reason_ends_with_the_remedy(expectation, exc, remedy):
    assert not expectation.matches(exc)
    assert expectation.fail_reason.endswith(remedy)


@pytest.mark.parametrize(
    ("expectation", "exc"),
    [
        (RaisesGroup(KeyError), group(group(OSError()))),
        (RaisesGroup(RaisesGroup(KeyError)), group(KeyError(), group(KeyError()))),
        (RaisesGroup(KeyError, flatten_subgroups=True), group(group(OSError()))),
    ],
    ids=repr,
)
def test_remedy_that_would_not_help_is_not_named(expectation, exc):
    assert not expectation.matches(exc)
    assert "Did you mean" not in expectation.fail_reason


def test_bare_exception_is_called_no_group():
    with (
        no_match("'OSError' is not of type 'KeyError'", what=r"\(group\)"),
        RaisesGroup(KeyError, allow_unwrapped=True),
    ):
        raise OSError


def test_nested_tables_are_indented():
    expectation = RaisesGroup(RaisesGroup(KeyError, KeyError))

    assert not expectation.matches(group(group(OSError(1), OSError(2))))
    assert expectation.fail_reason == (
        "\nRaisesGroup(KeyError, KeyError): "
        "\n  The following expected exceptions did not find a match:"
        "\n    'KeyError'"
        "\n    'KeyError'"
        "\n  The following raised exceptions did not find a match"
        "\n    OSError(1):"
        "\n      'OSError' is not of type 'KeyError'"
        "\n      'OSError' is not of type 'KeyError'"
        "\n    OSError(2):"
        "\n      'OSError' is not of type 'KeyError'"
        "\n      'OSError' is not of type 'KeyError'"
    )


@pytest.mark.parametrize(
    ("expectation", "expected"),
    [
        (RaisesGroup(KeyError, OSError), "ExceptionGroup(KeyError, OSError)"),
        (RaisesGroup(Matcher(match="x")), "ExceptionGroup(Matcher(match='x'))"),
        (RaisesGroup(RaisesGroup(SystemExit), RaisesGroup(KeyError)),
         "BaseExceptionGroup(BaseExceptionGroup(SystemExit), ExceptionGroup(KeyError))"),
        (RaisesGroup(Matcher(SystemExit)), "BaseExceptionGroup(Matcher(SystemExit))"),
    ],
    ids=repr,
)  # fmt: skip
def test_block_that_raises_nothing_fails(expectation, expected):
    message = f"^DID NOT RAISE any exception, expected {re.escape(expected)}$"

    with pytest.raises(AssertionError, match=message), expectation:
        pass

    assert expectation.expected_type() == expected


def test_none_matches_nothing():
    expectation = RaisesGroup(ValueError)

    assert not expectation.matches(None)
    assert expectation.fail_reason == "exception is None"


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ([5], {}, 'Invalid argument "5" must be exception type, Matcher, or RaisesGroup'),
        ([ValueError, int], {}, "Invalid argument \"<class 'int'>\""),
        ([KeyError, OSError], {"allow_unwrapped": True}, "cannot specify multiple exceptions"),
        ([RaisesGroup(KeyError)], {"allow_unwrapped": True}, "has no effect when expecting"),
        ([KeyError], {"allow_unwrapped": True, "match": "x"}, "bypasses the `match`"),
        ([KeyError], {"allow_unwrapped": True, "check": bool}, "bypasses the `match`"),
        ([RaisesGroup(KeyError)], {"flatten_subgroups": True}, "a nested structure inside"),
    ],
)
def test_arguments_that_cannot_be_meant_are_errors(arguments, options, message):
    with pytest.raises(ValueError, match=message):
        RaisesGroup(*arguments, **options)


@pytest.mark.parametrize(
    "source",
    [
        "RaisesGroup(ValueError)",
        "RaisesGroup(RaisesGroup(ValueError), Matcher(KeyError))",
        "RaisesGroup(ValueError, allow_unwrapped=True, flatten_subgroups=True)",
        "RaisesGroup(ValueError, flatten_subgroups=True, match='x')",
    ],
)
def test_repr_is_how_it_is_written(source):
    names = {"RaisesGroup": RaisesGroup, "Matcher": Matcher}

    assert repr(eval(source, names)) == source


def test_excinfo_is_pytests_own_under_pytest():
    with RaisesGroup(ValueError) as excinfo:
        raise group(ValueError())

    assert type(excinfo) is pytest.ExceptionInfo


def test_without_pytest_it_holds_the_exception(monkeypatch):
    exc = group(ValueError())
    with monkeypatch.context() as patch:
        patch.delitem(sys.modules, "pytest")
        with RaisesGroup(ValueError) as excinfo:
            raise exc

    assert type(excinfo) is Caught
    assert (excinfo.type, excinfo.value, excinfo.tb) == (ExceptionGroup, exc, exc.__traceback__)


def test_it_can_be_entered_again():
    expectation = RaisesGroup(ValueError)
    for exc in (group(ValueError(1)), group(ValueError(2))):
        with expectation as excinfo:
            raise exc

        assert excinfo.value is exc


def test_raises_group_is_final():
    with pytest.raises(TypeError, match=r"uringtrio\.testing\.RaisesGroup is final"):
        type("Sub", (RaisesGroup,), {})
