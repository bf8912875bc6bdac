"""Build targets in parallel, like a very small `make`.

    python examples/make.py --jobs 4 --file Makefile all

It reads lines like `app: main.o util.o`, with the commands below them indented. A command runs as
soon as what its target needs is built, and its output appears in one piece when it is done. The
first failure, or Ctrl-C, ends all commands that still run.
"""

from __future__ import annotations

import argparse
import contextlib
import graphlib
import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import uringtrio

# From asking a command to exit to making it.
GRACE_SECONDS = 5.0


class BuildError(Exception):
    """The targets cannot be built; the message says which, and why."""


@dataclass(frozen=True, slots=True)
class Target:
    """Something to build.

    Attributes:
        needs: the names of the targets that must be built before.
        commands: for the shell, to run one after the other.
        built: set once all of them have succeeded.
    """

    name: str
    needs: list[str]
    commands: list[str] = field(default_factory=list)
    built: uringtrio.Event = field(default_factory=uringtrio.Event)


def read_targets(text: str) -> dict[str, Target]:
    """Return the targets of a file by name."""
    targets: dict[str, Target] = {}
    target = None
    for number, line in enumerate(text.splitlines(), 1):
        words = line.partition("#")[0]
        if not words.strip():
            continue
        if words[0].isspace() and target is not None:
            target.commands.append(line.strip())
            continue
        name, colon, needs = words.partition(":")
        if not colon:
            raise BuildError(f"line {number} is neither a target nor a command: {line}")
        target = targets[name.strip()] = Target(name.strip(), needs.split())
    return targets


def find_needed(targets: dict[str, Target], goals: list[str]) -> list[Target]:
    """Return what must be built for the goals, in an order in which it can be."""
    needed: dict[str, list[str]] = {}
    unseen = list(goals)
    while unseen:
        name = unseen.pop()
        if name not in targets:
            raise BuildError(f"there is no target {name!r}")
        if name not in needed:
            needed[name] = targets[name].needs
            unseen += targets[name].needs
    try:
        return [targets[name] for name in graphlib.TopologicalSorter(needed).static_order()]
    except graphlib.CycleError as error:
        raise BuildError(f"these need each other: {' <- '.join(error.args[1])}") from None


async def end_group(process: uringtrio.Process) -> None:
    """End a shell and everything that it has started: signal its process group."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
        await uringtrio.sleep(GRACE_SECONDS)
        os.killpg(process.pid, signal.SIGKILL)


async def build(
    target: Target, targets: dict[str, Target], limiter: uringtrio.CapacityLimiter
) -> None:
    """Wait for what the target needs, then for a free job, then run its commands."""
    for need in target.needs:
        await targets[need].built.wait()
    async with limiter:
        for command in target.commands:
            done = await uringtrio.run_process(
                command,
                shell=True,
                process_group=0,
                capture_stdout=True,
                stderr=subprocess.STDOUT,
                check=False,
                deliver_cancel=end_group,
            )
            print(f"{target.name}: {command}\n{done.stdout.decode(errors='replace')}", end="")
            if done.returncode:
                raise BuildError(f"{target.name}: {command!r} failed with {done.returncode}")
    target.built.set()


async def build_all(targets: dict[str, Target], goals: list[str], jobs: int) -> None:
    """Build the goals, with at most so many commands at a time."""
    limiter = uringtrio.CapacityLimiter(jobs)
    async with uringtrio.open_nursery() as nursery:
        for target in find_needed(targets, goals):
            nursery.start_soon(build, target, targets, limiter, name=target.name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("goals", nargs="*", metavar="TARGET", help="the first one if none is given")
    parser.add_argument("--file", type=Path, default=Path("Makefile"))
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="commands at a time")
    options = parser.parse_args()
    # A shell that starts a program in the background may have it ignore Ctrl-C; this one must not.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # An exit from within `except*` may arrive as a group of exceptions, so it has to wait.
    failures: list[str] = []
    try:
        targets = read_targets(options.file.read_text())
        goals = options.goals or list(targets)[:1]
        uringtrio.run(build_all, targets, goals, options.jobs)
    except* (BuildError, OSError) as errors:
        failures += [f"FAILED: {error}" for error in errors.exceptions]
    except* KeyboardInterrupt:
        failures.append("interrupted")
    if failures:
        sys.exit("\n".join(failures))


if __name__ == "__main__":
    main()
