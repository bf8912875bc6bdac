"""The control socket of examples/unix_control.py, as programs of their own."""

import subprocess
import sys
from pathlib import Path

PROGRAM = Path(__file__).parents[1] / "examples" / "unix_control.py"
TIMEOUT_SECONDS = 50


def start(path):
    server = subprocess.Popen(
        [sys.executable, PROGRAM, "--path", path, "serve"], stdout=subprocess.PIPE, text=True
    )
    assert server.stdout.readline() == f"listening on {path}\n"
    return server


def send(path, *command):
    done = subprocess.run(
        [sys.executable, PROGRAM, "--path", path, "send", *command],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=True,
    )
    return done.stdout


def test_commands_are_answered_until_one_stops_the_server(tmp_path):
    path = tmp_path / "control"
    with start(path) as killed:
        killed.kill()
    assert path.exists()
    with start(path) as server:
        assert path.lstat().st_mode & 0o777 == 0o600
        assert send(path).endswith("s, 1 commands\n")
        assert send(path, "status").endswith("s, 2 commands\n")
        assert send(path, "dance").startswith("unknown command")
        assert send(path, "stop") == "stopping\n"
        assert server.wait(TIMEOUT_SECONDS) == 0
    assert not path.exists()
