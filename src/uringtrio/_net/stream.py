"""SocketStream: a stream of bytes over a connected socket."""

from __future__ import annotations

import contextlib
import errno
import socket as stdlib
from typing import Any, final

from uringtrio._abc import Buffer, HalfCloseableStream, Sealed
from uringtrio._errors import BrokenResourceError, ClosedResourceError
from uringtrio._scheduler.traps import checkpoint

from .socket_type import SocketType

# What receive_some asks for when the caller has no wish: Trio's figure.
DEFAULT_RECEIVE_BYTES = 65536

# Unsent bytes that the kernel may hold before the socket stops being writable: small, so that
# `wait_send_all_might_not_block` means that the peer keeps up. Trio's figure, and Apple's.
NOTSENT_LOWAT_BYTES = 2**14

_CLOSED_ERRNOS = frozenset({errno.EBADF, errno.ENOTSOCK})


def as_stream_error(exc: OSError) -> Exception:
    """Say in a stream's words what went wrong with its socket."""
    if exc.errno in _CLOSED_ERRNOS:
        return ClosedResourceError("this socket was already closed")
    return BrokenResourceError(f"socket connection broken: {exc}")


@final
class SocketStream(Sealed, HalfCloseableStream):
    """A stream over a connected SOCK_STREAM socket, of which it becomes the owner.

    For TCP it turns on TCP_NODELAY and limits unsent data in the kernel to 16 KiB.

    Args:
        socket: connected; one of `uringtrio.socket`, or of a `SocketType` of your own.

    Raises:
        TypeError: it is no such socket.
        ValueError: it is not of type SOCK_STREAM.

    Attributes:
        socket: the socket.
    """

    __slots__ = ("__weakref__", "socket")

    def __init__(self, socket: SocketType) -> None:
        if not isinstance(socket, SocketType):
            raise TypeError(
                f"SocketStream needs a socket made by uringtrio.socket, not {socket!r}; "
                "for one of the standard library use uringtrio.socket.from_stdlib_socket()"
            )
        if socket.type != stdlib.SOCK_STREAM:  # type: ignore[attr-defined]  # a subclass has it
            raise ValueError("SocketStream requires a SOCK_STREAM socket")
        self.socket: Any = socket
        # Not every family has these options, and not every implementation.
        with contextlib.suppress(OSError):
            self.setsockopt(stdlib.IPPROTO_TCP, stdlib.TCP_NODELAY, 1)
            self.setsockopt(stdlib.IPPROTO_TCP, stdlib.TCP_NOTSENT_LOWAT, NOTSENT_LOWAT_BYTES)

    async def send_all(self, data: Buffer) -> None:
        socket = self.socket
        if socket.did_shutdown_SHUT_WR:
            raise ClosedResourceError("can't send data after sending EOF")
        if type(data) is not bytes:
            data = memoryview(data).cast("B")
        size = len(data)
        try:
            if not size:
                await self._send_nothing()
                return
            sent = await socket._start_send(data)
            while sent < size:
                sent += await socket._start_send(memoryview(data)[sent:])
        except OSError as exc:
            raise as_stream_error(exc) from exc

    async def _send_nothing(self) -> None:
        self.socket._check_sendable()
        if self.socket.fileno() == -1:
            raise ClosedResourceError("this socket was already closed")
        await checkpoint()

    async def wait_send_all_might_not_block(self) -> None:
        if self.socket.fileno() == -1:
            raise ClosedResourceError("this socket was already closed")
        try:
            await self.socket.wait_writable()
        except OSError as exc:
            raise as_stream_error(exc) from exc

    async def send_eof(self) -> None:
        self.socket._check_sendable()
        await checkpoint()
        if self.socket.did_shutdown_SHUT_WR:
            return
        try:
            self.socket.shutdown(stdlib.SHUT_WR)
        except OSError as exc:
            raise as_stream_error(exc) from exc

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        if max_bytes is None:
            max_bytes = DEFAULT_RECEIVE_BYTES
        elif max_bytes < 1:
            raise ValueError(f"max_bytes must be at least 1, not {max_bytes!r}")
        try:
            return await self.socket._start_recv(max_bytes)  # type: ignore[no-any-return]
        except OSError as exc:
            raise as_stream_error(exc) from exc

    async def aclose(self) -> None:
        self.socket.close()
        await checkpoint()

    def setsockopt(
        self, level: int, option: int, value: int | Buffer | None, length: int | None = None
    ) -> None:
        """Set an option of the socket, see `socket.socket.setsockopt`."""
        if length is None:
            self.socket.setsockopt(level, option, value)
        else:
            self.socket.setsockopt(level, option, value, length)

    def getsockopt(self, level: int, option: int, buffersize: int = 0) -> int | bytes:
        """Return an option of the socket, see `socket.socket.getsockopt`."""
        if buffersize == 0:
            return self.socket.getsockopt(level, option)  # type: ignore[no-any-return]
        return self.socket.getsockopt(level, option, buffersize)  # type: ignore[no-any-return]
