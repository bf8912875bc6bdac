"""DTLS with a program that is not ours: openssl, over UDP."""

import shutil
import socket as stdlib
import subprocess

import pytest

import uringtrio
from uringtrio import socket

SSL = pytest.importorskip("OpenSSL.SSL")

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl here")

NAME = "localhost"


@pytest.fixture(scope="module")
def pem(certificates, tmp_path_factory):
    """The certificates as files: `pem["ca"]` and `pem["server"]`."""
    directory = tmp_path_factory.mktemp("pem")
    paths = {"ca": directory / "ca.pem", "server": directory / "server.pem"}
    certificates.authority.cert_pem.write_to_path(paths["ca"])
    certificates.server.private_key_and_cert_chain_pem.write_to_path(paths["server"])
    return paths


class Program:
    """A program that is written to and read from in lines, and killed at the end."""

    def __init__(self, *command):
        self.process = subprocess.Popen(
            [str(word) for word in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self.process.kill()
        self.process.communicate()

    def write(self, text):
        self.process.stdin.write(text)
        self.process.stdin.flush()

    def read_until(self, text):
        for line in self.process.stdout:
            if text in line:
                return
        raise AssertionError(f"no {text!r} in what openssl prints")


def free_port():
    with stdlib.socket(type=stdlib.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def test_openssl_as_client_gets_answers_and_says_goodbye(run, certificates, pem):
    context = SSL.Context(SSL.DTLS_METHOD)
    certificates.server.configure_cert(context)
    ended = []

    async def handler(channel):
        async for packet in channel:
            await channel.send(b"you said " + packet)
        ended.append(channel.peer_address)

    async def main():
        in_thread = uringtrio.to_thread.run_sync
        with uringtrio.DTLSEndpoint(socket.socket(type=socket.SOCK_DGRAM)) as server:
            await server.socket.bind(("127.0.0.1", 0))
            port = server.socket.getsockname()[1]
            async with uringtrio.open_nursery() as nursery:
                await nursery.start(server.serve, context, handler)
                command = ("openssl", "s_client", "-dtls", "-connect", f"127.0.0.1:{port}")
                options = ("-CAfile", pem["ca"], "-verify_return_error", "-verify_hostname", NAME)
                with Program(*command, *options) as client:
                    await in_thread(client.read_until, b"Verify return code: 0 (ok)")
                    for text in (b"hello", b"and more"):
                        client.write(text + b"\n")
                        await in_thread(client.read_until, b"you said " + text)
                    client.write(b"Q\n")
                    await in_thread(client.process.wait)
                while not ended:
                    await uringtrio.sleep(0.001)
                nursery.cancel_scope.cancel()

    run(main)
    assert len(ended) == 1


@pytest.mark.parametrize("options", [(), ("-listen",), ("-listen", "-mtu", "400")])
def test_openssl_as_server_answers(run, certificates, pem, options):
    """With and without an exchange of cookies, and in many small packets."""
    context = SSL.Context(SSL.DTLS_METHOD)
    certificates.authority.configure_trust(context)
    context.set_verify(SSL.VERIFY_PEER)

    async def main():
        in_thread = uringtrio.to_thread.run_sync
        port = free_port()
        command = ("openssl", "s_server", "-dtls", "-accept", f"127.0.0.1:{port}")
        with (
            Program(*command, "-cert", pem["server"], *options) as server,
            uringtrio.DTLSEndpoint(socket.socket(type=socket.SOCK_DGRAM)) as endpoint,
        ):
            await in_thread(server.read_until, b"ACCEPT")
            channel = endpoint.connect(("127.0.0.1", port), context)
            await channel.do_handshake(initial_retransmit_timeout=0.2)
            await channel.send(b"hello\n")
            await in_thread(server.read_until, b"hello")
            server.write(b"from openssl\n")
            assert await channel.receive() == b"from openssl\n"

    run(main)


def test_openssl_that_does_not_trust_us_is_heard(run, certificates, pem):
    context = SSL.Context(SSL.DTLS_METHOD)
    certificates.server.configure_cert(context)
    errors = []

    async def handler(channel):
        with pytest.raises(uringtrio.BrokenResourceError) as caught:
            await channel.do_handshake()
        errors.append(str(caught.value))

    async def main():
        with uringtrio.DTLSEndpoint(socket.socket(type=socket.SOCK_DGRAM)) as server:
            await server.socket.bind(("127.0.0.1", 0))
            port = server.socket.getsockname()[1]
            async with uringtrio.open_nursery() as nursery:
                await nursery.start(server.serve, context, handler)
                command = ("openssl", "s_client", "-dtls", "-connect", f"127.0.0.1:{port}")
                with Program(*command, "-CAfile", pem["server"], "-verify_return_error") as client:
                    await uringtrio.to_thread.run_sync(client.process.wait)
                while not errors:
                    await uringtrio.sleep(0.001)
                nursery.cancel_scope.cancel()

    run(main)
    assert "unknown ca" in errors[0]


@pytest.mark.skipif(shutil.which("socat") is None, reason="no socat here")
def test_socat_as_server_answers(run, certificates, pem):
    """Not as a client: it sends its first message in fragments, which a server that remembers
    nothing cannot put together."""
    context = SSL.Context(SSL.DTLS_METHOD)
    certificates.authority.configure_trust(context)
    context.set_verify(SSL.VERIFY_PEER)

    async def main():
        port = free_port()
        options = f"bind=127.0.0.1,cert={pem['server']},verify=0"
        with (
            Program("socat", f"OPENSSL-DTLS-SERVER:{port},{options}", "EXEC:cat"),
            uringtrio.DTLSEndpoint(socket.socket(type=socket.SOCK_DGRAM)) as endpoint,
        ):
            channel = endpoint.connect(("127.0.0.1", port), context)
            # Until it listens the packets are lost.
            await channel.do_handshake(initial_retransmit_timeout=0.05)
            for text in (b"hello\n", b"and more\n"):
                await channel.send(text)
                assert await channel.receive() == text

    run(main)
