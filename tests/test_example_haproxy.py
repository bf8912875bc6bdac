"""examples/sharded_echo.py behind HAProxy, with the configuration of docs/howto/shards.md."""

import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TIMEOUT_SECONDS = 50

needs_haproxy = pytest.mark.skipif(shutil.which("haproxy") is None, reason="no haproxy here")


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def documented_configuration(front, back):
    """Return the configuration in the documentation, on ports of this machine."""
    text = (ROOT / "docs/howto/shards.md").read_text()
    (block,) = re.findall(r"```text\n(# haproxy\.cfg\n.*?)```", text, re.DOTALL)
    assert block.count(":7000") == block.count(":7001") == 1
    return block.replace(":7000", f"127.0.0.1:{front}").replace(
        "127.0.0.1:7001", f"127.0.0.1:{back}"
    )


def connect(port):
    """Connect as soon as somebody listens."""
    give_up = time.monotonic() + TIMEOUT_SECONDS
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port), TIMEOUT_SECONDS)
        except ConnectionRefusedError:
            assert time.monotonic() < give_up, "the proxy does not listen"
            time.sleep(0.01)


@contextmanager
def running(*command):
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(TIMEOUT_SECONDS)


@needs_haproxy
@pytest.mark.parametrize("options", [(), ("--one-queue",)])
def test_shards_behind_haproxy_look_like_one_server(tmp_path, options):
    front, back = free_port(), free_port()
    configuration = tmp_path / "haproxy.cfg"
    configuration.write_text(documented_configuration(front, back))
    program = (sys.executable, ROOT / "examples/sharded_echo.py", "--port", str(back))
    with running(*program, "--shards", "2", *options) as server:
        shards = [server.stdout.readline() for _ in range(2)]
        assert all(line.startswith("shard ") for line in shards)
        # Now, as it takes a server that fails its first check for dead.
        with running("haproxy", "-q", "-f", configuration):
            for number in range(20):
                message = b"%d" % number * 10_000
                with connect(front) as client, client.makefile("rb") as answer:
                    client.sendall(message)
                    assert answer.read(len(message)) == message
                    client.shutdown(socket.SHUT_WR)
                    assert answer.read() == b""
    assert server.returncode == 0
