"""Runs a program on one of the two runtimes, and compares what both have done."""

import warnings
from dataclasses import dataclass
from itertools import zip_longest

import trio
import trio.testing

import uringtrio
import uringtrio.testing

from .schedule import in_order
from .statements import task
from .world import World


def run_program(program, library):
    """Run `program` on `library`; return the `World` with its trace."""
    world = World(library, program.settings, program.seed)

    async def root():
        async with library.open_nursery() as outer:
            outer.start_soon(world.clean_up, name="janitor")
            with library.CancelScope() as world.scopes["program"]:
                async with library.open_nursery() as nursery:
                    nursery.start_soon(task, program.main, world, name="main")
            outer.cancel_scope.cancel()

    with warnings.catch_warnings(), in_order(world.priority):
        # Nurseries that are not strict are deprecated, in both.
        warnings.simplefilter("ignore", library.TrioDeprecationWarning)
        try:
            library.run(root, clock=library.testing.MockClock(autojump_threshold=0))
        except (KeyboardInterrupt, library.TrioInternalError):
            raise
        except BaseException as exc:  # noqa: BLE001  # it is what the program came to
            world.trace.append(("run", world.plain(exc)))
        else:
            world.trace.append(("run", "returned"))
    return world


@dataclass(frozen=True)
class Difference:
    """Where two traces part: what both did before, and then each."""

    both: list[object]
    trio: object
    uringtrio: object

    def __str__(self):
        lines = [f"both:      {entry}" for entry in self.both]
        return "\n".join([*lines, f"trio:      {self.trio}", f"uringtrio: {self.uringtrio}"])


def compare(theirs, ours):
    """Return the first `Difference` of two traces, or None."""
    for at, (their, our) in enumerate(zip_longest(theirs, ours)):
        if their != our:
            return Difference(theirs[max(0, at - 5) : at], their, our)
    return None


def difference(program):
    """Run `program` on both; return the first difference, or None."""
    return compare(run_program(program, trio).trace, run_program(program, uringtrio).trace)
