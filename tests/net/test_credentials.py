"""Who the peer of a Unix socket is."""

import errno
import os
import subprocess
import sys

import pytest

import uringtrio
from uringtrio import socket


@pytest.fixture
def path(tmp_path):
    return tmp_path / "socket"


def test_peer_credentials_are_those_of_the_process_that_connected(run, path):
    program = (
        "import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); s.recv(1)"
    )

    async def main():
        (listener,) = await uringtrio.open_unix_listeners(path)
        async with listener:
            child = subprocess.Popen([sys.executable, "-c", program, path])
            async with await listener.accept() as stream:
                seen = stream.get_peer_credentials()
            await uringtrio.to_thread.run_sync(child.wait)
        assert seen == uringtrio.PeerCredentials(child.pid, os.geteuid(), os.getegid())
        with pytest.raises(AttributeError):
            seen.uid = 0

    run(main)


def test_both_ends_know_their_peer(run, path):
    async def main():
        ourselves = uringtrio.PeerCredentials(os.getpid(), os.geteuid(), os.getegid())
        (listener,) = await uringtrio.open_unix_listeners(path)
        async with listener, await uringtrio.open_unix_socket(path) as client:
            assert client.get_peer_credentials() == ourselves
            async with await listener.accept() as server:
                assert server.get_peer_credentials() == ourselves
        with pytest.raises(uringtrio.ClosedResourceError):
            client.get_peer_credentials()
        left, right = map(uringtrio.SocketStream, socket.socketpair())
        async with left, right:
            assert left.get_peer_credentials() == ourselves

    run(main)


def test_peer_of_no_connection_or_of_another_family_has_no_credentials(run, tcp_pair):
    async def main():
        with socket.socket(socket.AF_UNIX) as lonely:
            with pytest.raises(OSError, match="not connected") as caught:
                uringtrio.SocketStream(lonely).get_peer_credentials()
            assert caught.value.errno == errno.ENOTCONN
        async with tcp_pair() as (left, _right):
            with pytest.raises(OSError, match="only Unix sockets") as caught:
                uringtrio.SocketStream(left).get_peer_credentials()
            assert caught.value.errno == errno.EOPNOTSUPP

    run(main)
