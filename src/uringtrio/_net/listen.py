"""Listeners, and servers made of them."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import socket as stdlib
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TypeVar, final

from uringtrio._abc import AsyncResource, Listener, Sealed
from uringtrio._errors import ClosedResourceError
from uringtrio._scheduler.nursery import TASK_STATUS_IGNORED, Nursery, TaskStatus, open_nursery
from uringtrio._scheduler.traps import checkpoint
from uringtrio._timeouts import sleep

from .resolver import getaddrinfo
from .socket import Socket, socket as make_socket
from .socket_type import SocketType
from .staple import aclose_forcefully
from .stream import SocketStream

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence

    from .unix import SocketFile

ResourceT = TypeVar("ResourceT", bound=AsyncResource)

LOGGER = logging.getLogger("uringtrio.serve_listeners")

# The connection died between the kernel's handshake and our accept: take the next one.
# Source: accept(2), "Error handling".
_IGNORABLE_ERRNOS = frozenset(
    getattr(errno, name)
    for name in ("EPERM", "ECONNABORTED", "EPROTO", "ENETDOWN", "ENOPROTOOPT", "EHOSTDOWN",
                 "ENONET", "EHOSTUNREACH", "EOPNOTSUPP", "ENETUNREACH", "ENOSR", "ESOCKTNOSUPPORT",
                 "EPROTONOSUPPORT", "ETIMEDOUT", "ECONNRESET")
    if hasattr(errno, name)
)  # fmt: skip

# The process or the system is short of something: wait for connections to end.
_SCARCITY_ERRNOS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})
SCARCITY_SLEEP_SECONDS = 0.1

# The kernel cuts it to net.core.somaxconn, which is what "as long as possible" means.
BACKLOG_MAX = 0xFFFF

# How many connections a server takes in one turn of the run at most. With one for each turn, in
# which all those that it has are served, a crowd of 500 that comes at once waits for seconds.
ACCEPTED_MAX = 256

# Whether the caller is one of several runs that listen on the same ports; `_shards` sets it.
SHARES_PORTS: ContextVar[bool] = ContextVar("shares_ports", default=False)


@final
class SocketListener(Sealed, Listener[SocketStream]):
    """Hands out incoming connections of a listening socket, of which it becomes the owner.

    Args:
        socket: of type SOCK_STREAM and listening; see `SocketStream`.

    Raises:
        TypeError: it is no socket of `uringtrio.socket`.
        ValueError: it is not of type SOCK_STREAM, or not listening.

    Attributes:
        socket: the socket.
    """

    __slots__ = ("__dict__", "__weakref__", "_file", "socket")

    def __init__(self, socket: SocketType) -> None:
        if not isinstance(socket, SocketType):
            raise TypeError(
                f"SocketListener needs a socket made by uringtrio.socket, not {socket!r}"
            )
        if socket.type != stdlib.SOCK_STREAM:
            raise ValueError("SocketListener requires a SOCK_STREAM socket")
        self.socket = socket
        # See `open_unix_listeners`, which sets it.
        self._file: SocketFile | None = None
        try:
            is_listening = socket.getsockopt(stdlib.SOL_SOCKET, stdlib.SO_ACCEPTCONN)
        except OSError:
            pass  # Not every implementation has the option.
        else:
            if not is_listening:
                raise ValueError("SocketListener requires a listening socket")

    async def accept(self) -> SocketStream:
        """Wait for a connection and return its stream.

        Connections that died before they could be handed out are passed over.

        Raises:
            ClosedResourceError: this listener is closed, or was closed meanwhile.
            BusyResourceError: another task is accepting.
            OSError: the process or the system has no room for it (EMFILE, ENFILE, ENOMEM,
                ENOBUFS); the connection waits in the queue.

        Checkpoint: always.
        """
        while True:
            try:
                sock, _ = await self.socket.accept()
            except OSError as exc:
                if exc.errno in (errno.EBADF, errno.ENOTSOCK):
                    raise ClosedResourceError("this socket was already closed") from None
                if exc.errno not in _IGNORABLE_ERRNOS:
                    raise
            else:
                return SocketStream(sock)

    def _accept_nowait(self) -> SocketStream | None:
        """Return a connection that waits already; an error is left to the next `accept`."""
        if isinstance(self.socket, Socket):
            with contextlib.suppress(OSError):
                sock, _ = self.socket._sock.accept()
                return SocketStream(Socket(sock, like=self.socket))
        return None

    async def aclose(self) -> None:
        """Close the socket, and remove the file of a Unix socket that this package opened.

        Checkpoint: always.
        """
        if self._file is not None:
            # Not in a thread: closing must not wait, and the name is in the kernel's cache.
            self._file.remove()
            self._file = None
        self.socket.close()
        await checkpoint()


def checked_backlog(backlog: int | None) -> int:
    """Return what to give to `listen`.

    Raises:
        TypeError: it is neither an int nor None.
    """
    if backlog is None:
        return BACKLOG_MAX
    if not isinstance(backlog, int):
        raise TypeError(f"backlog must be an int or None, not {backlog!r}")
    return min(backlog, BACKLOG_MAX)


async def open_tcp_listeners(
    port: int,
    *,
    host: str | bytes | None = None,
    backlog: int | None = None,
    reuse_port: bool | None = None,
    fastopen: int | None = None,
) -> list[SocketListener]:
    """Listen on a TCP port, on each address that `host` has.

    Args:
        port: 0 lets the kernel choose one, for each address another.
        host: a name or an address to bind to; None is every address of this machine, of both
            IPv4 and IPv6.
        backlog: how many connections may wait to be accepted; None is as many as the system
            allows.
        reuse_port: whether others of the same user may listen on the port too, if they say so as
            well; the kernel spreads the connections over them. None is True in the shards of
            `run_sharded`, and False elsewhere.
        fastopen: how many connections may wait whose data came with their first packet, before
            the handshake is done; such data may come twice. None refuses them.

    Returns:
        At least one listener, with SO_REUSEADDR set, and IPV6_V6ONLY for IPv6.

    Raises:
        TypeError: `port`, `backlog` or `fastopen` is no int.
        OSError: the port is in use (EADDRINUSE), the name cannot be resolved, ...

    Checkpoint: always.

    Source: socket(7), SO_REUSEPORT; tcp(7), TCP_FASTOPEN.
    """
    if not isinstance(port, int):
        raise TypeError(f"port must be an int, not {port!r}")
    backlog = checked_backlog(backlog)
    options = _listening_options(reuse_port=reuse_port, fastopen=fastopen)
    found = await getaddrinfo(host, port, type=stdlib.SOCK_STREAM, flags=stdlib.AI_PASSIVE)
    listeners: list[SocketListener] = []
    unsupported: list[OSError] = []
    try:
        for family, kind, proto, _, address in found:
            try:
                sock = make_socket(family, kind, proto)
            except OSError as exc:
                if exc.errno != errno.EAFNOSUPPORT:
                    raise
                # IPv6 may be off on this machine, and "every address" must still work.
                unsupported.append(exc)
            else:
                listeners.append(await _listen(sock, address, backlog, options))
    except BaseException:
        for listener in listeners:
            listener.socket.close()
        raise
    if not listeners:
        raise OSError(
            errno.EAFNOSUPPORT, f"This system doesn't support any address family of {host!r}"
        ) from ExceptionGroup("no address family is supported", unsupported)
    return listeners


def _listening_options(
    *, reuse_port: bool | None, fastopen: int | None
) -> list[tuple[int, int, int]]:
    options = [(stdlib.SOL_SOCKET, stdlib.SO_REUSEADDR, 1)]
    if SHARES_PORTS.get() if reuse_port is None else reuse_port:
        options.append((stdlib.SOL_SOCKET, stdlib.SO_REUSEPORT, 1))
    if fastopen is not None:
        if not isinstance(fastopen, int):
            raise TypeError(f"fastopen must be an int or None, not {fastopen!r}")
        options.append((stdlib.IPPROTO_TCP, stdlib.TCP_FASTOPEN, fastopen))
    return options


async def _listen(
    sock: SocketType, address: Any, backlog: int, options: Iterable[tuple[int, int, int]]
) -> SocketListener:
    """Return a listener on `sock`, which is closed if that fails."""
    with closed_if_it_fails(sock, address):
        for option in options:
            sock.setsockopt(*option)
        if sock.family == stdlib.AF_INET6:
            sock.setsockopt(stdlib.IPPROTO_IPV6, stdlib.IPV6_V6ONLY, 1)
        await sock.bind(address)
        sock.listen(backlog)
        return SocketListener(sock)


@contextlib.contextmanager
def closed_if_it_fails(sock: SocketType | stdlib.socket, address: object) -> Iterator[None]:
    """Close `sock` if what is done to make it listen on `address` fails; let the error say so."""
    try:
        yield
    except BaseException as exc:
        sock.close()
        if isinstance(exc, OSError) and exc.errno is not None:
            reason = os.strerror(exc.errno)
            raise OSError(exc.errno, f"cannot listen on {address!r}: {reason}") from exc
        raise


async def _run_handler(stream: ResourceT, handler: Callable[[ResourceT], Awaitable[Any]]) -> None:
    try:
        await handler(stream)
    finally:
        await aclose_forcefully(stream)


async def _serve_one_listener(
    listener: Listener[ResourceT],
    handler_nursery: Any,
    handler: Callable[[ResourceT], Awaitable[Any]],
) -> None:
    # Only our own have it; one that passes attributes on to another must be asked itself.
    accept_nowait = getattr(type(listener), "_accept_nowait", lambda _: None)
    async with listener:
        while True:
            try:
                stream: ResourceT | None = await listener.accept()
            except OSError as exc:
                if exc.errno not in _SCARCITY_ERRNOS:
                    raise
                LOGGER.exception(
                    "accept returned %s (%s); retrying in %s seconds",
                    errno.errorcode[exc.errno],
                    os.strerror(exc.errno),
                    SCARCITY_SLEEP_SECONDS,
                )
                await sleep(SCARCITY_SLEEP_SECONDS)
            else:
                count = 0
                while stream is not None:
                    handler_nursery.start_soon(_run_handler, stream, handler)
                    count += 1
                    stream = accept_nowait(listener) if count < ACCEPTED_MAX else None


async def serve_listeners(
    handler: Callable[[ResourceT], Awaitable[Any]],
    listeners: Sequence[Listener[ResourceT]],
    *,
    handler_nursery: Nursery | None = None,
    task_status: TaskStatus[Sequence[Listener[ResourceT]]] = TASK_STATUS_IGNORED,
) -> None:
    """Accept connections for ever, and run `handler(stream)` in a task for each.

    Args:
        handler: an async function; its stream is closed, forcefully, when it has returned. If it
            raises, the server goes down with the exception.
        listeners: closed when this ends.
        handler_nursery: where handlers run; None makes a nursery that ends with the server.
        task_status: for `nursery.start`, which then returns `listeners`.

    Raises:
        Cancelled: the only way to stop it, other than an error.

    Running out of descriptors or memory is logged to "uringtrio.serve_listeners" and waited out.

    Checkpoint: always.
    """
    async with open_nursery() as nursery:
        for listener in listeners:
            nursery.start_soon(_serve_one_listener, listener, handler_nursery or nursery, handler)
        # The listeners' queues exist already: clients can connect from here on.
        task_status.started(listeners)
    raise AssertionError("a server never ends by itself")


async def serve_tcp(  # noqa: PLR0913  # Trio's arguments, and two of our own
    handler: Callable[[SocketStream], Awaitable[Any]],
    port: int,
    *,
    host: str | bytes | None = None,
    backlog: int | None = None,
    reuse_port: bool | None = None,
    fastopen: int | None = None,
    handler_nursery: Nursery | None = None,
    task_status: TaskStatus[list[SocketListener]] = TASK_STATUS_IGNORED,
) -> None:
    """Listen on a TCP port for ever, and run `handler(stream)` in a task for each connection.

    Args:
        handler: an async function, see `serve_listeners`.
        port: see `open_tcp_listeners`.
        host: see `open_tcp_listeners`.
        backlog: see `open_tcp_listeners`.
        reuse_port: see `open_tcp_listeners`.
        fastopen: see `open_tcp_listeners`.
        handler_nursery: see `serve_listeners`.
        task_status: for `nursery.start`, which then returns the list of listeners; with port 0
            they tell the port.

    Raises: what `open_tcp_listeners` and `serve_listeners` raise.

    Checkpoint: always.
    """
    listeners = await open_tcp_listeners(
        port, host=host, backlog=backlog, reuse_port=reuse_port, fastopen=fastopen
    )
    await serve_listeners(
        handler,
        listeners,
        handler_nursery=handler_nursery,
        task_status=task_status,  # type: ignore[arg-type]  # a list is a sequence
    )
