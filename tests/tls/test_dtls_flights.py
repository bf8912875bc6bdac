"""Flights: messages survive being cut to any size, and their records are counted once."""

import pytest
from hypothesis import given, strategies as st

from uringtrio._tls.dtls_codec import (
    CHANGE_CIPHER_SPEC,
    DTLS_1_0,
    HANDSHAKE,
    Fragment,
    Record,
    decode_fragment,
    decode_records,
)
from uringtrio._tls.dtls_flights import FlightEncoder, Message, decode_flight, is_repetition

CCS = Record(CHANGE_CIPHER_SPEC, DTLS_1_0, 0, b"\x01")
FINISHED = Record(HANDSHAKE, DTLS_1_0, (1 << 48) + 5, bytes(60))


def messages(*sizes):
    return [
        Message(DTLS_1_0, 11, seq, bytearray(seq + index for index in range(size)))
        for seq, size in enumerate(sizes)
    ]


def same(flight, other):
    """Compare without the numbers of the records that are counted anew."""
    return [
        item if isinstance(item, Message) or item.is_encrypted() else item.payload
        for item in flight
    ] == [
        item if isinstance(item, Message) or item.is_encrypted() else item.payload for item in other
    ]


@given(
    sizes=st.lists(st.integers(0, 100), max_size=6),
    mtu=st.integers(228, 600),
    smaller=st.integers(228, 600),
)
def test_flight_survives_any_mtu(sizes, mtu, smaller):
    flight = [*messages(*sizes), CCS, FINISHED]
    encoder = FlightEncoder()

    packets = encoder.encode(flight, mtu)
    again = encoder.encode(decode_flight(b"".join(packets)), smaller)

    assert all(0 < len(packet) <= mtu for packet in packets)
    assert all(0 < len(packet) <= smaller for packet in again)
    assert same(decode_flight(b"".join(again)), flight)


def test_large_message_is_fragmented_and_small_ones_share_a_packet():
    (large,) = messages(100)
    packets = FlightEncoder().encode([large], 75)
    fragments = [decode_fragment(next(decode_records(packet)).payload) for packet in packets]

    assert [fragment.offset for fragment in fragments] == [0, 50]
    assert [len(fragment.data) for fragment in fragments] == [50, 50]
    assert {fragment.msg_bytes for fragment in fragments} == {100}
    assert len(FlightEncoder().encode(messages(5, 0, 5), 228)) == 1


def test_records_of_the_first_epoch_are_counted_over_all_flights():
    encoder = FlightEncoder(10)
    flight = [*messages(3), CCS, FINISHED]
    numbers = [
        record.epoch_seqno
        for _ in range(2)
        for packet in encoder.encode(flight, 1000)
        for record in decode_records(packet)
    ]

    assert numbers == [10, 11, FINISHED.epoch_seqno, 12, 13, FINISHED.epoch_seqno]


def test_message_in_pieces_out_of_order_is_put_together():
    pieces = [Fragment(1, 6, 0, 4, b"ef"), Fragment(1, 6, 0, 0, b"abcd")]
    data = b"".join(Record(HANDSHAKE, DTLS_1_0, 0, piece.encode()).encode() for piece in pieces)

    assert decode_flight(data) == [Message(DTLS_1_0, 1, 0, bytearray(b"abcdef"))]


def test_nothing_is_an_empty_flight():
    assert decode_flight(b"") == []
    assert FlightEncoder().encode([], 228) == []


@pytest.mark.parametrize(
    ("flight", "earlier", "expected"),
    [
        (messages(3), messages(3), True),
        (messages(3), messages(9, 9), True),
        (messages(3, 3)[1:], messages(3), False),
        (messages(3), [], False),
        ([], messages(3), False),
        ([CCS], messages(3), False),
        ([CCS], [CCS], False),
    ],
)
def test_repetition_begins_with_the_same_message(flight, earlier, expected):
    assert is_repetition(flight, earlier) is expected
