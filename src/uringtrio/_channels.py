"""Memory channels: objects from task to task within one run, with a bounded buffer."""

from __future__ import annotations

import collections
from collections import OrderedDict
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar, final

from ._abc import ReceiveChannel, Sealed, SendChannel
from ._errors import BrokenResourceError, ClosedResourceError, EndOfChannel, WouldBlock
from ._scheduler.current import CURRENT, get_task, refuse_resume
from ._scheduler.traps import CHECKED_CHECKPOINT, CHECKPOINT, Park

if TYPE_CHECKING:
    from types import TracebackType

    from ._scheduler.task import Task

T = TypeVar("T")
T_contra = TypeVar("T_contra", contravariant=True)
T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True, slots=True)
class MemoryChannelStatistics:
    """What `statistics` of either end returns; the two always agree.

    Attributes:
        current_buffer_used: objects in the buffer.
        max_buffer_size: the most it holds; may be inf.
        open_send_channels: send handles that are not closed.
        open_receive_channels: receive handles that are not closed.
        tasks_waiting_send: tasks blocked in `send`, on any handle.
        tasks_waiting_receive: tasks blocked in `receive`, on any handle.
        peak_buffer_used: the most objects that the buffer has held so far.
    """

    current_buffer_used: int
    max_buffer_size: int | float
    open_send_channels: int
    open_receive_channels: int
    tasks_waiting_send: int
    tasks_waiting_receive: int
    peak_buffer_used: int


class _State:
    """What the handles of one channel share.

    Invariants: tasks wait to receive only while the buffer is empty and nobody waits to send;
    tasks wait to send only while the buffer is full.
    """

    __slots__ = (
        "buffer", "max_buffer_size", "open_receive", "open_send", "peak", "receivers", "senders",
    )  # fmt: skip

    def __init__(self, max_buffer_size: float) -> None:
        self.max_buffer_size = max_buffer_size
        self.buffer: collections.deque[Any] = collections.deque()
        self.peak = 0
        self.open_send = 0
        self.open_receive = 0
        # Both in order of arrival, with the handle they wait through; senders with the object.
        # OrderedDicts, because taking the first out of a dict again and again is quadratic.
        self.receivers: OrderedDict[Task, MemoryReceiveChannel[Any]] = OrderedDict()
        self.senders: OrderedDict[Task, tuple[MemorySendChannel[Any], Any]] = OrderedDict()

    def statistics(self) -> MemoryChannelStatistics:
        return MemoryChannelStatistics(
            current_buffer_used=len(self.buffer),
            max_buffer_size=self.max_buffer_size,
            open_send_channels=self.open_send,
            open_receive_channels=self.open_receive,
            tasks_waiting_send=len(self.senders),
            tasks_waiting_receive=len(self.receivers),
            peak_buffer_used=self.peak,
        )

    def put(self, value: Any) -> bool:
        """Hand `value` to a receiver or the buffer; False if there is no room."""
        receivers = self.receivers
        if receivers:
            task = next(iter(receivers))
            if task._runner is not CURRENT.runner:
                refuse_resume(task, "sending to a task that waits")
            del receivers[task]
            task._resume(value)
        elif len(self.buffer) < self.max_buffer_size:
            self.buffer.append(value)
            self.peak = max(self.peak, len(self.buffer))
        else:
            return False
        return True

    def take(self) -> Any:
        """Return the oldest object; raise WouldBlock if there is none."""
        senders = self.senders
        if senders:
            # Its object is the newest; the oldest is in the buffer, unless that has no room.
            task = next(iter(senders))
            if task._runner is not CURRENT.runner:
                refuse_resume(task, "receiving from a task that waits")
            _, value = senders.pop(task)
            task._resume(None)
            self.buffer.append(value)
            return self.buffer.popleft()
        if self.buffer:
            return self.buffer.popleft()
        raise WouldBlock

    def check_run(self, tasks: list[Task]) -> None:
        """Refuse to close a handle if that resumes tasks whose run is not in this thread."""
        for task in tasks:
            if task._runner is not CURRENT.runner:
                refuse_resume(task, "closing a channel on which a task waits")

    def resume_all(self, tasks: list[Task], error: type[Exception]) -> None:
        for task in tasks:
            task._resume_with(error())


class _Handle:
    """What the two kinds of handles share: a state, and being closed once."""

    __slots__ = ("__dict__", "__weakref__", "_is_closed", "_state")

    def __init__(self, state: _State | None = None) -> None:
        if state is None:
            raise TypeError(
                f"uringtrio.{type(self).__name__} has no public constructor: "
                "use open_memory_channel()"
            )
        self._state = state
        self._is_closed = False

    def statistics(self) -> MemoryChannelStatistics:
        """Return figures about the whole channel."""
        return self._state.statistics()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close this handle. Tasks that wait in it get ClosedResourceError. Twice is allowed.

        Raises:
            RuntimeError: that would resume a task, and this is not the thread of its run; the
                handle stays open.

        Checkpoint: never; this is no async function.
        """
        if not self._is_closed:
            self._leave()
            self._is_closed = True

    def _leave(self) -> None:
        """Wake those who wait through this handle, and, if it was the last one, the others."""
        raise NotImplementedError

    async def aclose(self) -> None:
        """Close this handle, as `close`.

        Checkpoint: always.
        """
        self.close()
        await CHECKPOINT


@final
class MemorySendChannel(Sealed, _Handle, SendChannel[T_contra]):
    """The sending end of a memory channel; made by `open_memory_channel` and by `clone`.

    The channel ends for the receivers when all its send handles are closed. Several tasks may use
    one handle at the same time.
    """

    __slots__ = ()

    def __init__(self, state: _State | None = None) -> None:
        super().__init__(state)
        self._state.open_send += 1

    def __repr__(self) -> str:
        return f"<send channel at {id(self):#x}, using buffer at {id(self._state):#x}>"

    def send_nowait(self, value: T_contra) -> None:
        """Send `value` if that can be done without waiting.

        Raises:
            WouldBlock: nobody waits to receive, and the buffer is full.
            ClosedResourceError: this handle is closed.
            BrokenResourceError: all receive handles are closed.
        """
        self._check()
        if not self._state.put(value):
            raise WouldBlock

    def _check(self) -> None:
        if self._is_closed:
            raise ClosedResourceError
        if self._state.open_receive == 0:
            raise BrokenResourceError

    async def send(self, value: T_contra) -> None:
        """Send `value`, waiting for room in the buffer or for a receiver.

        Raises:
            ClosedResourceError: this handle is closed, or was closed meanwhile.
            BrokenResourceError: all receive handles are closed, or were closed meanwhile.

        Checkpoint: always. If it is cancelled, nothing was sent.
        """
        task = get_task("MemorySendChannel.send()")
        if task._scope._effectively_cancelled or task._ki_pending:
            await CHECKPOINT
        self._check()
        if self._state.put(value):
            await CHECKED_CHECKPOINT
        else:
            await Park(self._state.senders, (self, value))

    def clone(self) -> MemorySendChannel[T_contra]:
        """Return another handle for the same channel, to be closed separately.

        Raises:
            ClosedResourceError: this handle is closed.
        """
        if self._is_closed:
            raise ClosedResourceError
        return MemorySendChannel(self._state)

    def _leave(self) -> None:
        state = self._state
        mine = [task for task, (handle, _) in state.senders.items() if handle is self]
        others = list(state.receivers) if state.open_send == 1 else []
        state.check_run([*mine, *others])
        state.open_send -= 1
        for task in mine:
            del state.senders[task]
        state.resume_all(mine, ClosedResourceError)
        if state.open_send == 0:
            assert not state.senders
            state.receivers.clear()
            state.resume_all(others, EndOfChannel)


@final
class MemoryReceiveChannel(Sealed, _Handle, ReceiveChannel[T_co]):
    """The receiving end of a memory channel; made by `open_memory_channel` and by `clone`.

    Each object goes to exactly one receiver. When all receive handles are closed, what is in the
    buffer is dropped, and sending raises BrokenResourceError.
    """

    __slots__ = ()

    def __init__(self, state: _State | None = None) -> None:
        super().__init__(state)
        self._state.open_receive += 1

    def __repr__(self) -> str:
        return f"<receive channel at {id(self):#x}, using buffer at {id(self._state):#x}>"

    def receive_nowait(self) -> T_co:
        """Return an object if there is one.

        Raises:
            WouldBlock: there is none.
            ClosedResourceError: this handle is closed.
            EndOfChannel: there is none, and all send handles are closed.
        """
        if self._is_closed:
            raise ClosedResourceError
        state = self._state
        if state.buffer or state.senders:
            return state.take()  # type: ignore[no-any-return]  # what `send` was given
        if state.open_send == 0:
            raise EndOfChannel
        raise WouldBlock

    async def receive(self) -> T_co:
        """Return an object, waiting until there is one.

        Raises:
            ClosedResourceError: this handle is closed, or was closed meanwhile.
            EndOfChannel: the buffer is empty and all send handles are closed.

        Checkpoint: always. If it is cancelled, nothing was received.
        """
        task = get_task("MemoryReceiveChannel.receive()")
        if task._scope._effectively_cancelled or task._ki_pending:
            await CHECKPOINT
        if self._is_closed:
            raise ClosedResourceError
        state = self._state
        if state.buffer or state.senders:
            value = state.take()
            await CHECKED_CHECKPOINT
            return value  # type: ignore[no-any-return]  # what `send` was given
        if state.open_send == 0:
            raise EndOfChannel
        return await Park(state.receivers, self)  # type: ignore[no-any-return]  # as above

    def clone(self) -> MemoryReceiveChannel[T_co]:
        """Return another handle for the same channel, to be closed separately.

        Raises:
            ClosedResourceError: this handle is closed.
        """
        if self._is_closed:
            raise ClosedResourceError
        return MemoryReceiveChannel(self._state)

    def _leave(self) -> None:
        state = self._state
        mine = [task for task, handle in state.receivers.items() if handle is self]
        others = list(state.senders) if state.open_receive == 1 else []
        state.check_run([*mine, *others])
        state.open_receive -= 1
        for task in mine:
            del state.receivers[task]
        state.resume_all(mine, ClosedResourceError)
        if state.open_receive == 0:
            assert not state.receivers
            state.senders.clear()
            state.resume_all(others, BrokenResourceError)
            state.buffer.clear()


@final
class open_memory_channel(  # noqa: N801  # a class, to be subscripted: open_memory_channel[int](5)
    tuple[MemorySendChannel[T], MemoryReceiveChannel[T]], Generic[T]
):
    """Open a channel: `send_channel, receive_channel = open_memory_channel(max_buffer_size)`.

    Args:
        max_buffer_size: how many objects may wait in the buffer before `send` has to wait: an
            int of at least 0, or math.inf. With 0, `send` waits for a receiver.

    Raises:
        TypeError: it is neither an int nor inf.
        ValueError: it is negative.
    """

    __slots__ = ()

    def __new__(cls, max_buffer_size: float) -> Self:
        """Make a pair of handles."""
        if max_buffer_size != inf and not isinstance(max_buffer_size, int):
            raise TypeError(
                f"max_buffer_size must be an integer or math.inf, not {max_buffer_size!r}"
            )
        if max_buffer_size < 0:
            raise ValueError("max_buffer_size must be >= 0")
        state = _State(max_buffer_size)
        return super().__new__(cls, (MemorySendChannel[T](state), MemoryReceiveChannel[T](state)))
