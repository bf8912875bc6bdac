"""Socket addresses and control messages between Python's forms and the kernel's bytes.

Only the families whose layout is fixed and common: for every other one the standard library's
socket object does the conversion, behind readiness.
Source: ip(7), ipv6(7), unix(7), cmsg(3).
"""

from __future__ import annotations

import os
import socket
import struct
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

NATIVE_FAMILIES = frozenset({socket.AF_INET, socket.AF_INET6, socket.AF_UNIX})

Address = Any  # a tuple, a str or bytes, as the family wants it
ControlMessage = tuple[int, int, bytes]

_FAMILY = struct.Struct("=H")
_INET = struct.Struct("!H4s8x")
_INET6 = struct.Struct("!HI16s")
_SCOPE = struct.Struct("=I")
_CMSG = struct.Struct("@Nii")
_CMSG_ALIGN = struct.calcsize("@N")
UNIX_PATH_MAX = 108


def pack(family: int, address: Address) -> bytes:
    """Return `address`, already numeric, as a `struct sockaddr` of a family in NATIVE_FAMILIES.

    Raises:
        OSError: the host is not numeric, or the path is too long.
        OverflowError: there is no such port.
    """
    if family != socket.AF_UNIX and not 0 <= address[1] <= 65535:
        raise OverflowError(f"port must be 0-65535, not {address[1]}")
    if family == socket.AF_INET:
        host, port = address
        return _FAMILY.pack(family) + _INET.pack(port, socket.inet_pton(family, host))
    if family == socket.AF_INET6:
        host, port, flow, scope = (*address, 0, 0)[:4]
        packed = socket.inet_pton(family, host.partition("%")[0])
        return _FAMILY.pack(family) + _INET6.pack(port, flow, packed) + _SCOPE.pack(scope)
    path = os.fsencode(address) if not isinstance(address, (bytes, bytearray)) else bytes(address)
    if path and path[0]:
        path += b"\0"
    if len(path) > UNIX_PATH_MAX:
        raise OSError("AF_UNIX path too long")
    return _FAMILY.pack(family) + path


def unpack(raw: bytes) -> Address:
    """Return a `struct sockaddr` of a family in NATIVE_FAMILIES as Python has it.

    An empty `raw` is None: the kernel gave no address.
    """
    if len(raw) < 2:
        return None
    (family,) = _FAMILY.unpack_from(raw)
    if family == socket.AF_INET:
        port, packed = _INET.unpack_from(raw, 2)
        return (socket.inet_ntop(family, packed), port)
    if family == socket.AF_INET6:
        port, flow, packed = _INET6.unpack_from(raw, 2)
        (scope,) = _SCOPE.unpack_from(raw, 24)
        return (socket.inet_ntop(family, packed), port, flow, scope)
    path = raw[2:]
    if path[:1] == b"\0":
        return path
    return os.fsdecode(path.partition(b"\0")[0])


def pack_control(messages: Iterable[ControlMessage]) -> bytes:
    """Return ancillary data as the kernel wants it."""
    packed = b""
    for level, kind, data in messages:
        raw = bytes(data)
        packed += _CMSG.pack(socket.CMSG_LEN(len(raw)), level, kind) + raw
        packed += bytes(-len(packed) % _CMSG_ALIGN)
    return packed


def unpack_control(raw: bytes) -> Iterator[ControlMessage]:
    """Yield the control messages in `raw`, the last one cut if the kernel had to cut it."""
    at = 0
    while at + _CMSG.size <= len(raw):
        size, level, kind = _CMSG.unpack_from(raw, at)
        if size < _CMSG.size:
            return
        yield (level, kind, raw[at + _CMSG.size : at + size])
        at += size + (-size % _CMSG_ALIGN)
