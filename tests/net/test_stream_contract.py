"""SocketStream keeps the contract that every stream is put to."""

import contextlib

import pytest

import uringtrio
from uringtrio import socket
from uringtrio.testing import (
    check_half_closeable_stream,
    open_stream_to_socket_listener,
    wait_all_tasks_blocked,
)


async def unix_pair():
    left, right = socket.socketpair()
    return uringtrio.SocketStream(left), uringtrio.SocketStream(right)


async def tcp_pair():
    (listener,) = await uringtrio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        left = await open_stream_to_socket_listener(listener)
        return left, await listener.accept()


async def fill(stream):
    while True:
        await stream.send_all(b"x" * 2**20)


def clogged(stream_maker):
    """Make a maker of pairs between which no byte more can be sent, either way."""

    async def clogged_stream_maker():
        streams = await stream_maker()
        for stream in streams:
            with contextlib.suppress(OSError):
                stream.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        async with uringtrio.open_nursery() as nursery:
            for stream in streams:
                nursery.start_soon(fill, stream)
            await wait_all_tasks_blocked(0.02)
            nursery.cancel_scope.cancel()
        return streams

    return clogged_stream_maker


@pytest.mark.parametrize("stream_maker", [unix_pair, tcp_pair], ids=["unix", "tcp"])
def test_socket_stream_keeps_the_contract(run, stream_maker):
    run(check_half_closeable_stream, stream_maker, clogged(stream_maker), seconds=60)
