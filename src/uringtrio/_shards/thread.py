"""ThreadShard: a shard that is a thread of this process."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
from typing import TYPE_CHECKING, Self

from uringtrio._errors import RunFinishedError, ShardError
from uringtrio._scheduler.entry import current_trio_token
from uringtrio._sync.event import Event

from .ending import Ending
from .life import Life
from .parcel import copy_for_shard

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from uringtrio._scheduler.entry import TrioToken

    from .mesh import Mesh, ThreadPosts
    from .plan import Plan


class ThreadShard:
    """The supervisor's view of a shard in a thread; made, and used, in the supervisor's run.

    Args:
        plan: what to run.
        index: which shard this is.
        posts: where the shard's inbox and outboxes come from.
        handed_over: called once the shard has copies of its arguments.

    The thread is a daemon: one that does not obey must not keep the program from ending.
    """

    __slots__ = ("_done", "_ending", "_handed_over", "_index", "_life", "_plan", "_posts",
                 "_thread", "_token")  # fmt: skip

    def __init__(
        self, plan: Plan, index: int, posts: ThreadPosts, handed_over: Callable[[int], None]
    ) -> None:
        self._plan = plan
        self._posts = posts
        self._handed_over = handed_over
        self._index = index
        self._life = Life()
        self._done = Event()
        self._token: TrioToken = current_trio_token()
        # Set by the shard's thread before it asks for `_done` to be set.
        self._ending: Ending | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._life.cancel()

    def __str__(self) -> str:
        return f"shard {self._index} of {len(self._plan.placement)} (a thread)"

    def cancel(self) -> None:
        """Cancel the shard, which may not have been started."""
        self._life.cancel()

    async def run(self) -> Ending:
        """Start the shard and wait for its end.

        Checkpoint: always.
        """
        try:
            # Each shard closes its own.
            args = copy_for_shard(self._plan.args)
            plan = dataclasses.replace(self._plan, args=args)
            mesh = self._posts.mesh_of(self._index)
            thread = threading.Thread(
                target=self._work, args=(plan, mesh), name=f"shard {self._index}", daemon=True
            )
            thread.start()
        except (OSError, RuntimeError) as exc:
            return Ending(error=exc)
        self._thread = thread
        self._handed_over(self._index)
        await self._done.wait()
        # It is at its very end.
        thread.join()
        self._thread = None
        assert self._ending is not None
        return self._ending

    def _work(self, plan: Plan, mesh: Mesh) -> None:
        self._ending = self._life.live(plan, self._index, mesh)
        # When the supervisor has lost its patience, nobody wants to know.
        with contextlib.suppress(RunFinishedError):
            self._token.run_sync_soon(self._done.set)

    def abandon(self) -> Ending:
        """Say that the thread goes on, for threads cannot be ended from outside."""
        return Ending(
            error=ShardError(
                self._index,
                f"did not end within {self._plan.grace_seconds} s after it was cancelled. Its "
                "thread goes on without supervision: something in it blocks, or shields itself "
                "from cancellation",
            )
        )
