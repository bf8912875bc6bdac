"""SocketType: what every socket is an instance of, ours and those that users make."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from uringtrio._abc import Buffer


class SocketType:
    """What every socket of this package is an instance of; subclass it to make sockets of your own.

    A subclass has the methods of `socket()`'s result. It cannot be instantiated by itself.
    """

    __slots__ = ("__weakref__",)

    def __init__(self) -> None:
        if type(self) is SocketType:
            raise TypeError(
                "SocketType is an abstract class; use uringtrio.socket.socket() to make a socket"
            )

    def _start_recv(self, size: int) -> Any:
        """Return what SocketStream awaits to receive: for our own sockets the op itself."""
        return self.recv(size)  # type: ignore[attr-defined]  # a subclass has it

    def _start_send(self, data: Buffer) -> Any:
        """Return what SocketStream awaits to send, all if it can be had in one."""
        return self.send(data)  # type: ignore[attr-defined]  # a subclass has it

    def _check_sendable(self) -> None:
        """Raise BusyResourceError if another task is sending; a subclass finds out by itself."""
