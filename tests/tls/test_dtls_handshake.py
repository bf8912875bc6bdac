"""The handshake over a network that a test decides on: lost, late, damaged, too large."""

import random
from itertools import pairwise

import pytest

import uringtrio
from uringtrio import socket

from .datagrams import Pair, ask, udp

SSL = pytest.importorskip("OpenSSL.SSL")


@pytest.mark.parametrize("lost", range(12))
def test_any_packet_of_the_handshake_may_be_lost(network, clock, server_ssl, client_ssl, lost):
    def lose_one(*packet):
        if len(network.packets) != lost + 1:
            network.deliver(*packet)

    async def main():
        async with Pair(network.socket, server_ssl) as pair:
            network.on_packet = lose_one
            channel = pair.client.connect(pair.address, client_ssl)
            await channel.do_handshake()
            while True:
                with uringtrio.move_on_after(10):
                    await channel.send(b"hello")
                    assert await channel.receive() == b"hello"
                    return

    uringtrio.run(main, clock=clock)


@pytest.mark.parametrize("seed", range(10))
def test_handshake_gets_through_a_terrible_network(network, clock, server_ssl, client_ssl, seed):
    """Packets are lost, repeated and overtaken."""
    chance = random.Random(seed)

    async def late(nursery_packet):
        await uringtrio.sleep(3 * chance.random())
        network.deliver(*nursery_packet)

    async def main():
        async with Pair(network.socket, server_ssl) as pair:

            def treat_badly(*packet):
                fate = chance.choices(["well", "lost", "twice", "late"], [6, 1, 1, 2])[0]
                if fate == "late":
                    pair.nursery.start_soon(late, packet)
                elif fate != "lost":
                    for _ in range(2 if fate == "twice" else 1):
                        network.deliver(*packet)

            network.on_packet = treat_badly
            for index in range(5):
                # Another address each time: what is late must not get into the next handshake.
                with uringtrio.DTLSEndpoint(network.socket()) as client:
                    channel = client.connect(pair.address, client_ssl)
                    await channel.do_handshake()
                    answer = b""
                    while answer != b"%d" % index:
                        with uringtrio.move_on_after(10):
                            await channel.send(b"%d" % index)
                            answer = await channel.receive()

    uringtrio.run(main, clock=clock)


@pytest.mark.parametrize("seed", range(20))
def test_damaged_packets_crash_nothing(network, clock, server_ssl, client_ssl, seed):
    """A handshake that meets them is completed, or fails with one clear error."""
    chance = random.Random(seed)

    def damage(data, source, target):
        if chance.random() < 0.15:
            changed = bytearray(data)
            changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
            data = bytes(changed)
        network.deliver(data, source, target)

    async def main():
        async with Pair(network.socket, server_ssl) as pair:
            network.on_packet = damage
            for _ in range(5):
                with uringtrio.DTLSEndpoint(network.socket()) as client:
                    channel = client.connect(pair.address, client_ssl)
                    with uringtrio.move_on_after(100):
                        try:
                            await channel.do_handshake()
                        except uringtrio.BrokenResourceError as exc:
                            assert "handshake with" in str(exc)  # noqa: PT017  # not always raised
            network.on_packet = network.deliver
            await ask(pair, client_ssl)

    uringtrio.run(main, clock=clock)


@pytest.mark.parametrize("ipv6", [False, True])
def test_handshake_finds_out_how_small_packets_must_be(
    network, clock, server_ssl, client_ssl, ipv6
):
    family = socket.AF_INET6 if ipv6 else socket.AF_INET
    limit = 1280 - 48 if ipv6 else 576 - 28

    def lose_large(data, source, target):
        if len(data) <= limit:
            network.deliver(data, source, target)

    async def main():
        async with Pair(lambda: network.socket(family), server_ssl) as pair:
            network.on_packet = lose_large
            channel = pair.client.connect(pair.address, client_ssl)
            channel.set_ciphertext_mtu(9999)
            await channel.send(b"x")
            assert await channel.receive() == b"x"
            assert channel.get_cleartext_mtu() > 9000, "that is the caller's, not the handshake's"

    uringtrio.run(main, clock=clock)


@pytest.mark.parametrize("seconds", [0.5, 1, 4])
def test_time_until_the_first_retransmission_can_be_chosen(
    network, clock, server_ssl, client_ssl, seconds
):
    def lose_first(*packet):
        if len(network.packets) > 1:
            network.deliver(*packet)

    async def main():
        async with Pair(network.socket, server_ssl) as pair:
            network.on_packet = lose_first
            before = uringtrio.current_time()
            channel = pair.client.connect(pair.address, client_ssl)
            await channel.do_handshake(initial_retransmit_timeout=seconds)
            assert uringtrio.current_time() - before == seconds

    uringtrio.run(main, clock=clock)


def test_time_between_retransmissions_doubles_up_to_a_minute(network, clock, client_ssl):
    async def main():
        times = []
        network.on_packet = lambda *_packet: times.append(uringtrio.current_time())
        with uringtrio.DTLSEndpoint(network.socket()) as client:
            channel = client.connect(("127.0.0.1", 9), client_ssl)
            with uringtrio.move_on_after(300):
                await channel.do_handshake()
        pauses = [after - before for before, after in pairwise(times)]
        assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60]

    uringtrio.run(main, clock=clock)


def test_time_that_was_too_short_stays_longer_for_the_next_flight(
    network, clock, server_ssl, client_ssl
):
    async def main():
        times = []

        def lose_the_first_of_each_hello(data, source, target):
            if target == pair.address:
                times.append(uringtrio.current_time())
                if len(times) in (1, 3):
                    return
            network.deliver(data, source, target)

        async with Pair(network.socket, server_ssl) as pair:
            network.on_packet = lose_the_first_of_each_hello
            await pair.client.connect(pair.address, client_ssl).do_handshake()
        assert [time - times[0] for time in times[:4]] == [0, 1, 1, 3]

    uringtrio.run(main, clock=clock)


def test_cancelled_handshake_goes_on_with_the_next_call(network, clock, server_ssl, client_ssl):
    async def main():
        async with Pair(network.socket, server_ssl) as pair:
            network.on_packet = lambda *_packet: None
            channel = pair.client.connect(pair.address, client_ssl)
            with uringtrio.move_on_after(5) as scope:
                await channel.do_handshake()
            assert scope.cancelled_caught
            network.on_packet = network.deliver
            await channel.send(b"x")
            assert await channel.receive() == b"x"

    uringtrio.run(main, clock=clock)


def test_certificate_that_nobody_trusts_is_an_error_on_both_sides(network, clock, server_ssl):
    errors = []

    async def handler(channel):
        with pytest.raises(uringtrio.BrokenResourceError) as caught:
            await channel.do_handshake()
        errors.append(str(caught.value))

    async def main():
        context = SSL.Context(SSL.DTLS_METHOD)
        context.set_default_verify_paths()
        context.set_verify(SSL.VERIFY_PEER)
        async with Pair(network.socket, server_ssl, handler) as pair:
            channel = pair.client.connect(pair.address, context)
            for _ in range(2):
                with pytest.raises(
                    uringtrio.BrokenResourceError, match="certificate verify failed"
                ):
                    await channel.send(b"secret")
            await uringtrio.sleep(1)
        assert uringtrio.current_time() < clock.now + 1

    uringtrio.run(main, clock=clock)
    (error,) = errors
    assert "unknown ca" in error


def test_two_tasks_share_a_handshake_and_both_directions(run, server_ssl, client_ssl):
    async def main():
        async with Pair(udp, server_ssl) as pair, uringtrio.open_nursery() as nursery:
            channel = pair.client.connect(pair.address, client_ssl)
            for _ in range(3):
                nursery.start_soon(channel.do_handshake)
            nursery.start_soon(channel.send, b"x")
            assert await channel.receive() == b"x"

    run(main)
