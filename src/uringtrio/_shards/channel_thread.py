"""Shared channels within one process: between the runs of its threads, and plain threads.

All is done under one lock that is held for a moment only. Whoever has to wait leaves a waiter in a
line; whoever serves it takes it out of the line and puts the result in, both under the lock. So a
waiter that is cancelled, or runs out of time, finds itself either still in the line, and leaves
it, or served, and then the cancellation comes too late: nothing is lost in between.
"""

from __future__ import annotations

import collections
import threading
from collections import OrderedDict
from math import inf
from typing import TYPE_CHECKING, Any, TypeVar

import outcome

from uringtrio._errors import (
    BrokenResourceError,
    ClosedResourceError,
    EndOfChannel,
    RunFinishedError,
    TooSlowError,
    WouldBlock,
)
from uringtrio._scheduler.current import get_task
from uringtrio._scheduler.traps import (
    CHECKED_CHECKPOINT,
    CHECKPOINT,
    Abort,
    reschedule,
    wait_task_rescheduled,
)

from .channel import (
    SharedChannelStatistics,
    SharedReceiveChannel,
    SharedSendChannel,
    check_may_block,
)

if TYPE_CHECKING:
    from uringtrio._scheduler.task import Task
    from uringtrio._scheduler.traps import RaiseCancelT

T = TypeVar("T")
T_contra = TypeVar("T_contra", contravariant=True)
T_co = TypeVar("T_co", covariant=True)


class _Waiter:
    """One task or thread in line.

    Attributes:
        handle: what it waits through.
        value: what it sends; or, once it is served, what it has received.
        error: set instead when it is served with an error.
    """

    __slots__ = ("error", "handle", "value")

    def __init__(self, handle: object, value: Any) -> None:
        self.handle = handle
        self.value = value
        self.error: Exception | None = None

    def wake(self) -> bool:
        """Let it go on; False if it never will, because its run has crashed."""
        raise NotImplementedError

    def result(self) -> Any:
        if self.error is not None:
            raise self.error
        return self.value


class _TaskWaiter(_Waiter):
    """A task in line."""

    __slots__ = ("_task",)

    def __init__(self, handle: object, value: Any, task: Task) -> None:
        super().__init__(handle, value)
        self._task = task

    def wake(self) -> bool:
        try:
            self._task._runner.token.run_sync_soon(self._resume)
        except RunFinishedError:
            return False
        return True

    def _resume(self) -> None:
        reschedule(self._task, outcome.capture(self.result))


class _ThreadWaiter(_Waiter):
    """A thread without a run in line."""

    __slots__ = ("_unserved",)

    def __init__(self, handle: object, value: Any) -> None:
        super().__init__(handle, value)
        # Given up once it is served. An Event takes as long to make as all the rest.
        self._unserved = threading.Lock()
        self._unserved.acquire()

    def wake(self) -> bool:
        self._unserved.release()
        return True

    def wait(self, timeout: float) -> None:
        """Wait until it is served, or the time is over."""
        self._unserved.acquire(timeout=min(max(timeout, 0), threading.TIMEOUT_MAX))


class _Side:
    """The senders, or the receivers.

    Attributes:
        line: those who wait.
        open: how many handles there are.
        ending: what the other side gets when there are none left.
    """

    __slots__ = ("ending", "line", "open")

    def __init__(self, ending: type[Exception]) -> None:
        self.line: OrderedDict[_Waiter, None] = OrderedDict()
        self.open = 0
        self.ending = ending

    def fail(self, handle: object, error: type[Exception]) -> None:
        """Serve those who wait through `handle`, or, if that is None, everybody, with an error."""
        for waiter in [w for w in self.line if handle is None or w.handle is handle]:
            del self.line[waiter]
            waiter.error = error()
            waiter.value = None
            waiter.wake()

    def leave(self, handle: object, others: _Side) -> None:
        """Take note of the end of a handle."""
        self.fail(handle, ClosedResourceError)
        self.open -= 1
        if self.open == 0:
            others.fail(None, self.ending)


class _State:
    """What the handles of one channel share. Methods are called with the lock held.

    Invariants: waiters wait to receive only while the buffer is empty and nobody waits to send;
    waiters wait to send only while the buffer is full.
    """

    __slots__ = ("buffer", "lock", "max_buffer_size", "receivers", "senders")

    def __init__(self, max_buffer_size: float) -> None:
        self.max_buffer_size = max_buffer_size
        self.lock = threading.Lock()
        self.buffer: collections.deque[Any] = collections.deque()
        self.senders = _Side(EndOfChannel)
        self.receivers = _Side(BrokenResourceError)

    def statistics(self) -> SharedChannelStatistics:
        with self.lock:
            return SharedChannelStatistics(
                current_buffer_used=len(self.buffer),
                max_buffer_size=self.max_buffer_size,
                open_send_channels=self.senders.open,
                open_receive_channels=self.receivers.open,
                tasks_waiting_send=len(self.senders.line),
                tasks_waiting_receive=len(self.receivers.line),
            )

    def put(self, value: Any) -> bool:
        """Hand `value` to a receiver or the buffer; False if there is no room."""
        while self.receivers.line:
            waiter, _ = self.receivers.line.popitem(last=False)
            waiter.value = value
            if waiter.wake():
                return True
        if len(self.buffer) < self.max_buffer_size:
            self.buffer.append(value)
            return True
        return False

    def take(self) -> Any:
        """Return the oldest object; raise WouldBlock or EndOfChannel if there is none."""
        if self.senders.line:
            # Its object is the newest; the oldest is in the buffer, unless that has no room.
            waiter, _ = self.senders.line.popitem(last=False)
            self.buffer.append(waiter.value)
            waiter.value = None
            waiter.wake()
        if self.buffer:
            return self.buffer.popleft()
        if self.senders.open == 0:
            raise EndOfChannel
        raise WouldBlock

    def put_back(self, value: Any) -> None:
        """Take back what was handed to a receiver that could not take it."""
        if not self.receivers.line or not self.put(value):
            self.buffer.appendleft(value)


async def _wait_in(side: _Side, waiter: _TaskWaiter, lock: threading.Lock) -> Any:
    """Wait until the waiter, which is in line, is served."""

    def abort(_raise_cancel: RaiseCancelT) -> Abort:
        with lock:
            if waiter in side.line:
                del side.line[waiter]
                return Abort.SUCCEEDED
        # It was served in the meantime, and is about to be woken.
        return Abort.FAILED

    return await wait_task_rescheduled(abort)


class ThreadSendChannel(SharedSendChannel[T_contra]):
    """The sending end, within one process."""

    __slots__ = ("__weakref__", "_is_closed", "_state")

    def __init__(self, state: _State) -> None:
        self._state = state
        self._is_closed = False
        with state.lock:
            state.senders.open += 1

    def _put(self, value: T_contra) -> bool:
        """Send if there is room, with the lock held."""
        if self._is_closed:
            raise ClosedResourceError
        if self._state.receivers.open == 0:
            raise BrokenResourceError
        return self._state.put(value)

    def send_nowait(self, value: T_contra) -> None:
        with self._state.lock:
            if not self._put(value):
                raise WouldBlock

    async def send(self, value: T_contra) -> None:
        task = get_task("SharedSendChannel.send()")
        if task._scope._effectively_cancelled or task._ki_pending:
            await CHECKPOINT
        state = self._state
        waiter = None
        with state.lock:
            if not self._put(value):
                waiter = _TaskWaiter(self, value, task)
                state.senders.line[waiter] = None
        if waiter is None:
            await CHECKED_CHECKPOINT
        else:
            await _wait_in(state.senders, waiter, state.lock)

    def send_sync(self, value: T_contra, timeout: float = inf) -> None:
        state = self._state
        with state.lock:
            if self._put(value):
                return
            check_may_block("SharedSendChannel.send_sync()", "send(value)")
            waiter = _ThreadWaiter(self, value)
            state.senders.line[waiter] = None
        try:
            waiter.wait(timeout)
        finally:
            with state.lock:
                was_served = waiter not in state.senders.line
                state.senders.line.pop(waiter, None)
        if not was_served:
            raise TooSlowError
        waiter.result()

    def clone(self) -> ThreadSendChannel[T_contra]:
        if self._is_closed:
            raise ClosedResourceError
        return ThreadSendChannel(self._state)

    def close(self) -> None:
        state = self._state
        with state.lock:
            if self._is_closed:
                return
            self._is_closed = True
            state.senders.leave(self, state.receivers)

    def statistics(self) -> SharedChannelStatistics:
        return self._state.statistics()


class ThreadReceiveChannel(SharedReceiveChannel[T_co]):
    """The receiving end, within one process."""

    __slots__ = ("__weakref__", "_is_closed", "_state")

    def __init__(self, state: _State) -> None:
        self._state = state
        self._is_closed = False
        with state.lock:
            state.receivers.open += 1

    def _take(self) -> T_co:
        """Receive what there is, with the lock held."""
        if self._is_closed:
            raise ClosedResourceError
        return self._state.take()  # type: ignore[no-any-return]  # what `send` was given

    def receive_nowait(self) -> T_co:
        with self._state.lock:
            return self._take()

    async def receive(self) -> T_co:
        task = get_task("SharedReceiveChannel.receive()")
        if task._scope._effectively_cancelled or task._ki_pending:
            await CHECKPOINT
        state = self._state
        with state.lock:
            waiter = None
            value: Any = None
            try:
                value = self._take()
            except WouldBlock:
                waiter = _TaskWaiter(self, None, task)
                state.receivers.line[waiter] = None
        if waiter is None:
            await CHECKED_CHECKPOINT
        else:
            value = await _wait_in(state.receivers, waiter, state.lock)
        return value  # type: ignore[no-any-return]  # as above

    def receive_sync(self, timeout: float = inf) -> T_co:
        state = self._state
        with state.lock:
            try:
                return self._take()
            except WouldBlock:
                check_may_block("SharedReceiveChannel.receive_sync()", "receive()")
            waiter = _ThreadWaiter(self, None)
            state.receivers.line[waiter] = None
        try:
            waiter.wait(timeout)
        except BaseException:
            # KeyboardInterrupt, that is: what it was served meanwhile is for somebody else.
            with state.lock:
                if waiter in state.receivers.line:
                    del state.receivers.line[waiter]
                elif waiter.error is None:
                    state.put_back(waiter.value)
            raise
        with state.lock:
            if waiter in state.receivers.line:
                del state.receivers.line[waiter]
                raise TooSlowError
        return waiter.result()  # type: ignore[no-any-return]  # as above

    def clone(self) -> ThreadReceiveChannel[T_co]:
        if self._is_closed:
            raise ClosedResourceError
        return ThreadReceiveChannel(self._state)

    def close(self) -> None:
        state = self._state
        with state.lock:
            if self._is_closed:
                return
            self._is_closed = True
            state.receivers.leave(self, state.senders)
            if state.receivers.open == 0:
                state.buffer.clear()

    def statistics(self) -> SharedChannelStatistics:
        return self._state.statistics()


def open_thread_channel(
    max_buffer_size: float,
) -> tuple[SharedSendChannel[Any], SharedReceiveChannel[Any]]:
    """Return a new channel's first handles."""
    state = _State(max_buffer_size)
    return ThreadSendChannel(state), ThreadReceiveChannel(state)
