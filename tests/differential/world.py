"""World: what one run of a program sees and shares, and the trace that it leaves."""

import re
from contextlib import contextmanager
from dataclasses import dataclass
from math import inf
from zlib import crc32

from outcome import Value

_ADDRESS = re.compile(r"0x[0-9a-f]+")
# How far back the trace follows `__context__`.
CONTEXT_DEPTH = 2
# Every program is cancelled as a whole at this time, and a second later its shields are taken away.
HORIZON = 50.0
ROUNDS_MAX = 100


class BoomError(Exception):
    """What programs raise; each with its own number."""


class Crash(BaseException):  # it is no Error, which is its point
    """As BoomError, but no Exception."""


@dataclass(frozen=True)
class Settings:
    """The sizes of what all tasks of a program share."""

    capacities: tuple[float, ...] = (0, 1, inf)
    semaphore: tuple[int, int | None] = (1, None)
    tokens: float = 1


def without_addresses(text):
    return None if text is None else _ADDRESS.sub("0x", text).replace("uringtrio.", "trio.")


class World:
    """The objects that the tasks share, by name, and what they have said.

    Attributes:
        trace: tuples (task, its step, time, statement, what came of it), in order; the last one
            is the outcome of the run.
        is_closing: whether the horizon is passed: nothing may wait for ever from now on.
    """

    def __init__(self, library, settings, seed):
        self.library = library
        self.trace = []
        self.is_closing = False
        self._seed = seed
        self._steps = {}
        self._children = {}
        self._priorities = {}
        self.tolerated = (
            library.WouldBlock,
            library.ClosedResourceError,
            library.BrokenResourceError,
            library.EndOfChannel,
            RuntimeError,
            ValueError,
        )
        self.scopes = {}
        self.every_scope = []
        self.innermost = {}
        self.nurseries = {}
        self.statuses = {}
        self.events = [library.Event() for _ in range(3)]
        value, maximum = settings.semaphore
        self.guards = {
            "lock": library.Lock(),
            "fifo": library.StrictFIFOLock(),
            "condition": library.Condition(),
            "semaphore": library.Semaphore(value, max_value=maximum),
            "limiter": library.CapacityLimiter(settings.tokens),
        }
        self.waiting_borrowers = set()
        self.lots = [library.lowlevel.ParkingLot() for _ in range(2)]
        self.senders, self.receivers = [], []
        for capacity in settings.capacities:
            sender, receiver = library.open_memory_channel(capacity)
            self.senders.append([sender])
            self.receivers.append([receiver])
        # Tasks in `wait_task_rescheduled`, and the cancellation that each has put off.
        self.sleepers = ({}, {})
        # `Cancelled` from sleeps whose time had come, too: who the source is, is open.
        self.late = []
        # Every deadline that a scope was entered with, or a sleep.
        self.deadlines = []

    # Who is who.

    def label(self):
        return self.library.lowlevel.current_task().name

    @contextmanager
    def inside(self, scope):
        """Note that `scope` is the running task's innermost; None if that is a nursery's."""
        label = self.label()
        around = self.innermost.get(label)
        self.innermost[label] = scope
        try:
            yield
        finally:
            self.innermost[label] = around

    def child_label(self):
        label = self.label()
        number = self._children[label] = self._children.get(label, 0) + 1
        return f"{label}.{number}"

    def priority(self, task):
        """Return what `schedule.in_order` goes by; the runtime's own tasks come first."""
        label = task.name
        if not label.startswith(("main", "janitor")):
            return -1
        priority = self._priorities.get(label)
        if priority is None:
            priority = self._priorities[label] = self._draw(label, 0)
        return priority

    def _draw(self, label, step):
        return crc32(f"{self._seed}/{label}/{step}".encode())

    # The trace.

    def begin(self):
        """The running task begins a statement."""
        label = self.label()
        step = self._steps[label] = self._steps.get(label, 0) + 1
        self._priorities[label] = self._draw(label, step)

    def say(self, statement, what):
        """Note what came of `statement`; of the task itself if that is None."""
        label = self.label()
        now = self.library.current_time()
        name = "task" if statement is None else type(statement).__name__
        self.trace.append((label, self._steps.get(label, 0), now, name, what))

    def plain(self, exc, depth=CONTEXT_DEPTH):
        """Return `exc` as plain data: what Trio promises of it, and nothing that it does not."""
        name = type(exc).__name__
        if isinstance(exc, self.library.Cancelled):
            # Its context is whatever the task that cancelled was handling, in Trio; and nobody's
            # promise.
            if any(exc is late for late in self.late):
                return (name, "late")
            reason, source_task = map(without_addresses, (exc.reason, exc.source_task))
            return (name, (exc.source, reason, source_task))
        if isinstance(exc, BaseExceptionGroup):
            children = tuple(self.plain(child, depth) for child in exc.exceptions)
            detail = (exc.message, len(getattr(exc, "__notes__", ())), children)
        elif isinstance(exc, (BoomError, Crash)):
            detail = exc.args
        else:
            # Neither the words of a library's error are promised nor on which way it came about.
            return (name,)
        context = exc.__context__
        if context is None or not depth:
            return (name, detail)
        return (name, detail, "while", self.plain(context, depth - 1), exc.__suppress_context__)

    # The end.

    async def clean_up(self):
        """Bring a program to its end that would wait for ever: cancel all, take away shields."""
        await self.library.sleep_until(HORIZON)
        self.scopes["program"].cancel("horizon")
        for _ in range(ROUNDS_MAX):
            await self.library.sleep(1)
            self.is_closing = True
            for scope in self.every_scope:
                scope.shield = False
            for slot in self.sleepers:
                for task in list(slot):
                    self.wake(slot, task, Value(None))
        raise AssertionError("the program waits for ever")

    def wake(self, slot, task, outcome):
        """Reschedule `task`, with the cancellation that it has put off if there is one."""
        raise_cancel = slot.pop(task)
        self.library.lowlevel.reschedule(task, raise_cancel or outcome)
