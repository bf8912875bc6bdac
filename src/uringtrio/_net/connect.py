"""Outgoing TCP connections."""

from __future__ import annotations

import errno
import socket as stdlib

from .address import getaddrinfo
from .socket import socket as make_socket
from .stream import SocketStream


async def open_tcp_stream(host: str | bytes, port: int) -> SocketStream:
    """Connect to a TCP port, trying the addresses of `host` one after the other.

    Args:
        host: a name or an address.
        port: 1 to 65535.

    Returns:
        The stream of the first connection that succeeded.

    Raises:
        ValueError: `host` is None.
        TypeError: `port` is no int.
        OSError: the name cannot be resolved (`socket.gaierror`), or no address could be
            connected to; then the `__cause__` is an ExceptionGroup of the attempts.

    Checkpoint: always.
    """
    if host is None:
        raise ValueError("host cannot be None: name the machine to connect to")
    if not isinstance(port, int):
        raise TypeError(f"port must be int, not {port!r}")
    found = await getaddrinfo(host, port, type=stdlib.SOCK_STREAM)
    errors: list[OSError] = []
    for family, kind, proto, _, address in found:
        try:
            sock = make_socket(family, kind, proto)
        except OSError as exc:
            errors.append(exc)
            continue
        try:
            await sock.connect(address)
        except OSError as exc:
            sock.close()
            errors.append(exc)
        except BaseException:
            sock.close()
            raise
        else:
            return SocketStream(sock)
    name = host.decode() if isinstance(host, bytes) else host
    raise OSError(
        errors[-1].errno or errno.EHOSTUNREACH, f"all attempts to connect to {name}:{port} failed"
    ) from ExceptionGroup("multiple connection attempts failed", errors)
