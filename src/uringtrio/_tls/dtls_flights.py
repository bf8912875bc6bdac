"""Flights: the messages that one side of a DTLS handshake sends before it waits for the other's.

OpenSSL writes a flight as records, cut to the MTU that it knows. We send it again when no answer
comes, and cut it smaller when packets seem to be too large for the path; so the messages are taken
out of the records and put into new ones. In the first epoch the numbers of records are therefore
ours. What is encrypted (the last message, Finished) keeps its record: it is small.

Source: RFC 6347, section 4.2.4.
"""

from __future__ import annotations

from dataclasses import dataclass

from .dtls_codec import (
    FRAGMENT_HEADER_BYTES,
    HANDSHAKE,
    RECORD_HEADER_BYTES,
    Fragment,
    Record,
    decode_fragment,
    decode_records,
)

_HEADERS_BYTES = RECORD_HEADER_BYTES + FRAGMENT_HEADER_BYTES


@dataclass(frozen=True, slots=True)
class Message:
    """A whole handshake message.

    Attributes:
        version: that of its records.
        msg_type: what message it is.
        msg_seq: its number in the handshake.
        body: without headers.
    """

    version: bytes
    msg_type: int
    msg_seq: int
    body: bytearray


# A Record stands for itself: encrypted, or of a type that is never fragmented.
Flight = list[Message | Record]


def decode_flight(data: bytes) -> Flight:
    """Return the messages in what OpenSSL wrote, in order; empty if it wrote nothing."""
    flight: Flight = []
    by_seq: dict[int, Message] = {}
    for record in decode_records(data):
        if record.is_encrypted() or record.content_type != HANDSHAKE:
            flight.append(record)
            continue
        fragment = decode_fragment(record.payload)
        message = by_seq.get(fragment.msg_seq)
        if message is None:
            body = bytearray(fragment.msg_bytes)
            message = Message(record.version, fragment.msg_type, fragment.msg_seq, body)
            by_seq[fragment.msg_seq] = message
            flight.append(message)
        message.body[fragment.offset : fragment.offset + len(fragment.data)] = fragment.data
    return flight


def is_repetition(flight: Flight, earlier: Flight) -> bool:
    """Say whether both begin with the same handshake message: OpenSSL's own retransmission."""
    first, first_earlier = flight[:1], earlier[:1]
    return (
        bool(first and first_earlier)
        and isinstance(first[0], Message)
        and isinstance(first_earlier[0], Message)
        and first[0].msg_seq == first_earlier[0].msg_seq
    )


class FlightEncoder:
    """Puts flights into packets, and counts the records of one connection.

    Args:
        first_seqno: the number of the first record.
    """

    __slots__ = ("_next_seqno",)

    def __init__(self, first_seqno: int = 0) -> None:
        self._next_seqno = first_seqno

    def _count(self) -> int:
        seqno = self._next_seqno
        self._next_seqno += 1
        return seqno

    def encode(self, flight: Flight, mtu: int) -> list[bytes]:
        """Return the packets of a flight, with new numbers each time.

        Args:
            flight: what to send.
            mtu: the most bytes in a packet; at least those of the headers and of each record that
                cannot be fragmented.
        """
        packets = [bytearray()]
        for item in flight:
            if isinstance(item, Message):
                self._add_message(packets, item, mtu)
                continue
            if not item.is_encrypted():
                item = Record(item.content_type, item.version, self._count(), item.payload)  # noqa: PLW2901  # the same, renumbered
            encoded = item.encode()
            if packets[-1] and len(packets[-1]) + len(encoded) > mtu:
                packets.append(bytearray())
            packets[-1] += encoded
        return [bytes(packet) for packet in packets if packet]

    def _add_message(self, packets: list[bytearray], message: Message, mtu: int) -> None:
        offset = 0
        while True:
            room = mtu - len(packets[-1]) - _HEADERS_BYTES
            if room <= 0:
                packets.append(bytearray())
                continue
            data = message.body[offset : offset + room]
            fragment = Fragment(message.msg_type, len(message.body), message.msg_seq, offset, data)
            packets[-1] += Record(
                HANDSHAKE, message.version, self._count(), fragment.encode()
            ).encode()
            offset += len(data)
            # A message without a body, such as ServerHelloDone, is one fragment too.
            if offset >= len(message.body):
                return
