"""Socket: the standard library's socket, with its blocking methods as ops.

At most one op waits in each direction, and its object is kept for the next call: a connection that
only receives and sends makes two or three ops in its life. For its stream a socket may receive
ahead, see `ahead.py`.

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
from uringtrio._ops.datagram import RecvFrom, SendTo
from uringtrio._ops.net import (
    LARGE_BYTES_MIN,
    MSG_NOSIGNAL,
    MSG_WAITALL,
    Accept,
    Connect,
    Poll,
    Recv,
    RecvInto,
    RecvMsg,
    Send,
    SendLarge,
    SendMsg,
)
from uringtrio._ops.op import POLLOUT, Op
from uringtrio._ops.receive_ahead import RecvMultishot
from uringtrio._scheduler.current import in_trio_run
from uringtrio._scheduler.traps import checkpoint, checkpoint_if_cancelled
from uringtrio._threads import to_thread

from . import ahead
from .address import is_numeric, resolve
from .closing import check_run, close_after
from .hold import Hold
from .socket_factory import FACTORY
from .socket_type import SocketType

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterable, Sequence
    from types import TracebackType

    from uringtrio._abc import Buffer
    from uringtrio._ops.sockaddr import Address, ControlMessage

OpT = TypeVar("OpT", bound=Op)

# Without MSG_NOSIGNAL a send to a peer that has gone is a SIGPIPE.
SEND_ALL_FLAGS = MSG_WAITALL | MSG_NOSIGNAL
# What asks `getsockopt` for the error of the socket.
SO_ERROR = (stdlib.SOL_SOCKET, stdlib.SO_ERROR, 0)


@final
class Socket(SocketType):
    """A socket whose methods that may wait are async; otherwise as `socket.socket`.

    Made by `uringtrio.socket.socket` and its kin; `SocketType` says what each method does. It has
    no `setblocking`, `settimeout`, `makefile` and `sendall`: use cancel scopes and `SocketStream`.

    Attributes:
        did_shutdown_SHUT_WR: whether `shutdown` has ended the sending direction.
    """

    __slots__ = (
        "_ahead", "_family", "_is_stream", "_may_receive_ahead", "_reading", "_sock", "_type",
        "_writing", "did_shutdown_SHUT_WR",
    )  # fmt: skip

    # Not the property of the contract, because streams read it for every send.
    did_shutdown_SHUT_WR: bool  # noqa: N815  # Trio's name

    def __init__(self, sock: stdlib.socket, like: Socket | None = None) -> None:
        # See `_net/ahead.py`; None before there is one, and again when it has ended with nothing.
        self._ahead: RecvMultishot | None = None
        if type(sock) is not stdlib.socket:
            raise TypeError(f"expected a socket.socket of the standard library, not {sock!r}")
        self._sock = sock
        # The standard library looks these up in an enum each time, for 1.1 us
        # (benchmarks/accept.py). `like` is of the same family and type.
        self._family: stdlib.AddressFamily = sock.family if like is None else like.family
        self._type: stdlib.SocketKind = sock.type if like is None else like.type
        self._is_stream = self._type == stdlib.SOCK_STREAM
        # The op of the last call in each direction, see `_read` and `_check_sendable`.
        self._reading: Op | None = None
        self._writing: Op | None = None
        # Whether the bytes of this socket are for its stream alone.
        self._may_receive_ahead = self._family in ahead.FAMILIES
        self.did_shutdown_SHUT_WR = False
        if sock.gettimeout() != 0:
            sock.setblocking(False)

    def __del__(self) -> None:
        if self._ahead is not None:
            # Else the driver would keep the descriptor open for a receive that nobody awaits.
            ahead.let_go(self._ahead)

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
        return self._family

    @property
    def type(self) -> stdlib.SocketKind:
        return self._type

    @property
    def proto(self) -> int:
        return self._sock.proto

    def fileno(self) -> int:
        ahead.end(self)
        return self._sock.fileno()

    def getpeername(self) -> Address:
        return self._sock.getpeername()

    def getsockname(self) -> Address:
        return self._sock.getsockname()

    def getsockopt(self, level: int, optname: int, buflen: int = 0) -> Any:
        if self._ahead is not None and (level, optname, buflen) == SO_ERROR:
            return ahead.take_error(self) or self._sock.getsockopt(level, optname)
        return self._sock.getsockopt(level, optname, buflen) if buflen else (
            self._sock.getsockopt(level, optname)
        )  # fmt: skip

    def setsockopt(
        self, level: int, optname: int, value: int | Buffer | None, optlen: int | None = None
    ) -> None:
        if (value is None) != (optlen is not None):
            raise TypeError(
                f"invalid value for argument 'value': {value!r} with a length of {optlen}; "
                "None needs a length, and nothing else takes one"
            )
        if optlen is None:
            self._sock.setsockopt(level, optname, value)  # type: ignore[arg-type]  # not None
        else:
            self._sock.setsockopt(level, optname, None, optlen)

    def listen(self, backlog: int = min(stdlib.SOMAXCONN, 128)) -> None:
        self._sock.listen(backlog)

    def get_inheritable(self) -> bool:
        return self._sock.get_inheritable()

    def set_inheritable(self, inheritable: bool) -> None:
        self._sock.set_inheritable(inheritable)

    def dup(self) -> Socket:
        ahead.end(self)
        duplicate = Socket(self._sock.dup(), like=self)
        ahead.end(duplicate)
        return duplicate

    def is_readable(self) -> bool:
        if ahead.has_something(self):
            return True
        poll = select.poll()
        poll.register(self._sock, select.POLLIN)
        return bool(poll.poll(0))

    def shutdown(self, flag: int) -> None:
        self._sock.shutdown(flag)
        if flag in (stdlib.SHUT_WR, stdlib.SHUT_RDWR):
            self.did_shutdown_SHUT_WR = True

    def detach(self) -> int:
        ahead.end_without_loss(self)
        self._reading = self._writing = self._ahead = None
        return self._sock.detach()

    def close(self) -> None:
        # In flight, and not completed a moment ago with a waiter that has yet to resume.
        ops = [op for op in (self._reading, self._writing) if op is not None and op.id]
        is_in_use = bool(ops) and self._sock.fileno() != -1
        if is_in_use:
            check_run(ops)
        # A descriptor that was closed must not be used again: the ops know its number.
        self._reading = self._writing = self._ahead = None
        if is_in_use:
            close_after(self._sock.detach(), ops)
        else:
            self._sock.close()

    # The ops, one in each direction.

    def _read(self, op: OpT) -> OpT:
        # In flight, maybe for a task that is gone. One that has completed has what it is to have,
        # and the next may begin before its task has resumed.
        before = self._reading
        if before is not None and (before.id or type(before) is Hold):
            raise BusyResourceError("another task is already receiving from this socket")
        self._reading = op
        return op

    def _write(self, op: OpT) -> OpT:
        self._check_sendable()
        self._writing = op
        return op

    def _receive(self, op: Recv | RecvFrom | RecvInto | RecvMsg) -> Awaitable[Any]:
        """Start `op`; or let it have, in place of the kernel's, what was received ahead."""
        return self._read(op) if self._ahead is None else ahead.receive(self, op)

    def _start_recv(self, size: int) -> Awaitable[bytes]:
        op = self._reading
        if type(op) is not Recv or op.waiter is not None or op.id:
            return self._receive(Recv(self._sock, size))
        op.size = size
        return op

    def _start_receive(self, size: int) -> Awaitable[bytes | None]:
        """Receive for a stream, see `_net/ahead.py`; None: do so by `_start_recv`."""
        op = self._reading
        if type(op) is RecvMultishot:
            if op.waiter is not None:
                raise BusyResourceError("another task is already receiving from this socket")
            op.size = size
            return op
        if type(op) is Recv and op.waiter is None and not op.id and ahead.may_begin(self):
            self._reading = self._ahead = op = RecvMultishot(self._sock, size)
            return op
        return self._start_recv(size)

    def _is_closed(self) -> bool:
        return self._sock.fileno() == -1

    def _start_send(self, data: Buffer, flags: int = SEND_ALL_FLAGS) -> Send:
        if len(data) >= LARGE_BYTES_MIN:
            return self._write(SendLarge(self._sock, data, flags))
        op = self._writing
        if type(op) is not Send or op.waiter is not None or op.id:
            op = self._write(Send(self._sock))
        op.pins = data
        op.flags = flags
        op.sent = 0
        return op

    def _start_recvfrom(self, size: int, flags: int) -> Awaitable[tuple[bytes, Address]]:
        op = self._reading
        if type(op) is not RecvFrom or op.waiter is not None or op.id:
            return self._receive(RecvFrom(self._sock, size, flags))
        op.size = size
        op.flags = flags
        return op

    def _start_sendto(self, data: Buffer, flags: int, address: Address) -> SendTo:
        op = self._writing
        if type(op) is not SendTo or op.waiter is not None or op.id:
            # Many tasks may send datagrams, as long as at most one of them has to wait for that.
            rival = op if op is not None and op.id else None
            op = SendTo(self._sock, rival)
            if rival is None:
                self._writing = op
        op.take(_readable(data), flags, address)
        return op

    def _start_send_vector(self, views: Sequence[Buffer]) -> SendMsg:
        return self._write(SendMsg(self._sock, views, (), MSG_WAITALL, None))

    async def recv(self, bufsize: int, flags: int = 0) -> bytes:
        try:
            is_plain = bufsize > 0 and not flags
        except TypeError:
            await checkpoint()  # Trio's is one also with a wrong argument.
            raise
        if not self._is_stream:
            return (await self._start_recvfrom(_checked_size(bufsize), flags))[0]
        if not is_plain:
            buffer = bytearray(_checked_size(bufsize))
            size = await self._receive(RecvInto(self._sock, memoryview(buffer), flags))
            return bytes(buffer[:size])
        return await self._start_recv(bufsize)

    async def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        view = _writable(buffer, nbytes)
        return await self._receive(RecvInto(self._sock, view, flags))  # type: ignore[no-any-return]

    async def recvfrom(self, bufsize: int, flags: int = 0) -> tuple[bytes, Address]:
        return await self._start_recvfrom(_checked_size(bufsize), flags)

    async def recvfrom_into(
        self, buffer: Any, nbytes: int = 0, flags: int = 0
    ) -> tuple[int, Address]:
        op = RecvMsg(self._sock, [_writable(buffer, nbytes)], 0, flags)
        size = await self._receive(op)
        return size, op.message()[2]

    async def recvmsg(
        self, bufsize: int, ancbufsize: int = 0, flags: int = 0
    ) -> tuple[bytes, list[ControlMessage], int, Address]:
        buffer = bytearray(_checked_size(bufsize))
        op = RecvMsg(self._sock, [buffer], _checked_size(ancbufsize), flags)
        size = await self._receive(op)
        return bytes(buffer[:size]), *op.message()

    async def recvmsg_into(
        self, buffers: Iterable[Any], ancbufsize: int = 0, flags: int = 0
    ) -> tuple[int, list[ControlMessage], int, Address]:
        views = [_writable(buffer) for buffer in buffers]
        op = RecvMsg(self._sock, views, _checked_size(ancbufsize), flags)
        size = await self._receive(op)
        return size, *op.message()

    async def send(self, data: Buffer, flags: int = 0) -> int:
        if not self._is_stream:
            return await self._start_sendto(data, flags, None)  # type: ignore[no-any-return]
        return await self._start_send(_readable(data), flags | MSG_NOSIGNAL)  # type: ignore[no-any-return]

    async def sendto(self, data: Buffer, *args: Any) -> int:
        if len(args) not in (1, 2):
            raise TypeError(
                "sendto takes (data, address) or (data, flags, address), "
                f"not {len(args) + 1} arguments"
            )
        *flags, address = args
        if not is_numeric(self._family, address):
            address = await self._resolve(address, local=False)
        if self._is_stream:
            self._check_sendable()
        return await self._start_sendto(data, flags[0] if flags else 0, address)  # type: ignore[no-any-return]

    async def sendmsg(
        self,
        buffers: Iterable[Buffer],
        ancdata: Iterable[tuple[int, int, Any]] = (),
        flags: int = 0,
        address: Address = None,
    ) -> int:
        if address is not None:
            address = await self._resolve(address, local=False)
        views = [_readable(buffer) for buffer in buffers]
        control = [(level, kind, bytes(data)) for level, kind, data in ancdata]
        return await self._write(SendMsg(self._sock, views, control, flags, address))  # type: ignore[no-any-return]

    async def accept(self) -> tuple[Socket, Address]:
        op = self._reading
        if type(op) is not Accept or op.waiter is not None or op.id:
            op = self._read(Accept(self._sock))
        fd = await op
        address = op.address()
        sock = stdlib.socket(self._family, self._type, self._sock.proto, fileno=fd)
        if address is None:
            address = sock.getpeername()
        return Socket(sock, like=self), address

    async def bind(self, address: Address) -> None:
        address = await self._resolve(address, local=True)
        if self._family == stdlib.AF_UNIX and address and address[0] not in ("\0", 0):
            # It creates a file, on whatever disk that is.
            await to_thread.run_sync(self._sock.bind, address)
        else:
            self._sock.bind(address)
            await checkpoint()

    async def connect(self, address: Address) -> None:
        try:
            address = await self._resolve(address, local=False)
            await self._connect(address)
        except Cancelled:
            self.close()
            raise

    async def _connect(self, address: Address) -> None:
        try:
            await self._write(Connect(self._sock, address))
        except OSError as exc:
            if exc.errno is None:
                raise
            reason = os.strerror(exc.errno)
            raise OSError(exc.errno, f"Error connecting to {address!r}: {reason}") from None

    def _check_sendable(self) -> None:
        """Raise BusyResourceError if another task is sending."""
        op = self._writing
        # In flight; or completed, for a task that has yet to resume, and may have more to send.
        if op is not None and (op.id or op.waiter is not None):
            raise BusyResourceError("another task is already sending through this socket")

    async def wait_writable(self) -> None:
        await self._write(Poll(self._sock.fileno(), POLLOUT))

    async def _resolve(self, address: Address, *, local: bool) -> Address:
        await checkpoint_if_cancelled()
        return await resolve(self, address, local=local)


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
) -> SocketType:
    """Make a socket, as `socket.socket` does, or as the run's custom socket factory does.

    Args:
        family: AF_*.
        type: SOCK_*.
        proto: IPPROTO_*; 0 is the usual one for the type.
        fileno: take this descriptor over, and find the other three from it.
    """
    if fileno is not None:
        return Socket(stdlib.socket(-1, -1, -1, fileno))
    factory = FACTORY.get() if in_trio_run() else None
    if factory is not None:
        return factory.socket(family, type, proto)
    return Socket(stdlib.socket(family, type, proto))


def from_stdlib_socket(sock: stdlib.socket) -> Socket:
    """Take over a socket of the standard library; do not use the old object any more.

    Raises:
        TypeError: it is no `socket.socket`, or of a subclass.
    """
    return Socket(sock)


def fromfd(
    fd: int,
    family: stdlib.AddressFamily | int = stdlib.AF_INET,
    type: stdlib.SocketKind | int = stdlib.SOCK_STREAM,  # noqa: A002  # the standard library's name
    proto: int = 0,
) -> Socket:
    """Make a socket on a duplicate of `fd`, as `socket.fromfd` does.

    Args:
        fd: a socket's; the caller keeps it.
        family: not needed: this and the next two are found from the descriptor.
        type: likewise.
        proto: likewise.
    """
    del family, type, proto
    return Socket(stdlib.fromfd(fd, -1, -1, -1))


def socketpair(
    family: stdlib.AddressFamily | int | None = None,
    type: stdlib.SocketKind | int = stdlib.SOCK_STREAM,  # noqa: A002  # the standard library's name
    proto: int = 0,
) -> tuple[Socket, Socket]:
    """Make two connected sockets, as `socket.socketpair` does."""
    left, right = stdlib.socketpair(family, type, proto)
    return Socket(left), Socket(right)
