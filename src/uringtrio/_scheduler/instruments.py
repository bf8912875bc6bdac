"""Instruments: objects that are told what the run does, for debuggers and profilers.

A run without instruments has `Runner.instruments` None and pays one comparison for each step of a
task. That tasks became runnable is told by the run queue itself, which is a plain list otherwise.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from uringtrio._abc import Instrument

from .current import get_runner

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .runner import Runner
    from .task import Task

LOGGER = logging.getLogger("uringtrio.abc.Instrument")

HOOKS = (
    "before_run", "after_run", "task_spawned", "task_scheduled", "before_task_step",
    "after_task_step", "task_exited", "before_io_wait", "after_io_wait",
)  # fmt: skip


class RunQueue(list["Task"]):
    """A run queue that tells of each task that joins it: the instruments, and a host's wait."""

    __slots__ = ("_runner",)

    def __init__(self, runner: Runner, tasks: Iterable[Task] = ()) -> None:
        super().__init__(tasks)
        self._runner = runner

    def append(self, task: Task) -> None:
        super().append(task)
        self._runner.tell("task_scheduled", task)
        self._runner.end_sleep()


class Instruments:
    """The instruments of one run, and which of them has which hook."""

    __slots__ = ("_hooks",)

    def __init__(self) -> None:
        # For each instrument, in the order they were added, its hooks by name.
        self._hooks: dict[Instrument, dict[str, Any]] = {}

    def __bool__(self) -> bool:
        return bool(self._hooks)

    def add(self, instrument: Instrument) -> None:
        """Tell `instrument` from now on. Hooks are looked up now and not again."""
        if instrument in self._hooks:
            return
        hooks: dict[str, Any] = {}
        self._hooks[instrument] = hooks
        try:
            for name in HOOKS:
                hook = getattr(instrument, name, None)
                # The methods of the abstract class do nothing, and need not be called.
                if hook is not None and getattr(hook, "__func__", None) is not getattr(
                    Instrument, name
                ):
                    hooks[name] = hook
        except BaseException:
            del self._hooks[instrument]
            raise

    def remove(self, instrument: Instrument) -> None:
        """Tell `instrument` no more; KeyError if it was not told."""
        del self._hooks[instrument]

    def call(self, name: str, *args: object) -> None:
        """Call the hook `name` of each instrument that has it."""
        for instrument, hooks in list(self._hooks.items()):
            hook = hooks.get(name)
            # One that was removed by another's hook, a moment ago, is not called any more.
            if hook is None or instrument not in self._hooks:
                continue
            try:
                hook(*args)
            except BaseException:
                self._hooks.pop(instrument, None)
                LOGGER.exception(
                    "Exception raised when calling %r on instrument %r. "
                    "Instrument has been disabled.",
                    name,
                    instrument,
                )


def watch_run_queue(runner: Runner) -> None:
    """Let `runner` have run queues that tell who joins them."""
    runner.runq = RunQueue(runner, runner.runq)
    # The other one may be the batch that is being run: it is cleared by who runs it.
    runner.spare_runq = RunQueue(runner)


def install(runner: Runner, instrument: Instrument) -> None:
    """Add `instrument` to `runner`, which from then on has instruments."""
    instruments = runner.instruments
    if instruments is None:
        instruments = Instruments()
    instruments.add(instrument)
    if runner.instruments is None:
        runner.instruments = instruments
        watch_run_queue(runner)


def add_instrument(instrument: Instrument) -> None:
    """Tell `instrument` what this run does, from now on; adding it twice has no effect.

    Args:
        instrument: an object with any of the methods of `abc.Instrument`.
    """
    install(get_runner("uringtrio.lowlevel.add_instrument()"), instrument)


def remove_instrument(instrument: Instrument) -> None:
    """Tell `instrument` no more.

    Raises:
        KeyError: it is not among the instruments of this run, or was taken out of them because a
            method of it had raised an exception.
    """
    runner = get_runner("uringtrio.lowlevel.remove_instrument()")
    if runner.instruments is None:
        raise KeyError(instrument)
    runner.instruments.remove(instrument)
