"""Shard: what the code that runs in one shard may know of it."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVarTuple, final

from uringtrio._abc import Sealed
from uringtrio._errors import BrokenResourceError, EndOfChannel
from uringtrio._scheduler.coroutines import check_async_fn

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from uringtrio._channels import MemoryReceiveChannel

    from .mesh import Outbox
    from .plan import Plan

Ts = TypeVarTuple("Ts")
Kind = Literal["thread", "process"]


@final
class Shard(Sealed):
    """One of the runs that `run_sharded` has started; `current_shard` returns the caller's.

    Iterating over it receives what other shards have sent: `async for source, value in shard`,
    where `source` is the index of the sender. It goes on for as long as the shard lives. Several
    tasks may iterate; each object goes to one of them.

    Attributes:
        index: which one, from 0.
        count: how many there are.
        kind: "thread" or "process".
        cpus: the CPUs that it runs on.
        grace_seconds: how long it may go on after it was cancelled, see `run_sharded`.
    """

    __slots__ = ("__weakref__", "_arrived", "_outboxes", "count", "cpus", "grace_seconds", "index",
                 "kind")  # fmt: skip

    def __init__(
        self,
        plan: Plan | None = None,
        index: int = 0,
        outboxes: list[Outbox] | None = None,
        arrived: MemoryReceiveChannel[tuple[int, Any]] | None = None,
    ) -> None:
        if plan is None or outboxes is None or arrived is None:
            raise TypeError(
                "uringtrio.Shard has no public constructor: use uringtrio.current_shard() in "
                "what uringtrio.run_sharded() runs"
            )
        self.index = index
        self.count = len(plan.placement)
        self.kind: Kind = plan.kind
        self.cpus = plan.placement[index]
        self.grace_seconds = plan.grace_seconds
        self._outboxes = outboxes
        self._arrived = arrived

    def __repr__(self) -> str:
        return f"<uringtrio.Shard {self.index} of {self.count}: {self.kind}>"

    async def send(self, index: int, value: Any) -> None:
        """Send an object to a shard, which iterates over its own `Shard` to receive it.

        Sockets, streams, listeners and shared channels are given away, so that one shard can accept
        connections for the others: once sent they are closed here. In processes they may be
        anywhere in `value`, in threads also in lists and tuples.

        Args:
            index: which shard, from 0; the sender itself is allowed.
            value: any object; something that can be pickled if shards are processes.

        Raises:
            BrokenResourceError: that shard has ended.
            IndexError: there is no such shard.
            TypeError: `value` cannot be pickled.
            RuntimeError: called from outside of the shard's run.

        Objects from one shard to another arrive in order. It waits while too many that nobody has
        received wait there.

        Checkpoint: always. If it is cancelled, nothing was sent.
        """
        await self._post(index, (self.index, None, value))

    async def start_soon_on(
        self, index: int, async_fn: Callable[[*Ts], Awaitable[object]], *args: *Ts
    ) -> None:
        """Start a task in a shard, which runs `async_fn(*args)` there beside its main function.

        It is cancelled when that has ended; if it raises, the shard has failed.

        Args:
            index: which shard, from 0; the caller's own is allowed.
            async_fn: an async function; one at the top level of a module if shards are processes.
            args: its positional arguments, which are sent as `send` does it.

        Raises: what `send` raises; and TypeError if `async_fn` is no async function.

        The call waits behind objects that were sent to that shard and that nobody has received.

        Checkpoint: always. If it is cancelled, nothing is started.
        """
        check_async_fn(async_fn, "shard.start_soon_on")
        await self._post(index, (self.index, async_fn, args))

    async def _post(self, index: int, message: tuple[int, Any, Any]) -> None:
        if not 0 <= index < self.count:
            raise IndexError(f"there is no shard {index}: they are 0 to {self.count - 1}")
        try:
            await self._outboxes[index].send(message)
        except BrokenResourceError as exc:
            raise BrokenResourceError(f"shard {index} has ended") from exc

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> tuple[int, Any]:
        try:
            return await self._arrived.receive()
        except EndOfChannel:
            raise StopAsyncIteration from None


# A context variable and not one of the thread, so that `to_thread.run_sync` hands it on.
SHARD: ContextVar[Shard] = ContextVar("shard")


def current_shard() -> Shard:
    """Return the shard that the caller runs in, also in threads of `to_thread.run_sync`.

    Raises:
        RuntimeError: it runs in none.

    Checkpoint: never; this is no async function.
    """
    try:
        return SHARD.get()
    except LookupError:
        raise RuntimeError(
            "uringtrio.current_shard() must be called from code that uringtrio.run_sharded() runs"
        ) from None
