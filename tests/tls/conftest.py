"""Certificates of our own, contexts with them, and connected TLS streams over transports."""

import contextlib
import ssl

import pytest

import uringtrio
from uringtrio import socket, testing

from .datagrams import Network

trustme = pytest.importorskip("trustme")

NAME = "tls.example.org"


class Certificates:
    """An authority that only the tests trust, and a server's certificate by it."""

    def __init__(self):
        self.authority = trustme.CA()
        self.server = self.authority.issue_cert(NAME, "localhost", "127.0.0.1")

    def server_context(self):
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF
        self.server.configure_cert(context)
        return context

    def client_context(self, version=None):
        context = ssl.create_default_context()
        context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF
        self.authority.configure_trust(context)
        if version is not None:
            context.maximum_version = version
        return context


@pytest.fixture(scope="session")
def certificates():
    return Certificates()


@pytest.fixture(params=[ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_2], ids=["1.3", "1.2"])
def version(request):
    return request.param


@pytest.fixture
def server_context(certificates):
    return certificates.server_context()


@pytest.fixture
def client_context(certificates, version):
    return certificates.client_context(version)


@pytest.fixture
def wrap(client_context, server_context):
    """A function that makes TLS streams, client and server, over two connected transports."""

    def wrap_both(client, server, **options):
        return (
            uringtrio.SSLStream(client, client_context, server_hostname=NAME, **options),
            uringtrio.SSLStream(server, server_context, server_side=True, **options),
        )

    return wrap_both


@pytest.fixture
def memory_pair(wrap):
    """A function that makes connected TLS streams in memory, before their handshake."""

    def make(**options):
        return wrap(*testing.memory_stream_pair(), **options)

    return make


@pytest.fixture
def socket_pair(wrap):
    """The same over sockets: `async with socket_pair() as (client, server)`."""

    @contextlib.asynccontextmanager
    async def make(**options):
        left, right = socket.socketpair()
        with left, right:
            yield wrap(uringtrio.SocketStream(left), uringtrio.SocketStream(right), **options)

    return make


async def _shake(*streams):
    async with uringtrio.open_nursery() as nursery:
        for stream in streams:
            nursery.start_soon(stream.do_handshake)


@pytest.fixture
def shake():
    """An async function that does the handshake of several streams at the same time."""
    return _shake


@pytest.fixture
def network():
    return Network()


@pytest.fixture
def server_ssl(certificates):
    SSL = pytest.importorskip("OpenSSL.SSL")  # noqa: N806  # a module
    context = SSL.Context(SSL.DTLS_METHOD)
    certificates.server.configure_cert(context)
    return context


@pytest.fixture
def client_ssl(certificates):
    SSL = pytest.importorskip("OpenSSL.SSL")  # noqa: N806  # a module
    context = SSL.Context(SSL.DTLS_METHOD)
    certificates.authority.configure_trust(context)
    context.set_verify(SSL.VERIFY_PEER)
    return context
