"""The bytes of DTLS: what was encoded is decoded, and anything else is one kind of error."""

import contextlib
import struct

import pytest
from hypothesis import given, strategies as st

from uringtrio._tls.dtls_codec import (
    ALERT,
    CLIENT_HELLO,
    DTLS_1_0,
    HANDSHAKE,
    BadPacketError,
    Fragment,
    Record,
    decode_client_hello,
    decode_fragment,
    decode_records,
    is_client_hello,
    is_part_of_handshake,
)

RECORDS = st.builds(
    Record,
    content_type=st.integers(0, 255),
    version=st.binary(min_size=2, max_size=2),
    epoch_seqno=st.integers(0, 2**64 - 1),
    payload=st.binary(max_size=200),
)
FRAGMENTS = st.builds(
    Fragment,
    msg_type=st.integers(0, 255),
    msg_bytes=st.integers(0, 2**24 - 1),
    msg_seq=st.integers(0, 2**16 - 1),
    offset=st.integers(0, 2**24 - 1),
    data=st.binary(max_size=200),
)


def client_hello(session_id=b"", cookie=b"", rest=b"ciphers", epoch_seqno=7, **changes):
    body = (
        b"\xfe\xfd" + bytes(32) + bytes([len(session_id)]) + session_id
        + bytes([len(cookie)]) + cookie + rest
    )  # fmt: skip
    fields = {
        "msg_type": CLIENT_HELLO, "msg_bytes": len(body), "msg_seq": 0, "offset": 0, "data": body,
    }  # fmt: skip
    fragment = Fragment(**fields | changes)
    return Record(HANDSHAKE, DTLS_1_0, epoch_seqno, fragment.encode()).encode()


@given(records=st.lists(RECORDS, max_size=5))
def test_records_are_decoded_as_they_were_encoded(records):
    assert list(decode_records(b"".join(record.encode() for record in records))) == records


@given(fragment=FRAGMENTS)
def test_fragments_are_decoded_as_they_were_encoded(fragment):
    assert decode_fragment(fragment.encode()) == fragment


@given(record=RECORDS, data=st.data())
def test_record_that_is_cut_off_is_a_bad_packet(record, data):
    encoded = record.encode()
    cut = data.draw(st.integers(1, len(encoded) - 1))
    with pytest.raises(BadPacketError, match="cut off"):
        list(decode_records(encoded[:cut]))


@given(session_id=st.binary(max_size=32), cookie=st.binary(max_size=255), rest=st.binary())
def test_cookie_is_taken_out_of_a_client_hello(session_id, cookie, rest):
    with_cookie = decode_client_hello(client_hello(session_id, cookie, rest))
    without = decode_client_hello(client_hello(session_id, b"", rest, epoch_seqno=6))

    assert with_cookie.cookie == cookie
    assert without.cookie == b""
    assert with_cookie.rest == without.rest, "all but the cookie is the same"
    assert (without.epoch_seqno, with_cookie.epoch_seqno) == (6, 7)


@pytest.mark.parametrize(
    ("packet", "match"),
    [
        (b"", "no handshake record"),
        (Record(ALERT, DTLS_1_0, 0, b"\x02\x28").encode(), "no handshake record"),
        (client_hello(msg_type=2), "no ClientHello"),
        (client_hello(offset=1), "fragmented"),
        (client_hello(msg_bytes=1000), "fragmented"),
        (Record(HANDSHAKE, DTLS_1_0, 0, b"").encode(), "header .* cut off"),
        (client_hello(data=b"", msg_bytes=0), "before its cookie"),
        (client_hello(data=bytes(34) + b"\xff", msg_bytes=35), "before its cookie"),
        (client_hello(data=bytes(35) + b"\x05abcd", msg_bytes=40), "cookie is cut off"),
        (client_hello()[:-1], "cut off"),
    ],
)
def test_client_hello_that_is_none_is_a_bad_packet(packet, match):
    with pytest.raises(BadPacketError, match=match):
        decode_client_hello(packet)


def test_fragment_must_fill_its_record():
    payload = Fragment(1, 5, 0, 0, b"hello").encode()
    for wrong in (payload + b"x", payload[:-1]):
        with pytest.raises(BadPacketError, match="as long as its record"):
            decode_fragment(wrong)


@given(packet=st.binary(max_size=300))
def test_random_bytes_raise_nothing_else(packet):
    assert is_client_hello(packet) in (True, False)
    assert is_part_of_handshake(packet) in (True, False)
    for decode in (lambda: list(decode_records(packet)), lambda: decode_client_hello(packet)):
        with contextlib.suppress(BadPacketError):
            decode()


@given(data=st.data())
def test_changed_client_hello_raises_nothing_else(data):
    packet = bytearray(client_hello(b"session", b"cookie"))
    for _ in range(data.draw(st.integers(1, 4))):
        packet[data.draw(st.integers(0, len(packet) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(BadPacketError):
        decode_client_hello(bytes(packet))


def test_kinds_of_packets_are_known_by_their_first_bytes():
    assert is_client_hello(client_hello())
    assert not is_client_hello(client_hello()[:13])
    assert not is_client_hello(client_hello(msg_type=2))
    assert is_part_of_handshake(client_hello())
    assert not is_part_of_handshake(Record(23, DTLS_1_0, 1 << 48, b"x").encode())
    assert Record(23, DTLS_1_0, 1 << 48, b"x").is_encrypted()
    assert not Record(22, DTLS_1_0, (1 << 48) - 1, b"x").is_encrypted()


def test_lengths_are_big_endian():
    encoded = Record(22, DTLS_1_0, 1, bytes(258)).encode()

    assert struct.unpack("!H", encoded[11:13]) == (258,)
