"""The engine: bytes in, bytes out, whatever the pieces they come in and whatever is in them."""

import contextlib
import ssl

import pytest
from hypothesis import given, settings, strategies as st

import uringtrio
from uringtrio._tls.engine import (
    RECORD_BYTES_MAX,
    WANT,
    Engine,
    State,
    is_cut_handshake,
    is_unexpected_eof,
)

NAME = "tls.example.org"
EXAMPLES = settings(max_examples=30, deadline=None)


def new_engines(certificates, version=None):
    client = Engine(certificates.client_context(version), server_side=False, server_hostname=NAME)
    server = Engine(certificates.server_context(), server_side=True, server_hostname=None)
    return client, server


def move(source, target, cuts=()):
    """Feed what `source` has to send to `target`, cut into pieces at the given places."""
    ciphertext = source.take()
    at = 0
    for cut in sorted({min(cut, len(ciphertext)) for cut in cuts} | {len(ciphertext)}):
        if cut > at:
            target.feed(ciphertext[at:cut])
            yield
            at = cut


def shake(client, server, cuts=()):
    """Do the handshake; one side tries after each piece."""
    while not (client.is_handshaken and server.is_handshaken):
        for engine, peer in ((client, server), (server, client)):
            if not engine.is_handshaken:
                engine.handshake()
            for _ in move(engine, peer, cuts):
                if not peer.is_handshaken:
                    peer.handshake()


def shaken(certificates, version=None):
    engines = new_engines(certificates, version)
    shake(*engines)
    return engines


def receive_all(engine, bytes_max=2**16):
    """Decrypt what has been fed."""
    parts = []
    while engine.has_input():
        part = engine.decrypt(bytes_max)
        if part is WANT:
            break
        assert len(part) <= bytes_max
        if not part:
            break
        parts.append(part)
    return b"".join(parts)


def shake_alone(engine):
    """Try until there is nothing left to try."""
    while engine.handshake() is WANT:
        pass


def send(source, target, data):
    assert source.encrypt(data) is None
    target.feed(source.take())


def test_handshake_wants_ciphertext_until_the_peer_has_answered(certificates, version):
    client, server = new_engines(certificates, version)

    assert client.handshake() is WANT
    assert client.take()
    assert client.take() == b""
    assert client.handshake() is WANT
    assert client.take() == b"", "there is nothing new to say"
    assert server.handshake() is WANT
    assert server.take() == b"", "a server has nothing to say first"


def test_bytes_arrive_in_order_in_both_directions(certificates, version):
    client, server = shaken(certificates, version)

    for source, target in ((client, server), (server, client)):
        send(source, target, b"first ")
        send(source, target, bytearray(b"second ") * 3000)
        send(source, target, memoryview(b"third"))
        assert receive_all(target) == b"first " + b"second " * 3000 + b"third"


def test_records_that_came_together_are_received_together(certificates):
    client, server = shaken(certificates)

    send(client, server, bytes(3 * RECORD_BYTES_MAX + 5))

    assert len(server.decrypt(2**16)) == 3 * RECORD_BYTES_MAX + 5
    assert not server.has_input()


def test_no_more_is_received_than_asked_for(certificates):
    client, server = shaken(certificates)
    data = bytes(range(256)) * 150

    send(client, server, data)

    assert server.decrypt(1) == data[:1]
    assert server.decrypt(20000) == data[1:20001]
    assert receive_all(server, 7) == data[20001:]


def test_input_is_known_without_asking(certificates):
    client, server = shaken(certificates)
    server.decrypt(1)

    assert not server.has_input()
    send(client, server, b"ab")
    assert server.has_input()
    assert server.decrypt(1) == b"a"
    assert server.has_input(), "the rest of the record is in OpenSSL"
    assert server.decrypt(1) == b"b"
    assert not server.has_input()


def test_servers_tickets_wait_for_its_first_data(certificates):
    """A client that never receives must not be sent what it did not ask for."""
    client, server = shaken(certificates)
    assert server.ssl.version() == "TLSv1.3"

    assert server.take() == b""
    server.encrypt(b"x")
    first = server.take()
    server.encrypt(b"x")

    assert len(first) > len(server.take())
    client.feed(first)
    assert receive_all(client) == b"x"
    assert client.ssl.session.has_ticket


def test_close_notify_ends_what_is_received_for_good(certificates, version):
    client, server = shaken(certificates, version)
    client.encrypt(b"last")
    last = client.take()

    farewell = client.farewell(with_close_notify=True)
    server.feed(last + farewell + b"no TLS")

    assert receive_all(server) == b"last"
    for _ in range(2):
        assert server.has_input()
        assert server.decrypt(10) == b""
    assert client.state is State.CLOSING
    with pytest.raises(uringtrio.ClosedResourceError, match="was closed"):
        client.check()


def test_shut_down_of_both_leaves_what_follows(certificates, version):
    client, server = shaken(certificates, version)

    assert client.shut_down() is WANT
    server.feed(client.take())
    assert server.decrypt(1) == b""
    assert server.shut_down() is None
    client.feed(server.take() + b"plain")

    assert client.shut_down() is None
    assert client.trailing() == b"plain"
    assert server.trailing() == b""


def test_goodbye_is_said_although_unread_data_is_there(certificates, version):
    """OpenSSL raises then, and the close_notify that it has written must not be forgotten."""
    client, server = shaken(certificates, version)
    send(server, client, b"unread")

    server.feed(client.farewell(with_close_notify=True))

    assert server.decrypt(1) == b""


def test_no_goodbye_without_a_handshake_or_when_not_wanted(certificates):
    client, _ = new_engines(certificates)
    client.handshake()
    client.take()
    assert client.farewell(with_close_notify=True) == b""

    client, _ = shaken(certificates)
    assert client.farewell(with_close_notify=False) == b""


def test_end_of_transport_without_goodbye_is_an_error(certificates, version):
    client, server = shaken(certificates, version)
    send(client, server, b"x")
    server.feed(b"")

    assert server.decrypt(10) == b"x"
    with pytest.raises(
        uringtrio.BrokenResourceError, match=r"cut short.*https_compatible"
    ) as caught:
        server.decrypt(10)

    assert is_unexpected_eof(caught.value.__cause__)
    assert server.state is State.BROKEN
    assert server.farewell(with_close_notify=True) == b"", "nobody is there to be alerted"


def test_end_of_transport_in_the_handshake_is_an_error(certificates, version):
    client, _ = new_engines(certificates, version)
    client.handshake()
    client.take()
    client.feed(b"")

    with pytest.raises(uringtrio.BrokenResourceError, match="handshake failed") as caught:
        client.handshake()

    assert is_cut_handshake(caught.value.__cause__)


def test_good_records_before_a_bad_one_are_received(certificates, version):
    client, server = shaken(certificates, version)
    client.encrypt(b"good")
    good = client.take()
    client.encrypt(b"bad")
    bad = bytearray(client.take())
    bad[-1] ^= 1
    server.feed(good + bad)

    assert server.decrypt(100) == b"good"
    assert server.has_input()
    # Asked once more, OpenSSL only says that there was an error.
    with pytest.raises(uringtrio.BrokenResourceError, match=r"receive over TLS.*(?i:bad.record)"):
        server.decrypt(100)


@pytest.mark.parametrize("data", [b"", b"good"])
def test_after_the_goodbye_nothing_more_need_be_fed(certificates, version, data):
    client, server = shaken(certificates, version)
    if data:
        client.encrypt(data)
    assert client.shut_down() is WANT
    server.feed(client.take())

    if data:
        assert server.decrypt(100) == data
    for _ in range(2):
        assert server.has_input()
        assert server.decrypt(100) == b""


def test_error_after_this_side_was_closed_is_no_concern_of_the_peers(certificates, version):
    client, server = shaken(certificates, version)
    server.farewell(with_close_notify=False)
    client.encrypt(b"x")
    record = bytearray(client.take())
    record[-1] ^= 1
    server.feed(record)

    with pytest.raises(uringtrio.ClosedResourceError):
        server.decrypt(1)
    assert server.state is State.CLOSING


def test_error_is_told_to_the_peer_as_an_alert(certificates, version):
    client, server = shaken(certificates, version)
    client.encrypt(b"x")
    record = bytearray(client.take())
    record[-1] ^= 1
    server.feed(record)

    with pytest.raises(uringtrio.BrokenResourceError):
        server.decrypt(1)
    assert server.take() == b"", "not by who happens to send next"
    client.feed(server.farewell(with_close_notify=True))

    with pytest.raises(uringtrio.BrokenResourceError, match=r"(?i)bad.record.mac"):
        receive_all(client)


def test_certificate_that_nobody_trusts_breaks_both_sides(certificates):
    client = Engine(ssl.create_default_context(), server_side=False, server_hostname=NAME)
    server = Engine(certificates.server_context(), server_side=True, server_hostname=None)

    with pytest.raises(uringtrio.BrokenResourceError, match="certificate verify failed") as caught:
        shake(client, server)
    assert isinstance(caught.value.__cause__, ssl.SSLCertVerificationError)
    server.feed(client.farewell(with_close_notify=True))

    with pytest.raises(uringtrio.BrokenResourceError, match=r"(?i)unknown.ca"):
        server.handshake()


def test_broken_connection_can_only_be_closed(certificates):
    client, server = shaken(certificates)
    server.feed(b"")
    with pytest.raises(uringtrio.BrokenResourceError):
        server.decrypt(1)

    with pytest.raises(uringtrio.BrokenResourceError, match="close it"):
        server.check()
    client.check()


@pytest.mark.parametrize(
    "garbage",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        bytes(5),
        b"\x16\x03\x01\xff\xff" + bytes(100),  # a record longer than any may be
        b"\x16\x03\x01\x00\x05hello",  # a handshake message that is none
        b"\x17\x03\x03\x00\x05hello",  # data before the handshake
        b"\x15\x03\x03\x00\x02\x02\x28",  # the alert "handshake failure"
        b"\x80\x2e\x01\x03\x01",  # SSL 2
    ],
    ids=["http", "zeros", "oversize", "nonsense", "early data", "alert", "ssl2"],
)
@pytest.mark.parametrize("is_server", [False, True], ids=["client", "server"])
def test_garbage_instead_of_a_handshake_is_one_clear_error(certificates, garbage, is_server):
    engine = new_engines(certificates)[is_server]
    engine.handshake()
    engine.feed(garbage)
    engine.feed(b"")

    with pytest.raises(uringtrio.BrokenResourceError, match="the TLS handshake failed: ") as caught:
        shake_alone(engine)

    assert isinstance(caught.value.__cause__, ssl.SSLError)


def test_oversize_record_after_the_handshake_is_one_clear_error(certificates, version):
    _, server = shaken(certificates, version)
    server.feed(b"\x17\x03\x03\xff\xff" + bytes(2**16))

    with pytest.raises(uringtrio.BrokenResourceError, match="cannot receive over TLS: "):
        server.decrypt(1)


@EXAMPLES
@given(cuts=st.lists(st.integers(0, 3000), max_size=40))
def test_handshake_does_not_care_where_the_ciphertext_is_cut(certificates, cuts):
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        client, server = new_engines(certificates, version)
        shake(client, server, cuts)
        send(client, server, b"ping")
        assert receive_all(server) == b"ping"


def test_handshake_works_byte_by_byte(certificates, version):
    client, server = new_engines(certificates, version)
    shake(client, server, range(5000))

    send(server, client, b"ping")
    assert receive_all(client) == b"ping"


@EXAMPLES
@given(
    messages=st.lists(st.binary(min_size=1, max_size=40000), max_size=6),
    cuts=st.lists(st.integers(0, 120000), max_size=30),
    bytes_max=st.integers(1, 2**17),
)
def test_data_does_not_care_where_the_ciphertext_is_cut(certificates, messages, cuts, bytes_max):
    client, server = shaken(certificates)
    for message in messages:
        client.encrypt(message)
    received = b"".join(receive_all(server, bytes_max) for _ in move(client, server, cuts))

    assert received == b"".join(messages)


@EXAMPLES
@given(data=st.data())
def test_changed_bytes_never_change_what_is_received(certificates, data):
    """Received is what was sent, up to the place of the change, and then an error or silence."""
    client, server = shaken(certificates)
    for message in (b"one", b"two", b"three"):
        client.encrypt(message)
    ciphertext = bytearray(client.take())
    at = data.draw(st.integers(0, len(ciphertext) - 1))
    ciphertext[at] ^= data.draw(st.integers(1, 255))
    server.feed(ciphertext)
    server.feed(b"")

    received = b""
    while server.state is State.OPEN:
        with contextlib.suppress(uringtrio.BrokenResourceError):
            received += server.decrypt(4)
    assert server.state is State.BROKEN
    assert b"onetwothree".startswith(received)
    assert received != b"onetwothree"


@EXAMPLES
@given(garbage=st.binary(max_size=2000), is_server=st.booleans())
def test_random_bytes_instead_of_a_handshake_never_pass(certificates, garbage, is_server):
    engine = new_engines(certificates)[is_server]
    engine.handshake()
    if garbage:
        engine.feed(garbage)
    engine.feed(b"")

    with pytest.raises(uringtrio.BrokenResourceError):
        shake_alone(engine)
    assert not engine.is_handshaken
