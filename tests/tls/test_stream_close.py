"""The end of a TLS stream: goodbyes, cuts, errors told and heard, and taking the encryption off."""

import contextlib
import ssl

import pytest

import uringtrio
from uringtrio import lowlevel, testing

NAME = "tls.example.org"


def test_unwrap_gives_the_transport_back_with_what_followed(run, memory_pair, shake):
    async def main():
        client, server = memory_pair()
        await shake(client, server)
        transports = client.transport_stream, server.transport_stream

        async def unwrap_and_go_on():
            transport, trailing = await client.unwrap()
            assert (transport, trailing) == (transports[0], b"")
            await transport.send_all(b"plain")

        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(unwrap_and_go_on)
            assert await server.receive_some() == b""
            transport, trailing = await server.unwrap()
            assert transport is transports[1]
            assert trailing + await transport.receive_some() == b"plain"
        assert server.transport_stream is None
        with pytest.raises(uringtrio.ClosedResourceError):
            await server.receive_some()
        await server.aclose()

    run(main)


def test_unwrap_fails_when_the_peer_sends_more(run, memory_pair, shake):
    async def main():
        client, server = memory_pair()
        await shake(client, server)
        await server.send_all(b"x")
        with pytest.raises(uringtrio.BrokenResourceError, match="cannot end"):
            await client.unwrap()
        await client.aclose()

    run(main)


@pytest.mark.parametrize("turns", range(8))
def test_unwrap_that_is_overtaken_by_a_close_hands_nothing_out(
    run, settle, memory_pair, shake, turns
):
    async def main():
        client, server = memory_pair()
        await shake(client, server)
        transport = client.transport_stream
        results = []

        async def unwrap():
            try:
                results.append(await client.unwrap())
            except uringtrio.ClosedResourceError:
                results.append(None)

        async def agree():
            with contextlib.suppress(uringtrio.BrokenResourceError):
                await server.unwrap()

        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(unwrap)
            await settle()
            nursery.start_soon(agree)
            for _ in range(turns):
                await lowlevel.cancel_shielded_checkpoint()
            await client.aclose()
        if results == [None]:
            with pytest.raises(uringtrio.ClosedResourceError):
                await transport.send_all(b"x")
        else:
            assert results == [(transport, b"")]
            await transport.send_all(b"it is open")
        await server.aclose()

    for _ in range(5):  # The tasks run in either order.
        run(main)


def test_data_that_is_there_is_not_received_after_the_close(run, memory_pair, shake):
    async def main():
        for _ in range(10):  # The tasks run in either order.
            client, server = memory_pair()
            await shake(client, server)
            await server.send_all(b"data")
            assert await client.receive_some(1) == b"d"
            events = []

            async def receive(client=client, events=events):
                with contextlib.suppress(uringtrio.ClosedResourceError):
                    events.append(await client.receive_some())

            async with uringtrio.open_nursery() as nursery:
                nursery.start_soon(receive)
                await lowlevel.cancel_shielded_checkpoint()
                events.append("closed")
                await client.aclose()
            assert events in (["closed"], [b"ata", "closed"])
            await server.aclose()

    run(main)


def test_close_says_goodbye_and_both_sides_may_close_at_once(run, memory_pair, shake):
    async def main():
        client, server = memory_pair()
        await shake(client, server)
        await client.aclose()
        for _ in range(2):
            with testing.assert_checkpoints():
                assert await server.receive_some() == b""
        await server.aclose()
        for _ in range(2):
            with testing.assert_checkpoints():
                await server.aclose()
        for operation in (
            server.receive_some,
            lambda: server.send_all(b"x"),
            server.wait_send_all_might_not_block,
            server.do_handshake,
            server.unwrap,
        ):
            with pytest.raises(uringtrio.ClosedResourceError):
                await operation()

    run(main)


def test_close_with_unread_data_says_goodbye_all_the_same(run, memory_pair, shake):
    async def main():
        client, server = memory_pair()
        await shake(client, server)
        await server.send_all(b"nobody wants this")
        assert await client.receive_some(1) == b"n"
        await client.aclose()
        assert await server.receive_some() == b""

    run(main)


def test_cancelled_close_closes_the_transport(run, memory_pair, shake):
    async def main():
        for do_shake in (False, True):
            client, server = memory_pair()
            if do_shake:
                await shake(client, server)
            await uringtrio.aclose_forcefully(client)
            with pytest.raises(uringtrio.ClosedResourceError):
                await client.transport_stream.send_all(b"x")
            with pytest.raises(uringtrio.BrokenResourceError):
                await server.receive_some()
            await server.aclose()

    run(main)


def test_close_does_not_wait_for_a_send_that_is_stuck(run, settle, wrap, shake):
    async def main():
        client, server = wrap(*testing.lockstep_stream_pair())
        await shake(client, server)

        async def send():
            with pytest.raises(uringtrio.ClosedResourceError):
                await client.send_all(b"nobody receives this")

        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(send)
            await settle()
            await client.aclose()

    run(main)


def test_second_close_cuts_the_first_ones_goodbye_short(run, settle, wrap, shake):
    async def main():
        client, server = wrap(*testing.lockstep_stream_pair())
        await shake(client, server)
        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(client.aclose)
            await settle()
            with pytest.raises(uringtrio.ClosedResourceError):
                await client.send_all(b"x")
            await client.aclose()

    run(main)


def test_close_wakes_a_task_that_receives(run, settle, memory_pair, socket_pair, shake):
    async def close_under(client, server):
        async def receive():
            with pytest.raises(uringtrio.ClosedResourceError):
                await client.receive_some()

        await shake(client, server)
        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(receive)
            await settle()
            await client.aclose()

    async def main():
        await close_under(*memory_pair())
        async with socket_pair() as streams:
            await close_under(*streams)

    run(main)


def test_error_is_told_to_the_peer_when_closing(run, version, server_context):
    """A client that does not trust the server says so; the server learns why it was left."""

    async def main():
        left, right = testing.memory_stream_pair()
        distrustful = ssl.create_default_context()
        distrustful.maximum_version = version
        client = uringtrio.SSLStream(left, distrustful, server_hostname=NAME)
        server = uringtrio.SSLStream(right, server_context, server_side=True)

        async def connect():
            with pytest.raises(uringtrio.BrokenResourceError, match="certificate verify failed"):
                async with client:
                    await client.do_handshake()

        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(connect)
            with pytest.raises(uringtrio.BrokenResourceError, match=r"(?i)unknown.ca"):
                await server.receive_some()
        await server.aclose()

    run(main)


def test_certificate_for_another_name_is_refused(run, certificates, server_context, version):
    async def main():
        left, right = testing.memory_stream_pair()
        context = certificates.client_context(version)
        client = uringtrio.SSLStream(left, context, server_hostname="other.example.org")
        server = uringtrio.SSLStream(right, server_context, server_side=True)

        async def serve():
            with pytest.raises(uringtrio.BrokenResourceError):
                await server.receive_some()

        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(serve)
            with pytest.raises(
                uringtrio.BrokenResourceError, match=r"Hostname mismatch.*other\.example\.org"
            ) as caught:
                await client.send_all(b"secret")
            assert isinstance(caught.value.__cause__, ssl.SSLCertVerificationError)
            await client.aclose()

    run(main)


def test_cut_connection_is_broken_but_in_https_it_is_the_end(run, memory_pair, shake):
    async def main():
        client, server = memory_pair()
        await shake(client, server)
        await client.send_all(b"x")
        await client.transport_stream.aclose()
        assert await server.receive_some() == b"x"
        for match in ("cut short", "earlier error"):
            with pytest.raises(uringtrio.BrokenResourceError, match=match):
                await server.receive_some()

        client, server = memory_pair(https_compatible=True)
        await shake(client, server)
        await client.send_all(b"x")
        await client.aclose()
        assert await server.receive_some() == b"x"
        for _ in range(3):
            with testing.assert_checkpoints():
                assert await server.receive_some() == b""
        with pytest.raises(uringtrio.BrokenResourceError):
            await server.send_all(b"x")
        await server.aclose()
        with pytest.raises(uringtrio.ClosedResourceError):
            await server.receive_some()

    run(main)


def test_end_before_the_handshake_is_the_end_in_https_only(run, memory_pair):
    async def main():
        for https_compatible in (False, True):
            client, server = memory_pair(https_compatible=https_compatible)
            await client.transport_stream.aclose()
            if https_compatible:
                assert await server.receive_some() == b""
            else:
                with pytest.raises(uringtrio.BrokenResourceError, match="handshake failed"):
                    await server.receive_some()

    run(main)
