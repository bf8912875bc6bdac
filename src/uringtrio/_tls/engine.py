"""The TLS state machine without I/O: plaintext and ciphertext in and out as bytes, no `await`.

OpenSSL reads ciphertext from one `MemoryBIO` and writes it to another, whatever it is asked to do:
a read may have to send (a renegotiation, the answer to a key update), a write may have to receive.
So each step here either does its work or answers `WANT`, and then the pump (stream.py) must send
what `take` returns, if it returns anything, or else receive ciphertext and `feed` it, and make the
same call again with the same arguments. There is no third thing to wait for: writing to a
`MemoryBIO` always succeeds.

Between a step and `take` the pump must not yield, or another task's ciphertext gets in between.
"""

from __future__ import annotations

import contextlib
import enum
import ssl
from typing import TYPE_CHECKING

from uringtrio._errors import BrokenResourceError, ClosedResourceError

if TYPE_CHECKING:
    from collections.abc import Callable

    from uringtrio._abc import Buffer

# The most plaintext that a record holds. Source: RFC 8446, section 5.1.
RECORD_BYTES_MAX = 2**14

# What `decrypt` returns when the caller has no wish: as much as a `SocketStream` receives at once.
DEFAULT_DECRYPT_BYTES = 2**16

UNEXPECTED_EOF_ADVICE = (
    "the peer ended the connection without a close_notify, so what it sent may be cut short; "
    "if the protocol marks its own end, as HTTP does, pass https_compatible=True"
)


class Want(enum.Enum):
    """The answer of a step that cannot be completed yet.

    Attributes:
        CIPHERTEXT: send what `take` returns, or, if that is nothing, `feed` more; then try again.
    """

    CIPHERTEXT = 1


WANT = Want.CIPHERTEXT


class State(enum.Enum):
    """What a connection can still be used for.

    Attributes:
        OPEN: for everything; the handshake may be yet to come.
        BROKEN: for nothing but closing.
        CLOSING: for nothing; this side is saying so to the peer.
        CLOSED: for nothing.
    """

    OPEN = 1
    BROKEN = 2
    CLOSING = 3
    CLOSED = 4


def is_unexpected_eof(exc: BaseException | None) -> bool:
    """Say whether OpenSSL complains about a transport that ended without a close_notify."""
    # Not every version of Python makes the right class of it.
    return isinstance(exc, ssl.SSLEOFError) or (
        isinstance(exc, ssl.SSLError) and "UNEXPECTED_EOF_WHILE_READING" in str(exc)
    )


def is_cut_handshake(exc: BaseException | None) -> bool:
    """The same for the handshake, where OpenSSL may blame a system call instead."""
    return is_unexpected_eof(exc) or isinstance(exc, ssl.SSLSyscallError)


class Engine:
    """One TLS connection.

    Args:
        context: with the certificates and the settings.
        server_side: which side of the handshake this is.
        server_hostname: who the peer must prove to be, in ASCII; None for servers.

    Attributes:
        ssl: what does the work; for questions, and for the settings before the handshake.
        state: what it can be used for; the pump sets it too.
        is_handshaken: whether the first handshake is complete.
    """

    __slots__ = (
        "_alert", "_held_back", "_incoming", "_is_ended", "_later", "_outgoing",
        "is_handshaken", "ssl", "state",
    )  # fmt: skip

    def __init__(
        self, context: ssl.SSLContext, *, server_side: bool, server_hostname: str | bytes | None
    ) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self.ssl = context.wrap_bio(
            self._incoming,
            self._outgoing,
            server_side=server_side,
            server_hostname=server_hostname,
        )
        self.state = State.OPEN
        self.is_handshaken = False
        # The transport ended, or the peer's close_notify was read: nothing more will be fed, and
        # `decrypt` has an answer.
        self._is_ended = False
        # What OpenSSL wanted to tell the peer when it gave up.
        self._alert = b""
        # A server's session tickets, which go before what it sends first; see `handshake`.
        self._held_back = b""
        # An error behind the bytes that the last `decrypt` returned.
        self._later: ssl.SSLError | None = None

    def check(self) -> None:
        """Raise unless the connection is open."""
        if self.state is State.OPEN:
            return
        if self.state is State.BROKEN:
            raise BrokenResourceError(
                "this TLS connection was broken by an earlier error or cancellation: close it"
            )
        raise ClosedResourceError("this TLS connection was closed")

    def feed(self, ciphertext: Buffer) -> None:
        """Add what was received from the transport; empty means that it has ended."""
        if ciphertext:
            self._incoming.write(ciphertext)
        else:
            self._incoming.write_eof()
            self._is_ended = True

    def take(self) -> bytes:
        """Return the ciphertext to be sent now, before anything else; empty if there is none."""
        if not self._outgoing.pending:
            return b""
        ciphertext = self._outgoing.read()
        if self._held_back:
            ciphertext = self._held_back + ciphertext
            self._held_back = b""
        return ciphertext

    def has_input(self) -> bool:
        """Say whether `decrypt` might return something before more is fed."""
        # Asking OpenSSL would also tell, but a WantReadError costs 1800 ns and these three 100.
        return bool(self._incoming.pending or self._is_ended or self.ssl.pending())

    def handshake(self) -> Want | None:
        """Take the first handshake as far as it gets; None when it is complete.

        Raises:
            BrokenResourceError: it failed; the `__cause__` is an `ssl.SSLError`.
        """
        if self._step(self.ssl.do_handshake, "the TLS handshake failed") is WANT:
            return WANT
        self.is_handshaken = True
        if self.ssl.server_side and self.ssl.version() == "TLSv1.3":
            # OpenSSL wants to send session tickets now, which the client does not wait for. If it
            # never receives, sending them might block, or reset the connection and lose data.
            self._held_back = self._outgoing.read()
        return None

    def encrypt(self, data: Buffer) -> Want | None:
        """Encrypt all of `data`, at least one byte; None when that is done.

        OpenSSL never gives back what its memory has grown to: encrypt much data in parts.

        Raises:
            BrokenResourceError: it failed; the `__cause__` is an `ssl.SSLError`.
        """
        try:
            self.ssl.write(data)
        except ssl.SSLWantReadError:
            return WANT
        except ssl.SSLError as exc:
            raise self._broken(exc, "cannot send over TLS") from exc
        return None

    def decrypt(self, bytes_max: int) -> bytes | Want:
        """Return the plaintext of the records that have been fed.

        Args:
            bytes_max: return at most so many, at least 1.

        Returns:
            1 to `bytes_max` bytes; empty when the peer has said that it sends no more.

        Raises:
            BrokenResourceError: it failed; the `__cause__` is an `ssl.SSLError`.
        """
        if self._later is not None:
            error, self._later = self._later, None
            raise self._broken(error, "cannot receive over TLS") from error
        try:
            data = self.ssl.read(min(bytes_max, RECORD_BYTES_MAX))
        except ssl.SSLWantReadError:
            return WANT
        except ssl.SSLError as exc:
            raise self._broken(exc, "cannot receive over TLS") from exc
        if not data:
            self._is_ended = True
        elif self._incoming.pending and len(data) < bytes_max:
            return self._decrypt_more(data, bytes_max)
        return data

    def _decrypt_more(self, data: bytes, bytes_max: int) -> bytes:
        """Return `data` and what the records behind it hold."""
        parts = [data]
        left = bytes_max - len(data)
        while left and self._incoming.pending:
            try:
                data = self.ssl.read(min(left, RECORD_BYTES_MAX))
            except ssl.SSLWantReadError:
                break  # The rest of the last record is yet to come.
            except ssl.SSLError as exc:
                # What came before it is good; OpenSSL does not say it twice.
                self._later = exc
                self._is_ended = True
                break
            if not data:
                self._is_ended = True
                break
            parts.append(data)
            left -= len(data)
        return b"".join(parts)

    def shut_down(self) -> Want | None:
        """Say that this side sends no more, and wait for the peer to say so; None when both have.

        Raises:
            BrokenResourceError: it failed; the `__cause__` is an `ssl.SSLError`.
        """
        return self._step(self.ssl.unwrap, "cannot end the TLS connection")

    def _step(self, step: Callable[[], object], failure: str) -> Want | None:
        """Go on with what takes several; None when it is done."""
        try:
            step()
        except ssl.SSLWantReadError:
            return WANT
        except ssl.SSLError as exc:
            raise self._broken(exc, failure) from exc
        return None

    def farewell(self, *, with_close_notify: bool) -> bytes:
        """Return the last ciphertext to be sent, maybe none, and let nobody send after it.

        After an error in TLS itself that is the alert, which names it to the peer.

        Args:
            with_close_notify: whether to say goodbye when there was no error.
        """
        was_open = self.state is State.OPEN
        self.state = State.CLOSING
        if not was_open:
            return self._alert
        if not (with_close_notify and self.is_handshaken):
            return b""
        # OpenSSL writes the close_notify and then looks for the peer's, which need not be there;
        # it may also find data that nobody wants any more. Either is no concern of the goodbye.
        with contextlib.suppress(ssl.SSLError):
            self.ssl.unwrap()
        return self.take()

    def trailing(self) -> bytes:
        """Return what was fed and does not belong to TLS, after `shut_down`."""
        return self._incoming.read()

    def _broken(self, exc: ssl.SSLError, what: str) -> Exception:
        """Return the error to raise for OpenSSL's."""
        if self.state is not State.OPEN:
            return ClosedResourceError("another task closed this TLS connection")
        self.state = State.BROKEN
        alert = self.take()
        if is_unexpected_eof(exc):
            # Nobody is there to be alerted.
            return BrokenResourceError(f"{what}: {UNEXPECTED_EOF_ADVICE}")
        self._alert = alert
        return BrokenResourceError(f"{what}: {exc}")
