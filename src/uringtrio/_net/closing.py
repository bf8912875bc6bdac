"""Closing a descriptor on which ops are in flight: the last of them to complete closes it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from uringtrio._errors import ClosedResourceError
from uringtrio._ops.receive_ahead import RecvMultishot
from uringtrio._scheduler.current import CURRENT, get_runner, refuse_resume

if TYPE_CHECKING:
    from collections.abc import Sequence

    from uringtrio._ops.op import Interruption, Op


CLOSING = "closing a descriptor that is in use"


def check_run(ops: Sequence[Op]) -> None:
    """Refuse to close a descriptor in another thread than that of the run of its `ops` in flight.

    To be called before anything has changed.

    Raises:
        RuntimeError: this is another thread, or another run.
    """
    for op in ops:
        if op.waiter is not None and op.waiter._runner is not CURRENT.runner:
            refuse_resume(op.waiter, CLOSING)
    runner = get_runner(CLOSING)
    for op in ops:
        # No task waits for what is received ahead, but it knows its run.
        if isinstance(op, RecvMultishot) and op.runner is not runner:
            raise RuntimeError(
                f"{CLOSING} must be called from async context, in the run that receives from it: "
                "from another thread use uringtrio.from_thread.run_sync()"
            )


def close_after(fd: int, ops: Sequence[Op]) -> None:
    """Interrupt `ops`, which are in flight, and close `fd` when all have completed."""
    ops_left = [fd, len(ops)]
    for op in ops:
        before = op.interruption
        if before is None:
            op.interruption = _Closing(ops_left, None)
            # Not through the op's waiter, which may have been destroyed. Outside of a run nothing
            # is in flight.
            runner = CURRENT.runner
            assert runner is not None
            runner.driver.cancel(op)
            # It may be the host of a guest run that closes, while a thread waits for the driver.
            runner.end_sleep()
        else:
            # It is being cancelled already; that decides what its task gets.
            op.interruption = _Closing(ops_left, before)


class _Closing:
    """The interruption of the ops on a descriptor that is being closed."""

    __slots__ = ("_before", "_ops_left")

    def __init__(self, ops_left: list[int], before: Interruption | None) -> None:
        # [descriptor, how many ops have not completed], shared by the ops.
        self._ops_left = ops_left
        self._before = before

    def exception(self) -> BaseException:
        if self._before is not None:
            return self._before.exception()
        return ClosedResourceError("another task closed this descriptor")

    def ended(self) -> None:
        self._ops_left[1] -= 1
        if self._ops_left[1] == 0:
            os.close(self._ops_left[0])
