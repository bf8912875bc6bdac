"""Cookies: how a DTLS server makes a client prove its address before it remembers anything of it.

Anybody can send a packet with somebody else's address as its sender. So the answer to a
ClientHello is a HelloVerifyRequest with a cookie, smaller than the question, and only a
ClientHello that brings the cookie back begins a handshake.

A cookie is a random salt and an HMAC, by a key that never leaves this process, of the salt, the
time in steps of 30 seconds, the address, and the ClientHello without its cookie. So it cannot be
forged, belongs to one client and one ClientHello, is good for 30 to 60 seconds, and nothing has to
be stored for it. The salt hides when the time takes its next step.

Source: RFC 6347, section 4.2.1.
"""

from __future__ import annotations

import hmac
import os
import struct
from typing import Any

from .dtls_codec import (
    DTLS_1_0,
    HANDSHAKE,
    HELLO_VERIFY_REQUEST,
    ClientHello,
    Fragment,
    Record,
)

STEP_SECONDS = 30
_KEY_BYTES = 32
_SALT_BYTES = 8
# The most that DTLS 1.0 allows: the HMAC is cut to 24 bytes, which is more than enough.
COOKIE_BYTES = 32


class Cookies:
    """Makes and checks the cookies of one server."""

    __slots__ = ("_key",)

    def __init__(self) -> None:
        self._key = os.urandom(_KEY_BYTES)

    def challenge(self, hello: ClientHello, address: Any, seconds: float) -> bytes:
        """Return the packet with a HelloVerifyRequest.

        Args:
            hello: what it answers.
            address: whom it will be sent to.
            seconds: the time now.
        """
        step = int(seconds / STEP_SECONDS)
        cookie = self._make(os.urandom(_SALT_BYTES), step, hello, address)
        # This message has the version of DTLS 1.0 whatever will be agreed on, and the number of
        # the record that it answers.
        body = DTLS_1_0 + bytes([len(cookie)]) + cookie
        fragment = Fragment(HELLO_VERIFY_REQUEST, len(body), 0, 0, body)
        return Record(HANDSHAKE, DTLS_1_0, hello.epoch_seqno, fragment.encode()).encode()

    def accepts(self, hello: ClientHello, address: Any, seconds: float) -> bool:
        """Say whether the cookie in `hello` is good for its sender at this time."""
        step = int(seconds / STEP_SECONDS)
        salt = hello.cookie[:_SALT_BYTES]
        return any(
            hmac.compare_digest(hello.cookie, self._make(salt, good_step, hello, address))
            for good_step in (step, step - 1)
        )

    def _make(self, salt: bytes, step: int, hello: ClientHello, address: Any) -> bytes:
        sender = repr(address).encode()
        signed = struct.pack("!qI", step, len(sender)) + sender + hello.rest
        return (salt + hmac.digest(self._key, salt + signed, "sha256"))[:COOKIE_BYTES]
