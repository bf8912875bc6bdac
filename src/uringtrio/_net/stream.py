"""SocketStream: a stream of bytes over a connected socket."""

from __future__ import annotations

import contextlib
import os
import socket as stdlib
from typing import TYPE_CHECKING, final

from uringtrio._abc import Buffer, HalfCloseableStream, Sealed
from uringtrio._errors import ClosedResourceError
from uringtrio._scheduler.traps import checkpoint

from . import zero_copy as zero_copies
from .credentials import PeerCredentials, peer_credentials
from .foreign import ForeignSocket
from .send_file import FileSending, open_file
from .socket import Socket
from .socket_type import SocketType
from .stream_error import CLOSED_ERRNOS, as_stream_error
from .vector import Vector

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .send_file import HasFileno

# What receive_some asks for when the caller has no wish: Trio's figure.
DEFAULT_RECEIVE_BYTES = 65536

# Unsent bytes that the kernel may hold before the socket stops being writable: small, so that
# `wait_send_all_might_not_block` means that the peer keeps up. Trio's figure, and Apple's.
NOTSENT_LOWAT_BYTES = 2**14


@final
class SocketStream(Sealed, HalfCloseableStream):
    """A stream over a connected SOCK_STREAM socket, of which it becomes the owner.

    For TCP it turns on TCP_NODELAY and limits unsent data in the kernel to 16 KiB.

    On io_uring it receives ahead from TCP: what the kernel has for it, at most 192 KiB, is taken
    before `receive_some` asks for it. The methods of `socket` know of that, and begin with it. Who
    asks it for its descriptor, by `fileno`, `dup` or `detach`, finds there all that is still to
    come; `detach` raises RuntimeError while something is ahead.

    Args:
        socket: connected; one of `uringtrio.socket`, or of a `SocketType` of your own.

    Raises:
        TypeError: it is no such socket.
        ValueError: it is not of type SOCK_STREAM.

    Attributes:
        socket: the socket.
        sent_bytes: how many bytes of its data the last `send_all` or `send_file` that has ended
            had sent: all of them if it returned, and no more and no less than this if it was
            cancelled or failed.
            Sent is what the kernel has taken; whether the peer has got it, only the peer can say.
    """

    __slots__ = ("__dict__", "__weakref__", "_io", "sent_bytes", "socket")

    def __init__(self, socket: SocketType) -> None:
        if not isinstance(socket, SocketType):
            raise TypeError(
                f"SocketStream needs a socket made by uringtrio.socket, not {socket!r}; "
                "for one of the standard library use uringtrio.socket.from_stdlib_socket()"
            )
        if socket.type != stdlib.SOCK_STREAM:
            raise ValueError("SocketStream requires a SOCK_STREAM socket")
        self.socket = socket
        self.sent_bytes = 0
        # Where receiving and sending start: without an async frame in between, for our own.
        self._io = socket if isinstance(socket, Socket) else ForeignSocket(socket)
        # Not every family has these options, and not every implementation.
        with contextlib.suppress(OSError):
            socket.setsockopt(stdlib.IPPROTO_TCP, stdlib.TCP_NODELAY, 1)
            socket.setsockopt(stdlib.IPPROTO_TCP, stdlib.TCP_NOTSENT_LOWAT, NOTSENT_LOWAT_BYTES)

    async def send_all(self, data: Buffer | Sequence[Buffer], *, zero_copy: bool = False) -> None:
        """Send all of `data`, waiting as long as the peer does not take it.

        Args:
            data: any number of bytes, zero included; or a list or tuple of such buffers, which
                are sent as one, in their order, without being copied together. They are borrowed
                until the call returns or raises; do not change them meanwhile.
            zero_copy: let the network card read `data` where it lies, instead of copying it into
                the kernel. It must be read-only, because it is borrowed for longer: until the
                peer has acknowledged it, for which the end of the run waits too, though not for
                ever. It saves time from some 32 KiB on, and none within one machine. What is
                shorter than 16 KiB is copied, and so is all where this cannot be had: with
                another driver than io_uring, before Linux 6.0, through Unix sockets.

        Raises:
            BusyResourceError: another task is sending through this stream.
            BrokenResourceError: the connection is gone.
            ClosedResourceError: this side was closed before or during the call.
            TypeError: `data` is no buffer, nor a list or tuple of buffers; or it can be written
                to, with `zero_copy`.

        If it is cancelled, a part of `data` has been sent: `sent_bytes` says how much. To go on,
        send the rest.

        Checkpoint: always.
        """
        io = self._io
        if io.did_shutdown_SHUT_WR:
            raise ClosedResourceError("can't send data after sending EOF")
        if zero_copy:
            await self._send_uncopied(zero_copies.checked(data))
            return
        if type(data) is not bytes:
            if isinstance(data, (list, tuple)):
                await self._send_vector(Vector(data))
                return
            data = memoryview(data).cast("B")  # type: ignore[arg-type]  # it checks
        size = len(data)
        sent = 0
        try:
            if not size:
                await self._send_nothing()
                return
            sent = await io._start_send(data)
            while sent < size:
                sent += await io._start_send(memoryview(data)[sent:])
        except OSError as exc:
            raise as_stream_error(exc) from exc
        finally:
            self.sent_bytes = sent

    async def _send_vector(self, vector: Vector) -> None:
        try:
            head = vector.head()
            if not head:
                await self._send_nothing()
            while head:
                vector.advance(await self._io._start_send_vector(head))
                head = vector.head()
        except OSError as exc:
            raise as_stream_error(exc) from exc
        finally:
            self.sent_bytes = vector.sent_bytes

    async def _send_uncopied(self, views: list[memoryview]) -> None:
        sent = 0
        try:
            if not views:
                await self._send_nothing()
            for view in views:
                end = sent + len(view)
                while sent < end:
                    sent += await zero_copies.send_some(self._io, view[sent - end :])
        except OSError as exc:
            raise as_stream_error(exc) from exc
        finally:
            self.sent_bytes = sent

    async def send_file(
        self, file: int | HasFileno, offset: int = 0, count: int | None = None
    ) -> int:
        """Send the content of a file, without copying it through this process.

        It goes from the kernel's memory of the file to the socket at once; what may have to come
        from a disk, a kernel worker or a thread fetches before. Where the kernel cannot join the
        two, the file is read and sent.

        Args:
            file: open for reading, on a disk: an object with `fileno()`, as `open` returns, or a
                descriptor. Neither its position nor what it has buffered matters or changes; it
                may be closed meanwhile. Changes to the file meanwhile may or may not be sent.
            offset: where in the file to begin, in bytes.
            count: the most bytes to send; None is to the end of the file.

        Returns:
            How many bytes were sent, `count`, or fewer if the file ended before, as one that is
            cut short meanwhile does; 0 for an `offset` behind its end.

        Raises:
            BusyResourceError: another task is sending through this stream.
            BrokenResourceError: the connection is gone.
            ClosedResourceError: this side was closed before or during the call.
            OSError: the file cannot be read.
            TypeError: `file` is no such object, or a number is no int.
            ValueError: `file` is closed or not on a disk, or a number is negative.

        If it is cancelled or fails, a part has been sent: `sent_bytes` says how much. To go on,
        call it again with `offset` that much higher.

        Checkpoint: always.

        Source: splice(2), sendfile(2).
        """
        io = self._io
        if io.did_shutdown_SHUT_WR:
            raise ClosedResourceError("can't send data after sending EOF")
        fd = open_file(file, offset, count)
        sending = FileSending(fd, offset, count)
        try:
            if count == 0 or io._is_closed():
                await self._send_nothing()
            elif isinstance(io, Socket):
                await sending.through(io)
            else:
                await io._alone(sending.copied, self.socket.send)
        finally:
            os.close(fd)
            self.sent_bytes = sending.sent_bytes
        return sending.sent_bytes

    async def _send_nothing(self) -> None:
        self._io._check_sendable()
        if self._io._is_closed():
            raise ClosedResourceError("this socket was already closed")
        await checkpoint()

    async def wait_send_all_might_not_block(self) -> None:
        self._io._check_sendable()
        if self._io._is_closed():
            raise ClosedResourceError("this socket was already closed")
        try:
            await self._io.wait_writable()
        except OSError as exc:
            raise as_stream_error(exc) from exc

    async def send_eof(self) -> None:
        self._io._check_sendable()
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
            data = await self._io._start_receive(max_bytes)
            if data is None:
                # Receiving ahead has ended meanwhile.
                data = await self._io._start_recv(max_bytes)
        except OSError as exc:
            raise as_stream_error(exc) from exc
        return data

    async def receive_into(self, buffer: bytearray | memoryview) -> int:
        """Wait until there is at least one byte, and receive into the front of `buffer`.

        Args:
            buffer: writable, at least 1 byte long; the kernel may touch it until this returns or
                raises.

        Returns:
            How many bytes were received, 1 to the size of `buffer`; 0 means end of stream, now
            and in every later call.

        Raises:
            BusyResourceError: another task is receiving from this stream.
            BrokenResourceError: the connection is gone.
            ClosedResourceError: this side was closed before or during the call.
            TypeError: `buffer` cannot be written to.
            ValueError: it is empty.

        If it is cancelled, nothing was received.

        Checkpoint: always.
        """
        if not memoryview(buffer).nbytes:
            raise ValueError("receive_into needs a buffer of at least 1 byte, not an empty one")
        try:
            return await self.socket.recv_into(buffer)
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

    def get_peer_credentials(self) -> PeerCredentials:
        """Return which process is at the other end of a Unix socket.

        Raises:
            ClosedResourceError: this side was closed.
            OSError: it is no Unix socket (EOPNOTSUPP).

        Source: unix(7), SO_PEERCRED.
        """
        try:
            return peer_credentials(self.socket)
        except OSError as exc:
            if exc.errno in CLOSED_ERRNOS:
                raise as_stream_error(exc) from exc
            raise
