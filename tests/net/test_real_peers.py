"""Other programs at the other end: socat, nc and the standard library's sockets."""

import shutil
import socket as stdlib
import struct
import subprocess

import pytest

import uringtrio
from uringtrio import socket

RESET = struct.pack("ii", 1, 0)  # SO_LINGER: closing sends a reset

needs_socat = pytest.mark.skipif(shutil.which("socat") is None, reason="no socat here")


async def echo(stream):
    async for data in stream:
        await stream.send_all(data)


@pytest.fixture(params=["socat", "nc"])
def call(request):
    """Return a function that runs a program against a port: (port, input) -> output."""
    if shutil.which(request.param) is None:
        pytest.skip(f"{request.param} is not installed")

    def run_program(port, data):
        command = {
            "socat": ["socat", "-t5", "-", f"TCP:127.0.0.1:{port}"],
            "nc": ["nc", "-N", "127.0.0.1", str(port)],
        }[request.param]
        done = subprocess.run(command, input=data, capture_output=True, check=True, timeout=20)
        return done.stdout

    return run_program


def test_server_answers_after_the_clients_end_of_stream(run, call, big):
    async def collect(stream):
        received = b"".join([chunk async for chunk in stream])
        await stream.send_all([str(len(received)).encode(), b" bytes ", received[-5:]])

    async def main():
        async with uringtrio.open_nursery() as nursery:
            (listener,) = await nursery.start(
                lambda task_status: uringtrio.serve_tcp(
                    collect, 0, host="127.0.0.1", task_status=task_status
                )
            )
            port = listener.socket.getsockname()[1]
            answer = await uringtrio.to_thread.run_sync(call, port, big)
            assert answer == f"{len(big)} bytes ".encode() + big[-5:]
            nursery.cancel_scope.cancel()

    run(main)


@needs_socat
def test_client_talks_to_a_real_server(run, tmp_path):
    path = tmp_path / "socket"
    command = ["socat", f"UNIX-LISTEN:{path},fork", "EXEC:cat"]

    async def main():
        server = subprocess.Popen(command)
        try:
            while not path.exists():
                await uringtrio.sleep(0.005)
            # It made its file before it listened.
            while True:
                try:
                    stream = await uringtrio.open_unix_socket(path)
                    break
                except ConnectionRefusedError:
                    await uringtrio.sleep(0.005)
            async with stream:
                await stream.send_all(b"hello")
                assert await stream.receive_some() == b"hello"
                assert stream.get_peer_credentials().pid == server.pid
                await stream.send_eof()
                assert await stream.receive_some() == b""
        finally:
            server.terminate()
            await uringtrio.to_thread.run_sync(server.wait)
        path.unlink(missing_ok=True)

    run(main)


@needs_socat
def test_socat_gets_answers_to_its_datagrams(run):
    async def answer(sock):
        while True:
            data, address = await sock.recvfrom(2048)
            await sock.sendto(b"you said " + data, address)

    async def main():
        with socket.socket(type=socket.SOCK_DGRAM) as sock:
            await sock.bind(("127.0.0.1", 0))
            async with uringtrio.open_nursery() as nursery:
                nursery.start_soon(answer, sock)
                command = ["socat", "-T1", "-", f"UDP:127.0.0.1:{sock.getsockname()[1]}"]
                done = await uringtrio.run_process(command, stdin=b"hello", capture_stdout=True)
                assert done.stdout == b"you said hello"
                nursery.cancel_scope.cancel()

    run(main)


@needs_socat
@pytest.mark.parametrize("kind", ["UDP", "UNIX"])
def test_socat_answers_our_datagrams(run, tmp_path, kind):
    async def main():
        family = socket.AF_UNIX if kind == "UNIX" else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            if kind == "UNIX":
                await sock.bind(tmp_path / "client")
                peer = tmp_path / "server"
                listen = f"UNIX-RECVFROM:{peer}"
            else:
                # A port that was free a moment ago.
                with stdlib.socket(type=stdlib.SOCK_DGRAM) as probe:
                    probe.bind(("127.0.0.1", 0))
                    peer = probe.getsockname()
                listen = f"UDP-RECVFROM:{peer[1]},bind=127.0.0.1"
            async with uringtrio.open_nursery() as nursery:
                await nursery.start(uringtrio.run_process, ["socat", f"{listen},fork", "EXEC:cat"])
                answer = None
                # Nobody says when it listens; before that the datagram is lost, or refused.
                while answer is None:
                    with uringtrio.move_on_after(0.1):
                        try:
                            await sock.sendto(b"hello", peer)
                            answer, _ = await sock.recvfrom(100)
                        except (FileNotFoundError, ConnectionRefusedError):
                            await uringtrio.sleep(0.005)
                assert answer == b"hello"
                nursery.cancel_scope.cancel()

    run(main)


def test_reset_by_the_peer_breaks_both_directions(run):
    async def main():
        (listener,) = await uringtrio.open_tcp_listeners(0, host="127.0.0.1")
        async with listener:
            client = stdlib.create_connection(listener.socket.getsockname())
            async with await listener.accept() as stream:
                client.setsockopt(stdlib.SOL_SOCKET, stdlib.SO_LINGER, RESET)
                client.close()
                with pytest.raises(uringtrio.BrokenResourceError) as caught:
                    await stream.receive_some()
                assert isinstance(caught.value.__cause__, ConnectionResetError)
                with pytest.raises(uringtrio.BrokenResourceError):
                    await stream.send_all(b"x")
                assert stream.sent_bytes == 0

    run(main)


def test_connections_reset_in_the_queue_do_not_stop_the_server(run):
    async def main():
        async with uringtrio.open_nursery() as nursery:
            (listener,) = await uringtrio.open_tcp_listeners(0, host="127.0.0.1")
            address = listener.socket.getsockname()
            for _ in range(20):
                client = stdlib.create_connection(address)
                client.setsockopt(stdlib.SOL_SOCKET, stdlib.SO_LINGER, RESET)
                client.close()

            async def forgiving(stream):
                try:
                    await echo(stream)
                except uringtrio.BrokenResourceError:
                    return

            nursery.start_soon(uringtrio.serve_listeners, forgiving, [listener])
            stream = await uringtrio.open_tcp_stream(*address)
            async with stream:
                await stream.send_all(b"hello")
                assert await stream.receive_some() == b"hello"
            nursery.cancel_scope.cancel()

    run(main)


def test_datagrams_travel_over_ipv6_with_its_scope(run):
    async def main():
        with (
            socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as receiver,
            stdlib.socket(stdlib.AF_INET6, stdlib.SOCK_DGRAM) as sender,
        ):
            loopback = socket.if_nametoindex("lo")
            await receiver.bind(("::1", 0, 0, loopback))
            sender.bind(("::1", 0))
            sender.sendto(b"hello", receiver.getsockname())
            data, address = await receiver.recvfrom(100)
            assert (data, address) == (b"hello", sender.getsockname())
            await receiver.sendto(b"world", (*address[:2], 0, loopback))
            assert sender.recv(100) == b"world"

    run(main)
