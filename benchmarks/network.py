"""Compare servers of short connections, of datagrams and of large messages, and idle connections.

The server has one CPU and a load client in C the other. Every round runs all cases of each runtime,
the runtimes in turn; the best round of each counts. README.md beside this file says how to read the
figures.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import machine
import network_servers
import report
import servers
from rounds import CandidateError, Round, last_line, run_rounds, tabulate

WARMUP_SECONDS = 0.3
START_SECONDS_MAX = 10.0
IDLE_CONNECTIONS = 500
IDLE_CASE = "idle connection"
ECHO = {"asyncio": "asyncio-streams", "uvloop": "uvloop-streams"}


@dataclass(frozen=True, slots=True)
class Case:
    """What the server does and what the load does with it.

    Attributes:
        mode: of the load client; "stream" is for the servers of echo.py.
        connections: how many requests are under way at once.
        size: bytes in a request.
        sockets: how many sockets the server has, for datagrams.
    """

    mode: str
    connections: int
    size: int
    sockets: int = 1

    def server(self, kind: str) -> list[str]:
        """Return how to start the server."""
        if self.mode == "stream":
            return [sys.executable, servers.__file__, ECHO.get(kind, kind)]
        numbers = [str(self.sockets)] if self.mode == "datagram" else []
        return [sys.executable, network_servers.__file__, kind, self.mode, *numbers]


CASES = {
    "connect and close": Case("connect", 16, 64),
    "datagrams, 1 socket": Case("datagram", 1, 64),
    "datagrams, 20 sockets": Case("datagram", 20, 64, sockets=20),
    "100 KiB echo": Case("stream", 10, 100 * 1024),
}


def measure(case: Case, kind: str, seconds: float) -> float:
    """Start a server, drive it, and return its microseconds of CPU for one request."""
    server_cpu, load_cpu = machine.cpu_pair()
    with machine.pinned(case.server(kind), server_cpu, stderr=subprocess.PIPE) as server:
        try:
            numbers = (case.connections, case.size, WARMUP_SECONDS, seconds, server.pid)
            arguments = (case.mode, read_ports(server), *map(str, numbers))
            command = [str(machine.build_c("load")), *arguments]
            with machine.pinned(command, load_cpu, stderr=subprocess.PIPE) as load:
                output, errors = load.communicate()
            if load.returncode != 0:
                raise CandidateError(last_line(errors))
        finally:
            server.kill()
    cpu_us: float = json.loads(output)["cpu_us"]
    return cpu_us


def read_ports(server: subprocess.Popen[str]) -> str:
    """Return where a server says that it listens."""
    assert server.stdout is not None
    ports = server.stdout.readline().strip()
    if not ports:
        raise CandidateError(last_line(server.communicate(timeout=START_SECONDS_MAX)[1]))
    return ports


def resident_bytes(pid: int) -> int:
    """Return how much memory a process has."""
    pages = Path(f"/proc/{pid}/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def measure_idle(kind: str) -> float:
    """Return the KiB by which a server grows with each connection that has been used once."""
    command = Case("stream", 1, 1).server(kind)
    with machine.pinned(command, machine.cpu_pair()[0], stderr=subprocess.PIPE) as server:
        connections: list[socket.socket] = []
        try:
            address = (servers.HOST, int(read_ports(server)))
            # The first ones pay for what is there once.
            use(connections, address, IDLE_CONNECTIONS)
            before = resident_bytes(server.pid)
            use(connections, address, IDLE_CONNECTIONS)
            return (resident_bytes(server.pid) - before) / IDLE_CONNECTIONS / 1024
        finally:
            server.kill()
            for connection in connections:
                connection.close()


def use(connections: list[socket.socket], address: tuple[str, int], count: int) -> None:
    """Open more connections, and exchange 1 KiB on each of them."""
    message = bytes(1024)
    for _ in range(count):
        connection = socket.create_connection(address, START_SECONDS_MAX)
        connections.append(connection)
        connection.sendall(message)
        received = 0
        while received < len(message):
            received += len(connection.recv(len(message)))
    time.sleep(0.1)


def run_cases(names: list[str], seconds: float, kind: str) -> Round:
    """Measure one runtime once."""
    if not machine.is_installed(network_servers.KINDS[kind][0]):
        raise CandidateError("it is not installed")
    figures = {name: measure(CASES[name], kind, seconds) for name in names if name in CASES}
    if IDLE_CASE in names:
        figures[IDLE_CASE] = measure_idle(kind)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    all_cases = [*CASES, IDLE_CASE]
    parser.add_argument("--cases", nargs="+", choices=all_cases, metavar="CASE", default=all_cases)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0, help="measured in each case")
    options = report.parse(parser, "runtimes", list(network_servers.KINDS))
    machine.require_c("load")
    every, notes = run_rounds(
        options.runtimes,
        options.rounds,
        partial(run_cases, options.cases, options.seconds),
    )
    best = f"best of {options.rounds}"
    tables = []
    if timed := [name for name in options.cases if name in CASES]:
        title = f"network, us of the server's CPU for one request, {best}"
        tables.append(tabulate(every, timed, title, precision=1))
    if IDLE_CASE in options.cases:
        title = f"memory of a connection without TLS, KiB, {best}"
        tables.append(tabulate(every, [IDLE_CASE], title, precision=2))
    report.publish(options, tables, machine.versions(), notes, every)


if __name__ == "__main__":
    main()
