"""Sockets with async methods; otherwise the standard library's module.

Its constants and pure functions are here too, so that a program needs one import.
"""

from __future__ import annotations

import socket as _stdlib
from typing import TYPE_CHECKING

from ._net.resolver import (
    getaddrinfo as getaddrinfo,
    getnameinfo as getnameinfo,
    getprotobyname as getprotobyname,
    set_custom_hostname_resolver as set_custom_hostname_resolver,
)
from ._net.socket import (
    from_stdlib_socket as from_stdlib_socket,
    fromfd as fromfd,
    socket as socket,
    socketpair as socketpair,
)
from ._net.socket_factory import set_custom_socket_factory as set_custom_socket_factory
from ._net.socket_type import SocketType as SocketType
from ._public import adopt as _adopt

if TYPE_CHECKING:
    # What the rule below makes, as far as type checkers are concerned.
    from socket import *  # type: ignore[assignment]  # noqa: F403  # ours come first

_FUNCTIONS = (
    "CMSG_LEN", "CMSG_SPACE", "gaierror", "gethostname", "herror", "htonl", "htons",
    "if_indextoname", "if_nameindex", "if_nametoindex", "inet_aton", "inet_ntoa", "inet_ntop",
    "inet_pton", "ntohl", "ntohs", "sethostname",
)  # fmt: skip

# Every constant that this platform has, by rule and not by list.
globals().update(
    {
        name: getattr(_stdlib, name)
        for name in _stdlib.__all__
        if name in _FUNCTIONS or (name.isupper() and not name.startswith("_"))
    }
)

_adopt(__name__, globals())
