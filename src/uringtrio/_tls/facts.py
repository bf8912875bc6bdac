"""What a TLS stream tells about its connection: the attributes of `ssl.SSLObject`, under guard."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from uringtrio._errors import NeedHandshakeError

if TYPE_CHECKING:
    import ssl

    from .engine import Engine


class ConnectionFacts:
    """The attributes and methods that a TLS stream has from its `ssl.SSLObject`.

    Those that the handshake decides raise `NeedHandshakeError` before it, where `ssl` would answer
    None.
    """

    __slots__ = ("_engine",)

    _engine: Engine

    @property
    def context(self) -> ssl.SSLContext:
        """The settings and certificates; may be replaced before the handshake."""
        return self._engine.ssl.context

    @context.setter
    def context(self, context: ssl.SSLContext) -> None:
        self._engine.ssl.context = context

    @property
    def server_side(self) -> bool:
        """Whether this is the server's end."""
        return self._engine.ssl.server_side

    @property
    def server_hostname(self) -> str | None:
        """Who the peer must prove to be, as it is sent: in ASCII. None if nobody was named."""
        return self._engine.ssl.server_hostname

    @property
    def session(self) -> ssl.SSLSession | None:
        """The session, of a client; may be set before the handshake, to resume an earlier one."""
        return self._engine.ssl.session

    @session.setter
    def session(self, session: ssl.SSLSession) -> None:
        self._engine.ssl.session = session

    @property
    def session_reused(self) -> bool | None:
        """Whether the handshake resumed an earlier session."""
        return self._shaken("session_reused").session_reused

    def getpeercert(self, binary_form: bool = False) -> Any:
        """Return the peer's certificate, see `ssl.SSLSocket.getpeercert`.

        Args:
            binary_form: return it in DER instead of as a dict.

        Raises:
            NeedHandshakeError: the handshake has not been completed.
        """
        return self._shaken("getpeercert").getpeercert(binary_form)

    def selected_alpn_protocol(self) -> str | None:
        """Return the application protocol that both sides agreed on by ALPN, or None.

        Raises:
            NeedHandshakeError: the handshake has not been completed.
        """
        return self._shaken("selected_alpn_protocol").selected_alpn_protocol()

    def selected_npn_protocol(self) -> str | None:
        """Return the same for NPN, which nothing speaks any more: always None, with a warning.

        Raises:
            NeedHandshakeError: the handshake has not been completed.
        """
        return self._shaken("selected_npn_protocol").selected_npn_protocol()  # type: ignore[deprecated]  # on whom it was called

    def cipher(self) -> tuple[str, str, int] | None:
        """Return the cipher's name, the protocol version that defined it, and its secret bits.

        Raises:
            NeedHandshakeError: the handshake has not been completed.
        """
        return self._shaken("cipher").cipher()

    def shared_ciphers(self) -> list[tuple[str, str, int]] | None:
        """Return the ciphers that both sides could have used, of a server; None of a client.

        Raises:
            NeedHandshakeError: the handshake has not been completed.
        """
        return self._shaken("shared_ciphers").shared_ciphers()

    def compression(self) -> str | None:
        """Return the compression method, or None, which is nearly always the answer.

        Raises:
            NeedHandshakeError: the handshake has not been completed.
        """
        return self._shaken("compression").compression()

    def get_channel_binding(self, cb_type: str = "tls-unique") -> bytes | None:
        """Return bytes that are unique to this connection, see `ssl.SSLSocket`.

        Args:
            cb_type: one of `ssl.CHANNEL_BINDING_TYPES`.

        Raises:
            NeedHandshakeError: the handshake has not been completed.
            ValueError: OpenSSL does not know `cb_type`.
        """
        return self._shaken("get_channel_binding").get_channel_binding(cb_type)

    def version(self) -> str | None:
        """Return the protocol version, such as "TLSv1.3".

        Raises:
            NeedHandshakeError: the handshake has not been completed.
        """
        return self._shaken("version").version()

    def pending(self) -> int:
        """Return how many bytes are decrypted and not received yet."""
        return self._engine.ssl.pending()

    def _shaken(self, name: str) -> ssl.SSLObject:
        """Return what answers `name`, or raise if the handshake has not been completed."""
        if not self._engine.is_handshaken:
            raise NeedHandshakeError(
                f"{name} is decided by the TLS handshake: await do_handshake() before"
            )
        return self._engine.ssl
