"""Statements about what tasks share: events, locks, limiters, lots, waits and memory channels."""

from dataclasses import dataclass
from math import inf

import outcome

from .statements import Block, Statement, perform
from .world import BoomError


@dataclass(frozen=True)
class SetEvent(Statement):
    number: int

    async def run(self, world):
        event = world.events[self.number]
        before = event.is_set(), event.statistics().tasks_waiting
        event.set()
        return before


@dataclass(frozen=True)
class WaitEvent(Statement):
    number: int

    async def run(self, world):
        await world.events[self.number].wait()


@dataclass(frozen=True)
class Hold(Statement):
    """`async with` a lock, a semaphore, a limiter or a condition."""

    guard: str
    body: Block

    async def run(self, world):
        async with world.guards[self.guard]:
            world.say(self, look_at_guard(world, self.guard))
            await perform(self.body, world)
        return look_at_guard(world, self.guard)


@dataclass(frozen=True)
class CallGuard(Statement):
    """`acquire`, `acquire_nowait` or `release`, without a block."""

    guard: str
    method: str

    async def run(self, world):
        done = getattr(world.guards[self.guard], self.method)()
        if done is not None:
            await done
        return look_at_guard(world, self.guard)


def look_at_guard(world, name):
    guard = world.guards[name]
    if name == "semaphore":
        return guard.value, guard.max_value, guard.statistics().tasks_waiting
    seen = guard.statistics()
    if name == "limiter":
        borrowers = [getattr(borrower, "name", borrower) for borrower in seen.borrowers]
        return seen.borrowed_tokens, seen.total_tokens, sorted(borrowers), seen.tasks_waiting
    waiting = seen.tasks_waiting
    if name == "condition":
        seen = seen.lock_statistics
    return waiting, seen.locked, seen.owner and seen.owner.name, seen.tasks_waiting


@dataclass(frozen=True)
class Borrow(Statement):
    """Call a method of the limiter on behalf of somebody."""

    borrower: str
    method: str

    async def run(self, world):
        method = getattr(world.guards["limiter"], self.method)
        if self.method != "acquire_on_behalf_of":
            method(self.borrower)
        elif self.borrower in world.waiting_borrowers:
            # Trio can lend one token to both, although it says that it raises RuntimeError.
            return "somebody waits on its behalf"
        else:
            world.waiting_borrowers.add(self.borrower)
            try:
                await method(self.borrower)
            finally:
                world.waiting_borrowers.remove(self.borrower)
        return look_at_guard(world, "limiter")


@dataclass(frozen=True)
class SetTokens(Statement):
    tokens: float

    async def run(self, world):
        world.guards["limiter"].total_tokens = self.tokens
        return look_at_guard(world, "limiter")


@dataclass(frozen=True)
class WaitCondition(Statement):
    async def run(self, world):
        await world.guards["condition"].wait()
        return look_at_guard(world, "condition")


@dataclass(frozen=True)
class Notify(Statement):
    count: float

    async def run(self, world):
        condition = world.guards["condition"]
        if self.count == inf:
            condition.notify_all()
        else:
            condition.notify(self.count)
        return look_at_guard(world, "condition")


@dataclass(frozen=True)
class Park(Statement):
    lot: int

    async def run(self, world):
        await world.lots[self.lot].park()


@dataclass(frozen=True)
class Unpark(Statement):
    lot: int
    count: float

    async def run(self, world):
        lot = world.lots[self.lot]
        return [parked.name for parked in lot.unpark(count=self.count)], len(lot)


@dataclass(frozen=True)
class Repark(Statement):
    lot: int
    new_lot: int
    count: float

    async def run(self, world):
        lot, new_lot = world.lots[self.lot], world.lots[self.new_lot]
        lot.repark(new_lot, count=self.count)
        return len(lot), len(new_lot)


@dataclass(frozen=True)
class BreakLot(Statement):
    lot: int

    async def run(self, world):
        lot = world.lots[self.lot]
        lot.break_lot()
        return [breaker.name for breaker in lot.broken_by]


@dataclass(frozen=True)
class WaitRescheduled(Statement):
    """Wait for `Reschedule`; a cancellation ends the wait, or is put off until then."""

    slot: int
    puts_off: bool

    async def run(self, world):
        if world.is_closing:
            return "too late"
        lowlevel = world.library.lowlevel
        slot = world.sleepers[self.slot]
        me = lowlevel.current_task()
        aborts = 0

        def abort(raise_cancel):
            nonlocal aborts
            aborts += 1
            if self.puts_off:
                slot[me] = outcome.capture(raise_cancel)
                return lowlevel.Abort.FAILED
            del slot[me]
            return lowlevel.Abort.SUCCEEDED

        slot[me] = None
        try:
            return await lowlevel.wait_task_rescheduled(abort)
        finally:
            world.say(self, ("aborts", aborts))


@dataclass(frozen=True)
class Reschedule(Statement):
    slot: int
    number: int
    is_error: bool

    async def run(self, world):
        slot = world.sleepers[self.slot]
        for sleeper in slot:
            what = outcome.Error(BoomError(self.number)) if self.is_error else None
            world.wake(slot, sleeper, what or outcome.Value(self.number))
            return sleeper.name
        return "nobody waits"


# Memory channels. A handle is chosen among those that there are.


@dataclass(frozen=True)
class Send(Statement):
    channel: int
    handle: int
    value: int
    waits: bool

    async def run(self, world):
        sender = _handle(world.senders, self)
        if self.waits:
            await sender.send(self.value)
        else:
            sender.send_nowait(self.value)
        return look_at_channel(sender)


@dataclass(frozen=True)
class Receive(Statement):
    channel: int
    handle: int
    waits: bool

    async def run(self, world):
        receiver = _handle(world.receivers, self)
        value = await receiver.receive() if self.waits else receiver.receive_nowait()
        return value, look_at_channel(receiver)


@dataclass(frozen=True)
class ReceiveAll(Statement):
    channel: int
    handle: int

    async def run(self, world):
        values = []
        receiver = _handle(world.receivers, self)
        async with receiver:
            async for value in receiver:
                world.say(self, value)
                values.append(value)
        return values


@dataclass(frozen=True)
class Clone(Statement):
    channel: int
    handle: int
    sends: bool

    async def run(self, world):
        side = world.senders if self.sends else world.receivers
        side[self.channel].append(_handle(side, self).clone())
        return len(side[self.channel])


@dataclass(frozen=True)
class Close(Statement):
    channel: int
    handle: int
    sends: bool
    waits: bool

    async def run(self, world):
        handle = _handle(world.senders if self.sends else world.receivers, self)
        if self.waits:
            await handle.aclose()
        else:
            handle.close()
        return look_at_channel(handle)


def _handle(side, statement):
    handles = side[statement.channel]
    return handles[statement.handle % len(handles)]


def look_at_channel(handle):
    seen = handle.statistics()
    return (
        seen.current_buffer_used,
        seen.max_buffer_size,
        seen.open_send_channels,
        seen.open_receive_channels,
        seen.tasks_waiting_send,
        seen.tasks_waiting_receive,
    )
