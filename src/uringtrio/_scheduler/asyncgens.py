"""Async generators that are left unfinished: closed by the run, in a task, and not by chance.

Python tells us of each async generator when it is first iterated and when it is collected. One
that is collected half way is closed in a system task; those that are left at the end of the run are
closed then, when no task is left that could be iterating one. Closing happens in a cancelled scope:
a `finally` block may clean up, but not wait.

Generators that were first iterated outside of a task, as by the host of a guest run, belong to
whoever had the hooks before us.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import warnings
import weakref
from types import AsyncGeneratorType
from typing import TYPE_CHECKING, Any

from uringtrio._errors import RunFinishedError

from .cancel import CancelScope
from .interrupt import disable_ki_protection, enable_ki_protection
from .traps import Abort, reschedule, wait_task_rescheduled

if TYPE_CHECKING:
    from collections.abc import Callable, MutableSet

    from .runner import Runner

AsyncGenerator = AsyncGeneratorType[Any, Any]

LOGGER = logging.getLogger("uringtrio.async_generator_errors")


def name_of(agen: AsyncGenerator) -> str:
    """Return "module.function" of an async generator."""
    module = "<unknown>" if agen.ag_frame is None else agen.ag_frame.f_globals.get("__name__")
    return f"{module}.{agen.__qualname__}"


class AsyncGenerators:
    """The async generators of one run."""

    __slots__ = ("_alive", "_foreign", "_hooks_before", "_late", "_runner")

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        # Those that were first iterated in a task. Weak, so that they can be collected; at the end
        # of the run an ordinary set, so that they cannot any more.
        self._alive: MutableSet[AsyncGenerator] = weakref.WeakSet()
        # Ids of those that were not. Their finalizer takes them out, so no id outlives its object.
        self._foreign: set[int] = set()
        # Those collected after the system nursery was closed and before the end of the run looked.
        self._late: set[AsyncGenerator] = set()
        self._hooks_before = sys.get_asyncgen_hooks()

    def install_hooks(self) -> None:
        """Hear of async generators from now on."""
        # The stubs say AsyncGenerator, of which Python passes none but its own type.
        hooks: Any = (self._first_iterated, self._collected)
        sys.set_asyncgen_hooks(*hooks)

    def restore_hooks(self) -> None:
        """Give the hooks back."""
        sys.set_asyncgen_hooks(*self._hooks_before)

    def _first_iterated(self, agen: AsyncGenerator) -> None:
        if self._runner.task is not None:
            self._alive.add(agen)
            return
        self._foreign.add(id(agen))
        if self._hooks_before.firstiter is not None:
            self._hooks_before.firstiter(agen)

    @enable_ki_protection
    def _collected(self, agen: AsyncGenerator) -> None:
        if id(agen) in self._foreign:
            self._foreign.discard(id(agen))
            self._forward(agen)
            return
        name = name_of(agen)
        # The call keeps the generator alive until it is closed.
        with contextlib.suppress(RunFinishedError):
            self._runner.entry.run_sync_soon(self._close_soon, agen, name)
        # Last, because the user's filters may turn it into an exception.
        warnings.warn(
            f"Async generator {name!r} was garbage collected before it had been exhausted. "
            "Surround its use in 'async with aclosing(...):' to ensure that it gets cleaned up "
            "as soon as you're done using it.",
            ResourceWarning,
            stacklevel=2,
            source=agen,
        )

    def _forward(self, agen: AsyncGenerator) -> None:
        finalizer = self._hooks_before.finalizer
        if finalizer is not None:
            _call_unprotected(finalizer, agen)
            return
        # What Python does without hooks: GeneratorExit, and one step.
        try:
            _call_unprotected(agen.aclose().send, None)
        except StopIteration:
            return
        raise RuntimeError(
            f"Non-Trio async generator {name_of(agen)!r} awaited something during finalization; "
            "install a finalization hook to support this, or wrap it in "
            "'async with aclosing(...):'"
        )

    def _close_soon(self, agen: AsyncGenerator, name: str) -> None:
        nursery = self._runner.system_nursery
        if nursery is None or nursery._closed:
            self._late.add(agen)
            return
        self._runner.spawn_system(
            self._close, (agen, name), nursery, f"close asyncgen {name} (abandoned)"
        )

    async def _close(self, agen: AsyncGenerator, name: str) -> None:
        try:
            with CancelScope(shield=True) as scope:
                scope.cancel("async generators may clean up when they are closed, but not wait")
                await agen.aclose()
        except BaseException:
            LOGGER.exception(
                "Exception ignored during finalization of async generator %r -- surround your "
                "use of the generator in 'async with aclosing(...):' to raise exceptions like "
                "this in the context where they're generated",
                name,
            )

    async def close_remaining(self) -> None:
        """Close those that are left; called when every task is gone that could iterate one."""
        # From here on none is collected behind our back.
        self._alive = set(self._alive)
        if self._runner.entry:
            await self._let_calls_be_made()
        self._alive |= self._late
        self._late.clear()
        # One after the other: closing one may iterate another, which then cannot be closed.
        while self._alive:
            batch, self._alive = self._alive, set()
            for agen in batch:
                await self._close(agen, name_of(agen))

    async def _let_calls_be_made(self) -> None:
        # The queue of calls may hold `_close_soon` of one that was collected a moment ago.
        task = self._runner.task
        assert task is not None
        self._runner.entry.run_sync_soon(reschedule, task)
        await wait_task_rescheduled(lambda _raise_cancel: Abort.FAILED)


@disable_ki_protection
def _call_unprotected(fn: Callable[[Any], object], argument: object) -> None:
    fn(argument)
