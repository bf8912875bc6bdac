"""Random programs: which statements there are, how often each is drawn, and how deep they nest."""

from dataclasses import dataclass, replace
from math import inf

from .shared import (
    Borrow,
    BreakLot,
    CallGuard,
    Clone,
    Close,
    Hold,
    Notify,
    Park,
    Receive,
    ReceiveAll,
    Repark,
    Reschedule,
    Send,
    SetEvent,
    SetTokens,
    Unpark,
    WaitCondition,
    WaitEvent,
    WaitRescheduled,
)
from .statements import (
    Block,
    Cancel,
    Checkpoint,
    Generate,
    LookAround,
    LookAtScope,
    Nursery,
    Raise,
    Scope,
    SetDeadline,
    SetRelativeDeadline,
    SetShield,
    Sleep,
    SleepUntil,
    Start,
    Started,
    StartSoon,
    TakeShield,
    Try,
    WaitAllBlocked,
)
from .world import Settings

# Multiples of a quarter are exact, and few: many deadlines are the same, and many are not.
SECONDS = (0, 0, 0.25, 0.5, 1, 1, 1, 2, 2, 3)
DEADLINES = (0, 1, 1, 2, 2, 2.25, 3, 4, inf)
NAMES = 5
DEPTH_MAX = 4


@dataclass(frozen=True)
class Program:
    """What the main task does, with what, and the seed of the order of steps."""

    seed: int
    settings: Settings
    main: Block


def draw_program(random):
    settings = Settings(
        capacities=(0, random.choice((1, 2)), inf),
        semaphore=random.choice(((0, None), (1, None), (1, 1), (2, 2))),
        tokens=random.choice((1, 1, 2, inf)),
    )
    main = (_nursery(random, 1), *_block(random, 1))
    return Program(random.randrange(1 << 32), settings, main)


def _block(random, depth):
    size = random.choice((1, 2, 2, 3, 3, 4) if depth < DEPTH_MAX else (1, 1, 2))
    return tuple(_statement(random, depth + 1) for _ in range(size))


def _statement(random, depth):
    compound = depth < DEPTH_MAX and random.randrange(5) < 2
    return random.choice(COMPOUND if compound else SIMPLE)(random, depth)


def _flag(random, one_in=2):
    return random.randrange(one_in) == 0


def _name(random):
    return random.randrange(NAMES)


# Statements that contain others.


def _scope(random, depth):
    kinds = ("move_on_after", "move_on_after", "fail_after", "move_on_at", "fail_at", "plain")
    kind = random.choice((*kinds, "plain", "cancelled"))
    seconds = random.choice(SECONDS)
    return Scope(_name(random), kind, seconds, _flag(random, 3), _block(random, depth))


def _nursery(random, depth):
    children = tuple(_block(random, depth) for _ in range(random.choice((1, 2, 2, 3))))
    return Nursery(_name(random), not _flag(random, 5), children, _block(random, depth))


def _start_soon(random, depth):
    return StartSoon(_name(random), _block(random, depth))


def _start(random, depth):
    before, after = _block(random, depth), _block(random, depth)
    started = (_started(random, depth), *after)
    if _flag(random, 4):
        return Start(_name(random), before)
    if _flag(random):
        scope = _scope(random, depth)
        started = (replace(scope, body=(*before, *started)),)
        before = ()
    return Start(_name(random), (*before, *started))


def _started(random, _depth):
    return Started(random.randrange(100))


def _try(random, depth):
    catches = ("BoomError", "Exception", "BaseException", "BaseExceptionGroup", "Cancelled")
    final = _handler(random, depth)
    if final and _flag(random):
        final = (Scope(_name(random), "move_on_after", random.choice(SECONDS), True, final),)
    return Try(
        _block(random, depth),
        random.choice((*catches, "TooSlowError")),
        _handler(random, depth),
        not _flag(random, 4),
        final,
    )


def _handler(random, depth):
    if _flag(random):
        return ()
    # An error that is raised in it has a context.
    raises = (_raise(random, depth),) if _flag(random, 3) else ()
    return (*_block(random, depth), *raises)


def _hold(random, depth):
    return Hold(_guard(random), _block(random, depth))


def _generate(random, depth):
    count = random.choice((1, 2, 9))
    return Generate(_block(random, depth), count, _handler(random, depth))


COMPOUND = (
    _scope, _scope, _scope, _scope, _nursery, _nursery, _nursery, _start_soon, _start, _start,
    _try, _try, _try, _hold, _hold, _generate,
)  # fmt: skip


# Statements that do not.


def _guard(random):
    return random.choice(("lock", "lock", "fifo", "semaphore", "limiter"))


def _call_guard(random, _depth):
    return CallGuard(_guard(random), random.choice(("acquire", "acquire_nowait", "release")))


def _lot(random):
    return random.randrange(2)


def _borrow(random, _depth):
    methods = ("acquire_on_behalf_of", "acquire_on_behalf_of_nowait", "release_on_behalf_of")
    return Borrow(random.choice(("alice", "bob")), random.choice(methods))


def _condition(random, depth):
    # Its block starts no tasks: if one of them waited for the condition, and this task for that
    # one, then nothing could end it, because waiting takes the lock again although cancelled.
    inside = random.choice((WaitCondition(), Notify(1), Notify(2), Notify(inf)))
    if _flag(random, 6):
        return inside
    more = random.choice(((), (), (_sleep(random, depth),), (Raise(random.randrange(100)),)))
    return Hold("condition", (inside, *more))


def _raise(random, _depth):
    return Raise(random.randrange(100), _flag(random, 6))


def _sleep(random, _depth):
    return Sleep(random.choice(SECONDS))


def _send(random, _depth):
    waits = not _flag(random, 3)
    return Send(random.randrange(3), random.randrange(2), random.randrange(100), waits)


def _receive(random, _depth):
    return Receive(random.randrange(3), random.randrange(2), not _flag(random, 3))


def _close(random, _depth):
    return Close(random.randrange(3), random.randrange(2), _flag(random), _flag(random))


SIMPLE = (
    _sleep,
    _sleep,
    _sleep,
    lambda random, _depth: SleepUntil(random.choice(DEADLINES)),
    lambda _random, _depth: Checkpoint("checkpoint"),
    lambda _random, _depth: Checkpoint("checkpoint_if_cancelled"),
    lambda _random, _depth: Checkpoint("cancel_shielded_checkpoint"),
    lambda _random, _depth: LookAround(),
    lambda _random, _depth: WaitAllBlocked(),
    lambda random, _depth: Cancel(_name(random), random.choice((None, "a reason"))),
    lambda random, _depth: Cancel(_name(random)),
    lambda random, _depth: SetDeadline(_name(random), random.choice(DEADLINES)),
    lambda random, _depth: SetRelativeDeadline(_name(random), random.choice(SECONDS)),
    lambda random, _depth: SetShield(_flag(random)),
    lambda random, _depth: TakeShield(_name(random)),
    lambda random, _depth: LookAtScope(_name(random)),
    _raise,
    lambda random, _depth: SetEvent(random.randrange(3)),
    lambda random, _depth: WaitEvent(random.randrange(3)),
    _call_guard,
    _borrow,
    _started,
    lambda random, _depth: SetTokens(random.choice((0, 1, 2, inf))),
    _condition,
    _condition,
    lambda random, _depth: Park(_lot(random)),
    lambda random, _depth: Unpark(_lot(random), random.choice((1, 2, inf))),
    lambda random, _depth: Repark(_lot(random), _lot(random), random.choice((1, inf))),
    lambda random, _depth: BreakLot(_lot(random)),
    lambda random, _depth: WaitRescheduled(random.randrange(2), _flag(random)),
    lambda random, _depth: Reschedule(random.randrange(2), random.randrange(100), _flag(random)),
    _send,
    _send,
    _receive,
    _receive,
    lambda random, _depth: ReceiveAll(random.randrange(3), random.randrange(2)),
    lambda random, _depth: Clone(random.randrange(3), random.randrange(2), _flag(random)),
    _close,
)  # fmt: skip
