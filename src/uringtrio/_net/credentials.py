"""Who the peer of a Unix socket is."""

from __future__ import annotations

import errno
import os
import socket as stdlib
import struct
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .socket_type import SocketType

_UCRED = struct.Struct("=iII")
# The user that stands for none: nobody is connected.
_NO_USER = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class PeerCredentials:
    """Who connected to a Unix socket, or listened on it, as the kernel saw it then.

    Attributes:
        pid: the process; 0 if it is in a namespace that this process cannot see into. It may have
            ended since, and its number may be another's.
        uid: its effective user.
        gid: its effective group.
    """

    pid: int
    uid: int
    gid: int


def peer_credentials(sock: SocketType) -> PeerCredentials:
    """Return who the peer of `sock` is.

    Raises:
        OSError: `sock` is no Unix socket, or the system is not Linux (EOPNOTSUPP); not connected
            (ENOTCONN); closed (EBADF).

    Source: unix(7), SO_PEERCRED.
    """
    if sock.family != stdlib.AF_UNIX:
        # For others the kernel answers too, with nobody's.
        reason = f"only Unix sockets know who their peer is, not those of {sock.family!r}"
        raise OSError(errno.EOPNOTSUPP, reason)
    if sys.platform != "linux":
        raise OSError(errno.EOPNOTSUPP, f"{sys.platform} has no SO_PEERCRED, which only Linux has")
    raw = sock.getsockopt(stdlib.SOL_SOCKET, stdlib.SO_PEERCRED, _UCRED.size)
    pid, uid, gid = _UCRED.unpack(raw)
    if uid == _NO_USER:
        raise OSError(errno.ENOTCONN, os.strerror(errno.ENOTCONN))
    return PeerCredentials(pid, uid, gid)
