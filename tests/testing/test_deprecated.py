"""Names that warn, and name what to use instead."""

import builtins

import pytest

import uringtrio
from uringtrio import testing


@pytest.mark.parametrize(("name", "new_name"), [("RaisesGroup", "RaisesGroup"),
                                                ("Matcher", "RaisesExc")])  # fmt: skip
def test_deprecated_name_warns_and_works(name, new_name):
    with pytest.warns(
        uringtrio.TrioDeprecationWarning, match=rf"use pytest\.{new_name} instead"
    ) as warned:
        found = getattr(testing, name)

    assert (found.__module__, found.__name__) == ("uringtrio.testing", name)
    assert warned[0].filename == __file__


def test_deprecated_name_may_be_imported():
    with pytest.warns(uringtrio.TrioDeprecationWarning, match=r"use pytest\.RaisesGroup") as warned:
        from uringtrio.testing import RaisesGroup  # noqa: PLC0415  # it warns

    assert warned[0].filename == __file__
    with RaisesGroup(ValueError):
        raise ExceptionGroup("", [ValueError()])


def test_other_names_do_not_exist():
    assert not hasattr(testing, "nothing_of_the_kind")
    assert not hasattr(testing, builtins.__name__)
