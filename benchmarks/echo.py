"""Compare echo servers: a closed loop of 1 KiB requests over 1, 50 and 500 connections.

The server has one CPU and the load client another. All servers are measured in turn, again and
again (`--rounds`), so that a disturbance of the machine hurts none of them more than the others.
README.md beside this file says how to read the figures.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from dataclasses import asdict, dataclass, field

import machine
import report
import servers
from rounds import last_line

C_SERVERS = {"c-epoll": ("epoll_server",), "c-uring": ("uring_server", "-luring")}
ALL_KINDS = [*servers.KINDS, *C_SERVERS]

# Before the measured time, every connection has exchanged requests for this long.
WARMUP_SECONDS = 0.3
START_SECONDS_MAX = 10.0


class ServerError(Exception):
    """A server did not start or did not answer; the message says why, as far as it is known."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One round of one server."""

    requests: int
    requests_per_s: float
    p50_us: float
    p99_us: float
    cpu_us: float  # the server's CPU time for one request


@dataclass(slots=True)
class Series:
    """All rounds of one server with one number of connections."""

    kind: str
    connections: int
    samples: list[Sample] = field(default_factory=list)

    def best(self, name: str) -> float:
        """Return the best of all rounds: the smallest, but for rates the largest."""
        values: list[float] = [getattr(sample, name) for sample in self.samples]
        return max(values) if name == "requests_per_s" else min(values)

    def median(self, name: str) -> float:
        """Return the median of all rounds."""
        values: list[float] = [getattr(sample, name) for sample in self.samples]
        return statistics.median(values)


def server_command(kind: str) -> list[str]:
    """Return how to start a server, having built what it needs."""
    if kind in C_SERVERS:
        return [str(machine.build_c(*C_SERVERS[kind]))]
    module = servers.KINDS[kind][0]
    if not machine.is_installed(module):
        raise ServerError(f"{module} is not installed")
    return [sys.executable, servers.__file__, kind]


def measure(command: list[str], connections: int, options: argparse.Namespace) -> Sample:
    """Start a server, drive it for one round, and kill it."""
    server_cpu, load_cpu = machine.cpu_pair()
    with machine.pinned(command, server_cpu, stderr=subprocess.PIPE) as server:
        try:
            assert server.stdout is not None
            port = server.stdout.readline().strip()
            if not port:
                raise ServerError(last_line(server.communicate(timeout=START_SECONDS_MAX)[1]))
            numbers = (port, connections, options.size, WARMUP_SECONDS, options.seconds, server.pid)
            load_command = [str(machine.build_c("load")), "stream", *map(str, numbers)]
            with machine.pinned(load_command, load_cpu, stderr=subprocess.PIPE) as load:
                output, errors = load.communicate()
            if load.returncode != 0:
                raise ServerError(last_line(errors))
        finally:
            server.kill()
    return Sample(**json.loads(output))


def run_rounds(options: argparse.Namespace) -> tuple[list[Series], list[str]]:
    """Measure everything; return it and a note for each server that was left out."""
    commands: dict[str, list[str]] = {}
    left_out: dict[str, str] = {}
    for kind in options.kinds:
        try:
            commands[kind] = server_command(kind)
        except (ServerError, machine.CannotBuildError) as error:
            left_out[kind] = str(error)
    every = {
        (count, kind): Series(kind, count) for count in options.connections for kind in commands
    }
    for index in range(options.rounds):
        for (count, kind), series in every.items():
            if kind in left_out:
                continue
            print(
                f"round {index + 1}: {kind}, {count} connections", end="\033[K\r", file=sys.stderr
            )
            try:
                series.samples.append(measure(commands[kind], count, options))
            except ServerError as error:
                left_out[kind] = str(error)
    print(end="\033[K", file=sys.stderr)
    notes = [f"Left out: {kind}: {reason}." for kind, reason in left_out.items()]
    return [series for series in every.values() if series.samples], notes


def tabulate(every: list[Series], count: int, options: argparse.Namespace) -> report.Figures:
    """Return the table for one number of connections."""
    group = [series for series in every if series.connections == count]
    reference = next((series for series in group if series.kind == options.reference), group[0])
    rows = [
        [
            series.kind,
            f"{series.best('requests_per_s'):,.0f}",
            f"{series.best('p50_us'):,.0f}",
            f"{series.median('p50_us'):,.0f}",
            f"{series.best('p99_us'):,.0f}",
            f"{series.best('cpu_us'):.2f}",
            f"{series.median('cpu_us'):.2f}",
            f"{reference.best('p50_us') / series.best('p50_us'):.2f}",
            f"{reference.best('cpu_us') / series.best('cpu_us'):.2f}",
        ]
        for series in group
    ]
    columns = ["server", "req/s", "p50", "med", "p99", "CPU", "med", "x p50", "x CPU"]
    title = (
        f"echo, {options.size} bytes, connections: {count}; latency and CPU per request in us, "
        f"best of {options.rounds}; x: times {reference.kind}"
    )
    return report.Figures(title, columns, rows)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of every benchmark that has a server and a load."""
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2.0, help="measured in each round")
    parser.add_argument("--reference", default="trio", help="the server that has speed 1")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 50, 500])
    parser.add_argument("--size", type=int, default=1024, help="bytes in a request, up to 204800")
    add_options(parser)
    options = report.parse(parser, "kinds", ALL_KINDS)
    machine.require_c("load")
    every, notes = run_rounds(options)
    counts = [count for count in options.connections if any(s.connections == count for s in every)]
    tables = [tabulate(every, count, options) for count in counts]
    report.publish(options, tables, machine.versions(), notes, [asdict(series) for series in every])


if __name__ == "__main__":
    main()
