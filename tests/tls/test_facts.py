"""What a TLS stream tells about its connection, before and after the handshake."""

import ssl

import pytest

import uringtrio

AFTER_HANDSHAKE = {
    "getpeercert": (),
    "selected_alpn_protocol": (),
    "selected_npn_protocol": (),
    "cipher": (),
    "shared_ciphers": (),
    "compression": (),
    "get_channel_binding": (),
    "version": (),
}


@pytest.mark.parametrize("name", AFTER_HANDSHAKE)
def test_question_that_the_handshake_decides_waits_for_it(memory_pair, name):
    for stream in memory_pair():
        with pytest.raises(uringtrio.NeedHandshakeError, match=rf"{name}.*do_handshake\(\)"):
            getattr(stream, name)()


def test_reuse_of_a_session_is_decided_by_the_handshake(memory_pair):
    client, _ = memory_pair()
    with pytest.raises(uringtrio.NeedHandshakeError, match="session_reused"):
        _ = client.session_reused


def test_answers_after_the_handshake(run, memory_pair, shake, version):
    async def main():
        client, server = memory_pair()
        await shake(client, server)
        assert client.version() == server.version() == version.name.replace("_", ".")
        assert client.cipher() == server.cipher()
        assert client.cipher() in server.shared_ciphers()
        assert client.compression() is None
        assert client.selected_alpn_protocol() is None
        assert ("DNS", "tls.example.org") in client.getpeercert()["subjectAltName"]
        assert isinstance(client.getpeercert(binary_form=True), bytes)
        assert server.getpeercert() is None
        assert client.get_channel_binding() == server.get_channel_binding() is not None
        with pytest.raises(ValueError, match="nonsense"):
            client.get_channel_binding("nonsense")
        with pytest.warns(DeprecationWarning, match="NPN"):
            assert client.selected_npn_protocol() is None

    run(main)


def test_settings_are_known_from_the_start(memory_pair, client_context):
    client, server = memory_pair()

    assert client.context is client_context
    assert (client.server_side, server.server_side) == (False, True)
    assert (client.server_hostname, server.server_hostname) == ("tls.example.org", None)
    assert client.pending() == 0
    with pytest.raises(AttributeError):
        client.server_side = True
    with pytest.raises(AttributeError):
        client.no_such_attribute  # noqa: B018  # that it raises is the point
    for name in (*AFTER_HANDSHAKE, "context", "session", "session_reused", "transport_stream"):
        assert name in dir(client)


def test_context_may_be_replaced_before_the_handshake(run, memory_pair):
    async def main():
        client, server = memory_pair()
        client.context = ssl.create_default_context()

        async def serve():
            with pytest.raises(uringtrio.BrokenResourceError):
                await server.receive_some()

        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(serve)
            with pytest.raises(uringtrio.BrokenResourceError, match="verify failed"):
                await client.do_handshake()
            await client.aclose()

    run(main)


def test_session_is_resumed(run, memory_pair):
    async def exchange(client, server):
        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(client.send_all, b"x")
            await server.receive_some()
        await server.send_all(b"y")
        assert await client.receive_some() == b"y"

    async def main():
        first, server = memory_pair()
        await exchange(first, server)
        assert not first.session_reused
        second, server = memory_pair()
        second.session = first.session
        await exchange(second, server)
        assert second.session_reused

    run(main)


def test_bytes_that_are_decrypted_are_pending(run, memory_pair, shake):
    async def main():
        client, server = memory_pair()
        await shake(client, server)
        await client.send_all(b"0123456789")
        assert await server.receive_some(4) == b"0123"
        assert server.pending() == 6

    run(main)
