"""TLS over TCP: connections, listeners and servers."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any

from uringtrio._net.connect import HEAD_START_SECONDS, open_tcp_stream
from uringtrio._net.listen import open_tcp_listeners, serve_listeners
from uringtrio._scheduler.nursery import TASK_STATUS_IGNORED, Nursery, TaskStatus

from .listener import SSLListener
from .stream import SSLStream

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from uringtrio._net.stream import SocketStream


async def open_ssl_over_tcp_stream(
    host: str | bytes,
    port: int,
    *,
    https_compatible: bool = False,
    ssl_context: ssl.SSLContext | None = None,
    happy_eyeballs_delay: float | None = HEAD_START_SECONDS,
) -> SSLStream[SocketStream]:
    """Connect to a TCP port, for encrypted communication with a peer that proves to be `host`.

    The handshake, and with it the proof, happens when something is first sent or received, or by
    `SSLStream.do_handshake`.

    Args:
        host: a name or an address.
        port: 1 to 65535.
        https_compatible: see `SSLStream`; True for web servers.
        ssl_context: certificates and settings; None trusts whom this machine trusts, and notices
            when a connection is cut.
        happy_eyeballs_delay: see `open_tcp_stream`.

    Raises: what `open_tcp_stream` and `SSLStream` raise.

    Checkpoint: always.
    """
    if ssl_context is None:
        ssl_context = ssl.create_default_context()
        ssl_context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF
    transport = await open_tcp_stream(host, port, happy_eyeballs_delay=happy_eyeballs_delay)
    try:
        return SSLStream(
            transport, ssl_context, server_hostname=host, https_compatible=https_compatible
        )
    except BaseException:
        transport.socket.close()
        raise


async def open_ssl_over_tcp_listeners(
    port: int,
    ssl_context: ssl.SSLContext,
    *,
    host: str | bytes | None = None,
    https_compatible: bool = False,
    backlog: int | None = None,
) -> list[SSLListener[SocketStream]]:
    """Listen on a TCP port for encrypted connections, on each address that `host` has.

    Args:
        port: see `open_tcp_listeners`.
        ssl_context: with the server's certificate.
        host: see `open_tcp_listeners`.
        https_compatible: see `SSLStream`.
        backlog: see `open_tcp_listeners`.

    Returns:
        At least one listener; its socket is `listener.transport_listener.socket`.

    Raises: what `open_tcp_listeners` and `SSLListener` raise.

    Checkpoint: always.
    """
    listeners = await open_tcp_listeners(port, host=host, backlog=backlog)
    try:
        return [
            SSLListener(listener, ssl_context, https_compatible=https_compatible)
            for listener in listeners
        ]
    except BaseException:
        for listener in listeners:
            listener.socket.close()
        raise


async def serve_ssl_over_tcp(  # noqa: PLR0913  # Trio's arguments
    handler: Callable[[SSLStream[SocketStream]], Awaitable[Any]],
    port: int,
    ssl_context: ssl.SSLContext,
    *,
    host: str | bytes | None = None,
    https_compatible: bool = False,
    backlog: int | None = None,
    handler_nursery: Nursery | None = None,
    task_status: TaskStatus[list[SSLListener[SocketStream]]] = TASK_STATUS_IGNORED,
) -> None:
    """Listen on a TCP port for ever, and run `handler(stream)` in a task for each connection.

    Args:
        handler: an async function, see `serve_listeners`. It is called before the handshake, so
            what a bad client makes of that is raised there.
        port: see `open_tcp_listeners`.
        ssl_context: with the server's certificate.
        host: see `open_tcp_listeners`.
        https_compatible: see `SSLStream`.
        backlog: see `open_tcp_listeners`.
        handler_nursery: see `serve_listeners`.
        task_status: for `nursery.start`, which then returns the list of listeners.

    Raises: what `open_ssl_over_tcp_listeners` and `serve_listeners` raise.

    Checkpoint: always.
    """
    listeners = await open_ssl_over_tcp_listeners(
        port, ssl_context, host=host, https_compatible=https_compatible, backlog=backlog
    )
    await serve_listeners(
        handler,
        listeners,
        handler_nursery=handler_nursery,
        task_status=task_status,  # type: ignore[arg-type]  # a list is a sequence
    )
