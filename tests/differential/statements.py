"""What programs are made of: each statement is data, and knows how to do what it says in a `World`.

A block is a tuple of statements. Scopes and nurseries have names, which are shared by all tasks:
a name is whatever entered last under it.
"""

from contextlib import aclosing
from dataclasses import dataclass
from typing import ClassVar

from .world import BoomError, Crash


class Statement:
    """One step of a task; `run` returns what the trace is to say of it."""

    # Whether an error of the library is only noted: the program goes on with the next statement.
    is_simple: ClassVar[bool] = True

    async def run(self, world):
        raise NotImplementedError


Block = tuple[Statement, ...]


async def perform(block, world):
    for statement in block:
        world.begin()
        try:
            what = await statement.run(world)
        except BaseException as exc:
            world.say(statement, world.plain(exc))
            if not (statement.is_simple and isinstance(exc, world.tolerated)):
                raise
        else:
            world.say(statement, what)


async def task(block, world):
    """The body of every task: what it does, and how it ends."""
    world.say(None, "begins")
    try:
        await perform(block, world)
    except BaseException as exc:
        world.say(None, world.plain(exc))
        raise
    world.say(None, "ends")


# Time and checkpoints.


class _Sleep(Statement):
    async def run(self, world):
        deadline = self.deadline_in(world)
        world.deadlines.append(deadline)
        try:
            await self.sleep(world.library)
        except world.library.Cancelled as exc:
            if world.library.current_time() >= deadline:
                # Trio's sleep is a scope with a deadline, which then claims to be the source.
                world.late.append(exc)
            raise


@dataclass(frozen=True)
class Sleep(_Sleep):
    seconds: float

    def deadline_in(self, world):
        return world.library.current_time() + self.seconds

    async def sleep(self, library):
        await library.sleep(self.seconds)


@dataclass(frozen=True)
class SleepUntil(_Sleep):
    deadline: float

    def deadline_in(self, _world):
        return self.deadline

    async def sleep(self, library):
        await library.sleep_until(self.deadline)


@dataclass(frozen=True)
class Checkpoint(Statement):
    kind: str = "checkpoint"

    async def run(self, world):
        await getattr(world.library.lowlevel, self.kind)()


@dataclass(frozen=True)
class WaitAllBlocked(Statement):
    async def run(self, world):
        await world.library.testing.wait_all_tasks_blocked()


@dataclass(frozen=True)
class LookAround(Statement):
    async def run(self, world):
        task = world.library.lowlevel.current_task()
        return (
            world.library.current_effective_deadline(),
            len(task.child_nurseries),
            sorted(child.name for n in task.child_nurseries for child in n.child_tasks),
        )


# Cancel scopes.


@dataclass(frozen=True)
class Scope(Statement):
    """Run `body` in a new scope; `kind` says how it is made, `seconds` goes to what makes it."""

    is_simple = False

    name: int
    kind: str
    seconds: float
    shield: bool
    body: Block

    async def run(self, world):
        library = world.library
        shield = self.shield and not world.is_closing
        if self.kind in {"move_on_after", "move_on_at", "fail_after", "fail_at"}:
            manager = getattr(library, self.kind)(self.seconds, shield=shield)
        else:
            manager = library.CancelScope(shield=shield)
            if self.kind == "cancelled":
                manager.cancel("before it was entered")
        with manager as scope:
            world.scopes[self.name] = scope
            world.every_scope.append(scope)
            world.deadlines.append(scope.deadline)
            world.say(self, look_at(scope))
            with world.inside(scope):
                await perform(self.body, world)
        return look_at(scope)


def look_at(scope):
    return (
        scope.cancel_called,
        scope.cancelled_caught,
        scope.deadline,
        scope.relative_deadline,
        scope.shield,
    )


class _OfScope(Statement):
    async def run(self, world):
        scope = world.scopes.get(self.name)
        return "no such scope" if scope is None else self.apply(scope)


@dataclass(frozen=True)
class Cancel(_OfScope):
    name: int
    reason: str | None = None

    def apply(self, scope):
        scope.cancel(self.reason)
        return look_at(scope)


class _SetDeadline(_OfScope):
    async def run(self, world):
        what = await super().run(world)
        # When a deadline in the past is seen, is left open: "every once in a while". It is as
        # soon as the loop has its turn.
        await world.library.lowlevel.cancel_shielded_checkpoint()
        return what


@dataclass(frozen=True)
class SetDeadline(_SetDeadline):
    name: int
    deadline: float

    def apply(self, scope):
        scope.deadline = self.deadline


@dataclass(frozen=True)
class SetRelativeDeadline(_SetDeadline):
    name: int
    seconds: float

    def apply(self, scope):
        scope.relative_deadline = self.seconds


@dataclass(frozen=True)
class SetShield(Statement):
    """Change the shield of the task's innermost scope, if that is no nursery's.

    Not of a scope that other tasks are in: a shield that comes while a task is in a cancelled
    checkpoint may save it from the `Cancelled` or not, as a matter of turns. In Trio it can even
    end in an AssertionError of `checkpoint_if_cancelled`.
    """

    shield: bool

    async def run(self, world):
        scope = world.innermost.get(world.label())
        if scope is None:
            return "no such scope"
        scope.shield = self.shield and not world.is_closing
        return world.library.current_effective_deadline()


@dataclass(frozen=True)
class TakeShield(_OfScope):
    """Take away the shield of any scope."""

    name: int

    def apply(self, scope):
        scope.shield = False


@dataclass(frozen=True)
class LookAtScope(_OfScope):
    name: int

    def apply(self, scope):
        return look_at(scope)


# Nurseries.


@dataclass(frozen=True)
class Nursery(Statement):
    """Open a nursery, start `children` in it, then run `body`."""

    is_simple = False

    name: int
    is_strict: bool
    children: tuple[Block, ...]
    body: Block

    async def run(self, world):
        options = {} if self.is_strict else {"strict_exception_groups": False}
        async with world.library.open_nursery(**options) as nursery:
            world.nurseries[self.name] = nursery
            world.scopes[self.name] = nursery.cancel_scope
            world.every_scope.append(nursery.cancel_scope)
            for child in self.children:
                nursery.start_soon(task, child, world, name=world.child_label())
            with world.inside(None):
                await perform(self.body, world)
        return look_at(nursery.cancel_scope)


@dataclass(frozen=True)
class StartSoon(Statement):
    name: int
    body: Block

    async def run(self, world):
        nursery = world.nurseries.get(self.name)
        if nursery is None:
            return "no such nursery"
        nursery.start_soon(task, self.body, world, name=world.child_label())
        return sorted(child.name for child in nursery.child_tasks)


@dataclass(frozen=True)
class Start(Statement):
    """Start a task that runs `body`, and wait for its `Started`."""

    name: int
    body: Block

    async def run(self, world):
        nursery = world.nurseries.get(self.name)
        if nursery is None:
            return "no such nursery"
        return await nursery.start(self._task, world, name=world.child_label())

    async def _task(self, world, *, task_status):
        world.statuses[world.label()] = task_status
        await task(self.body, world)


@dataclass(frozen=True)
class Started(Statement):
    """End the `Start` of this task, from anywhere in it."""

    value: int

    async def run(self, world):
        status = world.statuses.get(world.label())
        if status is None:
            return "was not started by Start"
        status.started(self.value)
        return world.library.current_effective_deadline()


# Exceptions.


@dataclass(frozen=True)
class Raise(Statement):
    is_simple = False

    number: int
    is_crash: bool = False

    async def run(self, _world):
        raise (Crash if self.is_crash else BoomError)(self.number)


@dataclass(frozen=True)
class Try(Statement):
    """`try: body except catches: handler finally: final`; with `reraises`, the handler raises."""

    is_simple = False

    body: Block
    catches: str
    handler: Block
    reraises: bool
    final: Block

    async def run(self, world):
        catches = {
            "BoomError": BoomError,
            "Exception": Exception,
            "BaseException": BaseException,
            "BaseExceptionGroup": BaseExceptionGroup,
            "Cancelled": world.library.Cancelled,
            "TooSlowError": world.library.TooSlowError,
        }[self.catches]
        try:
            await perform(self.body, world)
        except catches as exc:
            world.say(self, ("caught", world.plain(exc)))
            await perform(self.handler, world)
            if self.reraises:
                raise
        finally:
            await perform(self.final, world)


@dataclass(frozen=True)
class Generate(Statement):
    """Take `count` values of an async generator that runs `body`, and close it."""

    is_simple = False

    body: Block
    count: int
    final: Block

    async def run(self, world):
        taken = 0
        async with aclosing(self._values(world)) as values:
            async for _ in values:
                taken += 1
                if taken == self.count:
                    break
        return taken

    async def _values(self, world):
        try:
            for statement in self.body:
                await perform((statement,), world)
                yield
        finally:
            await perform(self.final, world)
