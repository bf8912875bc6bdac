"""open_stream_to_socket_listener: connects wherever a listener is bound."""

import pytest

import uringtrio
from uringtrio import socket
from uringtrio.testing import open_stream_to_socket_listener


async def meet(listener):
    async with listener, await open_stream_to_socket_listener(listener) as client:
        async with await listener.accept() as server:
            await client.send_all(b"x")
            assert await server.receive_some(1) == b"x"


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "::1", "::"])
def test_tcp_listener_is_connected_to(run, host):
    async def main():
        (listener,) = await uringtrio.open_tcp_listeners(0, host=host)
        await meet(listener)

    run(main)


def test_unix_listener_is_connected_to(run, tmp_path):
    async def main():
        sock = socket.socket(socket.AF_UNIX)
        await sock.bind(str(tmp_path / "sock"))
        sock.listen()
        await meet(uringtrio.SocketListener(sock))

    run(main)


def test_failure_leaves_no_socket(run):
    async def main():
        (listener,) = await uringtrio.open_tcp_listeners(0, host="127.0.0.1")
        with socket.socket() as other:
            await other.bind(("127.0.0.1", 0))
            await listener.aclose()
            # Bound, but not listening.
            listener.socket = other
            with pytest.raises(OSError, match=r"[Cc]onnect"):
                await open_stream_to_socket_listener(listener)

    run(main)
