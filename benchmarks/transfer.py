"""Measure what sending a file costs: `send_file` against reads and sends, here and on Trio.

    python benchmarks/transfer.py [MEBIBYTES] [ROUNDS]

The file is in memory; the peer is a process that drops what comes. README.md beside this file says
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
from typing import TYPE_CHECKING, Any

import trio

import uringtrio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

READ_BYTES = 1 << 18
SEND_FILE, READ, AREAD = "send_file", "read + send_all", "await read + send_all"


def open_peer() -> tuple[int, socket.socket]:
    """Return the process that reads, and a socket to it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        pid = os.fork()
        if pid == 0:
            with socket.create_connection(listener.getsockname()) as sock:
                buffer = bytearray(1 << 20)
                # Dropped uncopied: its copying would only be noise in the caches of both.
                while sock.recv_into(buffer, 0, socket.MSG_TRUNC):
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


async def read_and_send(send: Callable[[memoryview], Awaitable[None]], path: str) -> None:
    """Let the run wait for the file."""
    with open(path, "rb", buffering=0) as file:
        buffer = memoryview(bytearray(READ_BYTES))
        while count := file.readinto(buffer):
            await send(buffer[:count])


async def aread_and_send(
    open_file: Callable[..., Awaitable[Any]],
    send: Callable[[memoryview], Awaitable[None]],
    path: str,
) -> None:
    """Let somebody else wait for the file."""
    async with await open_file(path, "rb", buffering=0) as file:
        buffer = memoryview(bytearray(READ_BYTES))
        while count := await file.readinto(buffer):
            await send(buffer[:count])


def on_uringtrio(driver: str, how: str, sock: socket.socket, path: str) -> None:
    """Send by `how`."""

    async def main() -> None:
        stream = uringtrio.SocketStream(uringtrio.socket.from_stdlib_socket(sock))
        async with stream:
            if how == SEND_FILE:
                with open(path, "rb") as file:
                    await stream.send_file(file)
            elif how == READ:
                await read_and_send(stream.send_all, path)
            else:
                await aread_and_send(uringtrio.open_file, stream.send_all, path)

    uringtrio.run(main, driver=driver)


def on_trio(how: str, sock: socket.socket, path: str) -> None:
    """Send by `how`, of which Trio has two."""

    async def main() -> None:
        async with trio.SocketStream(trio.socket.from_stdlib_socket(sock)) as stream:
            if how == READ:
                await read_and_send(stream.send_all, path)
            else:
                await aread_and_send(trio.open_file, stream.send_all, path)

    trio.run(main)


def floor(sock: socket.socket, path: str) -> None:
    """Send by sendfile(2) alone, blocking."""
    with sock, open(path, "rb") as file:
        while os.sendfile(sock.fileno(), file.fileno(), None, 1 << 30):
            pass


def main() -> None:
    """Take turns, so that what the machine does besides meets all alike."""
    mebibytes = int(sys.argv[1]) if len(sys.argv) > 1 else 1024
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 5
    cases: dict[str, Callable[[socket.socket, str], None]] = {"sendfile(2), blocking": floor}
    for how in (READ, AREAD):
        cases[f"trio {how}"] = partial(on_trio, how)
    for driver in ("io_uring", "epoll"):
        for how in (SEND_FILE, READ, AREAD):
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
        print(f"{name:31} {rate:6.2f} GB/s {cpu:7.3f} CPU s/GB")


if __name__ == "__main__":
    main()
