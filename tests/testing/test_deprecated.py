"""Names that are pytest's now."""

import builtins
import importlib

import pytest

from uringtrio import testing


@pytest.mark.parametrize(("name", "new_name"), [("RaisesGroup", "RaisesGroup"),
                                                ("Matcher", "RaisesExc")])  # fmt: skip
def test_deprecated_name_warns_and_is_pytests(name, new_name):
    if not hasattr(pytest, new_name):
        pytest.skip("pytest has it since 8.4")
    with pytest.warns(DeprecationWarning, match=rf"use pytest\.{new_name} instead") as warned:
        found = getattr(testing, name)

    assert found is getattr(pytest, new_name)
    assert warned[0].filename == __file__


def test_without_pytest_the_error_names_the_remedy(monkeypatch):
    def no_pytest(name):
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", no_pytest)

    with pytest.raises(AttributeError, match="install pytest"):
        _ = testing.Matcher


def test_other_names_do_not_exist():
    assert not hasattr(testing, "nothing_of_the_kind")
    assert not hasattr(testing, builtins.__name__)
