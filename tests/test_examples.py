"""The examples work, as programs of their own, on the driver that the environment names."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest

pytest.importorskip("rich")

EXAMPLES = Path(__file__).parents[1] / "examples"
TIMEOUT_SECONDS = 50


def run_load(*options):
    return subprocess.run(
        [sys.executable, EXAMPLES / "echo_load.py", "--seconds", "0.5", *options],
        env=os.environ | {"COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )


@contextmanager
def false_server(answer):
    """Serve TCP in a thread, with `answer` called on each received chunk."""

    def serve():
        # Closing the listener ends the loop; a client that gives up resets its connection.
        try:
            while True:
                connection, _ = listener.accept()
                with connection:
                    while data := connection.recv(65536):
                        connection.sendall(answer(data))
        except OSError:
            pass

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)
    thread.join()


def test_load_shows_driver_and_figures():
    done = run_load("--connections", "20")

    assert done.returncode == 0, done.stderr
    rows = dict(
        line.strip("│ \n").split("│", 1) for line in done.stdout.splitlines() if "│" in line
    )
    rows = {name.strip(): value.strip() for name, value in rows.items()}
    driver = rows["driver of the server"]
    assert driver in {os.environ.get("URINGTRIO_DRIVER", driver)} & {"io_uring", "epoll", "kqueue"}
    assert rows["why this driver"]
    assert rows["connections"] == "20"
    assert int(rows["requests/s"].replace(",", "")) > 0
    assert rows["requests"].endswith("every byte compared")
    if driver == "io_uring":
        assert int(rows["CQEs"].replace(",", "")) > 0
        assert int(rows["enters"].replace(",", "")) > 0


def test_load_takes_a_server_that_runs_already():
    with false_server(lambda data: data) as address:
        done = run_load("--connections", "1", "--server", address)

    assert done.returncode == 0, done.stderr
    assert "requests/s" in done.stdout
    assert "driver of the server" not in done.stdout


def test_load_fails_on_a_changed_byte():
    with false_server(lambda data: data[:-1] + bytes([data[-1] ^ 1])) as address:
        done = run_load("--connections", "1", "--server", address)

    assert done.returncode == 1
    assert done.stderr.startswith("FAILED: connection 0: the answer to request 1 differs")


def test_load_fails_where_nobody_listens():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    done = run_load("--connections", "1", "--server", f"127.0.0.1:{port}")

    assert done.returncode == 1
    assert done.stderr.startswith("FAILED: ")


def test_server_echoes_until_interrupted_then_reports():
    command = [sys.executable, "-u", EXAMPLES / "echo_server.py", "--port", "0", "--statistics"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            driver = server.stdout.readline().split()[-1]
            port = int(server.stdout.readline().split()[-1])
            with socket.create_connection(("127.0.0.1", port), TIMEOUT_SECONDS) as client:
                client.sendall(b"hello")
                assert client.recv(5) == b"hello"
            server.send_signal(signal.SIGINT)
            output, _ = server.communicate(timeout=TIMEOUT_SECONDS)
        finally:
            server.kill()

    assert server.returncode == 0
    statistics = json.loads(output)
    assert statistics["driver"] == driver
    assert statistics["reason"]
    if driver == "io_uring":
        assert statistics["cqes"] > 0
        assert statistics["enters"] > 0
