"""The handshake of a DTLS channel: flights out, packets in, and a timer between them.

OpenSSL has a timer of its own, by the wall clock, which cannot be turned off; what it repeats is
thrown away here. When OpenSSL gives up a handshake, its connection is of no use any more; errors
about single packets, which anybody can send, leave it as it was. Trying again, with nothing new to
read, tells one from the other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from uringtrio._errors import BrokenResourceError
from uringtrio._timeouts import move_on_after

from .dtls_flights import Flight, decode_flight, is_repetition
from .dtls_mtu import worst_case_mtu
from .dtls_openssl import openssl, read_all, reason_of

if TYPE_CHECKING:
    from .dtls_channel import DTLSChannel

# Source: RFC 6347, section 4.2.4.1.
RETRANSMIT_SECONDS_MAX = 60.0

# After so many flights without an answer the packets may be too large for the network.
FAILURES_UNTIL_SMALLER = 2


class Handshake:
    """One attempt; after a cancellation, another one goes on where it was.

    Args:
        channel: whose.
        initial_seconds: until the first retransmission.
    """

    __slots__ = ("_channel", "_connection", "_failures", "_flight", "_initial_seconds", "_seconds")

    def __init__(self, channel: DTLSChannel, initial_seconds: float) -> None:
        self._channel = channel
        self._connection = channel._connection
        self._initial_seconds = initial_seconds
        self._seconds = initial_seconds
        # What was sent last, and how often in a row that got no answer.
        self._flight = channel._flight
        self._failures = 0

    async def run(self) -> None:
        """Do it.

        Raises: what `DTLSChannel.do_handshake` raises.
        """
        channel = self._channel
        channel._check()
        if not self._flight:
            # A client's ClientHello, or a server's answer to the one that is in OpenSSL already.
            await self._step()
            self._flight = channel._flight = self._written()
        while True:
            channel._check()
            await channel._send_flight(self._flight)
            channel.endpoint._ensure_receiving()
            with move_on_after(self._seconds) as scope:
                is_done = await self._wait_answer()
            if scope.cancelled_caught:
                self._back_off()
            elif is_done:
                channel._is_handshaken = True
                # Maybe empty: somebody has the last word.
                channel._final_flight = self._written()
                await channel._send_flight(channel._final_flight)
                return

    def _written(self) -> Flight:
        """Return what OpenSSL has to say that it has not said before."""
        flight = decode_flight(read_all(self._connection.bio_read))
        return [] if is_repetition(flight, self._flight) else flight

    async def _step(self) -> bool:
        """Let OpenSSL look at the packets it was given; return whether it is done."""
        ssl = openssl()
        try:
            self._connection.do_handshake()
        except ssl.WantReadError:
            return False
        except ssl.Error as exc:
            try:
                self._connection.do_handshake()
            except ssl.WantReadError:
                return False
            except ssl.Error:
                await self._fail(exc)
        return True

    async def _fail(self, exc: Exception) -> None:
        """Send the alert that says why, and raise."""
        channel = self._channel
        channel._failure = (
            f"the DTLS handshake with {channel.peer_address!r} failed: {reason_of(exc)}"
        )
        alert = self._written()
        if alert:
            await channel._send_flight(alert)
        raise BrokenResourceError(channel._failure) from exc

    async def _wait_answer(self) -> bool:
        """Wait until OpenSSL has another flight to send; return whether the handshake is done."""
        channel = self._channel
        while True:
            self._connection.bio_write(await channel._next_packet())
            if await self._step():
                return True
            flight = self._written()
            if not flight:
                continue
            self._flight = channel._flight = flight
            # A time that has proved too short stays longer until a flight gets through at once.
            if self._failures == 0:
                self._seconds = self._initial_seconds
            self._failures = 0
            return False

    def _back_off(self) -> None:
        self._seconds = min(2 * self._seconds, RETRANSMIT_SECONDS_MAX)
        self._failures += 1
        if self._failures == FAILURES_UNTIL_SMALLER:
            channel = self._channel
            channel._handshake_mtu = min(
                channel._handshake_mtu, worst_case_mtu(channel.endpoint.socket)
            )
