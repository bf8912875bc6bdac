"""The ends of shared channels between processes: who has objects, and how one waits for them.

The objects, pickled, are in a `SharedBuffer`; two pipes tell those who wait when to look at it.
Senders write into the one that receivers wait for, and receivers into the other. Nothing is ever
taken out of a pipe that stands for an object: it holds a byte as long as somebody who waits might
find something to do, so that whoever stops waiting, dead or cancelled, takes nothing along.

The kernel closes the descriptors of the dead. So the end of the first pipe is the end of all
senders, wherever they were, and that of the second the end of all receivers.

In each run only one task at a time waits for each of a channel's pipes; the others wait in line for
its place. Otherwise each object would wake all of them.
"""

from __future__ import annotations

import contextlib
import functools
import os
import select
import threading
import time
from math import inf
from typing import TYPE_CHECKING

from uringtrio._drivers.wakeup import Wakeup
from uringtrio._errors import (
    BrokenResourceError,
    ClosedResourceError,
    EndOfChannel,
    RunFinishedError,
    TooSlowError,
)
from uringtrio._ops.net import Poll
from uringtrio._ops.op import POLLIN
from uringtrio._scheduler.cancel import CancelScope
from uringtrio._scheduler.current import get_task
from uringtrio._scheduler.locals import RunVar
from uringtrio._sync.lock import StrictFIFOLock

from . import shared_buffer as shared
from .channel import SharedChannelStatistics

if TYPE_CHECKING:
    from collections.abc import Callable

    from uringtrio._scheduler.entry import TrioToken

    from .shared_buffer import SharedBuffer

# Bytes that one look takes out of a pipe: more than there are, but after many deaths.
_DRAIN_BYTES = 4096
# Without a wait, senders look this seldom whether the receivers have died; it takes 0.5 us.
_LOOK_EVERY = 64


class End:
    """One direction of a channel, in one process: what some of its handles there share.

    Args:
        buffer: the queue.
        waits_on: the read end of the pipe that wakes those of this direction.
        wakes: the write end of the other pipe.

    It becomes the owner of all three.
    """

    __slots__ = ("_poll", "_users", "_wakes", "buffer", "gate", "waits_on")

    # The words of the header that are about this direction, and what to signal to the other one.
    OPEN: int
    LEFT: int
    WAITING: int
    SIGNALLED: int
    OTHERS_WAITING: int
    OTHERS_SIGNALLED: int

    def __init__(self, buffer: SharedBuffer, waits_on: int, wakes: int) -> None:
        self.buffer = buffer
        self.waits_on = waits_on
        self._wakes = wakes
        os.set_blocking(waits_on, False)
        os.set_blocking(wakes, False)
        self._poll = select.poll()
        self._poll.register(waits_on, 0)
        # Handles and waits: the descriptors stay open as long as there is one.
        self._users = 0
        # In each run, the line for the place of the one who waits.
        self.gate: RunVar[StrictFIFOLock] = RunVar("shared channel")

    def __del__(self) -> None:
        # Dropped without having been closed, or never used.
        if self.waits_on != -1:
            self._close()

    def _close(self) -> None:
        os.close(self.waits_on)
        os.close(self._wakes)
        self.waits_on = -1
        self.buffer.close()

    def descriptors(self) -> list[int]:
        """Return what another process needs for this direction; they stay this one's."""
        return [*self.buffer.fds, self.waits_on, self._wakes]

    def open(self) -> None:
        """Take note of a new handle."""
        with self.buffer.whole as buffer:
            self._users += 1
            buffer.words[self.OPEN] += 1

    def leave(self) -> None:
        """Take note of a handle that is closed."""
        with self.buffer.whole as buffer:
            buffer.words[self.OPEN] = max(buffer.words[self.OPEN] - 1, 0)
            buffer.words[self.LEFT] = 1
        self.release()

    def begin_wait(self) -> None:
        """Take note of a wait. The whole buffer is locked, and what is waited for is not there."""
        self._users += 1
        self.buffer.words[self.WAITING] += 1
        self.drain()

    def end_wait(self) -> None:
        """Take note of the end of a wait. The whole buffer is locked; `release` it afterwards."""
        words = self.buffer.words
        words[self.WAITING] = max(words[self.WAITING] - 1, 0)

    def release(self) -> None:
        """Give up what `open` or `begin_wait` has taken: the last one closes the descriptors."""
        with self.buffer.whole:
            self._users -= 1
            is_last = self._users == 0
            self.buffer.is_retired = is_last
        if is_last:
            self._close()

    def wake_others(self) -> None:
        """Wake those of the other direction, if any wait. The buffer is locked."""
        words = self.buffer.words
        if words[self.OTHERS_WAITING] and not words[self.OTHERS_SIGNALLED]:
            # A full pipe wakes as well as one byte, and nobody reads a broken one.
            with contextlib.suppress(BlockingIOError, BrokenPipeError):
                os.write(self._wakes, b"\0")
            words[self.OTHERS_SIGNALLED] = 1

    def drain(self) -> None:
        """Forget the wakes so far: there is nothing to do. The whole buffer is locked."""
        with contextlib.suppress(BlockingIOError):
            os.read(self.waits_on, _DRAIN_BYTES)
        self.buffer.words[self.SIGNALLED] = 0

    def others_are_gone(self) -> bool:
        """Say whether no process has a handle of the other direction. The buffer is locked."""
        return any(events & select.POLLHUP for _, events in self._poll.poll(0))

    def statistics(self) -> SharedChannelStatistics:
        with self.buffer.whole as buffer:
            words = buffer.words
            limit = words[shared.LIMIT]
            return SharedChannelStatistics(
                current_buffer_used=buffer.count(),
                max_buffer_size=inf if limit == shared.COUNT_MAX else limit,
                open_send_channels=words[shared.SENDERS_OPEN],
                open_receive_channels=words[shared.RECEIVERS_OPEN],
                tasks_waiting_send=words[shared.SENDERS_WAITING],
                tasks_waiting_receive=words[shared.RECEIVERS_WAITING],
            )


class SendEnd(End):
    """The direction of the senders."""

    __slots__ = ()

    OPEN, LEFT = shared.SENDERS_OPEN, shared.SENDERS_LEFT
    WAITING, SIGNALLED = shared.SENDERS_WAITING, shared.ROOM_SIGNALLED
    OTHERS_WAITING, OTHERS_SIGNALLED = shared.RECEIVERS_WAITING, shared.ITEMS_SIGNALLED

    def put(self, data: bytes) -> bool:
        """Append an object if there is room. The buffer is locked, whole if it must grow."""
        buffer, words = self.buffer, self.buffer.words
        number = words[shared.TAIL] >> shared.PLACE_BITS
        # Without a buffer, there is room for what those who wait are about to take.
        limit = words[shared.LIMIT] or words[shared.RECEIVERS_WAITING]
        is_full = buffer.count() >= limit
        if (
            words[shared.RECEIVERS_LEFT] or is_full or number % _LOOK_EVERY == 0
        ) and self.others_are_gone():
            raise BrokenResourceError("all receive handles of this shared channel are closed")
        if is_full:
            return False
        # Before the object is there: if this process dies in between, they look in vain.
        self.wake_others()
        buffer.append(data)
        return True


class ReceiveEnd(End):
    """The direction of the receivers."""

    __slots__ = ()

    OPEN, LEFT = shared.RECEIVERS_OPEN, shared.RECEIVERS_LEFT
    WAITING, SIGNALLED = shared.RECEIVERS_WAITING, shared.ITEMS_SIGNALLED
    OTHERS_WAITING, OTHERS_SIGNALLED = shared.SENDERS_WAITING, shared.ROOM_SIGNALLED

    def take(self) -> bytes | None:
        """Return the first object, or None. The buffer is locked."""
        buffer, words = self.buffer, self.buffer.words
        if words[shared.HEAD] == words[shared.TAIL]:
            if not self.others_are_gone():
                return None
            # The last sender may have sent in between.
            if words[shared.HEAD] == words[shared.TAIL]:
                raise EndOfChannel
        self.wake_others()
        return buffer.pop()

    def begin_wait(self) -> None:
        super().begin_wait()
        if self.buffer.words[shared.LIMIT] == 0:
            # There is room, for one who has come.
            self.wake_others()


class Waits:
    """The waits through one handle, to be ended when it is closed."""

    __slots__ = ("_lock", "_wakes", "is_closed")

    def __init__(self) -> None:
        # Changed once, under the lock.
        self.is_closed = False
        self._lock = threading.Lock()
        # Changed while the whole buffer is locked.
        self._wakes: list[Callable[[], object]] = []

    def check_open(self) -> None:
        if self.is_closed:
            raise ClosedResourceError

    def close(self, end: End) -> None:
        """Close the handle, once, and wake those who wait through it."""
        with self._lock:
            if self.is_closed:
                return
            self.is_closed = True
        with end.buffer.whole:
            wakes = list(self._wakes)
        for wake in wakes:
            wake()
        end.leave()

    async def repeat(self, attempt: Callable[[], bool], end: End) -> None:
        """Call `attempt`, with the whole buffer locked, until it has succeeded or raises."""
        task = get_task("a shared channel")
        try:
            gate = end.gate.get()
        except LookupError:
            gate = StrictFIFOLock()
            end.gate.set(gate)
        with CancelScope() as scope:
            wake = functools.partial(_cancel, task._runner.token, scope)
            with end.buffer.whole:
                self.check_open()
                self._wakes.append(wake)
            try:
                async with gate:
                    await self._repeat_first(attempt, end)
            finally:
                with end.buffer.whole:
                    self._wakes.remove(wake)
        if scope.cancelled_caught:
            raise ClosedResourceError

    async def _repeat_first(self, attempt: Callable[[], bool], end: End) -> None:
        with end.buffer.whole:
            self.check_open()
            if attempt():
                return
            end.begin_wait()
        try:
            while True:
                await Poll(end.waits_on, POLLIN)
                with end.buffer.whole:
                    if attempt():
                        return
                    end.drain()
        finally:
            with end.buffer.whole:
                end.end_wait()
            end.release()

    def repeat_sync(self, attempt: Callable[[], bool], end: End, timeout: float) -> None:
        """The same in a thread without a run.

        Raises:
            TooSlowError: the time is over.
        """
        deadline = time.monotonic() + timeout
        with end.buffer.whole:
            self.check_open()
            if attempt():
                return
            end.begin_wait()
            wakeup = Wakeup()
            self._wakes.append(wakeup.wake)
        poll = select.poll()
        poll.register(end.waits_on, select.POLLIN)
        poll.register(wakeup.reader, select.POLLIN)
        try:
            while True:
                seconds = deadline - time.monotonic()
                poll.poll(None if seconds == inf else max(seconds, 0) * 1000)
                with end.buffer.whole:
                    self.check_open()
                    if attempt():
                        return
                    end.drain()
                if seconds <= 0:
                    raise TooSlowError
        finally:
            with end.buffer.whole:
                end.end_wait()
                self._wakes.remove(wakeup.wake)
            wakeup.close()
            end.release()


def _cancel(token: TrioToken, scope: CancelScope) -> None:
    # If its run is over, so is the wait.
    with contextlib.suppress(RunFinishedError):
        token.run_sync_soon(scope.cancel)
