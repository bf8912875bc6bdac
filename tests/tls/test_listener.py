"""SSLListener: hands out streams, and keeps nothing that it cannot hand out."""

import pytest

import uringtrio
from uringtrio import testing

NAME = "tls.example.org"


class OneConnection(uringtrio.abc.Listener):
    """Hands out one stream, again and again."""

    def __init__(self, stream):
        self.stream = stream
        self.is_closed = False

    async def accept(self):
        await uringtrio.lowlevel.checkpoint()
        return self.stream

    async def aclose(self):
        self.is_closed = True
        await uringtrio.lowlevel.checkpoint()


def test_accepted_stream_is_the_servers_end_before_its_handshake(
    run, client_context, server_context
):
    async def main():
        left, right = testing.memory_stream_pair()
        listener = uringtrio.SSLListener(OneConnection(right), server_context)
        client = uringtrio.SSLStream(left, client_context, server_hostname=NAME)
        server = await listener.accept()
        assert server.server_side
        assert server.transport_stream is right
        with pytest.raises(uringtrio.NeedHandshakeError):
            server.version()
        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(client.send_all, b"x")
            assert await server.receive_some() == b"x"

    run(main)


def test_closing_closes_the_transports_listener_only(run, server_context):
    async def main():
        _, right = testing.memory_stream_pair()
        transport_listener = OneConnection(right)
        async with uringtrio.SSLListener(transport_listener, server_context) as listener:
            assert listener.transport_listener is transport_listener
            await listener.accept()
        assert transport_listener.is_closed
        await right.send_all(b"still open")

    run(main)


def test_connection_that_cannot_be_wrapped_is_closed(run, server_context, monkeypatch):
    async def main():
        _, right = testing.memory_stream_pair()
        listener = uringtrio.SSLListener(OneConnection(right), server_context)
        # Whatever goes wrong in OpenSSL.
        monkeypatch.setattr("uringtrio._tls.stream.Engine", None)
        with pytest.raises(TypeError):
            await listener.accept()
        with pytest.raises(uringtrio.ClosedResourceError):
            await right.send_all(b"x")

    run(main)
