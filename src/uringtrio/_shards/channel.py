"""Shared channels: what both kinds have in common, and what users see of them."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Generic, Self, TypeVar

from uringtrio._abc import AsyncResource, ReceiveChannel, SendChannel
from uringtrio._scheduler.current import in_trio_run
from uringtrio._scheduler.traps import CHECKPOINT

if TYPE_CHECKING:
    from types import TracebackType

T_contra = TypeVar("T_contra", contravariant=True)
T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True, slots=True)
class SharedChannelStatistics:
    """What `statistics` of either end of a shared channel returns.

    Attributes:
        current_buffer_used: objects in the buffer.
        max_buffer_size: the most it holds; may be inf.
        open_send_channels: send handles that are not closed, in all shards. Those of a process
            that has died still count here, and here only.
        open_receive_channels: receive handles that are not closed, likewise.
        tasks_waiting_send: tasks and threads that wait to send. Of tasks of one run that wait in
            line behind another one, between processes, only the first counts.
        tasks_waiting_receive: tasks and threads that wait to receive, likewise.
    """

    current_buffer_used: int
    max_buffer_size: int | float
    open_send_channels: int
    open_receive_channels: int
    tasks_waiting_send: int
    tasks_waiting_receive: int


class _Handle(AsyncResource):
    """What the two kinds of handles share."""

    __slots__ = ()

    @abstractmethod
    def close(self) -> None:
        """Close this handle. Tasks and threads that wait in it get ClosedResourceError.

        Twice is allowed; so is any thread.

        Checkpoint: never; this is no async function.
        """

    @abstractmethod
    def clone(self) -> Self:
        """Return another handle for the same channel, to be closed separately.

        Raises:
            ClosedResourceError: this handle is closed.
        """

    @abstractmethod
    def statistics(self) -> SharedChannelStatistics:
        """Return figures about the whole channel, which may have changed since."""

    async def aclose(self) -> None:
        """Close this handle, as `close`.

        Checkpoint: always.
        """
        self.close()
        await CHECKPOINT

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class SharedSendChannel(_Handle, SendChannel[T_contra], Generic[T_contra]):
    """The sending end of a shared channel; made by `open_shared_channel` and by `clone`.

    The channel ends for the receivers when all its send handles are closed, or their processes
    have died. Any number of tasks and threads may use one handle at the same time.
    """

    __slots__ = ()

    @abstractmethod
    def send_nowait(self, value: T_contra) -> None:
        """Send `value` if that can be done without waiting. From any thread.

        Raises:
            WouldBlock: the buffer is full, and nobody waits to receive; between processes, of the
                tasks of one run that wait only the first counts.
            ClosedResourceError: this handle is closed.
            BrokenResourceError: all receive handles are closed, or their processes have died.
            TypeError: the channel is between processes, and `value` cannot be pickled.
        """

    @abstractmethod
    async def send(self, value: T_contra) -> None:
        """Send `value`, waiting for room in the buffer or for a receiver.

        Raises: what `send_nowait` raises, but for WouldBlock.

        Checkpoint: always. If it is cancelled, nothing was sent.
        """

    @abstractmethod
    def send_sync(self, value: T_contra, timeout: float = inf) -> None:
        """Send `value` from a thread without a run, blocking it as long as `send` would wait.

        Args:
            value: what to send.
            timeout: seconds; nothing was sent if they are over.

        Raises:
            TooSlowError: the time is over.
            RuntimeError: this thread has a run, and would have to wait.

        Also raises what `send` raises.
        """


class SharedReceiveChannel(_Handle, ReceiveChannel[T_co], Generic[T_co]):
    """The receiving end of a shared channel; made by `open_shared_channel` and by `clone`.

    Each object goes to exactly one receiver. When all receive handles are closed, what is in the
    buffer is dropped, and sending raises BrokenResourceError.
    """

    __slots__ = ()

    @abstractmethod
    def receive_nowait(self) -> T_co:
        """Return an object if there is one. From any thread.

        Raises:
            WouldBlock: there is none.
            ClosedResourceError: this handle is closed.
            EndOfChannel: there is none, and all send handles are closed, or their processes have
                died.
        """

    @abstractmethod
    async def receive(self) -> T_co:
        """Return an object, waiting until there is one.

        Raises: what `receive_nowait` raises, but for WouldBlock.

        Checkpoint: always. If it is cancelled, nothing was received.
        """

    @abstractmethod
    def receive_sync(self, timeout: float = inf) -> T_co:
        """Return an object to a thread without a run, blocking it until there is one.

        Args:
            timeout: seconds; nothing was received if they are over.

        Raises:
            TooSlowError: the time is over.
            RuntimeError: this thread has a run, and would have to wait.

        Also raises what `receive` raises.
        """


def check_may_block(call: str, instead: str) -> None:
    """Refuse to block a thread that has a run."""
    if in_trio_run():
        raise RuntimeError(
            f"{call} would block the run of this thread, and all its tasks: "
            f"use `await {instead}` there"
        )
