"""How large a packet may get on its way."""

from __future__ import annotations

import socket as stdlib
from typing import Any

# OpenSSL takes no less: 256 bytes, minus the headers of IPv4 and UDP.
CIPHERTEXT_MTU_MIN = 228

# The largest payload that a UDP packet can have, over IPv6.
PACKET_BYTES_MAX = 65527

_ETHERNET_MTU = 1500
# What every network must carry. Source: RFC 791; RFC 8200, section 5.
_IPV4_MTU_MIN = 576
_IPV6_MTU_MIN = 1280


def _headers_bytes(socket: Any) -> int:
    return 28 if socket.family == stdlib.AF_INET else 48


def best_guess_mtu(socket: Any) -> int:
    """Return the payload that Ethernet carries."""
    return _ETHERNET_MTU - _headers_bytes(socket)


def worst_case_mtu(socket: Any) -> int:
    """Return the payload that every network carries."""
    mtu = _IPV4_MTU_MIN if socket.family == stdlib.AF_INET else _IPV6_MTU_MIN
    return mtu - _headers_bytes(socket)
