"""Names to addresses: lookups in a thread, numeric ones without."""

from __future__ import annotations

import errno
import os
import socket
from typing import Any

from uringtrio._ops.sockaddr import UNIX_PATH_MAX
from uringtrio._scheduler.traps import checkpoint
from uringtrio._threads import to_thread

AddressInfo = tuple[socket.AddressFamily, socket.SocketKind, int, str, Any]

# What getaddrinfo says to AI_NUMERICHOST when the host is a name.
NOT_NUMERIC = frozenset({socket.EAI_NONAME, socket.EAI_NODATA, socket.EAI_FAMILY})
WILDCARDS = {socket.AF_INET: "0.0.0.0", socket.AF_INET6: "::"}  # what "" means
BROADCAST = "255.255.255.255"


async def getaddrinfo(
    host: str | bytes | None,
    port: str | int | None,
    family: int = 0,
    type: int = 0,  # noqa: A002  # the standard library's name
    proto: int = 0,
    flags: int = 0,
) -> list[AddressInfo]:
    """Look up a name, as `socket.getaddrinfo` does, without blocking other tasks.

    Args:
        host: a name or a numeric address; None is the wildcard or the loopback address.
        port: a number, a service name, or None.
        family: AF_* to restrict the answers to, 0 for all.
        type: SOCK_*, likewise.
        proto: IPPROTO_*, likewise.
        flags: AI_* flags.

    Returns:
        At least one tuple (family, type, proto, canonical name, address).

    Raises:
        OSError: `socket.gaierror`, the name cannot be resolved; `errno` is an EAI_* code.

    Checkpoint: always. A cancelled lookup is left to its thread.
    """
    try:
        numeric = socket.getaddrinfo(host, port, family, type, proto, flags | socket.AI_NUMERICHOST)
    except socket.gaierror as exc:
        if exc.errno not in NOT_NUMERIC or flags & socket.AI_NUMERICHOST:
            raise
    else:
        await checkpoint()
        return list(numeric)
    found = await to_thread.run_sync(
        socket.getaddrinfo, host, port, family, type, proto, flags, abandon_on_cancel=True
    )
    return list(found)


async def resolve(sock: socket.socket, address: Any, *, local: bool) -> Any:
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
        return _checked_path(address)
    if family not in WILDCARDS:
        return address
    host, port, *rest = _checked(family, address)
    if _is_numeric(family, host) and isinstance(port, int):
        return (host, port, *rest)
    flags = socket.AI_PASSIVE if local else 0
    if family == socket.AF_INET6 and not sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY):
        flags |= socket.AI_V4MAPPED
    found = await getaddrinfo(host, port, family, sock.type, sock.proto, flags)
    resolved = found[0][4]
    if rest:
        return (resolved[0], resolved[1], *rest)
    return resolved


def _checked_path(address: Any) -> Any:
    path = os.fspath(address) if isinstance(address, os.PathLike) else address
    # A name in the file system ends with a null byte, one in the abstract space begins with it.
    size = len(os.fsencode(path)) + (path[:1] not in ("\0", b"\0"))
    if size > UNIX_PATH_MAX:
        reason = f"a path of {size} bytes is too long for AF_UNIX, which takes {UNIX_PATH_MAX}"
        raise OSError(errno.ENAMETOOLONG, reason)
    return path


def _checked(family: int, address: Any) -> tuple[Any, ...]:
    """Return an internet address with the special hosts replaced, or raise ValueError."""
    lengths = (2,) if family == socket.AF_INET else (2, 3, 4)
    if not isinstance(address, tuple) or len(address) not in lengths:
        form = "(host, port)" if family == socket.AF_INET else "(host, port, [flowinfo, [scopeid]])"
        raise ValueError(f"address should be a {form} tuple, not {address!r}")
    host, *rest = address
    if host == "":
        host = WILDCARDS[socket.AddressFamily(family)]
    elif host == "<broadcast>":
        host = BROADCAST
    return (host, *rest)


def _is_numeric(family: int, host: Any) -> bool:
    if not isinstance(host, str):
        return False
    try:
        socket.inet_pton(family, host)
    except OSError:
        # A name, or an address with a scope, which getaddrinfo knows to read.
        return False
    return True
