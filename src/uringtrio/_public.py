"""Lets public names say the module that users know them by, in tracebacks, reprs and pickles."""

from __future__ import annotations

from types import FunctionType


def adopt(module: str, namespace: dict[str, object]) -> None:
    """Make `module` the `__module__` of every class and function that its namespace re-exports.

    Args:
        module: the facade's `__name__`.
        namespace: its `globals()`.
    """
    for name, value in namespace.items():
        if (
            not name.startswith("_")
            and isinstance(value, (type, FunctionType))
            and value.__module__.startswith("uringtrio.")
            and "._" in value.__module__
        ):
            value.__module__ = module
