"""DTLSEndpoint: one socket for many connections, forgers, wrong use, and being forgotten."""

import random
import sys
import types

import pytest

import uringtrio
from uringtrio import socket
from uringtrio._tls import dtls_openssl
from uringtrio._tls.dtls_codec import decode_client_hello, is_client_hello
from uringtrio.testing import wait_all_tasks_blocked

from .datagrams import Pair, ask, echo, udp, udp6

SSL = pytest.importorskip("OpenSSL.SSL")


def test_short_form_of_an_ipv6_address_is_enough(run, server_ssl, client_ssl):
    async def main():
        async with Pair(udp6, server_ssl, host="::1") as pair:
            channel = pair.client.connect(("0:0::1", pair.address[1]), client_ssl)
            await channel.send(b"x")
            assert await channel.receive() == b"x"

    run(main)


def test_one_socket_serves_many_and_connects_to_many(run, certificates, server_ssl, client_ssl):
    async def main():
        other_ssl = SSL.Context(SSL.DTLS_METHOD)
        certificates.server.configure_cert(other_ssl)
        async with Pair(udp, server_ssl) as one, Pair(udp, other_ssl) as other:
            first = one.client.connect(one.address, client_ssl)
            second = one.client.connect(other.address, client_ssl)
            third = other.client.connect(one.address, client_ssl)
            for index, channel in enumerate((first, second, third)):
                await channel.send(b"%d" % index)
            for index, channel in enumerate((first, second, third)):
                assert await channel.receive() == b"%d" % index

    run(main)


def test_server_remembers_nothing_of_a_client_that_has_not_proved_its_address(
    network, clock, server_ssl, client_ssl
):
    async def main():
        async with Pair(network.socket, server_ssl) as pair:
            # The answers do not arrive: the client's address is forged.
            network.on_packet = lambda data, source, target: (
                network.deliver(data, source, target) if target == pair.address else None
            )
            with uringtrio.move_on_after(100):
                await pair.client.connect(pair.address, client_ssl).do_handshake()
            questions = [data for data, _, target in network.packets if target == pair.address]
            assert len(questions) >= 5
            assert not pair.server._channels
            assert pair.server._new_channels.statistics().current_buffer_used == 0
            answers = [data for data, _, target in network.packets if target != pair.address]
            assert len(answers) == len(questions)
            assert max(map(len, answers)) < min(map(len, questions))

    uringtrio.run(main, clock=clock)


def test_cookie_of_one_client_is_of_no_use_to_another(network, clock, server_ssl, client_ssl):
    async def main():
        async with Pair(network.socket, server_ssl) as pair:
            await ask(pair, client_ssl)
            with_cookie = [data for data, _, _ in network.packets if is_client_hello(data)][1]
            before = len(pair.server._channels)
            forger = network.socket()
            await forger.sendto(with_cookie, pair.address)
            await uringtrio.sleep(1)
            assert len(pair.server._channels) == before
            data, _ = await forger.recvfrom(2000)
            assert len(data) == 60, "another challenge"

    uringtrio.run(main, clock=clock)


def test_garbage_does_not_disturb_a_server(run, server_ssl, client_ssl):
    async def main():
        chance = random.Random(0)
        async with Pair(udp, server_ssl) as pair:
            channel = await ask(pair, client_ssl)
            with udp() as sock:
                for size in (0, 1, 12, 13, 14, 25, 26, 60, 61, 100, 1000):
                    await sock.sendto(chance.randbytes(size), pair.address)
                    head = b"\x16\xfe\xff" + bytes(8) + (size + 1).to_bytes(2, "big") + b"\x01"
                    await sock.sendto(head + chance.randbytes(size), pair.address)
                    await pair.client.socket.sendto(chance.randbytes(size), pair.address)
            await channel.send(b"still there")
            assert await channel.receive() == b"still there"
            await ask(pair, client_ssl)

    run(main)


def test_closed_endpoint_closes_its_channels_and_ends_serving(run, server_ssl, client_ssl):
    async def main():
        async with Pair(udp, server_ssl) as pair:
            channel = await ask(pair, client_ssl)
            pair.client.close()
            pair.client.close()
            with pytest.raises(uringtrio.ClosedResourceError):
                await channel.receive()
            with pytest.raises(uringtrio.ClosedResourceError):
                pair.client.connect(pair.address, client_ssl)
            with pytest.raises(uringtrio.ClosedResourceError):
                await pair.client.serve(server_ssl, echo)
            assert pair.server._context is server_ssl
            pair.server.close()
            await wait_all_tasks_blocked()
            assert pair.server._context is None

    run(main)


def test_only_one_task_serves_and_later_another_may(run, server_ssl, client_ssl):
    async def main():
        with uringtrio.DTLSEndpoint(udp()) as server, uringtrio.DTLSEndpoint(udp()) as client:
            await server.socket.bind(("127.0.0.1", 0))
            for _ in range(2):
                async with uringtrio.open_nursery() as nursery:
                    await nursery.start(server.serve, server_ssl, echo)
                    with pytest.raises(uringtrio.BusyResourceError, match="another task"):
                        await server.serve(server_ssl, echo)
                    channel = client.connect(server.socket.getsockname(), client_ssl)
                    await channel.send(b"x")
                    assert await channel.receive() == b"x"
                    nursery.cancel_scope.cancel()

    run(main)


def test_wrong_use_is_named(run, server_ssl, client_ssl):
    async def main():
        with uringtrio.DTLSEndpoint(udp()) as endpoint:
            with pytest.raises(RuntimeError, match="must be bound"):
                await endpoint.serve(server_ssl, echo)
            await endpoint.socket.bind(("127.0.0.1", 0))
            with pytest.raises(TypeError, match=r"OpenSSL\.SSL\.Context"):
                await endpoint.serve("context", echo)
            with pytest.raises(TypeError, match=r"OpenSSL\.SSL\.Context"):
                endpoint.connect(("127.0.0.1", 9), None)
            with pytest.raises(ValueError, match=r"'localhost' is no address.*getaddrinfo"):
                endpoint.connect(("localhost", 9), client_ssl)
            with pytest.raises(ValueError, match="is no address"):
                endpoint.connect(("::1", 9), client_ssl)
            channel = endpoint.connect(("127.0.0.1", 9), client_ssl)
            with pytest.raises(ValueError, match=r"make another OpenSSL\.SSL\.Context"):
                await endpoint.serve(client_ssl, echo)
            with pytest.raises(ValueError, match="empty"):
                await channel.send(b"")
            with pytest.raises(ValueError, match="at most 16384 bytes, not 16385"):
                await channel.send(bytes(16385))
            for wrong in (0, -1, float("nan")):
                with pytest.raises(ValueError, match="initial_retransmit_timeout"):
                    await channel.do_handshake(initial_retransmit_timeout=wrong)
        with socket.socket() as tcp:
            with pytest.raises(ValueError, match="SOCK_DGRAM"):
                uringtrio.DTLSEndpoint(tcp)
        with pytest.raises(TypeError, match=r"uringtrio\.socket"):
            uringtrio.DTLSEndpoint(None)
        with udp() as sock, pytest.raises(ValueError, match="incoming_packets_buffer"):
            uringtrio.DTLSEndpoint(sock, incoming_packets_buffer=-1)
        with pytest.raises(TypeError, match=r"no public constructor.*connect"):
            uringtrio.DTLSChannel()

    run(main)


def test_forgotten_endpoint_warns_and_is_closed(run, client_ssl):
    async def forget():
        endpoints = [uringtrio.DTLSEndpoint(udp())]
        sock = endpoints[0].socket
        with uringtrio.move_on_after(0.01):
            await endpoints[0].connect(("127.0.0.1", 9), client_ssl).do_handshake()
        assert sock.fileno() != -1
        with pytest.warns(ResourceWarning, match="unclosed DTLS endpoint"):
            endpoints.clear()
        return sock

    async def main():
        before = uringtrio.lowlevel.current_statistics().tasks_living
        sock = await forget()
        await wait_all_tasks_blocked()
        assert sock.fileno() == -1
        assert uringtrio.lowlevel.current_statistics().tasks_living == before

    run(main)


def test_endpoint_that_outlives_its_run_warns_only(network):
    async def main():
        return uringtrio.DTLSEndpoint(network.socket())

    endpoints = [uringtrio.run(main)]
    with pytest.warns(ResourceWarning, match="unclosed DTLS endpoint"):
        endpoints.clear()


def test_without_a_fitting_pyopenssl_the_error_says_how_to_get_it(run, monkeypatch):
    async def main():
        with udp() as sock:
            with pytest.raises(ImportError, match=r"pip install -U 'uringtrio\[dtls\]'"):
                uringtrio.DTLSEndpoint(sock)

    for found in (None, types.SimpleNamespace(Connection=object)):
        monkeypatch.setitem(sys.modules, "OpenSSL.SSL", found)
        dtls_openssl.openssl.cache_clear()
        run(main)
    dtls_openssl.openssl.cache_clear()


def test_receiving_goes_on_after_errors_of_earlier_packets(network, clock, server_ssl, client_ssl):
    """What came back for a packet that was sent is no reason to stop."""

    async def main():
        async with Pair(network.socket, server_ssl) as pair:
            channel = await ask(pair, client_ssl)
            real, errors = pair.client.socket._packets.receive, [111, 113, 12]

            async def receive():
                if errors:
                    await uringtrio.lowlevel.checkpoint()
                    raise OSError(errors.pop(), "from earlier")
                return await real()

            pair.client.socket.recvfrom = lambda _size: receive()
            for _ in range(2):
                await channel.send(b"x")
                assert await channel.receive() == b"x"
            assert not errors

    uringtrio.run(main, clock=clock)


def test_client_that_has_proved_itself_just_before_the_close_is_dropped(
    network, clock, server_ssl, client_ssl
):
    """It was put into a channel that was closed already, which ended the whole run."""

    async def main():
        async with Pair(network.socket, server_ssl) as pair:
            held = []

            def hold_cookies(data, source, target):
                if is_client_hello(data) and decode_client_hello(data).cookie:
                    held.append((data, source, target))
                else:
                    network.deliver(data, source, target)

            network.on_packet = hold_cookies
            with uringtrio.move_on_after(0.5):
                await pair.client.connect(pair.address, client_ssl).do_handshake()
            network.deliver(*held[0])
            pair.server.close()
            await wait_all_tasks_blocked()
            assert not pair.server._channels

    uringtrio.run(main, clock=clock)
