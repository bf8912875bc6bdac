"""DTLSChannel: packets to and from one peer, encrypted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self, final

from uringtrio._abc import Channel, Sealed
from uringtrio._channels import open_memory_channel
from uringtrio._errors import (
    BrokenResourceError,
    ClosedResourceError,
    EndOfChannel,
    NeedHandshakeError,
    WouldBlock,
)
from uringtrio._scheduler.traps import CHECKPOINT
from uringtrio._sync.lock import Lock

from .dtls_flights import Flight, FlightEncoder
from .dtls_handshake import Handshake
from .dtls_mtu import CIPHERTEXT_MTU_MIN, best_guess_mtu
from .dtls_openssl import PACKET_BYTES_MAX, new_connection, openssl, read_all, reason_of

if TYPE_CHECKING:
    from types import TracebackType

    from uringtrio._abc import Buffer

    from .dtls_codec import ClientHello
    from .dtls_endpoint import DTLSEndpoint

REPLACED = "the peer, or this side, began a new connection between the same two addresses"


@dataclass(frozen=True, slots=True)
class DTLSChannelStatistics:
    """What `DTLSChannel.statistics` returns.

    Attributes:
        incoming_packets_dropped_in_trio: packets that arrived while the channel's buffer was full,
            because nobody received. It holds `DTLSEndpoint.incoming_packets_buffer` packets.
    """

    incoming_packets_dropped_in_trio: int


@final
class DTLSChannel(Sealed, Channel[bytes]):
    """A connection with one peer, over which packets are sent, and lost, as over UDP.

    Made by `DTLSEndpoint.connect` and `DTLSEndpoint.serve`. The handshake happens by itself, when
    something is first sent or received, or by `do_handshake`. When the peer begins another
    connection from the same address, this one is replaced: using it raises BrokenResourceError.

    `with channel:` closes it at the end, and so does `async with`.

    Attributes:
        endpoint: the `DTLSEndpoint` whose socket it uses.
        peer_address: the peer's, as the socket reports it.
    """

    __slots__ = (
        "__dict__",
        "__weakref__", "_connection", "_encoder", "_failure", "_final_flight", "_flight",
        "_handshake_mtu", "_hello", "_incoming", "_incoming_end", "_is_closed", "_is_handshaken",
        "_is_replaced", "_packets_dropped", "_shake_lock", "endpoint", "peer_address",
    )  # fmt: skip

    def __init__(
        self,
        endpoint: DTLSEndpoint | None = None,
        peer_address: Any = None,
        context: Any = None,
        hello: ClientHello | None = None,
    ) -> None:
        if endpoint is None:
            raise TypeError(
                "uringtrio.DTLSChannel has no public constructor: "
                "use DTLSEndpoint.connect() or DTLSEndpoint.serve()"
            )
        self.endpoint = endpoint
        self.peer_address = peer_address
        self._connection = new_connection(context)
        # Of a server's channel: what it was made for.
        self._hello = hello
        # The HelloVerifyRequest had the number of the first ClientHello's record, which is less
        # than that of the second: counting from there, the client finds no number used twice.
        self._encoder = FlightEncoder(0 if hello is None else hello.epoch_seqno)
        self._handshake_mtu = 0
        self.set_ciphertext_mtu(best_guess_mtu(endpoint.socket))
        self._incoming_end, self._incoming = open_memory_channel[bytes](
            endpoint.incoming_packets_buffer
        )
        self._packets_dropped = 0
        self._shake_lock = Lock()
        self._is_handshaken = False
        # Why the handshake failed for good, or None.
        self._failure: str | None = None
        # What the handshake sent last; empty before it.
        self._flight: Flight = []
        # What ended our side of the handshake: sent again if the peer seems not to have got it.
        self._final_flight: Flight = []
        self._is_replaced = False
        self._is_closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the channel; the peer is not told. Tasks that wait in it get ClosedResourceError.

        The socket is the endpoint's, and stays open. Twice is allowed.

        Checkpoint: never; this is no async function.
        """
        if self._is_closed:
            return
        self._is_closed = True
        self.endpoint._forget(self)
        self._incoming.close()

    async def aclose(self) -> None:
        """Close the channel, as `close`.

        Checkpoint: always.
        """
        self.close()
        await CHECKPOINT

    async def do_handshake(self, *, initial_retransmit_timeout: float = 1.0) -> None:
        """Do the handshake now; return at once if it has been done.

        If another task is doing it, wait until that is done. Wrap it in a timeout: a peer that
        never answers is asked again for ever.

        Args:
            initial_retransmit_timeout: after so many seconds without an answer, what was sent is
                sent again; the time doubles each time, up to 60 seconds. About 1.5 times the round
                trip to the peer is best.

        Raises:
            ValueError: the timeout is not more than 0.
            BrokenResourceError: the handshake failed, for example because of the peer's
                certificate; or the connection was replaced.
            ClosedResourceError: this channel was closed before or during the call.
            OSError: the socket cannot send.

        Checkpoint: always. If it is cancelled, the next call goes on with the handshake.

        Source: RFC 6347, section 4.2.4.
        """
        if not initial_retransmit_timeout > 0:
            raise ValueError(
                "initial_retransmit_timeout must be more than 0 seconds, "
                f"not {initial_retransmit_timeout!r}"
            )
        async with self._shake_lock:
            if not self._is_handshaken:
                await Handshake(self, initial_retransmit_timeout).run()

    async def send(self, value: Buffer) -> None:
        """Encrypt one packet and send it. Nobody says whether it arrives.

        Args:
            value: 1 to 16384 bytes; more than `get_cleartext_mtu` are likely to be lost.

        Raises:
            ValueError: there are fewer or more bytes.
            BrokenResourceError: the connection was replaced, or its handshake failed.
            ClosedResourceError: this channel was closed before or during the call.
            OSError: the socket cannot send, for example so large a packet (EMSGSIZE).

        Checkpoint: always. If it is cancelled, nothing was sent.
        """
        self._check_open()
        size = memoryview(value).nbytes
        if not size:
            raise ValueError("openssl doesn't support sending empty DTLS packets")
        if size > PACKET_BYTES_MAX:
            raise ValueError(f"a DTLS packet holds at most {PACKET_BYTES_MAX} bytes, not {size}")
        if not self._is_handshaken:
            await self.do_handshake()
        async with self.endpoint._send_lock:
            self._check()
            try:
                self._connection.send(value)
            except openssl().Error as exc:
                raise BrokenResourceError(f"cannot send over DTLS: {reason_of(exc)}") from exc
            packet = read_all(self._connection.bio_read)
            await self.endpoint.socket.sendto(packet, self.peer_address)

    async def receive(self) -> bytes:
        """Wait for the next packet that is authentic.

        Several tasks may receive at the same time. What is forged, damaged or repeated is passed
        over.

        Returns:
            At least one byte.

        Raises:
            EndOfChannel: the peer has said that it sends no more.
            BrokenResourceError: the connection was replaced, or its handshake failed.
            ClosedResourceError: this channel was closed before or during the call.

        Checkpoint: always. If it is cancelled, no packet is lost.
        """
        if not self._is_handshaken:
            self._check_open()
            await self.do_handshake()
        while True:
            self._connection.bio_write(await self._next_packet())
            try:
                cleartext = read_all(self._connection.recv)
            except openssl().ZeroReturnError:
                cleartext = b""
            except openssl().Error as exc:
                raise BrokenResourceError(f"cannot receive over DTLS: {reason_of(exc)}") from exc
            if self._connection.get_shutdown() & openssl().RECEIVED_SHUTDOWN:
                # The next receiver is to find the end, and so are those who wait already.
                self._incoming_end.close()
            if cleartext:
                return cleartext

    async def _next_packet(self) -> bytes:
        """Wait for a packet from the peer, whatever is in it."""
        try:
            return await self._incoming.receive()
        except EndOfChannel:
            self._check()
            raise

    def set_ciphertext_mtu(self, new_mtu: int) -> None:
        """Say how large a packet may get on the way to this peer.

        Nothing that is sent is limited by it. Before the handshake it says how to fragment the
        handshake's messages, which otherwise takes some lost packets to find out; and it decides
        what `get_cleartext_mtu` returns.

        Args:
            new_mtu: bytes of UDP payload, without the headers of UDP (8 bytes) and IP (20, or 40
                for IPv6); at least 228. At first it is 1472, or 1452 for IPv6: Ethernet's.

        Raises:
            ValueError: it is less.
        """
        if new_mtu < CIPHERTEXT_MTU_MIN:
            raise ValueError(
                f"the MTU must be at least {CIPHERTEXT_MTU_MIN} bytes, not {new_mtu!r}"
            )
        self._handshake_mtu = new_mtu
        self._connection.set_ciphertext_mtu(new_mtu)

    def get_cleartext_mtu(self) -> int:
        """Return how many bytes `send` can send in a packet that is within the MTU.

        Raises:
            NeedHandshakeError: the handshake has not been completed.
        """
        if not self._is_handshaken:
            raise NeedHandshakeError(
                "the handshake decides how much the encryption adds: await do_handshake() before"
            )
        mtu: int = self._connection.get_cleartext_mtu()
        return mtu

    def statistics(self) -> DTLSChannelStatistics:
        """Return figures about this channel."""
        return DTLSChannelStatistics(self._packets_dropped)

    def _check_open(self) -> None:
        if self._is_closed:
            raise ClosedResourceError("this DTLS channel was closed")

    def _check(self) -> None:
        """Raise unless the channel can be used."""
        self._check_open()
        if self._is_replaced:
            raise BrokenResourceError(REPLACED)
        if self._failure is not None:
            raise BrokenResourceError(self._failure)

    def _replace(self) -> None:
        """There is a new channel for the same addresses: no more packets come here."""
        self._is_replaced = True
        self._incoming_end.close()

    def _deliver(self, packet: bytes) -> None:
        try:
            self._incoming_end.send_nowait(packet)
        except WouldBlock:
            self._packets_dropped += 1
        except (BrokenResourceError, ClosedResourceError):
            pass  # Closed, replaced or ended: nobody waits for it.

    async def _send_flight(self, flight: Flight) -> None:
        for packet in self._encoder.encode(flight, self._handshake_mtu):
            async with self.endpoint._send_lock:
                self._check_open()
                await self.endpoint.socket.sendto(packet, self.peer_address)
