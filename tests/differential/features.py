"""What a program has met with, so that one can tell how much the programs test."""

from collections import Counter
from math import isfinite

from .world import HORIZON

# A feature, and what the trace of a program that has it contains.
IN_TRACE = {
    "cancelled": "('Cancelled'",
    "cancelled by a deadline": "('Cancelled', ('deadline'",
    "cancelled by a call": "('Cancelled', ('explicit'",
    "cancelled by a nursery": "('Cancelled', ('nursery'",
    "sleep over and cancelled": "('Cancelled', 'late')",
    "exception group": "ExceptionGroup'",
    "exception with a context": "'while'",
    "too slow": "('TooSlowError'",
    "would block": "('WouldBlock'",
    "closed": "('ClosedResourceError'",
    "broken": "('BrokenResourceError'",
    "end of channel": "('EndOfChannel'",
    "misuse": "('RuntimeError'",
    "waits until the horizon": "'horizon'",
}


def features_of(world):
    """Return the names of what happened in a run, the names of its statements included."""
    text = repr(world.trace)
    found = {feature for feature, words in IN_TRACE.items() if words in text}
    steps = world.trace[:-1]
    found.update(statement for _, _, _, statement, _ in steps)
    if len({task for task, *_ in steps}) > 4:
        found.add("five tasks or more")
    if any(scope == "Scope" and what[-1] is True for *_, scope, what in steps):
        found.add("shield")
    if any(now > HORIZON for _, _, now, _, _ in steps):
        found.add("shield against the horizon")
    ties = Counter(deadline for deadline in world.deadlines if isfinite(deadline))
    if any(count > 1 for count in ties.values()):
        found.add("deadline tie")
    return found
