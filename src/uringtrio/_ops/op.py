"""Op: one request, from its construction to its last completion, and how a task waits for it.

An op has three faces. `prepare` fills an SQE, for a ring. `perform` makes the call itself, for a
driver that waits for readiness. `__await__` is how a task waits: it yields the op to the run loop,
which alone submits it. Here and in `_scheduler/traps.py`, and nowhere else, tasks yield.

An op object may be used again after its last completion, under a new id; the stream sockets keep
one for each direction. From `arm` until the waiter has resumed, `waiter` is set: that is also the
test for two tasks in one direction.

An op keeps everything that the kernel may touch. Cancelling frees nothing; only the last
completion does.
"""

from __future__ import annotations

import errno
import os
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

if TYPE_CHECKING:
    # Ring is Linux only; an op meets one only through the driver that has it.
    from collections.abc import Generator

    from uringtrio._ring.ring import Ring

POLLIN = 0x001
POLLOUT = 0x004


class Interruption(Protocol):
    """Why a wait ends early: a cancellation, a close, a KeyboardInterrupt."""

    def exception(self) -> BaseException:
        """Return what to raise in the task that waits."""

    def ended(self) -> None:
        """The op that was interrupted has completed: the kernel is done with what it holds."""


class Thrown:
    """Sent into a waiting task to make it raise; used once.

    Not `coroutine.throw`: an exception thrown from outside leaves `sys.exc_info` and
    `__context__` wrong in some inner frames (CPython issues 108668 and 84875), one raised by the
    innermost frame itself does not.
    """

    __slots__ = ("_error",)

    def __init__(self, error: BaseException) -> None:
        self._error: BaseException | None = error

    def take(self) -> BaseException:
        """Return the exception, and forget it: whoever raises it refers to this object."""
        error, self._error = self._error, None
        assert error is not None
        return error


class Op(ABC):
    """One request to a driver.

    Attributes:
        id: the number under which it is in flight; 0 when it is not. Never used twice.
        fd: the descriptor, or -1.
        interest: POLLIN or POLLOUT; 0 when there is no readiness to wait for.
        res: the raw result of the last completion: a count, or a negated errno.
        value: what the waiter gets when `res` >= 0: `res` itself, or the bytes received.
        pins: what the kernel may touch, kept alive and in place until the last completion.
        waiter: the task that waits, from `arm` until it has resumed; None when the op is free.
        interruption: set when the wait is to end early; raised only if `res` is negative, because
            a result >= 0 always reaches somebody.
        is_indirect: a ring's completion is not the value yet: `collect` makes it from a buffer of
            our own, or `is_polled` is set.
        is_polled: a ring only polls `fd`, and then `perform` makes the call.
        arms_first: whether `perform` would most likely block, so wait for readiness before.
    """

    __slots__ = (
        "arms_first", "fd", "id", "interest", "interruption", "is_indirect", "is_polled", "pins",
        "res", "value", "waiter",
    )  # fmt: skip

    # Whether `perform` never blocks although there is no readiness for it; else a driver without
    # a ring gives it to a thread.
    is_instant: ClassVar[bool] = False
    # Whether it is a `Multishot`: asked for half of the completions, where the check of an
    # abstract class takes 0.2 us.
    is_multishot: ClassVar[bool] = False
    # Whether EAGAIN means that the call works once `interest` is there.
    waits_on_eagain: ClassVar[bool] = True

    def __init__(self, fd: int = -1, interest: int = 0) -> None:
        self.id = 0
        self.fd = fd
        self.interest = interest
        self.res = 0
        self.value: Any = None
        self.pins: Any = None
        self.waiter: Any = None
        self.interruption: Interruption | None = None
        self.is_indirect = False
        self.is_polled = False
        self.arms_first = False

    def __repr__(self) -> str:
        # Another event loop that is handed this op puts the repr into the error it raises.
        return (
            f"<op {type(self).__name__} on descriptor {self.fd}, for uringtrio's run loop: it "
            "must be called from async context, inside a function that uringtrio.run() started>"
        )

    @abstractmethod
    def prepare(self, ring: Ring) -> int:
        """Fill one SQE with `self.id`; return what the method of `ring` returned."""

    @abstractmethod
    def perform(self) -> int:
        """Make the call without waiting; return its result as `res`.

        Raises:
            BlockingIOError: it would have to wait for `interest`.
            OSError: it failed.
        """

    def after_poll(self, events: int) -> int:
        """A ring's poll has found `events`: make the call, as `perform`."""
        del events
        return self.perform()

    def collect(self, res: int) -> Any:
        """Return the `value` for a `res` >= 0 that came without a provided buffer."""
        return res

    def discard(self) -> None:  # noqa: B027  # most ops open nothing
        """Undo a result >= 0 that has no taker: close what was opened."""

    def finish_unclaimed(self) -> None:
        """The op has completed, and the task that waited for it is gone."""
        if self.res >= 0:
            self.discard()
        if self.interruption is not None:
            self.interruption.ended()

    def res_on_cancel(self) -> int:
        """Return the `res` of a cancel: what was done already if that counts, else -ECANCELED."""
        return -errno.ECANCELED

    def __await__(self) -> Generator[Op, Thrown | None, Any]:
        try:
            thrown = yield self
        finally:
            self.waiter = None
        if thrown is not None:
            raise thrown.take()
        if self.res < 0:
            raise OSError(-self.res, os.strerror(-self.res))
        return self.value

    def arm(self, task: Any) -> None:
        """Start for `task`, which has just yielded this op; called by the loop and nobody else."""
        if task._scope._effectively_cancelled or task._ki_pending:
            task._interrupt_now()
            return
        self.waiter = task
        task._parked = self
        try:
            task._runner.driver.submit(self)
        except Exception as exc:  # noqa: BLE001  # it goes to the task, which made the call
            self.id = 0
            task._resume_with(exc)

    def abort(self, task: Any, interruption: Interruption) -> bool:
        """End the wait early if it can be: the completion decides, and comes in any case."""
        if self.id and self.interruption is None:
            self.interruption = interruption
            task._runner.driver.cancel(self)
            # It may be the host of a guest run that cancels, while a thread waits for the driver.
            task._runner.end_sleep()
        return False


class Multishot(Op):
    """A request that completes any number of times, and is in flight until the last of them.

    A task that waits is resumed with what its `await` returns, by the completions themselves: the
    driver calls `more` and `ended` when they come and hands the op to nobody. So the task that has
    been served waits no more, and the next completion of the same batch is not for it.
    """

    __slots__ = ()
    is_multishot = True

    @abstractmethod
    def more(self, data: bytes) -> None:
        """There is a completion with `data`, which came in a provided buffer."""

    @abstractmethod
    def ended(self, res: int) -> None:
        """That was the last completion, or it is this one, which came without data."""

    def perform(self) -> int:
        raise NotImplementedError(f"{type(self).__name__} needs a ring, see Driver.has_multishot")

    def __await__(self) -> Generator[Op, Any, Any]:
        try:
            sent = yield self
        except BaseException:
            # The coroutine was closed.
            self.waiter = None
            raise
        if type(sent) is Thrown:
            raise sent.take()
        return sent
