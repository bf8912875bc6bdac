"""The bytes of DTLS 1.2: records, handshake messages, and the ClientHello.

A packet holds records. A record of type HANDSHAKE holds a fragment of a handshake message. Whatever
comes from the network makes these functions raise `BadPacketError` and nothing else.

Source: RFC 6347, sections 4.1 and 4.2.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

CHANGE_CIPHER_SPEC = 20
ALERT = 21
HANDSHAKE = 22

CLIENT_HELLO = 1
HELLO_VERIFY_REQUEST = 3

DTLS_1_0 = b"\xfe\xff"

# Content type, version, epoch (2 bytes) with sequence number (6 bytes), length of the payload.
_RECORD_HEADER = struct.Struct("!B2sQH")
RECORD_HEADER_BYTES = _RECORD_HEADER.size
_EPOCH_AT = slice(3, 5)

# Type, length of the message, its number, offset and length of the fragment; struct has no 24 bits.
_FRAGMENT_HEADER = struct.Struct("!B3sH3s3s")
FRAGMENT_HEADER_BYTES = _FRAGMENT_HEADER.size

# In a ClientHello: the version and the random bytes, before the first field of variable length.
_SESSION_ID_AT = 2 + 32


class BadPacketError(Exception):
    """Raised when the bytes of a packet are none of DTLS."""


@dataclass(frozen=True, slots=True)
class Record:
    """One record.

    Attributes:
        content_type: what the payload is.
        version: 2 bytes, as sent.
        epoch_seqno: the epoch times 2**48, plus the sequence number within it; epoch 0 is not
            encrypted.
        payload: less than 2**16 bytes.
    """

    content_type: int
    version: bytes
    epoch_seqno: int
    payload: bytes | bytearray

    def is_encrypted(self) -> bool:
        """Say whether the record is of another epoch than the first."""
        return self.epoch_seqno >> 48 != 0

    def encode(self) -> bytes:
        """Return the bytes."""
        header = _RECORD_HEADER.pack(
            self.content_type, self.version, self.epoch_seqno, len(self.payload)
        )
        return header + self.payload


@dataclass(frozen=True, slots=True)
class Fragment:
    """A part of a handshake message, or all of it.

    Attributes:
        msg_type: what message it is.
        msg_bytes: the length of the whole message.
        msg_seq: its number in the handshake.
        offset: where in the message the fragment begins.
        data: the fragment.
    """

    msg_type: int
    msg_bytes: int
    msg_seq: int
    offset: int
    data: bytes | bytearray

    def encode(self) -> bytes:
        """Return the bytes."""
        header = _FRAGMENT_HEADER.pack(
            self.msg_type,
            self.msg_bytes.to_bytes(3, "big"),
            self.msg_seq,
            self.offset.to_bytes(3, "big"),
            len(self.data).to_bytes(3, "big"),
        )
        return header + self.data


@dataclass(frozen=True, slots=True)
class ClientHello:
    """The message that asks for a connection.

    Attributes:
        epoch_seqno: that of its record.
        cookie: what the server gave the client to bring back; empty in the first one.
        rest: everything else in the message, which the second one repeats exactly.
    """

    epoch_seqno: int
    cookie: bytes
    rest: bytes


def is_client_hello(packet: bytes) -> bool:
    """Say whether the packet claims to begin with a ClientHello."""
    return (
        len(packet) > RECORD_HEADER_BYTES
        and packet[0] == HANDSHAKE
        and packet[RECORD_HEADER_BYTES] == CLIENT_HELLO
    )


def is_part_of_handshake(packet: bytes) -> bool:
    """Say whether the packet claims to be of the first epoch: not only HANDSHAKE records are."""
    return packet[_EPOCH_AT] == b"\x00\x00"


def decode_records(packet: bytes) -> Iterator[Record]:
    """Yield the records of a packet, or of several packets one after the other."""
    at = 0
    while at < len(packet):
        if at + RECORD_HEADER_BYTES > len(packet):
            raise BadPacketError("the header of a record is cut off")
        content_type, version, epoch_seqno, size = _RECORD_HEADER.unpack_from(packet, at)
        at += RECORD_HEADER_BYTES
        payload = packet[at : at + size]
        if len(payload) != size:
            raise BadPacketError("a record is cut off")
        at += size
        yield Record(content_type, version, epoch_seqno, payload)


def decode_fragment(payload: bytes | bytearray) -> Fragment:
    """Return the fragment that a HANDSHAKE record holds."""
    if len(payload) < FRAGMENT_HEADER_BYTES:
        raise BadPacketError("the header of a handshake message is cut off")
    msg_type, msg_bytes, msg_seq, offset, size = _FRAGMENT_HEADER.unpack_from(payload)
    data = payload[FRAGMENT_HEADER_BYTES:]
    if len(data) != int.from_bytes(size, "big"):
        raise BadPacketError("a fragment is not as long as its record")
    return Fragment(
        msg_type,
        int.from_bytes(msg_bytes, "big"),
        msg_seq,
        int.from_bytes(offset, "big"),
        data,
    )


def decode_client_hello(packet: bytes) -> ClientHello:
    """Return the ClientHello that a packet begins with; what follows it is OpenSSL's business."""
    record = next(decode_records(packet), None)
    if record is None or record.content_type != HANDSHAKE:
        raise BadPacketError("the packet holds no handshake record")
    fragment = decode_fragment(record.payload)
    if fragment.msg_type != CLIENT_HELLO:
        raise BadPacketError("the handshake message is no ClientHello")
    # To put one together would need memory for a peer that has not proved its address.
    if fragment.offset != 0 or len(fragment.data) != fragment.msg_bytes:
        raise BadPacketError("the ClientHello is fragmented")
    body = bytes(fragment.data)
    try:
        cookie_size_at = _SESSION_ID_AT + 1 + body[_SESSION_ID_AT]
        cookie_at = cookie_size_at + 1
        rest_at = cookie_at + body[cookie_size_at]
    except IndexError:
        raise BadPacketError("the ClientHello is cut off before its cookie") from None
    if rest_at > len(body):
        raise BadPacketError("the cookie is cut off")
    # The length of the cookie, like the cookie, is not repeated; the record's framing is neither.
    rest = body[:cookie_size_at] + body[rest_at:]
    return ClientHello(record.epoch_seqno, body[cookie_at:rest_at], rest)
