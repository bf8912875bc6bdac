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
# What poll(2) takes for so many milliseconds is an int; after that, one looks and waits again.
_POLL_SECONDS_MAX = 1_000_000


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
        return [self.buffer.fd, self.waits_on, self._wakes]

    def open(self) -> None:
        """Take note of a new handle."""
        with self.buffer as buffer:
            self._users += 1
            buffer.words[self.OPEN] += 1

    def leave(self) -> None:
        """Take note of a handle that is closed."""
        self._count_down(self.OPEN)

    def begin_wait(self) -> None:
        """Take note of a wait. The buffer is locked, and what is waited for is not there."""
        self._users += 1
        self.buffer.words[self.WAITING] += 1
        self.drain()

    def end_wait(self) -> None:
        """Take note of the end of a wait."""
        self._count_down(self.WAITING)

    def _count_down(self, word: int) -> None:
        """Take note of the end of something; that of the last thing closes the descriptors."""
        with self.buffer as buffer:
            # Not below what it would be had nobody died.
            buffer.words[word] = max(buffer.words[word] - 1, 0)
            self._users -= 1
            is_last = self._users == 0
            if is_last:
                buffer.retire()
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
        """Forget the wakes so far: there is nothing to do. The buffer is locked."""
        # Before the bytes are gone: if this process dies in between, others look in vain. The other
        # way round nobody would be woken any more.
        self.buffer.words[self.SIGNALLED] = 0
        with contextlib.suppress(BlockingIOError):
            os.read(self.waits_on, _DRAIN_BYTES)

    def others_are_gone(self) -> bool:
        """Say whether no process has a handle of the other direction. The buffer is locked."""
        return any(events & select.POLLHUP for _, events in self._poll.poll(0))

    def statistics(self) -> SharedChannelStatistics:
        with self.buffer as buffer:
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

    OPEN = shared.SENDERS_OPEN
    WAITING, SIGNALLED = shared.SENDERS_WAITING, shared.ROOM_SIGNALLED
    OTHERS_WAITING, OTHERS_SIGNALLED = shared.RECEIVERS_WAITING, shared.ITEMS_SIGNALLED

    def put(self, data: bytes) -> bool:
        """Append an object if there is room, which `buffer.put` did not find."""
        with self.buffer:
            return self.put_locked(data)

    def put_locked(self, data: bytes) -> bool:
        """The same; the buffer is locked."""
        buffer, words = self.buffer, self.buffer.words
        number = words[shared.TAIL] >> shared.PLACE_BITS
        # Without a buffer, there is room for what those who wait are about to take.
        is_full = buffer.count() >= (words[shared.LIMIT] or words[shared.RECEIVERS_WAITING])
        if (
            words[shared.RECEIVERS_OPEN] == 0 or is_full or number % shared.LOOK_EVERY == 0
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

    OPEN = shared.RECEIVERS_OPEN
    WAITING, SIGNALLED = shared.RECEIVERS_WAITING, shared.ITEMS_SIGNALLED
    OTHERS_WAITING, OTHERS_SIGNALLED = shared.SENDERS_WAITING, shared.ROOM_SIGNALLED

    def take(self) -> bytes | None:
        """Return the first object, or None; `buffer.take` has returned None."""
        with self.buffer:
            return self.take_locked()

    def take_locked(self) -> bytes | None:
        """The same; the buffer is locked."""
        buffer, words = self.buffer, self.buffer.words
        if words[shared.HEAD] == words[shared.TAIL]:
            if self.others_are_gone():
                raise EndOfChannel
            return None
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
        # Changed, and called, under the lock.
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
            for wake in self._wakes:
                wake()
        end.leave()

    def _add(self, wake: Callable[[], object]) -> None:
        with self._lock:
            self.check_open()
            self._wakes.append(wake)

    def _remove(self, wake: Callable[[], object]) -> None:
        with self._lock:
            self._wakes.remove(wake)

    async def repeat(self, attempt: Callable[[], bool], end: End) -> None:
        """Call `attempt`, with the buffer locked, until it has succeeded or raises."""
        task = get_task("a shared channel")
        try:
            gate = end.gate.get()
        except LookupError:
            gate = StrictFIFOLock()
            end.gate.set(gate)
        with CancelScope() as scope:
            wake = functools.partial(_cancel, task._runner.token, scope)
            self._add(wake)
            try:
                async with gate:
                    await self._repeat_first(attempt, end)
            finally:
                self._remove(wake)
        if scope.cancelled_caught:
            raise ClosedResourceError

    async def _repeat_first(self, attempt: Callable[[], bool], end: End) -> None:
        with end.buffer:
            self.check_open()
            if attempt():
                return
            end.begin_wait()
        try:
            while True:
                await Poll(end.waits_on, POLLIN)
                with end.buffer:
                    if attempt():
                        return
                    end.drain()
        finally:
            end.end_wait()

    def repeat_sync(self, attempt: Callable[[], bool], end: End, timeout: float) -> None:
        """The same in a thread without a run.

        Raises:
            TooSlowError: the time is over.
        """
        deadline = time.monotonic() + timeout
        # For `close`, which finds it open because it calls `wake` under the lock.
        reader, writer = os.pipe()
        wake = functools.partial(os.write, writer, b"\0")
        try:
            self._add(wake)
            try:
                self._repeat_until(deadline, attempt, end, reader)
            finally:
                self._remove(wake)
        finally:
            os.close(reader)
            os.close(writer)

    def _repeat_until(
        self, deadline: float, attempt: Callable[[], bool], end: End, closing: int
    ) -> None:
        with end.buffer:
            if attempt():
                return
            end.begin_wait()
        poll = select.poll()
        poll.register(end.waits_on, select.POLLIN)
        poll.register(closing, select.POLLIN)
        try:
            while True:
                seconds = deadline - time.monotonic()
                poll.poll(min(max(seconds, 0), _POLL_SECONDS_MAX) * 1000)
                with end.buffer:
                    self.check_open()
                    if attempt():
                        return
                    end.drain()
                if seconds <= 0:
                    raise TooSlowError
        finally:
            end.end_wait()


def _cancel(token: TrioToken, scope: CancelScope) -> None:
    # If its run is over, so is the wait.
    with contextlib.suppress(RunFinishedError):
        token.run_sync_soon(scope.cancel)
