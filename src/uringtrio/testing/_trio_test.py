"""trio_test: async test functions for test runners that know none."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from uringtrio._abc import Clock, Instrument
from uringtrio._scheduler.loop import run

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

P = ParamSpec("P")
T = TypeVar("T")


def trio_test(fn: Callable[P, Awaitable[T]]) -> Callable[P, T]:
    """Make a plain test function of an async one: it runs `fn` in a run of its own.

    Args:
        fn: an async function. Of its keyword arguments, as pytest passes fixtures, a `Clock`
            becomes the clock of the run, and each `Instrument` is told what it does.

    Raises:
        ValueError: when it is called with more than one clock.
    """

    @functools.wraps(fn)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> T:
        __tracebackhide__ = True
        clocks = [value for value in kwargs.values() if isinstance(value, Clock)]
        if len(clocks) > 1:
            raise ValueError("too many clocks spoil the broth!")
        return run(
            functools.partial(fn, *args, **kwargs),
            clock=clocks[0] if clocks else None,
            instruments=[value for value in kwargs.values() if isinstance(value, Instrument)],
        )

    return wrapper
