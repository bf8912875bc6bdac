"""ProbeReport: what a look at the kernel found. Imports no C, so any platform can make one."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ProbeReport:
    """What `uringtrio.probe()` found.

    Attributes:
        available: whether a ring can be opened here, now, by this process.
        reason: one sentence: which ring was opened, or why none and what to do about it.
        errno: the kernel's answer when it refused, else None.
        kernel: the release of the running kernel, as `uname -r` says it.
        features: names of the setup flags and features in force, empty when unavailable.
        opcodes: numbers of the supported opcodes (`IORING_OP_*`), empty when unavailable.
    """

    available: bool
    reason: str
    errno: int | None
    kernel: str
    features: tuple[str, ...] = ()
    opcodes: frozenset[int] = frozenset()
