"""CapacityLimiter: a number of tokens, each lent to one borrower at a time."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, final

from uringtrio._abc import Sealed
from uringtrio._errors import WouldBlock
from uringtrio._scheduler.current import CURRENT, get_task, refuse_resume
from uringtrio._scheduler.traps import CHECKED_CHECKPOINT, CHECKPOINT, Park

if TYPE_CHECKING:
    from types import TracebackType

    from uringtrio._scheduler.task import Task

HOLDS_ONE_ALREADY = "this borrower is already holding one of this CapacityLimiter's tokens"


@dataclass(frozen=True, slots=True)
class CapacityLimiterStatistics:
    """What `CapacityLimiter.statistics` returns.

    Attributes:
        borrowed_tokens: tokens that are lent now; more than `total_tokens` for a while after
            that was lowered.
        total_tokens: how many there are; may be inf.
        borrowers: who has one, oldest first: tasks, or what was given to `acquire_on_behalf_of`.
        tasks_waiting: how many tasks are blocked in `acquire` or `acquire_on_behalf_of`.
    """

    borrowed_tokens: int
    total_tokens: int | float
    borrowers: list[Task | object]
    tasks_waiting: int


@final
class CapacityLimiter(Sealed):
    """Tokens that tasks borrow, to limit how many of them do something at the same time.

    Tokens are handed out in order of arrival. `async with limiter` borrows one for the block:
    entering is a checkpoint, leaving is not.

    Args:
        total_tokens: an int of at least 0, or math.inf; with 0 everybody waits.

    Raises:
        TypeError: it is neither an int nor inf.
        ValueError: it is negative.
    """

    # Invariant: tasks wait only while no token is free.
    __slots__ = ("__dict__", "__weakref__", "_borrowers", "_total_tokens", "_waiting")

    def __init__(self, total_tokens: int | float) -> None:  # noqa: PYI041  # an int, or inf
        # A dict for its order.
        self._borrowers: dict[Task | object, None] = {}
        # For whom each task wants a token. Not a plain dict: taking the first out of that is
        # linear in how many were taken before.
        self._waiting: OrderedDict[Task, Task | object] = OrderedDict()
        self.total_tokens = total_tokens

    def __repr__(self) -> str:
        return (
            f"<uringtrio.CapacityLimiter at {id(self):#x}, {len(self._borrowers)}/"
            f"{self._total_tokens} with {len(self._waiting)} waiting>"
        )

    @property
    def total_tokens(self) -> int | float:
        """How many tokens there are; may be changed at any time.

        Raising it hands the new tokens to tasks that wait. Lowering it takes nothing away:
        nobody gets a token until fewer than that are lent.

        Raises:
            TypeError: set to something that is neither an int nor inf.
            ValueError: set to a negative number.
            RuntimeError: set while tasks wait, not in the thread of their run.
        """
        return self._total_tokens

    @total_tokens.setter
    def total_tokens(self, new_total_tokens: int | float) -> None:  # noqa: PYI041  # as above
        if not isinstance(new_total_tokens, int) and new_total_tokens != inf:
            raise TypeError("total_tokens must be an int or math.inf")
        if new_total_tokens < 0:
            raise ValueError("total_tokens must be >= 0")
        if self._waiting:
            self._check_run("setting CapacityLimiter.total_tokens")
        self._total_tokens = new_total_tokens
        self._lend_to_waiting()

    @property
    def borrowed_tokens(self) -> int:
        """How many tokens are lent now."""
        return len(self._borrowers)

    @property
    def available_tokens(self) -> int | float:
        """How many tokens are free; negative for a while after `total_tokens` was lowered."""
        return self._total_tokens - len(self._borrowers)

    def acquire_nowait(self) -> None:
        """Borrow a token for this task if one is free.

        Raises:
            WouldBlock: none is free.
            RuntimeError: this task has one already.
        """
        self.acquire_on_behalf_of_nowait(get_task("CapacityLimiter.acquire_nowait()"))

    def acquire_on_behalf_of_nowait(self, borrower: Task | object) -> None:
        """Borrow a token for `borrower` if one is free.

        Args:
            borrower: any hashable object; each can have one token.

        Raises:
            WouldBlock: none is free.
            RuntimeError: `borrower` has one already.
        """
        if not self._lend(borrower):
            raise WouldBlock

    def _lend(self, borrower: Task | object) -> bool:
        """Lend a token to `borrower`; return False if there is none."""
        if borrower in self._borrowers:
            raise RuntimeError(HOLDS_ONE_ALREADY)
        if len(self._borrowers) < self._total_tokens:
            self._borrowers[borrower] = None
            return True
        return False

    async def acquire(self) -> None:
        """Borrow a token for this task, waiting until one is free.

        Raises:
            RuntimeError: this task has one already.

        Checkpoint: always. If it is cancelled, nothing was borrowed.
        """
        await self.acquire_on_behalf_of(get_task("CapacityLimiter.acquire()"))

    async def acquire_on_behalf_of(self, borrower: Task | object) -> None:
        """Borrow a token for `borrower`, waiting until one is free.

        Args:
            borrower: any hashable object; each can have one token.

        Raises:
            RuntimeError: `borrower` has one already.

        Checkpoint: always. If it is cancelled, nothing was borrowed.
        """
        task = get_task("CapacityLimiter.acquire_on_behalf_of()")
        if task._scope._effectively_cancelled or task._ki_pending:
            await CHECKPOINT
        if self._lend(borrower):
            await CHECKED_CHECKPOINT
        else:
            await Park(self._waiting, borrower)

    def release(self) -> None:
        """Give this task's token back, to the task that has waited longest if there is one.

        Raises:
            RuntimeError: this task has none.
        """
        self.release_on_behalf_of(get_task("CapacityLimiter.release()"))

    def release_on_behalf_of(self, borrower: Task | object) -> None:
        """Give the token of `borrower` back, to the task that has waited longest.

        Raises:
            RuntimeError: `borrower` has none; or tasks wait, and this is not the thread of their
                run: from another thread use `from_thread.run_sync`.
        """
        if borrower not in self._borrowers:
            raise RuntimeError("this borrower isn't holding any of this CapacityLimiter's tokens")
        if self._waiting:
            self._check_run("CapacityLimiter.release_on_behalf_of()")
        del self._borrowers[borrower]
        self._lend_to_waiting()

    def _check_run(self, call: str) -> None:
        """Refuse `call` if the run of the tasks that wait is not in this thread."""
        task = next(iter(self._waiting))
        if task._runner is not CURRENT.runner:
            refuse_resume(task, call)

    def _lend_to_waiting(self) -> None:
        while self._waiting and len(self._borrowers) < self._total_tokens:
            task, borrower = self._waiting.popitem(last=False)
            if borrower in self._borrowers:
                # Two tasks have waited on behalf of the same.
                task._resume_with(RuntimeError(HOLDS_ONE_ALREADY))
            else:
                self._borrowers[borrower] = None
                task._resume(None)

    def statistics(self) -> CapacityLimiterStatistics:
        """Return figures for debugging."""
        return CapacityLimiterStatistics(
            borrowed_tokens=len(self._borrowers),
            total_tokens=self._total_tokens,
            borrowers=list(self._borrowers),
            tasks_waiting=len(self._waiting),
        )

    async def __aenter__(self) -> None:
        await self.acquire_on_behalf_of(get_task("`async with uringtrio.CapacityLimiter()`"))

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.release()
