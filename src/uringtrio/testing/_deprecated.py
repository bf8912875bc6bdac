"""Names that Trio still has and warns of: they are pytest's now."""

from __future__ import annotations

import importlib
import warnings

# What each name stands for in pytest (8.4 or later), where its behaviour comes from Trio's.
IN_PYTEST = {"RaisesGroup": "RaisesGroup", "Matcher": "RaisesExc"}


def __getattr__(name: str) -> object:
    """Return what `uringtrio.testing` does not export: a deprecated name, from pytest.

    Raises:
        AttributeError: there is no such name, or no pytest that has it.
    """
    if name not in IN_PYTEST:
        raise AttributeError(f"module 'uringtrio.testing' has no attribute {name!r}")
    new_name = IN_PYTEST[name]
    try:
        found: object = getattr(importlib.import_module("pytest"), new_name)
    except ImportError as exc:
        raise AttributeError(
            f"uringtrio.testing.{name} is pytest.{new_name}: install pytest 8.4 or later"
        ) from exc
    warnings.warn(
        f"uringtrio.testing.{name} is deprecated; use pytest.{new_name} instead",
        DeprecationWarning,
        stacklevel=2,
    )
    return found
