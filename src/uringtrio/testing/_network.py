"""Connecting to a listener that chose its address itself."""

from __future__ import annotations

import socket as stdlib
from typing import TYPE_CHECKING

from uringtrio._net.socket import socket
from uringtrio._net.stream import SocketStream

if TYPE_CHECKING:
    from uringtrio._net.listen import SocketListener

# Bound to, they mean every address of the machine; to connect to, there is one of them.
LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "::1"}


async def open_stream_to_socket_listener(socket_listener: SocketListener) -> SocketStream:
    """Connect to a listener of this machine, whatever its family and wherever it is bound.

    Args:
        socket_listener: for TCP or for Unix sockets.

    Raises:
        OSError: it cannot be connected to.

    Checkpoint: always.
    """
    family = socket_listener.socket.family
    address = socket_listener.socket.getsockname()
    if family in (stdlib.AF_INET, stdlib.AF_INET6):
        host, *rest = address
        address = (LOOPBACK.get(host, host), *rest)
    sock = socket(family)
    try:
        await sock.connect(address)
    except BaseException:
        sock.close()
        raise
    return SocketStream(sock)
