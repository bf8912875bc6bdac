"""SocketType: what every socket is an instance of, ours and those that users make."""

from __future__ import annotations

import socket as stdlib
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType

    from uringtrio._abc import Buffer
    from uringtrio._ops.sockaddr import Address, ControlMessage


class SocketType:
    """What every socket of this package is an instance of; subclass it to make sockets of your own.

    It cannot be instantiated by itself. Of these methods a subclass defines those that its users
    call: the others raise NotImplementedError. `SocketStream`, `SocketListener` and
    `DTLSEndpoint` take any instance, and use nothing but these methods.

    Every async method is a checkpoint. Unless it says otherwise it raises BusyResourceError if
    another task is waiting in the same direction, ClosedResourceError if the socket is closed
    meanwhile, and OSError as its system call does, EBADF after closing; and if it is cancelled, it
    did nothing.
    """

    __slots__ = ("__weakref__",)

    def __init__(self) -> None:
        super().__init__()  # for subclasses with several bases
        if type(self) is SocketType:
            raise TypeError(
                "SocketType is an abstract class; use uringtrio.socket.socket() to make a socket"
            )

    def __enter__(self) -> Self:
        raise NotImplementedError(_lacking(self, "__enter__"))

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        raise NotImplementedError(_lacking(self, "__exit__"))

    # What needs no waiting, as the standard library has it.

    @property
    def family(self) -> stdlib.AddressFamily:
        """The address family, AF_*."""
        raise NotImplementedError(_lacking(self, "family"))

    @property
    def type(self) -> stdlib.SocketKind:
        """The type, SOCK_*."""
        raise NotImplementedError(_lacking(self, "type"))

    @property
    def proto(self) -> int:
        """The protocol, IPPROTO_*."""
        raise NotImplementedError(_lacking(self, "proto"))

    @property
    def did_shutdown_SHUT_WR(self) -> bool:  # noqa: N802  # Trio's name
        """Whether `shutdown` has ended the sending direction."""
        raise NotImplementedError(_lacking(self, "did_shutdown_SHUT_WR"))

    def fileno(self) -> int:
        """Return the descriptor, -1 when closed."""
        raise NotImplementedError(_lacking(self, "fileno"))

    def getpeername(self) -> Address:
        """Return the address of the peer."""
        raise NotImplementedError(_lacking(self, "getpeername"))

    def getsockname(self) -> Address:
        """Return the address of this end."""
        raise NotImplementedError(_lacking(self, "getsockname"))

    def getsockopt(self, level: int, optname: int, buflen: int = 0) -> Any:
        """Return an option, as an int, or as bytes of at most `buflen`."""
        raise NotImplementedError(_lacking(self, "getsockopt"))

    def setsockopt(
        self, level: int, optname: int, value: int | Buffer | None, optlen: int | None = None
    ) -> None:
        """Set an option to an int or to bytes; to None of `optlen` bytes."""
        raise NotImplementedError(_lacking(self, "setsockopt"))

    def listen(self, backlog: int = min(stdlib.SOMAXCONN, 128)) -> None:
        """Begin to queue incoming connections, at most `backlog` of them."""
        raise NotImplementedError(_lacking(self, "listen"))

    def get_inheritable(self) -> bool:
        """Say whether child processes inherit the descriptor."""
        raise NotImplementedError(_lacking(self, "get_inheritable"))

    def set_inheritable(self, inheritable: bool) -> None:
        """Let child processes inherit the descriptor, or not."""
        raise NotImplementedError(_lacking(self, "set_inheritable"))

    def dup(self) -> SocketType:
        """Return another socket on a duplicate of the descriptor."""
        raise NotImplementedError(_lacking(self, "dup"))

    def is_readable(self) -> bool:
        """Say whether `recv` or `accept` would return at once, without a checkpoint."""
        raise NotImplementedError(_lacking(self, "is_readable"))

    def shutdown(self, flag: int) -> None:
        """End the direction SHUT_RD, SHUT_WR or both, SHUT_RDWR."""
        raise NotImplementedError(_lacking(self, "shutdown"))

    def detach(self) -> int:
        """Give up the descriptor without closing it, and return it."""
        raise NotImplementedError(_lacking(self, "detach"))

    def close(self) -> None:
        """Close the socket. Tasks that wait in it get ClosedResourceError. Twice is allowed.

        Checkpoint: never; this is no async function. While tasks wait, the descriptor is closed
        a moment later, when their ops have ended.
        """
        raise NotImplementedError(_lacking(self, "close"))

    # What may wait.

    async def bind(self, address: Address) -> None:
        """Give this end an address; a name in it is looked up."""
        raise NotImplementedError(_lacking(self, "bind"))

    async def connect(self, address: Address) -> None:
        """Connect to `address`; a name in it is looked up.

        If it is cancelled the socket is closed, because the state of the attempt is unknown.

        Raises:
            OSError: as connect(2); its text names the address.

        Source: connect(2); io_uring since 5.5.
        """
        raise NotImplementedError(_lacking(self, "connect"))

    async def accept(self) -> tuple[SocketType, Address]:
        """Wait for a connection; return its socket and the peer's address.

        Source: accept4(2); io_uring since 5.5.
        """
        raise NotImplementedError(_lacking(self, "accept"))

    async def wait_writable(self) -> None:
        """Wait until the socket might take data."""
        raise NotImplementedError(_lacking(self, "wait_writable"))

    async def recv(self, bufsize: int, flags: int = 0) -> bytes:
        """Receive 1 to `bufsize` bytes of a stream, none at its end; or one datagram, cut to it.

        Source: recv(2); io_uring since 5.6.
        """
        raise NotImplementedError(_lacking(self, "recv"))

    async def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        """Receive into the front of `buffer`; return how many bytes.

        Args:
            buffer: writable; the kernel may touch it until this returns or raises.
            nbytes: at most this many; 0 is the whole buffer.
            flags: MSG_* flags.
        """
        raise NotImplementedError(_lacking(self, "recv_into"))

    async def recvfrom(self, bufsize: int, flags: int = 0) -> tuple[bytes, Address]:
        """Receive a datagram, cut to `bufsize` bytes; return it with the sender's address."""
        raise NotImplementedError(_lacking(self, "recvfrom"))

    async def recvfrom_into(
        self, buffer: Any, nbytes: int = 0, flags: int = 0
    ) -> tuple[int, Address]:
        """Receive a datagram into `buffer`; return its size and the sender's address.

        The arguments are those of `recv_into`.
        """
        raise NotImplementedError(_lacking(self, "recvfrom_into"))

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
        raise NotImplementedError(_lacking(self, "recvmsg"))

    async def recvmsg_into(
        self, buffers: Iterable[Any], ancbufsize: int = 0, flags: int = 0
    ) -> tuple[int, list[ControlMessage], int, Address]:
        """Receive data into several buffers, in order, with control messages, as `recvmsg`."""
        raise NotImplementedError(_lacking(self, "recvmsg_into"))

    async def send(self, data: Buffer, flags: int = 0) -> int:
        """Send bytes; return how many the kernel took, at least 1 unless `data` is empty.

        Source: send(2); io_uring since 5.6.
        """
        raise NotImplementedError(_lacking(self, "send"))

    async def sendto(self, data: Buffer, *args: Any) -> int:
        """Send a datagram: `sendto(data, address)` or `sendto(data, flags, address)`.

        Returns:
            How many bytes were sent.
        """
        raise NotImplementedError(_lacking(self, "sendto"))

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
        raise NotImplementedError(_lacking(self, "sendmsg"))


def _lacking(sock: SocketType, name: str) -> str:
    return f"{type(sock).__name__} does not define {name}, so its users cannot use that"


class SocketFactory(ABC):
    """What makes the sockets of a run; see `uringtrio.socket.set_custom_socket_factory`."""

    __slots__ = ()

    @abstractmethod
    def socket(
        self,
        family: stdlib.AddressFamily | int = stdlib.AF_INET,
        type: stdlib.SocketKind | int = stdlib.SOCK_STREAM,  # noqa: A002  # the standard library's name
        proto: int = 0,
    ) -> SocketType:
        """Return a new socket, an instance of a subclass of `uringtrio.socket.SocketType`.

        `uringtrio.socket.socket` calls this, unless it is given a descriptor.
        """
