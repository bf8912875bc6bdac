"""Streams made of streams: two one-way streams as one, and the forceful close of any."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar, final

from uringtrio._abc import HalfCloseableStream, ReceiveStream, Sealed, SendStream
from uringtrio._scheduler.cancel import CancelScope

if TYPE_CHECKING:
    from uringtrio._abc import AsyncResource, Buffer

SendStreamT = TypeVar("SendStreamT", bound=SendStream)
ReceiveStreamT = TypeVar("ReceiveStreamT", bound=ReceiveStream)


async def aclose_forcefully(resource: AsyncResource) -> None:
    """Close a resource at once, without waiting for a graceful end.

    Args:
        resource: anything with an `aclose` that closes even when it is cancelled, as the contract
            of `abc.AsyncResource` says.

    Raises: what its `aclose` raises, other than `Cancelled`.

    Checkpoint: always.
    """
    with CancelScope() as scope:
        scope.cancel(reason="cancelled during aclose_forcefully")
        await resource.aclose()


@final
class StapledStream(Sealed, HalfCloseableStream, Generic[SendStreamT, ReceiveStreamT]):
    """One stream in both directions, made of one for each direction, which it comes to own.

    Args:
        send_stream: where to send.
        receive_stream: where to receive from.

    Attributes:
        send_stream: as given; may be replaced.
        receive_stream: as given; may be replaced.
    """

    __slots__ = ("__dict__", "__weakref__", "receive_stream", "send_stream")

    def __init__(self, send_stream: SendStreamT, receive_stream: ReceiveStreamT) -> None:
        self.send_stream = send_stream
        self.receive_stream = receive_stream

    def __repr__(self) -> str:
        return (
            f"StapledStream(send_stream={self.send_stream!r}, "
            f"receive_stream={self.receive_stream!r})"
        )

    async def send_all(self, data: Buffer) -> None:
        await self.send_stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self.send_stream.wait_send_all_might_not_block()

    async def send_eof(self) -> None:
        """End the sending side: by its own `send_eof` if it has one, else by closing it.

        Raises: what that raises.

        Checkpoint: always.
        """
        # Not only a `HalfCloseableStream`: any object that has the method will do.
        send_eof = getattr(self.send_stream, "send_eof", None)
        if send_eof is None:
            await self.send_stream.aclose()
        else:
            await send_eof()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        return await self.receive_stream.receive_some(max_bytes)

    async def aclose(self) -> None:
        try:
            await self.send_stream.aclose()
        finally:
            await self.receive_stream.aclose()
