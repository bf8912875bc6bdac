"""The example of a graceful shutdown: no answer that has begun is dropped, unless it takes long."""

import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[1] / "examples" / "graceful_shutdown.py"
TIMEOUT_SECONDS = 20
# More than the buffers of both sockets hold, so that the server is in the middle of an answer.
BIG_SIZE = 16_000_000


@contextmanager
def server(grace):
    command = [sys.executable, "-u", EXAMPLE, "--port", "0", "--grace", str(grace)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process, int(process.stdout.readline().split()[-1])
        finally:
            process.kill()


def connect(port):
    client = socket.create_connection(("127.0.0.1", port), TIMEOUT_SECONDS)
    client.sendall(b"hello")
    assert client.recv(5) == b"hello"
    return client


def send_without_reading(client):
    """Send until the server takes no more, because nobody takes its answers; return how much."""
    client.settimeout(0.2)
    sent = 0
    while sent < BIG_SIZE:
        try:
            sent += client.send(b"x" * 65536)
        except TimeoutError:
            break
    assert sent < BIG_SIZE
    client.settimeout(TIMEOUT_SECONDS)
    return sent


def read_to_end(client):
    size = 0
    try:
        while data := client.recv(65536):
            size += len(data)
    except ConnectionResetError:
        # What the client had sent, and the server did not read any more, is lost.
        pass
    return size


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_idle_connections_are_closed_and_new_ones_refused(signum):
    with server(grace=TIMEOUT_SECONDS) as (process, port):
        with connect(port) as one, connect(port) as other:
            process.send_signal(signum)
            assert one.recv(1) == b""
            assert other.recv(1) == b""
        output, _ = process.communicate(timeout=TIMEOUT_SECONDS)
        with pytest.raises(ConnectionRefusedError):
            connect(port)

    assert output == f"{signal.Signals(signum).name}: draining 2 connections\ndrained\n"
    assert process.returncode == 0


def test_answer_that_has_begun_is_finished():
    with server(grace=TIMEOUT_SECONDS) as (process, port):
        with connect(port) as busy:
            send_without_reading(busy)
            process.send_signal(signal.SIGTERM)
            assert process.stdout.readline() == "SIGTERM: draining 1 connections\n"
            assert read_to_end(busy) > 0
        output, _ = process.communicate(timeout=TIMEOUT_SECONDS)

    assert output == "drained\n"
    assert process.returncode == 0


def test_client_that_takes_too_long_is_cut():
    with server(grace=0.05) as (process, port):
        with connect(port) as busy:
            send_without_reading(busy)
            process.send_signal(signal.SIGTERM)
            output, _ = process.communicate(timeout=TIMEOUT_SECONDS)

    assert output == "SIGTERM: draining 1 connections\ncut\n"
    assert process.returncode == 0


def test_second_signal_cuts_at_once():
    with server(grace=1000) as (process, port):
        with connect(port) as busy:
            send_without_reading(busy)
            process.send_signal(signal.SIGINT)
            assert process.stdout.readline() == "SIGINT: draining 1 connections\n"
            process.send_signal(signal.SIGINT)
            output, _ = process.communicate(timeout=TIMEOUT_SECONDS)

    assert output == "cut\n"
    assert process.returncode == 0
