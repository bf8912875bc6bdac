"""Matcher: the type, the text and the check of one exception."""

import re

import pytest

from uringtrio.testing._matcher import Matcher


def is_fifth(exc):
    return exc.args[0] == 5


def with_note(exc, note):
    exc.add_note(note)
    return exc


@pytest.mark.parametrize(
    ("matcher", "exc"),
    [
        (Matcher(LookupError), KeyError()),
        (Matcher(ValueError, "^fo+$"), ValueError("foo")),
        (Matcher(match="o"), ValueError("foo")),
        (Matcher(match=re.compile("FOO", re.IGNORECASE)), ValueError("foo")),
        (Matcher(match="^foo\nbar$"), with_note(ValueError("foo"), "bar")),
        (Matcher(match="^foo$"), ExceptionGroup("foo", [ValueError()])),
        (Matcher(OSError, check=is_fifth), OSError(5, "")),
        (Matcher(check=is_fifth), ValueError(5)),
    ],
)
def test_exception_that_fits_matches(matcher, exc):
    assert matcher.matches(exc)
    assert matcher.fail_reason is None


@pytest.mark.parametrize(
    ("matcher", "exc", "reason"),
    [
        (Matcher(KeyError), LookupError(), "'LookupError' is not of type 'KeyError'"),
        (
            Matcher(KeyError),
            ExceptionGroup("", [KeyError()]),
            "Unexpected nested 'ExceptionGroup', expected 'KeyError'",
        ),
        (Matcher(match="foo"), KeyError("bar"), "Regex pattern 'foo' did not match \"'bar'\""),
        (
            Matcher(match="a+b"),
            ValueError("a+b"),
            "Regex pattern 'a+b' did not match 'a+b'\n  Did you mean to `re.escape()` the regex?",
        ),
        (Matcher(check=is_fifth), ValueError(6), f"check {is_fifth!r} did not return True"),
    ],
    ids=["type", "group", "text", "text that is no regex", "check"],
)
def test_exception_that_does_not_fit_gives_a_reason(matcher, exc, reason):
    assert not matcher.matches(exc)
    assert matcher.fail_reason == reason


def test_reason_is_that_of_the_last_exception():
    matcher = Matcher(KeyError)

    matcher.matches(ValueError())
    matcher.matches(KeyError())

    assert matcher.fail_reason is None


def test_check_is_not_called_with_what_does_not_fit():
    def never(exc):
        raise AssertionError(exc)

    assert not Matcher(KeyError, check=never).matches(ValueError())
    assert not Matcher(match="foo", check=never).matches(ValueError("bar"))


def test_nothing_to_match_is_an_error():
    with pytest.raises(ValueError, match="at least one parameter"):
        Matcher()


@pytest.mark.parametrize("exception_type", [int, ValueError(), (ValueError, KeyError)], ids=repr)
def test_exception_type_must_be_an_exception_class(exception_type):
    with pytest.raises(ValueError, match="must be a subclass of BaseException"):
        Matcher(exception_type)


def test_repr_is_how_it_is_written():
    flagged = re.compile("x", re.IGNORECASE)

    assert repr(Matcher(ValueError)) == "Matcher(ValueError)"
    assert repr(Matcher(match=re.compile("x"))) == "Matcher(match='x')"
    assert repr(Matcher(match=flagged)) == f"Matcher(match={flagged!r})"
    assert repr(Matcher(KeyError, "x", bool)) == f"Matcher(KeyError, match='x', check={bool!r})"


def test_matcher_is_final():
    with pytest.raises(TypeError, match=r"uringtrio\.testing\.Matcher is final"):
        type("Sub", (Matcher,), {})


def test_type_may_be_subscripted():
    assert Matcher[ValueError](ValueError).matches(ValueError())
