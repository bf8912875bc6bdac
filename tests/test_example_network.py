"""examples/proxy.py and examples/udp_ping.py, as programs of their own."""

import contextlib
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

EXAMPLES = Path(__file__).parents[1] / "examples"
TIMEOUT_SECONDS = 50
BIG = bytes(range(256)) * 4096


@contextlib.contextmanager
def running(name, *options):
    """Start a server that prints its port; interrupt it at the end."""
    command = [sys.executable, EXAMPLES / name, *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process, int(process.stdout.readline().split()[-1])
            process.send_signal(signal.SIGINT)
            assert process.wait(TIMEOUT_SECONDS) == 0
        finally:
            process.kill()


@contextlib.contextmanager
def proxy_to(handle, *options):
    """Start a proxy to a server that calls `handle` with its only connection."""

    def serve():
        connection, _ = listener.accept()
        with connection:
            connection.settimeout(TIMEOUT_SECONDS)
            handle(connection)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        to = f"127.0.0.1:{listener.getsockname()[1]}"
        with running("proxy.py", "--port", "0", "--to", to, *options) as (process, port):
            with socket.create_connection(("127.0.0.1", port), TIMEOUT_SECONDS) as client:
                yield process, client
            thread.join(TIMEOUT_SECONDS)


def receive_all(connection):
    received = bytearray()
    while data := connection.recv(65536):
        received += data
    return received


def test_proxy_keeps_half_closed_connections_and_counts_each_way():
    def answer_at_the_end(connection):
        size = len(receive_all(connection))
        connection.sendall(b"%d bytes" % size)

    with proxy_to(answer_at_the_end) as (process, client):
        client.sendall(BIG)
        client.shutdown(socket.SHUT_WR)
        assert receive_all(client) == b"%d bytes" % len(BIG)
        assert process.stdout.readline() == f"{len(BIG)} bytes there, 13 bytes back, ended\n"


def test_proxy_cuts_connections_that_are_silent():
    with proxy_to(receive_all, "--idle", "0.2") as (process, client):
        client.sendall(b"hello")
        assert receive_all(client) == b""
        assert process.stdout.readline() == "5 bytes there, 0 bytes back, idle\n"


def test_proxy_says_when_there_is_nothing_to_connect_to():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        to = f"127.0.0.1:{listener.getsockname()[1]}"
    with running("proxy.py", "--port", "0", "--to", to) as (process, port):
        with socket.create_connection(("127.0.0.1", port), TIMEOUT_SECONDS) as client:
            assert client.recv(1) == b""
        line = process.stdout.readline()
        assert line.startswith("0 bytes there, 0 bytes back, no connection: ")
        assert to.rpartition(":")[2] in line


def ping(port, *options):
    return subprocess.run(
        [sys.executable, EXAMPLES / "udp_ping.py", "ping", f"127.0.0.1:{port}", *options],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )


def test_pings_are_answered():
    with running("udp_ping.py", "serve", "--port", "0") as (_, port):
        done = ping(port, "--count", "3", "--timeout", "20")

    assert done.returncode == 0, done.stderr
    numbers, times = zip(*(line.split(": ") for line in done.stdout.splitlines()), strict=True)
    assert sorted(numbers) == ["0", "1", "2"]
    assert all(float(time.removesuffix(" ms")) > 0 for time in times)


def test_pings_without_an_answer_are_lost():
    with socket.socket(type=socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        done = ping(silent.getsockname()[1], "--count", "2", "--timeout", "0.1")

    assert (done.returncode, done.stdout) == (1, "0: lost\n1: lost\n"), done.stderr


def test_pings_to_nobody_are_lost():
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    done = ping(port, "--count", "2", "--timeout", "0.1")

    assert (done.returncode, done.stdout) == (1, "0: lost\n1: lost\n"), done.stderr
