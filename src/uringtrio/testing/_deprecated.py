"""Names that Trio still has and warns of: pytest has what they do."""

from __future__ import annotations

import warnings

from uringtrio._errors import TrioDeprecationWarning
from uringtrio._public import adopt

from ._matcher import Matcher
from ._raises_group import RaisesGroup

DEPRECATED = {"RaisesGroup": RaisesGroup, "Matcher": Matcher}
# What each of them is in pytest 8.4 or later.
IN_PYTEST = {"RaisesGroup": "RaisesGroup", "Matcher": "RaisesExc"}

adopt("uringtrio.testing", {**DEPRECATED})


def __getattr__(name: str) -> object:
    """Return what `uringtrio.testing` does not export: a deprecated name.

    Raises:
        AttributeError: there is no such name.
    """
    if name not in DEPRECATED:
        raise AttributeError(f"module 'uringtrio.testing' has no attribute {name!r}")
    warnings.warn(
        f"uringtrio.testing.{name} is deprecated; use pytest.{IN_PYTEST[name]} instead",
        TrioDeprecationWarning,
        stacklevel=2,
    )
    return DEPRECATED[name]
