"""ForeignSocket: lets SocketStream use sockets that are not our own, by their public methods."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from uringtrio._errors import BusyResourceError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from uringtrio._abc import Buffer

    from .socket_type import SocketType

T = TypeVar("T")


class ForeignSocket:
    """What a stream asks of a `Socket`, made of the methods of any `SocketType`.

    A `Socket` knows by its ops whether a task is sending; this one has to keep account.
    """

    __slots__ = ("_is_sending", "_socket")

    def __init__(self, socket: SocketType) -> None:
        self._socket = socket
        self._is_sending = False

    @property
    def did_shutdown_SHUT_WR(self) -> bool:  # noqa: N802  # as the socket has it
        return self._socket.did_shutdown_SHUT_WR

    def _is_closed(self) -> bool:
        return self._socket.fileno() == -1

    def _start_recv(self, size: int) -> Awaitable[bytes]:
        return self._socket.recv(size)

    # Only our own sockets receive ahead.
    _start_receive = _start_recv

    def _start_send(self, data: Buffer) -> Awaitable[int]:
        return self._alone(self._socket.send, data)

    def _start_send_vector(self, buffers: Sequence[Buffer]) -> Awaitable[int]:
        return self._alone(self._socket.sendmsg, buffers)

    def wait_writable(self) -> Awaitable[None]:
        return self._alone(self._socket.wait_writable)

    def _check_sendable(self) -> None:
        if self._is_sending:
            raise BusyResourceError("another task is already sending through this socket")

    async def _alone(self, method: Callable[..., Awaitable[T]], *args: object) -> T:
        self._check_sendable()
        self._is_sending = True
        try:
            return await method(*args)
        finally:
            self._is_sending = False
