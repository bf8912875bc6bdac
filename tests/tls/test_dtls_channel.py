"""DTLSChannel: packets, their size, and how a connection ends."""

import contextlib

import pytest

import uringtrio
from uringtrio.testing import wait_all_tasks_blocked

from .datagrams import Pair, ask, echo, send_back, udp, udp6

SSL = pytest.importorskip("OpenSSL.SSL")


@pytest.mark.parametrize(("make", "host"), [(udp, "127.0.0.1"), (udp6, "::1")])
def test_packets_go_there_and_back(run, server_ssl, client_ssl, make, host):
    async def main():
        async with Pair(make, server_ssl, host=host) as pair:
            channel = await ask(pair, client_ssl)
            assert channel.endpoint is pair.client
            assert channel.peer_address == pair.address
            for size in (1, 100, 1400, 8000):
                await channel.send(bytes(size))
                assert await channel.receive() == bytes(size)
            await channel.send(memoryview(b"view"))
            assert await channel.receive() == b"view"
            assert channel.statistics().incoming_packets_dropped_in_trio == 0

    run(main)


def test_mtu_limits_the_handshake_and_tells_the_room_for_data(
    network, clock, server_ssl, client_ssl
):
    async def handler(channel):
        channel.set_ciphertext_mtu(300)
        await echo(channel)

    async def main():
        async with Pair(network.socket, server_ssl, handler) as pair:
            channel = pair.client.connect(pair.address, client_ssl)
            channel.set_ciphertext_mtu(300)
            with pytest.raises(uringtrio.NeedHandshakeError, match=r"do_handshake\(\)"):
                channel.get_cleartext_mtu()
            await channel.do_handshake()
            room = channel.get_cleartext_mtu()
            await channel.send(bytes(room))
            assert len(await channel.receive()) == room
            assert max(len(data) for data, _, _ in network.packets) <= 300
            channel.set_ciphertext_mtu(228)
            assert channel.get_cleartext_mtu() == room - 72
            for wrong in (227, 0, -1):
                with pytest.raises(ValueError, match="at least 228"):
                    channel.set_ciphertext_mtu(wrong)

    uringtrio.run(main, clock=clock)


def test_newer_connection_replaces_the_older_on_both_sides(run, server_ssl, client_ssl):
    ended = []

    async def handler(channel):
        with pytest.raises(uringtrio.BrokenResourceError, match="began a new connection"):
            await send_back(channel)
        ended.append(channel)

    async def main():
        async with Pair(udp, server_ssl, handler) as pair:
            older = await ask(pair, client_ssl)
            newer = pair.client.connect(pair.address, client_ssl)
            for operation in (older.receive, lambda: older.send(b"x")):
                with pytest.raises(uringtrio.BrokenResourceError, match="began a new connection"):
                    await operation()
            await newer.send(b"hello")
            assert await newer.receive() == b"hello"
            assert len(ended) == 1
            # Lets the second handler end as the first did.
            await ask(pair, client_ssl)

    run(main)


def test_replaced_before_its_handshake_it_never_sends(network, clock, client_ssl):
    async def main():
        with uringtrio.DTLSEndpoint(network.socket()) as client:
            older = client.connect(("127.0.0.1", 9), client_ssl)
            client.connect(("127.0.0.1", 9), client_ssl)
            with pytest.raises(uringtrio.BrokenResourceError):
                await older.do_handshake()
        assert network.packets == []

    uringtrio.run(main, clock=clock)


def test_packets_that_nobody_receives_are_counted(network, clock, server_ssl, client_ssl):
    async def main():
        async with Pair(network.socket, server_ssl, incoming_packets_buffer=3) as pair:
            assert pair.client.incoming_packets_buffer == 3
            channel = await ask(pair, client_ssl)
            for index in range(8):
                await channel.send(b"%d" % index)
            await uringtrio.sleep(1)
            assert channel.statistics().incoming_packets_dropped_in_trio == 5
            assert [await channel.receive() for _ in range(3)] == [b"0", b"1", b"2"]

    uringtrio.run(main, clock=clock)


@pytest.mark.parametrize("in_one_packet", [False, True])
def test_goodbye_of_the_peer_ends_the_channel(run, server_ssl, client_ssl, in_one_packet):
    """Ours say none; other programs do. In one packet with data it made that get lost."""
    received = []

    async def handler(channel):
        received.extend([packet async for packet in channel])
        with pytest.raises(uringtrio.EndOfChannel):
            await channel.receive()
        received.append(None)

    async def main():
        async with Pair(udp, server_ssl, handler) as pair:
            channel = pair.client.connect(pair.address, client_ssl)
            await channel.do_handshake()
            channel._connection.send(b"last")
            data = channel._connection.bio_read(2000)
            channel._connection.shutdown()
            goodbye = channel._connection.bio_read(2000)
            for packet in (data + goodbye,) if in_one_packet else (data, goodbye):
                await pair.client.socket.sendto(packet, pair.address)
            while len(received) < 2:
                await uringtrio.sleep(0.001)

    run(main)
    assert received == [b"last", None]


def test_closed_channel_refuses_and_wakes_who_waits(run, server_ssl, client_ssl):
    async def main():
        async with Pair(udp, server_ssl) as pair:
            channel = await ask(pair, client_ssl)

            async def receive():
                with pytest.raises(uringtrio.ClosedResourceError):
                    await channel.receive()

            async with uringtrio.open_nursery() as nursery:
                nursery.start_soon(receive)
                await wait_all_tasks_blocked()
                channel.close()
            for operation in (
                channel.receive,
                lambda: channel.send(b"x"),
                pair.client.connect(pair.address, client_ssl).aclose,
            ):
                with contextlib.suppress(uringtrio.ClosedResourceError):
                    await operation()
            channel.close()
            async with channel:
                pass
            unused = pair.client.connect(pair.address, client_ssl)
            unused.close()
            with pytest.raises(uringtrio.ClosedResourceError):
                await unused.do_handshake()

    run(main)
