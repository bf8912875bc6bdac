"""SSLListener: hands out connections that will be encrypted."""

from __future__ import annotations

import ssl
from typing import Generic, final

from uringtrio._abc import Listener, Sealed
from uringtrio._net.staple import aclose_forcefully

from .stream import SSLStream, StreamT


@final
class SSLListener(Sealed, Listener[SSLStream[StreamT]], Generic[StreamT]):
    """Hands out the connections of another listener, of which it becomes the owner, as SSLStreams.

    Args:
        transport_listener: where connections come from.
        ssl_context: with the server's certificate.
        https_compatible: see `SSLStream`.

    Raises:
        TypeError: `ssl_context` is no `ssl.SSLContext`.

    Attributes:
        transport_listener: as given.
    """

    __slots__ = (
        "__dict__", "__weakref__", "_https_compatible", "_ssl_context", "transport_listener",
    )  # fmt: skip

    def __init__(
        self,
        transport_listener: Listener[StreamT],
        ssl_context: ssl.SSLContext,
        *,
        https_compatible: bool = False,
    ) -> None:
        # Here, not at the first connection.
        if not isinstance(ssl_context, ssl.SSLContext):
            raise TypeError(
                "SSLListener needs an ssl.SSLContext, such as "
                f"ssl.create_default_context(ssl.Purpose.CLIENT_AUTH) returns, not {ssl_context!r}"
            )
        self.transport_listener = transport_listener
        self._ssl_context = ssl_context
        self._https_compatible = https_compatible

    async def accept(self) -> SSLStream[StreamT]:
        """Wait for a connection and return its stream, which has not done the handshake yet.

        So a client that dawdles holds up nobody else.

        Raises: what the `accept` of `transport_listener` raises.

        Checkpoint: always.
        """
        transport_stream = await self.transport_listener.accept()
        try:
            return self._wrap(transport_stream)
        except BaseException:
            await aclose_forcefully(transport_stream)
            raise

    def _wrap(self, transport_stream: StreamT) -> SSLStream[StreamT]:
        return SSLStream(
            transport_stream,
            self._ssl_context,
            server_side=True,
            https_compatible=self._https_compatible,
        )

    def _accept_nowait(self) -> SSLStream[StreamT] | None:
        """As that of `SocketListener`, if `transport_listener` has it."""
        transport = self.transport_listener
        transport_stream = getattr(type(transport), "_accept_nowait", lambda _: None)(transport)
        return None if transport_stream is None else self._wrap(transport_stream)

    async def aclose(self) -> None:
        """Close `transport_listener`. Streams that were handed out stay open.

        Checkpoint: always.
        """
        await self.transport_listener.aclose()
