"""One order of steps for both runtimes: in each turn, one of the runnable tasks, and it runs alone.

Trio promises no order among runnable tasks, and leaves open how many turns of the loop an
operation takes: a cancelled checkpoint takes two there and one here. So the order must not depend
on turns. It does not if each turn runs only one task, by a rule that looks at nothing but the
program. Each task has a priority that changes when it begins a statement, and at no other time; the
others stay in the queue. Any order among runnable tasks is one that a program must be ready for,
so the two runtimes must then do the same in the same order; and because the priorities come from a
seed, each program is run in an order of its own.

What this keeps: an operation that is a checkpoint lets others run before it goes on, one that is
none does not, and a task is runnable exactly if it would be in the other runtime.
"""

from contextlib import contextmanager

import trio._core._run as trio_loop

import uringtrio._scheduler.loop as uringtrio_loop


class _OneByOne:
    """Takes the place of the random source that a run loop asks for the order of each batch."""

    def __init__(self, priority):
        self._priority = priority

    def shuffle(self, batch):
        """Trio asks so, once it is told to be deterministic."""
        self._keep_first(batch, trio_loop.GLOBAL_RUN_CONTEXT.runner.runq)

    def random(self):
        """uringtrio asks so, if there is a choice; from 0.5 on it keeps the order."""
        runner = uringtrio_loop.CURRENT.runner
        self._keep_first(runner.spare_runq, runner.runq)
        return 1.0

    def _keep_first(self, batch, queue):
        if len(batch) > 1:
            first = min(batch, key=self._priority)
            queue.extend(task for task in batch if task is not first)
            batch[:] = [first]


@contextmanager
def in_order(priority):
    """Let runs take, of the runnable tasks, always the one with the least `priority(task)`."""
    replaced = (
        (trio_loop, "_r", _OneByOne(priority)),
        (trio_loop, "_ALLOW_DETERMINISTIC_SCHEDULING", True),
        (uringtrio_loop, "ORDER", _OneByOne(priority)),
    )
    kept = [getattr(module, name) for module, name, _ in replaced]
    for module, name, value in replaced:
        setattr(module, name, value)
    try:
        yield
    finally:
        for (module, name, _), value in zip(replaced, kept, strict=True):
            setattr(module, name, value)
