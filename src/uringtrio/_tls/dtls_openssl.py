"""pyOpenSSL, an optional dependency: found when it is first needed, and its errors in our words."""

from __future__ import annotations

import importlib
from functools import cache
from typing import Any
from weakref import WeakSet

# The most plaintext that one record holds, and so one datagram. Source: RFC 6347, section 4.1.1.
PACKET_BYTES_MAX = 2**14

# Contexts whose cookie callback is ours.
_prepared: WeakSet[Any] = WeakSet()


REMEDY = "pip install -U 'uringtrio[dtls]'"


@cache
def openssl() -> Any:
    """Return the module `OpenSSL.SSL`.

    Raises:
        ImportError: pyOpenSSL is not installed, or too old; says how to get it.
    """
    try:
        # Not at the top: it takes longer than the whole package, and only DTLS needs it.
        module = importlib.import_module("OpenSSL.SSL")
    except ImportError as exc:
        raise ImportError(f"DTLS needs pyOpenSSL, which cannot be imported here: {REMEDY}") from exc
    if not hasattr(module.Connection, "set_options"):
        raise ImportError(f"DTLS needs pyOpenSSL 26.2 or later, and this one is older: {REMEDY}")
    return module


def check_context(context: Any, call: str) -> None:
    """Raise TypeError unless it is a context of pyOpenSSL's."""
    if not isinstance(context, openssl().Context):
        raise TypeError(
            f"{call} needs an OpenSSL.SSL.Context of OpenSSL.SSL.DTLS_METHOD, not {context!r}"
        )


def prepare_server_context(context: Any) -> None:
    """Make OpenSSL accept every cookie: by then we have checked it, see dtls_cookies.py."""
    if context in _prepared:
        return
    try:
        context.set_cookie_verify_callback(lambda _connection, _cookie: True)
    except ValueError as exc:
        raise ValueError(
            "DTLSEndpoint.serve() cannot use a context that connections were made from before: "
            "make another OpenSSL.SSL.Context for it"
        ) from exc
    _prepared.add(context)


def new_connection(context: Any) -> Any:
    """Return a connection that reads and writes memory, with the options that DTLS needs here."""
    ssl = openssl()
    connection = ssl.Connection(context)
    # Ours alone, so that the caller's context stays as it is. Without the first, OpenSSL asks the
    # memory for its MTU and fails. A renegotiation would be a handshake like any other, but for
    # the sequence numbers, which are ours during a handshake and OpenSSL's after it.
    connection.set_options(ssl.OP_NO_QUERY_MTU | ssl.OP_NO_RENEGOTIATION)
    return connection


def read_all(read: Any) -> bytes:
    """Return everything that a reading method of a connection has.

    Raises:
        OpenSSL.SSL.ZeroReturnError: there is nothing, and the peer has said that it sends no more.
    """
    ssl = openssl()
    chunks = []
    try:
        while True:
            chunks.append(read(PACKET_BYTES_MAX))
    except ssl.WantReadError:
        pass
    except ssl.ZeroReturnError:
        # What came in the same packet as the goodbye is as good as any.
        if not chunks:
            raise
    return b"".join(chunks)


def reason_of(exc: Exception) -> str:
    """Return the last words of OpenSSL's error: it is a list of (library, function, reason)."""
    reasons = exc.args[0] if exc.args else None
    if isinstance(reasons, list) and reasons:
        return "; ".join(str(entry[-1]) for entry in reasons)
    return str(exc) or type(exc).__name__
