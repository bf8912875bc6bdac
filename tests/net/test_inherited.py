"""Listeners from a service manager: taken once, by the process that they are for."""

import fcntl
import os
import socket
import subprocess
import sys
import textwrap

import pytest

import uringtrio
from uringtrio import inherited_listeners

TIMEOUT_SECONDS = 20

# What a service manager does: put the sockets in their places, then become the service.
LAUNCHER = """
    import os, sys

    fds = [int(fd) for fd in sys.argv[2:]]
    for place, fd in enumerate(fds, 3):
        os.dup2(fd, place)
    os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(len(fds))}
    os.environ["LISTEN_FDNAMES"] = "a:b"
    os.execv(sys.executable, [sys.executable, "-c", sys.argv[1]])
"""

PROGRAM = """
    import os
    import uringtrio

    async def main():
        listeners = uringtrio.inherited_listeners()
        assert uringtrio.inherited_listeners() == []
        assert not [name for name in os.environ if name.startswith("LISTEN_")]
        assert not any(listener.socket.get_inheritable() for listener in listeners)
        for listener in listeners:
            async with await listener.accept() as stream:
                await stream.send_all(b"hello")
            await listener.aclose()
        return len(listeners)

    print(uringtrio.run(main))
"""


def run_program(listeners):
    # Copies beyond all of their places, so that none is overwritten by another.
    fds = [fcntl.fcntl(listener, fcntl.F_DUPFD, 50) for listener in listeners]
    launcher, program = textwrap.dedent(LAUNCHER), textwrap.dedent(PROGRAM)
    try:
        return subprocess.Popen(
            [sys.executable, "-c", launcher, program, *map(str, fds)],
            pass_fds=fds,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
    finally:
        for fd in fds:
            os.close(fd)


def test_listeners_of_the_service_manager_are_taken_once(tmp_path):
    path = str(tmp_path / "socket")
    with (
        socket.create_server(("127.0.0.1", 0)) as tcp,
        socket.socket(socket.AF_UNIX) as unix,
    ):
        unix.bind(path)
        unix.listen()
        process = run_program([tcp, unix])
        with socket.create_connection(tcp.getsockname(), TIMEOUT_SECONDS) as client:
            assert client.recv(10) == b"hello"
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(TIMEOUT_SECONDS)
            client.connect(path)
            assert client.recv(10) == b"hello"

        assert process.communicate(timeout=TIMEOUT_SECONDS) == ("2\n", "")


def test_process_that_was_started_otherwise_has_none(monkeypatch):
    monkeypatch.delenv("LISTEN_PID", raising=False)

    assert inherited_listeners() == []


def test_what_was_meant_for_the_parent_is_left_alone(monkeypatch):
    monkeypatch.setenv("LISTEN_PID", str(os.getppid()))
    monkeypatch.setenv("LISTEN_FDS", "1")

    assert inherited_listeners() == []
    assert os.environ["LISTEN_FDS"] == "1"


def test_socket_that_does_not_listen_is_refused(monkeypatch):
    first, second = socket.socketpair()
    with first, second:
        monkeypatch.setenv("LISTEN_PID", str(os.getpid()))
        monkeypatch.setenv("LISTEN_FDS", "1")
        fd = os.dup(first.fileno())
        monkeypatch.setattr("uringtrio._net.inherited.FIRST_FD", fd)
        with pytest.raises(ValueError, match="requires a listening socket"):
            inherited_listeners()


def test_public_name():
    assert inherited_listeners.__module__ == uringtrio.__name__
