"""Exception groups of non-strict nurseries: a group of one becomes the one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from types import TracebackType

# Marks groups that a nursery with strict_exception_groups=False made.
NONSTRICT_NOTE: Final = (
    "This is a loose ExceptionGroup, and may be collapsed to a single exception if it contains "
    "only one: strict_exception_groups=False."
)


def collapse_exception_group(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Replace groups of one, that non-strict nurseries made, by the one, at every depth."""
    exceptions = list(group.exceptions)
    modified = False
    for i, exc in enumerate(exceptions):
        if isinstance(exc, BaseExceptionGroup):
            collapsed = collapse_exception_group(exc)
            if collapsed is not exc:
                modified = True
                exceptions[i] = collapsed
    if len(exceptions) == 1 and NONSTRICT_NOTE in getattr(group, "__notes__", ()):
        exceptions[0].__traceback__ = _joined(group.__traceback__, exceptions[0].__traceback__)
        return exceptions[0]
    return group.derive(exceptions) if modified else group


def _joined(outer: TracebackType | None, inner: TracebackType | None) -> TracebackType | None:
    """Return the traceback of `outer` followed by that of `inner`."""
    entries = []
    while outer is not None:
        entries.append(outer)
        outer = outer.tb_next
    for entry in reversed(entries):
        inner = type(entry)(inner, entry.tb_frame, entry.tb_lasti, entry.tb_lineno)
    return inner
