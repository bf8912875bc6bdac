"""run_sharded, and the supervisor: an ordinary run in the calling thread, one task for a shard.

The supervisor's thread is where signals arrive. They are taken over before its run begins and
given back after it has ended, and then raised again: so Ctrl-C is a KeyboardInterrupt and SIGTERM
what it was, but not before all shards are gone.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from typing import TYPE_CHECKING, Any, Literal, TypeVar, TypeVarTuple

from uringtrio._errors import RunFinishedError, ShardError
from uringtrio._scheduler.cancel import CancelScope
from uringtrio._scheduler.current import current_time
from uringtrio._scheduler.entry import TrioToken, current_trio_token
from uringtrio._scheduler.loop import run
from uringtrio._scheduler.nursery import open_nursery
from uringtrio._signals import take_over

from .channel import SharedReceiveChannel, SharedSendChannel
from .ending import Ending
from .mesh import SocketPosts, ThreadPosts
from .parcel import Parcel, put_aside_in
from .plan import Placements, Plan, make_plan
from .process import SIGNALS, ProcessShard
from .thread import ThreadShard

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence
    from types import FrameType

    from uringtrio._ring.options import RingOptions

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


def run_sharded(  # noqa: PLR0913  # one for each thing that can be chosen
    main: Callable[[*Ts], Awaitable[T]],
    *args: *Ts,
    shards: int | None = None,
    kind: Literal["auto", "thread", "process"] = "auto",
    placement: Placements = "spread",
    driver: str | None = None,
    ring: RingOptions | None = None,
    grace_seconds: float = 10.0,
) -> list[T]:
    """Run `main(*args)` once in each of several shards, and return what each of them returned.

    A shard is a thread or a process with a run of its own, on a CPU of its own. Nothing is shared
    between shards but what they are given. Together they are like tasks in a nursery: when the
    first one fails, the others are cancelled, and the call returns when all have ended.

    Ctrl-C and SIGTERM cancel all shards; when they have ended, the signal is raised again, so that
    it does what it does without shards. A second one cuts the grace short.

    Args:
        main: an async function. It and its arguments are sent to processes by pickling, so it must
            be at the top level of a module, and the call under `if __name__ == "__main__":`.
        args: its positional arguments; for keyword arguments use `functools.partial`. Sockets,
            streams and listeners may be among them, in processes anywhere, in threads also in
            lists and tuples: each shard gets copies of its own, which it closes. So may shared
            channels; they are given away, that is, the caller's handles are closed.
        shards: how many, at least 1; more than there are CPUs is allowed. None is one for each CPU
            that this process may use by its affinity and its cgroup's quota.
        kind: "process" runs in parallel on every Python; "thread" only on one without a GIL, but
            can share objects. "auto" is "thread" there, and "process" elsewhere.
        placement: "spread" pins each shard to one CPU, on cores of their own before hyper-threads
            of one core, in turn over the NUMA nodes; "pack" fills one core, and one node, after
            the other; "none" does not pin. Or a list with a set of CPU numbers for each shard.
            What a shard starts, threads and processes, inherits its CPUs.
        driver: as in `run`, but by name only.
        ring: sizes of each shard's ring, as in `run`.
        grace_seconds: how long shards may go on after they were cancelled. Then a process is
            killed, and a thread left to itself. May be inf.

    Returns:
        What `main` returned, in the order of the shards.

    Raises:
        ExceptionGroup: shards have failed; it holds the exception of each, with a note that names
            the shard. `ShardError` stands for those that have none of their own, as they died, or
            did not end, or were cancelled by a signal whose handler returned; and for exceptions
            and results that cannot be sent from one process to another.
        RuntimeError: called inside a run or a shard, or while a process imports the program.
        TypeError: `main` is no async function; `main` or an argument cannot be sent to processes.
        ValueError: an option has a value that cannot be.
        DriverUnavailableError: see `run`.
    """
    plan = make_plan(
        main,
        args,
        shards=shards,
        kind=kind,
        placement=placement,
        driver=driver,
        ring=ring,
        grace_seconds=grace_seconds,
    )
    parcel = _pack(plan) if plan.kind == "process" else None
    count = len(plan.placement)
    with contextlib.closing(ThreadPosts(count) if parcel is None else SocketPosts(count)) as posts:
        supervisor = Supervisor(plan, parcel, posts)
        try:
            with supervisor.taking_signals():
                run(supervisor.main, driver=driver)
            supervisor.raise_errors()
        finally:
            supervisor.raise_signals()
        return supervisor.results()


def _pack(plan: Plan) -> Parcel:
    """Pack the plan; if that fails, say because of what.

    Raises:
        TypeError: some part of it cannot be pickled.
    """
    try:
        return Parcel(plan)
    except Exception as exc:
        for name, part in [("main", plan.main), *_named(plan.args)]:
            try:
                Parcel(part)
            except Exception as cause:  # whatever the objects' own methods raise
                raise TypeError(
                    f"{name} cannot be sent to the shards' processes: {part!r}: {cause}. Define "
                    'functions at the top level of a module, or use kind="thread"'
                ) from cause
        raise TypeError(f"the shards cannot be sent to their processes: {exc}") from exc


def _named(args: tuple[Any, ...]) -> list[tuple[str, Any]]:
    return [(f"args[{index}]", arg) for index, arg in enumerate(args)]


class Supervisor:
    """Starts the shards, and sees that all of them end.

    Args:
        plan: what to run.
        parcel: the plan, packed, if the shards are processes.
        posts: what connects the shards; closed here as soon as all have their parts.
    """

    __slots__ = ("_channels", "_endings", "_is_cancelling", "_parcel", "_patience", "_plan",
                 "_posts", "_shards", "_signums", "_token", "_waiting")  # fmt: skip

    def __init__(self, plan: Plan, parcel: Parcel | None, posts: ThreadPosts | SocketPosts) -> None:
        self._plan = plan
        self._parcel = parcel
        count = len(plan.placement)
        self._posts = posts
        self._endings = [Ending()] * count
        self._shards: list[ThreadShard | ProcessShard] = []
        # Around the wait for each shard; they get their deadline with the cancellation.
        self._patience = [CancelScope() for _ in range(count)]
        # The shards that have not got their arguments yet; then the channels are theirs alone.
        self._waiting = set(range(count))
        self._channels = [
            thing
            for thing in (put_aside_in(plan.args) if parcel is None else parcel.put_aside)
            if isinstance(thing, (SharedSendChannel, SharedReceiveChannel))
        ]
        self._is_cancelling = False
        # Appended to by the signal handler.
        self._signums: list[int] = []
        # None before the run.
        self._token: TrioToken | None = None

    @contextlib.contextmanager
    def taking_signals(self) -> Iterator[None]:
        """Take the signals over for the length of the block; only the main thread gets any."""
        with contextlib.ExitStack() as stack:
            if threading.current_thread() is threading.main_thread():
                for signum in SIGNALS:
                    # Who ignores a signal, in the shell or in the program, goes on doing so.
                    if signal.getsignal(signum) not in (signal.SIG_IGN, None):
                        stack.callback(signal.signal, signum, take_over(signum, self._note))
            yield

    def raise_signals(self) -> None:
        """Raise the signals that came once more, for the handlers that they were taken from."""
        for signum in dict.fromkeys(self._signums):
            # Of errors, dying of the signal would say nothing.
            if not self._errors() or signal.getsignal(signum) is not signal.SIG_DFL:
                signal.raise_signal(signum)

    def _note(self, signum: int, _frame: FrameType | None) -> None:
        self._signums.append(signum)
        if self._token is not None:
            # Once the run is over all shards have ended.
            with contextlib.suppress(RunFinishedError):
                self._token.run_sync_soon(self._obey_signals)

    def _obey_signals(self) -> None:
        if len(self._signums) > 1:
            for patience in self._patience:
                patience.cancel()
        self.cancel()

    def cancel(self) -> None:
        """Cancel all shards, and begin to lose patience with them."""
        if self._is_cancelling:
            return
        self._is_cancelling = True
        deadline = current_time() + self._plan.grace_seconds
        for shard, patience in zip(self._shards, self._patience, strict=True):
            shard.cancel()
            patience.deadline = deadline

    async def main(self) -> None:
        """Run the shards to their ends."""
        self._shards = [self._make_shard(index) for index in range(len(self._endings))]
        self._token = current_trio_token()
        if self._signums:
            self._obey_signals()
        async with open_nursery() as nursery:
            for index in range(len(self._shards)):
                nursery.start_soon(self._watch, index)

    def _make_shard(self, index: int) -> ThreadShard | ProcessShard:
        if isinstance(self._posts, ThreadPosts):
            return ThreadShard(self._plan, index, self._posts, self._handed_over)
        assert self._parcel is not None
        parcels = [self._parcel, self._posts.parcel_for(index)]
        return ProcessShard(self._plan, index, parcels, self._handed_over)

    def _handed_over(self, index: int) -> None:
        """Take note that a shard has its arguments, or will never have them."""
        self._waiting.discard(index)
        if not self._waiting:
            self._posts.close()
            for channel in self._channels:
                channel.close()

    async def _watch(self, index: int) -> None:
        if self._is_cancelling:
            # Another one has failed, or a signal has come, before this one was started.
            self._endings[index] = Ending(was_cancelled=True)
            self._handed_over(index)
            return
        patience = self._patience[index]
        ending: Ending | None = None
        with self._shards[index] as shard:
            with patience:
                ending = await shard.run()
            if ending is None:
                ending = shard.abandon()
            if ending.error is not None:
                ending.error.add_note(f"This was {shard}.")
        self._endings[index] = ending
        self._handed_over(index)
        if ending.error is not None:
            self.cancel()

    def _errors(self) -> list[BaseException]:
        return [ending.error for ending in self._endings if ending.error is not None]

    def raise_errors(self) -> None:
        """Raise what the shards raised."""
        self._raise_group(self._errors())

    def results(self) -> list[Any]:
        """Return what the shards returned."""
        self._raise_group(
            [
                ShardError(index, "was cancelled by a signal, whose handler has returned")
                for index, ending in enumerate(self._endings)
                if ending.was_cancelled
            ]
        )
        return [ending.value for ending in self._endings]

    def _raise_group(self, errors: Sequence[BaseException]) -> None:
        if errors:
            raise BaseExceptionGroup(f"{len(errors)} of {len(self._endings)} shards failed", errors)
