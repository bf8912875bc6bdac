"""Measure what sending a file costs: `send_file` against reads and sends, here and on Trio.

    python benchmarks/transfer.py [MEBIBYTES] [ROUNDS]

The file is in memory; the peer is a process that reads and drops. README.md beside this file says
how to read the figures.
"""

from __future__ import annotations

import os
import resource
import socket
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from functools import partial
from typing import TYPE_CHECKING

import trio

import uringtrio

if TYPE_CHECKING:
    from collections.abc import Callable

READ_BYTES = 1 << 18


def open_peer() -> tuple[int, socket.socket]:
    """Return the process that reads, and a socket to it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        pid = os.fork()
        if pid == 0:
            with socket.create_connection(listener.getsockname()) as sock:
                buffer = bytearray(1 << 20)
                while sock.recv_into(buffer):
                    pass
            os._exit(0)
        sock, _ = listener.accept()
    return pid, sock


def measure(path: str, send: Callable[[socket.socket, str], None]) -> tuple[float, float]:
    """Return (GB/s, CPU seconds per GB of this process)."""
    size = os.path.getsize(path) / 1e9
    pid, sock = open_peer()
    before, start = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    send(sock, path)
    took, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF)
    os.waitpid(pid, 0)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return size / took, cpu / size


def on_uringtrio(driver: str, how: str, sock: socket.socket, path: str) -> None:
    """Send by `how`: send_file, or read and send_all."""

    async def main() -> None:
        stream = uringtrio.SocketStream(uringtrio.socket.from_stdlib_socket(sock))
        with open(path, "rb", buffering=0) as file:
            async with stream:
                if how == "send_file":
                    await stream.send_file(file)
                    return
                buffer = memoryview(bytearray(READ_BYTES))
                while count := file.readinto(buffer):
                    await stream.send_all(buffer[:count])

    uringtrio.run(main, driver=driver)


def on_trio(sock: socket.socket, path: str) -> None:
    """Read and send_all."""

    async def main() -> None:
        stream = trio.SocketStream(trio.socket.from_stdlib_socket(sock))
        with open(path, "rb", buffering=0) as file:
            async with stream:
                buffer = memoryview(bytearray(READ_BYTES))
                while count := file.readinto(buffer):
                    await stream.send_all(buffer[:count])

    trio.run(main)


def main() -> None:
    """Take turns, so that what the machine does besides meets all alike."""
    mebibytes = int(sys.argv[1]) if len(sys.argv) > 1 else 1024
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 5
    cases: dict[str, Callable[[socket.socket, str], None]] = {"trio read + send_all": on_trio}
    for driver in ("io_uring", "epoll"):
        for how in ("send_file", "read + send_all"):
            cases[f"{driver} {how}"] = partial(on_uringtrio, driver, how)
    figures = defaultdict(list)
    with tempfile.NamedTemporaryFile() as file:
        for _ in range(mebibytes):
            file.write(os.urandom(1 << 20))
        file.flush()
        for _ in range(rounds):
            for name, send in cases.items():
                figures[name].append(measure(file.name, send))
    for name, values in figures.items():
        rate, cpu = (statistics.median(column) for column in zip(*values, strict=True))
        print(f"{name:26} {rate:6.2f} GB/s {cpu:7.3f} CPU s/GB")


if __name__ == "__main__":
    main()
