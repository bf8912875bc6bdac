"""Life: the run of one shard, in the shard's own thread, and the way to cancel it from outside."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Any

from uringtrio._channels import MemorySendChannel, open_memory_channel
from uringtrio._errors import Cancelled, RunFinishedError
from uringtrio._net.listen import SHARES_PORTS
from uringtrio._scheduler.cancel import CancelScope
from uringtrio._scheduler.entry import TrioToken, current_trio_token
from uringtrio._scheduler.loop import run
from uringtrio._scheduler.nursery import open_nursery
from uringtrio._scheduler.runner import spawn_system_task

from .ending import Ending
from .placement import HAS_AFFINITY, pin_thread
from .shard import SHARD, Shard

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from .mesh import Inbox, Mesh
    from .plan import Plan


class Life:
    """One shard from its first to its last moment; both kinds of shards have one.

    Attributes:
        cancel_called: whether `cancel` was called.
    """

    __slots__ = ("_lock", "_scope", "_task_error", "_token", "cancel_called")

    def __init__(self) -> None:
        self.cancel_called = False
        self._scope = CancelScope()
        # None before the run; `cancel_called` serves those who come then. Reentrant, because
        # `cancel` may be called by a signal handler that interrupts the lock's owner.
        self._token: TrioToken | None = None
        self._lock = threading.RLock()
        # Of the tasks that other shards have started here.
        self._task_error: BaseException | None = None

    def cancel(self) -> None:
        """Cancel the shard's main function. Safe in any thread and signal handler."""
        with self._lock:
            self.cancel_called = True
            if self._token is not None:
                # Once the run is over there is nothing left to cancel.
                with contextlib.suppress(RunFinishedError):
                    self._token.run_sync_soon(self._scope.cancel)

    def live(
        self,
        plan: Plan,
        index: int,
        mesh: Mesh,
        companion: Callable[[], Awaitable[object]] | None = None,
    ) -> Ending:
        """Run shard `index` in this thread, whose context variables are the shard's alone.

        Args:
            plan: what to run.
            index: which shard this is.
            mesh: its ways to the other shards, to be closed.
            companion: an async function to run as a system task beside it.
        """
        arriving, arrived = open_memory_channel[tuple[int, Any]](0)
        shard = Shard(plan, index, mesh.outboxes, arrived)
        SHARD.set(shard)
        SHARES_PORTS.set(True)
        value: Any = None
        error: BaseException | None = None
        try:
            if HAS_AFFINITY:
                pin_thread(shard.cpus)
            value = run(
                self._main, plan, mesh, arriving, companion, driver=plan.driver, ring=plan.ring
            )
        except BaseException as exc:  # noqa: BLE001  # `run_sharded` raises it
            error = exc
        finally:
            mesh.close()
        if self._task_error is not None:
            errors = [self._task_error] if error is None else [error, self._task_error]
            error = errors[0] if len(errors) == 1 else BaseExceptionGroup("in one shard", errors)
        return Ending(value, error, was_cancelled=self._scope.cancelled_caught)

    async def _main(
        self,
        plan: Plan,
        mesh: Mesh,
        arriving: MemorySendChannel[tuple[int, Any]],
        companion: Callable[[], Awaitable[object]] | None,
    ) -> Any:
        with self._lock:
            self._token = current_trio_token()
            if self.cancel_called:
                self._scope.cancel()
        if companion is not None:
            spawn_system_task(companion)
        spawn_system_task(self._sort_inbox, mesh.inbox, arriving)
        with self._scope:
            return await plan.main(*plan.args)

    async def _sort_inbox(self, inbox: Inbox, arriving: MemorySendChannel[tuple[int, Any]]) -> None:
        """Hand on objects to those who iterate, and start tasks, as a system task."""
        try:
            async with open_nursery() as nursery:
                while True:
                    source, async_fn, payload = await inbox.receive()
                    if async_fn is None:
                        await arriving.send((source, payload))
                    else:
                        nursery.start_soon(async_fn, *payload)
        except BaseExceptionGroup as group:
            cancelled, failed = group.split(Cancelled)
            if failed is not None:
                exceptions = failed.exceptions
                self._task_error = exceptions[0] if len(exceptions) == 1 else failed
                self._scope.cancel()
            if cancelled is not None:
                raise cancelled from None
