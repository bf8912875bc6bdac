"""Addresses as users give them to numeric ones, which is what system calls take."""

from __future__ import annotations

import errno
import os
import socket
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from uringtrio._ops.sockaddr import UNIX_PATH_MAX

from .resolver import getaddrinfo

if TYPE_CHECKING:
    from .socket_type import SocketType

BROADCAST = "255.255.255.255"


async def resolve(sock: socket.socket | SocketType, address: Any, *, local: bool) -> Any:
    """Return `address` in the numeric form that system calls take.

    Args:
        sock: whose family, type and protocol the address is for.
        address: as the user gave it.
        local: whether it is to bind to, rather than to reach.

    Raises:
        ValueError: it has not the form that the family needs.
        OSError: `socket.gaierror`, its host cannot be resolved.

    Checkpoint: only if a name has to be looked up.
    """
    family = sock.family
    if family == socket.AF_UNIX:
        return checked_path(address)
    if family not in (socket.AF_INET, socket.AF_INET6):
        return address
    host, port, *rest = _checked(family, address)
    if isinstance(port, int) and _is_numeric(family, host):
        return (host, port, *rest)
    flags = socket.AI_PASSIVE if local else 0
    if family == socket.AF_INET6 and not sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY):
        flags |= socket.AI_V4MAPPED
    found = await getaddrinfo(host, port, family, sock.type, sock.proto, flags)
    resolved = found[0][4]
    # What the lookup says of flow and scope stands where the user said nothing.
    given = 2 + len(rest)
    return (*resolved[:2], *rest, *resolved[given:])


def is_numeric(family: int, address: Any) -> bool:
    """Say whether `address` is an internet address that system calls take as it is."""
    size = 2 if family == socket.AF_INET else 4 if family == socket.AF_INET6 else 0
    if not size or type(address) is not tuple or len(address) != size:
        return False
    return type(address[1]) is int and _is_numeric(family, address[0])


def checked_path(address: str | bytes | os.PathLike[str] | os.PathLike[bytes]) -> str | bytes:
    """Return the address of a Unix socket as str or bytes.

    Raises:
        TypeError: it is no path.
        OSError: it is too long (ENAMETOOLONG).
    """
    path: str | bytes = os.fspath(address)
    # A name in the file system ends with a null byte, one in the abstract space begins with it.
    size = len(os.fsencode(path)) + (path[:1] not in ("\0", b"\0"))
    if size > UNIX_PATH_MAX:
        reason = f"a path of {size} bytes is too long for AF_UNIX, which takes {UNIX_PATH_MAX}"
        raise OSError(errno.ENAMETOOLONG, reason)
    return path


def _checked(family: int, address: Any) -> tuple[Any, ...]:
    """Return an internet address with the special hosts as getaddrinfo(3) has them.

    Raises:
        ValueError: it has another form.
    """
    lengths = (2,) if family == socket.AF_INET else (2, 3, 4)
    if not isinstance(address, tuple) or len(address) not in lengths:
        form = "(host, port)" if family == socket.AF_INET else "(host, port, [flowinfo, [scopeid]])"
        raise ValueError(f"address should be a {form} tuple, not {address!r}")
    host, *rest = address
    special = {"": None, "<broadcast>": BROADCAST}
    return (special.get(host, host), *rest)


def _is_numeric(family: int, host: Any) -> bool:
    return isinstance(host, str) and _is_numeric_str(family, host)


# Whoever sends datagrams sends many to the same hosts.
@lru_cache(maxsize=256)
def _is_numeric_str(family: int, host: str) -> bool:
    try:
        socket.inet_pton(family, host)
    except OSError:
        # A name, or an address with a scope, which getaddrinfo knows to read.
        return False
    return True
