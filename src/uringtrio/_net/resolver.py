"""Names to addresses and back: in a thread, or by a resolver of the run's own."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

import idna

from uringtrio._scheduler.locals import RunVar
from uringtrio._scheduler.traps import checkpoint
from uringtrio._threads import to_thread

if TYPE_CHECKING:
    from collections.abc import Callable

    from uringtrio._abc import HostnameResolver

AddressInfo = tuple[socket.AddressFamily, socket.SocketKind, int, str, Any]

# With these flags getaddrinfo(3) reads no file and asks no server.
NUMERIC_ONLY = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
# What it says then if the host or the port is a name.
NOT_NUMERIC = frozenset({socket.EAI_NONAME, socket.EAI_NODATA, socket.EAI_FAMILY})

_RESOLVER: RunVar[HostnameResolver | None] = RunVar("hostname resolver", None)


def set_custom_hostname_resolver(
    hostname_resolver: HostnameResolver | None,
) -> HostnameResolver | None:
    """Let `hostname_resolver` look up all names of this run, instead of the system.

    Args:
        hostname_resolver: asked by `getaddrinfo` and `getnameinfo`, and so by all that takes a
            host name. Numeric addresses are not looked up. None goes back to the system's.

    Returns:
        The previous one, None for the system's.

    Raises:
        RuntimeError: called outside of a run.
    """
    previous = _RESOLVER.get()
    _RESOLVER.set(hostname_resolver)
    return previous


def encode_hostname(hostname: str) -> bytes:
    """Return the ASCII form of a host name under which it is looked up, and certificates have it.

    IDNA 2008 after the mapping of UTS 46, so in lower case; a name that is ASCII already stays as
    it is. The standard library's encoding is IDNA 2003, which makes of some names another host's.

    Raises:
        UnicodeError: it is no valid name; `idna.IDNAError` is a subclass.

    Source: RFC 5891; UTS 46.
    """
    try:
        return hostname.encode("ascii")
    except UnicodeEncodeError:
        return idna.encode(hostname, uts46=True)


async def getaddrinfo(
    host: str | bytes | None,
    port: str | bytes | int | None,
    family: int = 0,
    type: int = 0,  # noqa: A002  # the standard library's name
    proto: int = 0,
    flags: int = 0,
) -> list[AddressInfo]:
    """Look up a name, as `socket.getaddrinfo` does, without blocking other tasks.

    Args:
        host: a name or a numeric address; None is the wildcard or the loopback address. A name
            that is not ASCII is encoded by `uringtrio.lowlevel.encode_hostname`.
        port: a number, a service name, or None.
        family: AF_* to restrict the answers to, 0 for all.
        type: SOCK_*, likewise.
        proto: IPPROTO_*, likewise.
        flags: AI_* flags.

    Returns:
        At least one tuple (family, type, proto, canonical name, address).

    Raises:
        OSError: `socket.gaierror`, the name cannot be resolved; `errno` is an EAI_* code.
        UnicodeError: it is no name.

    Checkpoint: always. A cancelled lookup is left to its thread.
    """
    # Typeshed's tuples are one for each family.
    lookup: Callable[..., Any] = socket.getaddrinfo
    await checkpoint()
    if isinstance(host, str):
        host = encode_hostname(host)
    try:
        numeric: list[AddressInfo] = lookup(host, port, family, type, proto, flags | NUMERIC_ONLY)
    except socket.gaierror as exc:
        if exc.errno not in NOT_NUMERIC:
            raise
    else:
        return numeric
    resolver = _RESOLVER.get()
    if resolver is not None:
        return await resolver.getaddrinfo(host, port, family, type, proto, flags)
    found: list[AddressInfo] = await to_thread.run_sync(
        lookup, host, port, family, type, proto, flags, abandon_on_cancel=True
    )
    return found


async def getnameinfo(sockaddr: Any, flags: int) -> tuple[str, str]:
    """Look up the name of a numeric address, as `socket.getnameinfo` does.

    Args:
        sockaddr: (host, port) or (host, port, flowinfo, scope_id).
        flags: NI_* flags.

    Returns:
        (host, service), both numeric if they have no name.

    Raises:
        OSError: `socket.gaierror`, the address is not numeric, or cannot be resolved.

    Checkpoint: always. A cancelled lookup is left to its thread.
    """
    resolver = _RESOLVER.get()
    if resolver is not None:
        return await resolver.getnameinfo(sockaddr, flags)
    return await to_thread.run_sync(socket.getnameinfo, sockaddr, flags, abandon_on_cancel=True)


async def getprotobyname(name: str) -> int:
    """Look up the number of a protocol, IPPROTO_*, as `socket.getprotobyname` does.

    Raises:
        OSError: there is no such protocol.

    Checkpoint: always. A cancelled lookup is left to its thread.
    """
    return await to_thread.run_sync(socket.getprotobyname, name, abandon_on_cancel=True)
