"""Socket: the standard library's socket, with its blocking methods as ops.

At most one op waits in each direction, and its object is kept for the next call: a connection that
only receives and sends makes two ops in its life. `op.waiter` is the test for a second task.

Closing while a task waits (contract 3): the descriptor leaves the Python object at once, so that
every later use fails; the ops are interrupted; and whichever completes last closes the descriptor.
Until then the kernel may still use it, and the peer sees no end of stream.
"""

from __future__ import annotations

import os
import select
import socket as stdlib
from typing import TYPE_CHECKING, Any, Self, TypeVar, final

from uringtrio._errors import BusyResourceError, Cancelled
from uringtrio._ops.net import (
    Accept,
    Connect,
    Poll,
    Recv,
    RecvInto,
    RecvMsg,
    Send,
    SendMsg,
    SendTo,
)
from uringtrio._ops.op import POLLOUT, Op
from uringtrio._scheduler.traps import checkpoint, checkpoint_if_cancelled
from uringtrio._threads import to_thread

from .address import resolve
from .closing import close_after
from .socket_type import SocketType

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType

    from uringtrio._abc import Buffer
    from uringtrio._ops.sockaddr import Address, ControlMessage

OpT = TypeVar("OpT", bound=Op)

# Without MSG_NOSIGNAL a send to a peer that has gone is a SIGPIPE.
SEND_ALL_FLAGS = stdlib.MSG_WAITALL | stdlib.MSG_NOSIGNAL


def _is_in_use(op: Op | None) -> bool:
    # In flight, maybe for a task that is gone; or completed, with a waiter that has yet to resume.
    return op is not None and (op.id != 0 or op.waiter is not None)


@final
class Socket(SocketType):
    """A socket whose methods that may wait are async; otherwise as `socket.socket`.

    Made by `uringtrio.socket.socket` and its kin. It has no `setblocking`, `settimeout`,
    `makefile` and `sendall`: use cancel scopes and `SocketStream`.

    Every async method is a checkpoint, and raises BusyResourceError if another task is waiting in
    the same direction, ClosedResourceError if the socket is closed meanwhile, and OSError as its
    system call does, EBADF after closing. Cancelled, it did nothing, unless it says otherwise.

    Attributes:
        did_shutdown_SHUT_WR: whether `shutdown` has ended the sending direction.
    """

    __slots__ = ("_is_stream", "_reading", "_sock", "_writing", "did_shutdown_SHUT_WR")

    def __init__(self, sock: stdlib.socket) -> None:
        if type(sock) is not stdlib.socket:
            raise TypeError(f"expected a socket.socket of the standard library, not {sock!r}")
        self._sock = sock
        self._is_stream = sock.type == stdlib.SOCK_STREAM
        # The op of the last call in each direction, see `_is_in_use`.
        self._reading: Op | None = None
        self._writing: Op | None = None
        self.did_shutdown_SHUT_WR = False
        if sock.gettimeout() != 0:
            sock.setblocking(False)

    def __repr__(self) -> str:
        return repr(self._sock).replace("socket.socket", "uringtrio.socket.socket")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    # What needs no waiting, as the standard library has it.

    @property
    def family(self) -> stdlib.AddressFamily:
        """The address family, AF_*."""
        return stdlib.AddressFamily(self._sock.family)

    @property
    def type(self) -> stdlib.SocketKind:
        """The type, SOCK_*."""
        return stdlib.SocketKind(self._sock.type)

    @property
    def proto(self) -> int:
        """The protocol, IPPROTO_*."""
        return self._sock.proto

    def fileno(self) -> int:
        """Return the descriptor, -1 when closed."""
        return self._sock.fileno()

    def getpeername(self) -> Address:
        """Return the address of the peer."""
        return self._sock.getpeername()

    def getsockname(self) -> Address:
        """Return the address of this end."""
        return self._sock.getsockname()

    def getsockopt(self, level: int, optname: int, buflen: int = 0) -> Any:
        """Return an option, as an int, or as bytes of at most `buflen`."""
        return self._sock.getsockopt(level, optname, buflen) if buflen else (
            self._sock.getsockopt(level, optname)
        )  # fmt: skip

    def setsockopt(
        self, level: int, optname: int, value: int | Buffer | None, optlen: int | None = None
    ) -> None:
        """Set an option to an int or to bytes; to None of `optlen` bytes."""
        if optlen is None:
            self._sock.setsockopt(level, optname, value)  # type: ignore[arg-type]  # it checks
        elif value is not None:
            raise TypeError(
                f"invalid value for argument 'value': a length goes with None only, not {value!r}"
            )
        else:
            self._sock.setsockopt(level, optname, None, optlen)

    def listen(self, backlog: int = min(stdlib.SOMAXCONN, 128)) -> None:
        """Begin to queue incoming connections, at most `backlog` of them."""
        self._sock.listen(backlog)

    def get_inheritable(self) -> bool:
        """Say whether child processes inherit the descriptor."""
        return self._sock.get_inheritable()

    def set_inheritable(self, inheritable: bool) -> None:
        """Let child processes inherit the descriptor, or not."""
        self._sock.set_inheritable(inheritable)

    def dup(self) -> Socket:
        """Return another socket on a duplicate of the descriptor."""
        return Socket(self._sock.dup())

    def is_readable(self) -> bool:
        """Say whether `recv` or `accept` would return at once, without a checkpoint."""
        poll = select.poll()
        poll.register(self._sock, select.POLLIN)
        return bool(poll.poll(0))

    def shutdown(self, flag: int) -> None:
        """End the direction SHUT_RD, SHUT_WR or both, SHUT_RDWR."""
        self._sock.shutdown(flag)
        if flag in (stdlib.SHUT_WR, stdlib.SHUT_RDWR):
            self.did_shutdown_SHUT_WR = True

    def detach(self) -> int:
        """Give up the descriptor without closing it, and return it."""
        self._reading = self._writing = None
        return self._sock.detach()

    def close(self) -> None:
        """Close the socket. Tasks that wait in it get ClosedResourceError. Twice is allowed.

        Checkpoint: never; this is no async function. While tasks wait, the descriptor is closed
        a moment later, when their ops have ended.
        """
        # In flight, and not completed a moment ago with a waiter that has yet to resume.
        ops = [op for op in (self._reading, self._writing) if op is not None and op.id]
        # A descriptor that was closed must not be used again: the ops know its number.
        self._reading = self._writing = None
        if not ops or self._sock.fileno() == -1:
            self._sock.close()
            return
        close_after(self._sock.detach(), ops)

    # The ops, one in each direction.

    def _read(self, op: OpT) -> OpT:
        if _is_in_use(self._reading):
            raise BusyResourceError("another task is already receiving from this socket")
        self._reading = op
        return op

    def _write(self, op: OpT) -> OpT:
        self._check_sendable()
        self._writing = op
        return op

    def _start_recv(self, size: int) -> Recv:
        op = self._reading
        if type(op) is not Recv or op.waiter is not None or op.id:
            op = self._read(Recv(self._sock))
        op.size = size
        return op

    def _start_send(self, data: Buffer, flags: int = SEND_ALL_FLAGS) -> Send:
        op = self._writing
        if type(op) is not Send or op.waiter is not None or op.id:
            op = self._write(Send(self._sock))
        op.pins = data
        op.flags = flags
        op.sent = 0
        return op

    async def recv(self, bufsize: int, flags: int = 0) -> bytes:
        """Receive 1 to `bufsize` bytes of a stream, none at its end; or one datagram, cut to it.

        Source: recv(2); io_uring since 5.6.
        """
        if flags or bufsize <= 0 or not self._is_stream:
            buffer = bytearray(_checked_size(bufsize))
            size = await self._read(RecvInto(self._sock, memoryview(buffer), flags))
            return bytes(buffer[:size])
        return await self._start_recv(bufsize)  # type: ignore[no-any-return]

    async def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        """Receive into the front of `buffer`; return how many bytes.

        Args:
            buffer: writable; the kernel may touch it until this returns or raises.
            nbytes: at most this many; 0 is the whole buffer.
            flags: MSG_* flags.
        """
        view = _writable(buffer, nbytes)
        return await self._read(RecvInto(self._sock, view, flags))  # type: ignore[no-any-return]

    async def recvfrom(self, bufsize: int, flags: int = 0) -> tuple[bytes, Address]:
        """Receive a datagram, cut to `bufsize` bytes; return it with the sender's address."""
        buffer = bytearray(_checked_size(bufsize))
        op = RecvMsg(self._sock, [buffer], 0, flags)
        size = await self._read(op)
        return bytes(buffer[:size]), op.message()[2]

    async def recvfrom_into(
        self, buffer: Any, nbytes: int = 0, flags: int = 0
    ) -> tuple[int, Address]:
        """Receive a datagram into `buffer`; return its size and the sender's address.

        The arguments are those of `recv_into`.
        """
        op = RecvMsg(self._sock, [_writable(buffer, nbytes)], 0, flags)
        size = await self._read(op)
        return size, op.message()[2]

    async def recvmsg(
        self, bufsize: int, ancbufsize: int = 0, flags: int = 0
    ) -> tuple[bytes, list[ControlMessage], int, Address]:
        """Receive data with control messages.

        Args:
            bufsize: at most this many bytes of data.
            ancbufsize: room for control messages, in bytes; see `CMSG_SPACE`.
            flags: MSG_* flags.

        Returns:
            (data, [(level, type, data)], MSG_* flags of the message, address or None).

        Source: recvmsg(2); io_uring since 5.3.
        """
        buffer = bytearray(_checked_size(bufsize))
        op = RecvMsg(self._sock, [buffer], _checked_size(ancbufsize), flags)
        size = await self._read(op)
        return bytes(buffer[:size]), *op.message()

    async def recvmsg_into(
        self, buffers: Iterable[Any], ancbufsize: int = 0, flags: int = 0
    ) -> tuple[int, list[ControlMessage], int, Address]:
        """Receive data into several buffers, in order, with control messages, as `recvmsg`."""
        views = [_writable(buffer) for buffer in buffers]
        op = RecvMsg(self._sock, views, _checked_size(ancbufsize), flags)
        size = await self._read(op)
        return size, *op.message()

    async def send(self, data: Buffer, flags: int = 0) -> int:
        """Send bytes; return how many the kernel took, at least 1 unless `data` is empty.

        Source: send(2); io_uring since 5.6.
        """
        return await self._start_send(_readable(data), flags | stdlib.MSG_NOSIGNAL)  # type: ignore[no-any-return]

    async def sendto(self, data: Buffer, *args: Any) -> int:
        """Send a datagram: `sendto(data, address)` or `sendto(data, flags, address)`.

        Returns:
            How many bytes were sent.
        """
        if len(args) not in (1, 2):
            raise TypeError(
                "sendto takes (data, address) or (data, flags, address), "
                f"not {len(args) + 1} arguments"
            )
        *flags, address = args
        address = await self._resolve(address, local=False)
        op = SendTo(self._sock, _readable(data), flags[0] if flags else 0, address)
        return await self._write(op)  # type: ignore[no-any-return]

    async def sendmsg(
        self,
        buffers: Iterable[Buffer],
        ancdata: Iterable[tuple[int, int, Any]] = (),
        flags: int = 0,
        address: Address = None,
    ) -> int:
        """Send data from several buffers, with control messages.

        Args:
            buffers: at most IOV_MAX; borrowed until this returns or raises.
            ancdata: control messages (level, type, data).
            flags: MSG_* flags.
            address: None sends to the peer.

        Returns:
            How many bytes of data were sent.

        Source: sendmsg(2); io_uring since 5.3.
        """
        if address is not None:
            address = await self._resolve(address, local=False)
        views = [_readable(buffer) for buffer in buffers]
        control = [(level, kind, bytes(data)) for level, kind, data in ancdata]
        return await self._write(SendMsg(self._sock, views, control, flags, address))  # type: ignore[no-any-return]

    async def accept(self) -> tuple[Socket, Address]:
        """Wait for a connection; return its socket and the peer's address.

        Source: accept4(2); io_uring since 5.5.
        """
        op = self._reading
        if type(op) is not Accept or op.waiter is not None or op.id:
            op = self._read(Accept(self._sock))
        fd = await op
        address = op.address()
        sock = stdlib.socket(self._sock.family, self._sock.type, self._sock.proto, fileno=fd)
        if address is None:
            address = sock.getpeername()
        return Socket(sock), address

    async def bind(self, address: Address) -> None:
        """Give this end an address; a name in it is looked up."""
        address = await self._resolve(address, local=True)
        if self._sock.family == stdlib.AF_UNIX and address and address[0] not in ("\0", 0):
            # It creates a file, on whatever disk that is.
            await to_thread.run_sync(self._sock.bind, address)
        else:
            self._sock.bind(address)
            await checkpoint()

    async def connect(self, address: Address) -> None:
        """Connect to `address`; a name in it is looked up.

        If it is cancelled the socket is closed, because the state of the attempt is unknown.

        Raises:
            OSError: as connect(2); its text names the address.

        Source: connect(2); io_uring since 5.5.
        """
        address = await self._resolve(address, local=False)
        try:
            await self._write(Connect(self._sock, address))
        except Cancelled:
            self.close()
            raise
        except OSError as exc:
            if exc.errno is None:
                raise
            reason = os.strerror(exc.errno)
            raise OSError(exc.errno, f"Error connecting to {address!r}: {reason}") from None

    def _check_sendable(self) -> None:
        """Raise BusyResourceError if another task is sending."""
        if _is_in_use(self._writing):
            raise BusyResourceError("another task is already sending through this socket")

    async def wait_writable(self) -> None:
        """Wait until the socket might take data."""
        await self._write(Poll(self._sock.fileno(), POLLOUT))

    async def _resolve(self, address: Address, *, local: bool) -> Address:
        await checkpoint_if_cancelled()
        return await resolve(self._sock, address, local=local)


def _checked_size(size: int) -> int:
    if size < 0:
        raise ValueError(f"negative buffer size {size}")
    return size


def _writable(buffer: Any, size: int = 0) -> memoryview:
    """Return the first `size` bytes of `buffer`, all of them for 0."""
    view = memoryview(buffer)
    if view.readonly:
        raise TypeError(f"a receive needs a writable buffer, not {type(buffer).__name__}")
    view = view.cast("B")
    if _checked_size(size) > len(view):
        raise ValueError(f"buffer of {len(view)} bytes is too small for the requested {size} bytes")
    return view[:size] if size else view


def _readable(data: Any) -> Any:
    # The kernel reads bytes where they are; everything else through a flat view.
    return data if isinstance(data, bytes) else memoryview(data).cast("B")


def socket(
    family: stdlib.AddressFamily | int = stdlib.AF_INET,
    type: stdlib.SocketKind | int = stdlib.SOCK_STREAM,  # noqa: A002  # the standard library's name
    proto: int = 0,
    fileno: int | None = None,
) -> Socket:
    """Make a socket, as `socket.socket` does.

    Args:
        family: AF_*.
        type: SOCK_*.
        proto: IPPROTO_*; 0 is the usual one for the type.
        fileno: take this descriptor over, and find the other three from it.
    """
    if fileno is not None:
        return Socket(stdlib.socket(-1, -1, -1, fileno))
    return Socket(stdlib.socket(family, type, proto))


def from_stdlib_socket(sock: stdlib.socket) -> Socket:
    """Take over a socket of the standard library; do not use the old object any more.

    Raises:
        TypeError: it is no `socket.socket`, or of a subclass.
    """
    return Socket(sock)


def fromfd(
    fd: int,
    family: stdlib.AddressFamily | int,
    type: stdlib.SocketKind | int = stdlib.SOCK_STREAM,  # noqa: A002  # the standard library's name
    proto: int = 0,
) -> Socket:
    """Make a socket on a duplicate of `fd`, as `socket.fromfd` does."""
    return Socket(stdlib.fromfd(fd, family, type, proto))


def socketpair(
    family: stdlib.AddressFamily | int | None = None,
    type: stdlib.SocketKind | int = stdlib.SOCK_STREAM,  # noqa: A002  # the standard library's name
    proto: int = 0,
) -> tuple[Socket, Socket]:
    """Make two connected sockets, as `socket.socketpair` does."""
    left, right = stdlib.socketpair(family, type, proto)
    return Socket(left), Socket(right)
