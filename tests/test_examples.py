"""The examples work, as programs of their own, on the driver that the environment names."""

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

pytest.importorskip("rich")
pytest.importorskip("h11")

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


def test_load_shows_each_shard():
    done = run_load("--connections", "20", "--shards", "2")

    assert done.returncode == 0, done.stderr
    rows = [line for line in done.stdout.splitlines() if line.startswith("│ shard ")]
    assert [row.split()[2] for row in rows] == ["0", "1"]
    assert sum(int(row.split()[4]) for row in rows) == 20
    assert all("requests/s" in row and "% CPU" in row for row in rows)


def test_load_takes_a_server_that_runs_already():
    with false_server(lambda data: data) as address:
        done = run_load("--connections", "1", "--server", address)

    assert done.returncode == 0, done.stderr
    assert "requests/s" in done.stdout
    assert "driver of the server" not in done.stdout


def test_load_fails_on_a_changed_byte():
    with false_server(lambda data: data[:-1] + bytes([data[-1] ^ 1])) as address:
        done = run_load("--connections", "1", "--server", address, "--seconds", "30")

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


def make(directory, rules, *options):
    (directory / "Makefile").write_text(rules)
    return subprocess.Popen(
        [sys.executable, EXAMPLES / "make.py", *options],
        cwd=directory,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def has_ended(pid):
    """Say whether a process that is no child of this one has ended; it may be a zombie."""
    give_up = time.monotonic() + TIMEOUT_SECONDS
    while time.monotonic() < give_up:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return True
        if state == "Z":
            return True
        time.sleep(0.01)
    return False


def test_make_builds_what_is_needed_before_what_needs_it(tmp_path):
    rules = """
        all: left right
            cat left right > all
        left: base
            cat base > left; echo left >> left
        right: base
            cat base > right; echo right >> right
        base:
            echo base > base    # once
        other:
            touch other
    """
    with make(tmp_path, textwrap.dedent(rules), "--jobs", "2") as process:
        _, errors = process.communicate(timeout=TIMEOUT_SECONDS)

    assert process.returncode == 0, errors
    assert (tmp_path / "all").read_text() == "base\nleft\nbase\nright\n"
    assert not (tmp_path / "other").exists()


def test_make_ends_the_others_when_one_fails(tmp_path):
    rules = """
        all: slow bad
        slow:
            sleep 1000 & echo $! > pid; wait; touch late
        bad: started
            exit 3
        started:
            while ! test -s pid; do sleep 0.01; done
    """
    with make(tmp_path, textwrap.dedent(rules), "--jobs", "3") as process:
        _, errors = process.communicate(timeout=TIMEOUT_SECONDS)

    assert process.returncode == 1
    assert errors == "FAILED: bad: 'exit 3' failed with 3\n"
    assert has_ended((tmp_path / "pid").read_text().strip())


def test_make_ends_everything_when_interrupted(tmp_path):
    rules = "all:\n    sleep 1000 & echo $! > pid; wait\n"
    with make(tmp_path, rules) as process:
        give_up = time.monotonic() + TIMEOUT_SECONDS
        while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
            assert time.monotonic() < give_up
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=TIMEOUT_SECONDS)

    assert (process.returncode, errors) == (1, "interrupted\n")
    assert has_ended((tmp_path / "pid").read_text().strip())


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ("a: b\nb: a\n", "FAILED: these need each other: "),
        ("a: b\n", "FAILED: there is no target 'b'"),
        ("a\n", "FAILED: line 1 is neither a target nor a command: a"),
    ],
)
def test_make_says_what_is_wrong_with_the_rules(tmp_path, rules, message):
    with make(tmp_path, rules) as process:
        _, errors = process.communicate(timeout=TIMEOUT_SECONDS)

    assert process.returncode == 1
    assert errors.startswith(message)


@contextmanager
def http_server():
    """Run the example on a free port; it must end at Ctrl-C, without complaint."""
    server = subprocess.Popen(
        [sys.executable, EXAMPLES / "http_server.py", "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        port = int(server.stdout.readline().rpartition(" ")[2])
        yield port
    finally:
        server.send_signal(signal.SIGINT)
        _, complaints = server.communicate(timeout=TIMEOUT_SECONDS)
    assert (server.returncode, complaints) == (0, "")


def test_http_server_answers_requests_on_one_connection():
    with http_server() as port:
        client = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_SECONDS)
        for body in ("", "hello", "x" * 100_000):
            client.request("POST", "/path?query", body)
            response = client.getresponse()
            assert response.status == 200
            assert json.load(response) == {"method": "POST", "target": "/path?query", "body": body}
        client.close()


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GARBAGE\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2000000\r\n\r\n" + bytes(2_000_000), 413),
    ],
)
def test_http_server_says_what_is_wrong_with_a_request(request_bytes, status):
    with http_server() as port, socket.create_connection(("127.0.0.1", port)) as client:
        client.settimeout(TIMEOUT_SECONDS)
        # The server may close before it has all of it, which is an error of the send.
        with contextlib.suppress(ConnectionError):
            client.sendall(request_bytes)
        assert client.recv(100).startswith(b"HTTP/1.1 %d" % status)


def test_http_server_survives_clients_that_leave_in_the_middle():
    with http_server() as port:
        for _ in range(10):
            with socket.create_connection(("127.0.0.1", port)) as client:
                client.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf")
        client = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_SECONDS)
        client.request("GET", "/")
        assert client.getresponse().status == 200
        client.close()


def test_tls_echo_speaks_with_itself():
    pytest.importorskip("trustme")
    done = subprocess.run(
        [sys.executable, EXAMPLES / "tls_echo.py", "hello", "w\u00f6rld"],
        env=os.environ | {"PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        encoding="utf-8",
        timeout=TIMEOUT_SECONDS,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["talking TLSv1.3 to localhost", "hello", "w\u00f6rld"]
