"""Connected sockets for the tests of sockets and streams."""

import contextlib

import pytest

import uringtrio
from uringtrio import socket

# Enough to fill both ends' buffers many times over.
BIG_BYTES = 8 * 2**20


@contextlib.asynccontextmanager
async def _tcp_pair(family=socket.AF_INET):
    host = "127.0.0.1" if family == socket.AF_INET else "::1"
    with socket.socket(family) as listener:
        await listener.bind((host, 0))
        listener.listen()
        client = socket.socket(family)
        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(client.connect, listener.getsockname())
            server, _ = await listener.accept()
    with client, server:
        yield client, server


@contextlib.asynccontextmanager
async def _unix_pair():
    left, right = socket.socketpair()
    with left, right:
        yield left, right


@contextlib.asynccontextmanager
async def _tcp6_pair():
    async with _tcp_pair(socket.AF_INET6) as pair:
        yield pair


@pytest.fixture(params=[_tcp_pair, _tcp6_pair, _unix_pair], ids=["tcp", "tcp6", "unix"])
def stream_pair(request):
    """Opens two connected SOCK_STREAM sockets: `async with stream_pair() as (left, right)`."""
    return request.param


@pytest.fixture
def tcp_pair():
    """The same for TCP over IPv4 only."""
    return _tcp_pair


@pytest.fixture
def big():
    """More bytes than the kernel buffers."""
    return bytes(range(256)) * (BIG_BYTES // 256)
