"""Drives a TLS echo server: tls_load.py PORT CA CONNECTIONS SIZE WARMUP SECONDS PID

On all connections at once: send a message of SIZE bytes on each, then receive them all and compare.
Prints one line of JSON: how many there were, how fast, and the CPU time that the server, PID, took.
"""

from __future__ import annotations

import json
import random
import socket
import ssl
import sys
import time
from itertools import pairwise

from servers import HOST

SERVER_NAME = "localhost"
RECEIVE_BYTES_MAX = 2**20
WAIT_SECONDS_MAX = 10.0


def connect(port: int, context: ssl.SSLContext) -> ssl.SSLSocket:
    """Return a connection whose handshake is done."""
    sock = socket.create_connection((HOST, port), WAIT_SECONDS_MAX)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return context.wrap_socket(sock, server_hostname=SERVER_NAME)


def exchange(connections: list[ssl.SSLSocket], message: bytes, buffer: memoryview) -> None:
    """Send and receive one message on each connection."""
    for connection in connections:
        connection.sendall(message)
    for connection in connections:
        received = 0
        while received < len(message):
            count = connection.recv_into(buffer[received:])
            if not count:
                raise SystemExit("the server ended a connection")
            received += count
        if buffer != message:
            raise SystemExit("an answer differs from its request")


def cpu_clock(pid: int) -> int:
    """Return the clock of a process's CPU time, as clock_getcpuclockid(3) does on Linux."""
    return (~pid << 3) | 2


def drive(connections: list[ssl.SSLSocket], message: bytes, pid: int, seconds: float) -> str:
    """Exchange messages for some time, and return the figures."""
    buffer = memoryview(bytearray(len(message)))
    clock = cpu_clock(pid)
    times = [time.perf_counter()]
    cpu_before = time.clock_gettime(clock)
    while times[-1] - times[0] < seconds:
        exchange(connections, message, buffer)
        times.append(time.perf_counter())
    cpu_seconds = time.clock_gettime(clock) - cpu_before
    requests = len(connections) * (len(times) - 1)
    rounds_us = sorted((end - start) * 1e6 for start, end in pairwise(times))
    return json.dumps(
        {
            "requests": requests,
            "requests_per_s": requests / (times[-1] - times[0]),
            "p50_us": rounds_us[len(rounds_us) // 2],
            "p99_us": rounds_us[len(rounds_us) * 99 // 100],
            "cpu_us": cpu_seconds * 1e6 / requests,
        }
    )


def main() -> None:
    port, ca, count, size, warmup, seconds, pid = sys.argv[1:]
    context = ssl.create_default_context(cafile=ca)
    connections = [connect(int(port), context) for _ in range(int(count))]
    message = random.Random(0).randbytes(int(size))
    drive(connections, message, int(pid), float(warmup))
    print(drive(connections, message, int(pid), float(seconds)))


if __name__ == "__main__":
    main()
