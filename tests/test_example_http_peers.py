"""examples/http_server.py with clients that are not ours: curl and wrk."""

import contextlib
import json
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("h11")

PROGRAM = Path(__file__).parents[1] / "examples" / "http_server.py"
TIMEOUT_SECONDS = 50

needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="no curl here")
needs_wrk = pytest.mark.skipif(shutil.which("wrk") is None, reason="no wrk here")


@contextlib.contextmanager
def http_server():
    """Run the example on a free port; it must end at Ctrl-C, without complaint."""
    command = [sys.executable, PROGRAM, "--port", "0"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as server:
        try:
            yield f"http://127.0.0.1:{server.stdout.readline().split()[-1]}"
            server.send_signal(signal.SIGINT)
            _, complaints = server.communicate(timeout=TIMEOUT_SECONDS)
        finally:
            server.kill()
    assert (server.returncode, complaints) == (0, "")


def output_of(*command):
    return subprocess.run(
        command, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=True
    ).stdout


@needs_curl
def test_curl_gets_several_answers_on_one_connection():
    with http_server() as url:
        # With a body of this size curl asks first whether it may send it.
        body = "x" * 600_000
        output = subprocess.run(
            ["curl", "-sS", "-w", "%{num_connects}\n", "--data-binary", "@-", f"{url}/one",
             "--next", "-sS", "-w", "%{num_connects}\n", f"{url}/two"],
            input=body, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=True,
        ).stdout  # fmt: skip
    (first, first_connects), (second, second_connects) = (
        (json.loads(line[: line.rindex("}") + 1]), line[line.rindex("}") + 1 :])
        for line in output.splitlines()
    )
    assert (first["method"], first["target"], len(first["body"])) == ("POST", "/one", len(body))
    assert (second["method"], second["target"]) == ("GET", "/two")
    assert (first_connects, second_connects) == ("1", "0")


def drive_with_wrk(seconds, connections):
    with http_server() as url:
        # wrk calls every answer an error that takes longer than its timeout.
        options = [f"-d{seconds}s", f"-c{connections}", "-t1", f"--timeout={TIMEOUT_SECONDS}s"]
        output = output_of("wrk", *options, f"{url}/path")
    (requests,) = re.findall(r"(\d+) requests in", output)
    assert "Socket errors" not in output, output
    assert "Non-2xx" not in output, output
    return int(requests)


@needs_wrk
def test_wrk_gets_nothing_but_answers():
    assert drive_with_wrk(1, 20) > 20


@needs_wrk
@pytest.mark.stress
def test_wrk_gets_nothing_but_answers_on_many_connections_for_long():
    assert drive_with_wrk(20, 500) > 5000
