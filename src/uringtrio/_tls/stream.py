"""SSLStream: encrypted communication over any stream; the pump of the engine in engine.py.

Any operation may have to send and to receive ciphertext, so several tasks may want the same
direction of the transport at the same time, which has room for one.

- *Sending*: ciphertext is taken out of the engine and gets in line in one step without a yield, and
  the line is first come, first served: it goes out in the order in which the engine made it.
  Whoever fails in between leaves a hole in the connection, so that breaks it for everybody.
- *Receiving*: whoever finds another task receiving waits until that is done and tries its own
  operation again, which may not need more any longer.
- An operation that has ciphertext to send and needs more sends first and then looks again: while it
  was sending, another task may have received what it needs, and nothing else may be coming.
"""

from __future__ import annotations

import contextlib
import operator
import ssl
from typing import TYPE_CHECKING, Generic, TypeVar, final

from uringtrio._abc import Sealed, Stream
from uringtrio._errors import BrokenResourceError, BusyResourceError, ClosedResourceError
from uringtrio._net.resolver import encode_hostname
from uringtrio._net.staple import aclose_forcefully
from uringtrio._scheduler.parking import ParkingLot
from uringtrio._scheduler.traps import CHECKPOINT, SHIELDED_CHECKPOINT, checkpoint_if_cancelled

from .engine import (
    DEFAULT_DECRYPT_BYTES,
    WANT,
    Engine,
    State,
    is_cut_handshake,
    is_unexpected_eof,
)
from .facts import ConnectionFacts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from uringtrio._abc import Buffer

StreamT = TypeVar("StreamT", bound=Stream)

# Encrypted, and sent, in one go: four records. Sending much needs no more memory than this, which
# stays in the CPU's cache: without the limit 1 MiB takes 1.5 times as much CPU (benchmarks/tls.py).
SEND_BYTES_MAX = 2**16

BUSY_SENDING = "another task is already sending through this SSLStream"


@final
class SSLStream(ConnectionFacts, Sealed, Stream, Generic[StreamT]):
    """A stream that encrypts what it sends over another, and decrypts what it receives from it.

    It becomes the owner of the other. The handshake happens by itself, when something is first
    sent or received, or by `do_handshake`. A task may send while another one receives.

    It also has the attributes and methods of `ssl.SSLObject`; those that have no answer before the
    handshake raise NeedHandshakeError until then.

    If an operation that was sending, or doing the handshake, is cancelled or fails, the connection
    is broken, and can only be closed. Cancelling `receive_some` loses nothing.

    Args:
        transport_stream: carries the ciphertext.
        ssl_context: certificates and settings. By default Python's contexts have the option
            `ssl.OP_IGNORE_UNEXPECTED_EOF`, and then a connection that was cut looks as if the peer
            had ended it; clear it to tell them apart.
        server_hostname: who the peer must prove to be, and whom to ask for (SNI); a name with other
            letters than ASCII's is encoded by IDNA 2008. Clients need it, unless the context does
            not check names; for servers it is None.
        server_side: whether this is the server's end.
        https_compatible: neither send nor expect the close_notify that marks the end of a TLS
            connection, as most of HTTP does not. Then an attacker can cut the connection
            unnoticed, unless the protocol itself says where it ends.

    Raises:
        TypeError: `ssl_context` is no `ssl.SSLContext`.
        ValueError: the context checks names, and there is none to check.

    Attributes:
        transport_stream: as given; None after `unwrap`.
    """

    __slots__ = (
        "__dict__", "__weakref__", "_https_compatible", "_is_cut", "_is_pulling", "_is_pushing",
        "_is_receiving", "_is_sending", "_is_shaking", "_pull_line", "_push_line", "_shake_line",
        "transport_stream",
    )  # fmt: skip

    def __init__(
        self,
        transport_stream: StreamT,
        ssl_context: ssl.SSLContext,
        *,
        server_hostname: str | bytes | None = None,
        server_side: bool = False,
        https_compatible: bool = False,
    ) -> None:
        if not isinstance(ssl_context, ssl.SSLContext):
            raise TypeError(
                "SSLStream needs an ssl.SSLContext, such as ssl.create_default_context() returns, "
                f"not {ssl_context!r}"
            )
        if ssl_context.check_hostname and server_hostname is None and not server_side:
            # OpenSSL would check the certificate, but not whose it is.
            raise ValueError(
                "this context checks the server's name: pass it as server_hostname, "
                "or set check_hostname of the context to False"
            )
        if isinstance(server_hostname, str):
            server_hostname = encode_hostname(server_hostname)
        self._engine = Engine(ssl_context, server_side=server_side, server_hostname=server_hostname)
        self.transport_stream = transport_stream
        self._https_compatible = https_compatible
        # The transport ended where that is allowed: receiving returns the end, and all else fails.
        self._is_cut = False
        # A task is in `receive_some`; in `send_all` or `wait_send_all_might_not_block`; in the
        # first handshake.
        self._is_receiving = False
        self._is_sending = False
        self._is_shaking = False
        # A task uses the transport to receive; to send. Those who wait for it are in the lines;
        # the first in `_push_line` is woken as its next user.
        self._is_pulling = False
        self._is_pushing = False
        self._pull_line = ParkingLot()
        self._push_line = ParkingLot()
        # Tasks that wait for the handshake of another one.
        self._shake_line = ParkingLot()

    async def do_handshake(self) -> None:
        """Do the handshake now, for example to look at the peer's certificate before all else.

        If another task is doing it, wait until that is done.

        Raises:
            BrokenResourceError: it failed, now or before; the `__cause__` is an `ssl.SSLError` if
                the reason is one of TLS.
            ClosedResourceError: this stream is closed.

        Checkpoint: always. If it is cancelled after it has begun, the connection is broken.
        """
        self._engine.check()
        if self._engine.is_handshaken:
            await CHECKPOINT
        else:
            await self._handshake()

    # OpenSSL would do the handshake by itself in the first read or write, but then nobody would
    # compare the certificate with the name.
    async def _handshake(self) -> None:
        engine = self._engine
        while self._is_shaking:
            await self._shake_line.park()
            engine.check()
            if engine.is_handshaken:
                return
        self._is_shaking = True
        try:
            await checkpoint_if_cancelled()
            try:
                while engine.handshake() is WANT:
                    await self._advance()
                ciphertext = engine.take()
                if ciphertext:
                    await self._push(ciphertext)
            except BaseException:
                self._break()
                raise
        finally:
            self._is_shaking = False
            self._shake_line.unpark_all()

    def _break(self) -> None:
        if self._engine.state is State.OPEN:
            self._engine.state = State.BROKEN

    async def _advance(self) -> None:
        """Wait for the one thing that lets an operation go on which has answered `WANT`."""
        ciphertext = self._engine.take()
        if ciphertext:
            await self._push(ciphertext)
        elif self._is_pulling:
            await self._pull_line.park()
        else:
            self._is_pulling = True
            try:
                self._engine.feed(await self.transport_stream.receive_some())
            finally:
                self._is_pulling = False
                if self._pull_line:
                    self._pull_line.unpark_all()

    async def _push(self, ciphertext: bytes) -> None:
        """Send over the transport, after those who came before."""
        try:
            if self._is_pushing:
                await self._push_line.park()
            self._is_pushing = True
            try:
                if self._engine.state is State.BROKEN:
                    self._engine.check()
                await self.transport_stream.send_all(ciphertext)
            finally:
                self._stop_pushing()
        except BaseException:
            # Nobody knows how much of it was sent.
            self._break()
            raise

    def _stop_pushing(self) -> None:
        """Hand the transport to the next in line, for whom `_is_pushing` stays set."""
        if not (self._push_line and self._push_line.unpark()):
            self._is_pushing = False

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Wait until there is at least one byte of plaintext and return what is there.

        Args:
            max_bytes: at most this many bytes, at least 1; None takes up to 64 KiB.

        Returns:
            1 to `max_bytes` bytes; empty means that the peer has ended the connection properly,
            or, with `https_compatible`, anyhow.

        Raises:
            BusyResourceError: another task is receiving from this stream.
            BrokenResourceError: the connection is gone, or was cut; the `__cause__` is an
                `ssl.SSLError` if the reason is one of TLS.
            ClosedResourceError: this side was closed before or during the call.

        Checkpoint: always. If it is cancelled, nothing is lost, unless it was doing a handshake.
        """
        if max_bytes is None:
            max_bytes = DEFAULT_DECRYPT_BYTES
        else:
            max_bytes = operator.index(max_bytes)
            if max_bytes < 1:
                raise ValueError(f"max_bytes must be at least 1, not {max_bytes!r}")
        if self._is_receiving:
            raise BusyResourceError("another task is already receiving from this SSLStream")
        self._is_receiving = True
        engine = self._engine
        try:
            if not (self._is_cut and engine.state is State.BROKEN):
                engine.check()
                if not engine.is_handshaken:
                    await self._handshake()
                if engine.has_input():
                    await CHECKPOINT
                    engine.check()
                else:
                    await self._advance()
                while (data := engine.decrypt(max_bytes)) is WANT:
                    await self._advance()
                return data
        except BrokenResourceError as exc:
            # Without a handshake there was nothing that could have been cut.
            is_end = is_unexpected_eof if engine.is_handshaken else is_cut_handshake
            if not (self._https_compatible and is_end(exc.__cause__)):
                raise
            self._is_cut = True
        finally:
            self._is_receiving = False
        await CHECKPOINT
        return b""

    async def send_all(self, data: Buffer) -> None:
        """Encrypt all of `data` and send it, waiting as long as the peer does not take it.

        Args:
            data: any number of bytes, zero included. It is borrowed until the call returns or
                raises; do not change it meanwhile.

        Raises:
            BusyResourceError: another task is sending through this stream.
            BrokenResourceError: the connection is gone; the `__cause__` is an `ssl.SSLError` if
                the reason is one of TLS.
            ClosedResourceError: this side was closed before or during the call.

        Checkpoint: always. If it is cancelled after it has begun, the connection is broken.
        """
        if type(data) is not bytes:
            data = memoryview(data).cast("B")
        if self._is_sending:
            raise BusyResourceError(BUSY_SENDING)
        self._is_sending = True
        engine = self._engine
        try:
            engine.check()
            if not engine.is_handshaken:
                await self._handshake()
            if not data:
                await CHECKPOINT
                return
            # Once it is encrypted it must be sent, or the connection has a hole.
            await checkpoint_if_cancelled()
            for part in _parts_of(data):
                while engine.encrypt(part) is WANT:
                    await self._advance()
                await self._push(engine.take())
        finally:
            self._is_sending = False

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until the transport might take more without waiting. It does no handshake.

        Raises:
            BusyResourceError: another task is sending through this stream.
            BrokenResourceError: the connection is gone.
            ClosedResourceError: this side was closed before or during the call.

        Checkpoint: always.
        """
        if self._is_sending:
            raise BusyResourceError(BUSY_SENDING)
        self._is_sending = True
        try:
            self._engine.check()
            # A task that is receiving may have to send what the peer asked for.
            if self._is_pushing:
                await self._push_line.park()
            self._is_pushing = True
            try:
                await self.transport_stream.wait_send_all_might_not_block()
            finally:
                self._stop_pushing()
        finally:
            self._is_sending = False

    async def unwrap(self) -> tuple[StreamT, bytes]:
        """End the encryption on both sides, and hand back the transport, to go on without it.

        Returns:
            The transport, which belongs to the caller from then on, and the bytes, maybe none,
            that were received from it behind the end of the encryption.

        Raises:
            BusyResourceError: another task is sending or receiving through this stream.
            BrokenResourceError: the peer does not agree: it sends more data, or ends the
                connection; or an earlier error.
            ClosedResourceError: this side was closed before or during the call.

        Checkpoint: always. If it is cancelled, the connection can only be closed.
        """
        if self._is_receiving or self._is_sending:
            raise BusyResourceError("another task is using this SSLStream")
        self._is_receiving = self._is_sending = True
        engine = self._engine
        try:
            engine.check()
            if not engine.is_handshaken:
                await self._handshake()
            await checkpoint_if_cancelled()
            while engine.shut_down() is WANT:
                await self._advance()
            ciphertext = engine.take()
            if ciphertext:
                await self._push(ciphertext)
            else:
                await SHIELDED_CHECKPOINT
        finally:
            self._is_receiving = self._is_sending = False
        engine.check()
        engine.state = State.CLOSED
        transport_stream = self.transport_stream
        self.transport_stream = None  # type: ignore[assignment]  # nothing uses it once it is closed
        return transport_stream, engine.trailing()

    async def aclose(self) -> None:
        """Say goodbye to the peer by a close_notify, and close the transport.

        That includes the handshake if there was none yet. With `https_compatible`, or when the
        connection is broken, or while another task is sending, there is no goodbye. After an error
        in TLS itself the peer is told about that instead.

        Raises:
            BrokenResourceError: the handshake failed.

        Checkpoint: always. If it is cancelled, the transport is closed forcefully.
        """
        engine = self._engine
        if engine.state is State.CLOSED:
            await CHECKPOINT
            return
        with_close_notify = not self._https_compatible
        try:
            if with_close_notify and engine.state is State.OPEN and not engine.is_handshaken:
                await self._handshake()
            farewell = engine.farewell(with_close_notify=with_close_notify)
            if farewell and not self._is_pushing:
                # The peer may have closed the connection first, which is its right, or another
                # task may have lost patience with this goodbye.
                with contextlib.suppress(BrokenResourceError, ClosedResourceError):
                    await self._push(farewell)
        except BaseException:
            engine.state = State.CLOSED
            await aclose_forcefully(self.transport_stream)
            raise
        engine.state = State.CLOSED
        await self.transport_stream.aclose()


def _parts_of(data: bytes | memoryview) -> Sequence[Buffer]:
    if len(data) <= SEND_BYTES_MAX:
        return (data,)
    view = memoryview(data)
    return [view[at : at + SEND_BYTES_MAX] for at in range(0, len(view), SEND_BYTES_MAX)]
