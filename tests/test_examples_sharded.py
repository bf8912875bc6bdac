"""The examples with shards, as programs of their own."""

import re
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
TIMEOUT_SECONDS = 50

every_kind = pytest.mark.parametrize("kind", ["thread", "process"])


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


@contextmanager
def server(program, port, *options):
    """Run a server with two shards; it must end at Ctrl-C, without complaint."""
    command = [sys.executable, EXAMPLES / program, "--port", str(port), "--shards", "2", *options]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            lines = sorted(process.stdout.readline() for _ in range(2))
            for index, line in enumerate(lines):
                assert re.match(rf"shard {index} of 2: .*{port}", line)
            yield
            process.send_signal(signal.SIGINT)
            assert process.communicate(timeout=TIMEOUT_SECONDS) == ("", "")
        finally:
            process.kill()
    assert process.returncode == 0


@every_kind
@pytest.mark.parametrize("options", [(), ("--one-queue",)])
def test_echo_is_served_by_all_shards_until_interrupted(options, kind):
    port = free_port()
    with server("sharded_echo.py", port, "--kind", kind, *options):
        for _ in range(20):
            with socket.create_connection(("127.0.0.1", port), TIMEOUT_SECONDS) as client:
                client.sendall(b"hello")
                assert client.recv(5) == b"hello"


@every_kind
def test_work_queue_counts_every_file_once(tmp_path, kind):
    files = [tmp_path / f"{index}.txt" for index in range(30)]
    for path in files:
        path.write_text("the end of\nThe file")
    done = subprocess.run(
        [sys.executable, EXAMPLES / "work_queue.py", "--shards", "3", "--kind", kind, *files],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split()[:2] == ["60", "the"]
    assert sorted(done.stdout.split()[2:]) == sorted(["30", "end", "30", "of", "30", "file"])


@every_kind
def test_key_store_has_each_key_in_one_place(kind):
    port = free_port()

    def ask(question):
        with socket.create_connection(("127.0.0.1", port), TIMEOUT_SECONDS) as client:
            client.sendall(question)
            client.shutdown(socket.SHUT_WR)
            return client.makefile("rb").read()

    with server("key_store.py", port, "--kind", kind):
        # New connections come to either shard.
        for index in range(30):
            assert ask(b"set key%d some value %d\n" % (index, index)) == b"some value %d\n" % index
        for index in range(30):
            assert ask(b"get key%d\nget other\n" % index) == b"some value %d\n\n" % index
        assert ask(b"dance\n").startswith(b"ERROR")
