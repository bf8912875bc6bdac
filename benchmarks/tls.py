"""Compare TLS echo servers: messages of 1 KiB over many connections, and of 1 MiB over one.

The server has one CPU and the client another. All servers are measured in turn, again and again
(`--rounds`), so that a disturbance of the machine hurts none of them more than the others.
README.md beside this file says how to read the figures.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

import machine
import report
import tls_load
import tls_servers
import trustme
from echo import START_SECONDS_MAX, WARMUP_SECONDS, Sample, Series, ServerError, add_options
from rounds import last_line

# Connections and the size of a message.
LOADS = ((50, 2**10), (1, 2**20))


class Certificates:
    """A certificate authority of our own, and a server's certificate by it, as files."""

    def __init__(self, directory: Path) -> None:
        authority = trustme.CA()
        certificate = authority.issue_cert(tls_load.SERVER_NAME)
        self.authority = directory / "ca.pem"
        self.server = directory / "server.pem"
        authority.cert_pem.write_to_path(self.authority)
        certificate.private_key_and_cert_chain_pem.write_to_path(self.server)


def measure(
    kind: str, load: tuple[int, int], certificates: Certificates, options: argparse.Namespace
) -> Sample:
    """Start a server, drive it for one round, and kill it."""
    connections, size = load
    server_cpu, load_cpu = machine.cpu_pair()
    command = [sys.executable, tls_servers.__file__, kind, str(certificates.server), str(size)]
    with machine.pinned(command, server_cpu, stderr=subprocess.PIPE) as server:
        try:
            assert server.stdout is not None
            port = server.stdout.readline().strip()
            if not port:
                raise ServerError(last_line(server.communicate(timeout=START_SECONDS_MAX)[1]))
            arguments = (port, certificates.authority, connections, size)
            times = (WARMUP_SECONDS, options.seconds, server.pid)
            load_command = [sys.executable, tls_load.__file__, *map(str, (*arguments, *times))]
            with machine.pinned(load_command, load_cpu, stderr=subprocess.PIPE) as client:
                output, errors = client.communicate()
            if client.returncode != 0:
                raise ServerError(last_line(errors))
        finally:
            server.kill()
    return Sample(**json.loads(output))


def run_rounds(options: argparse.Namespace) -> tuple[dict[int, list[Series]], list[str]]:
    """Measure everything; return it by size, and a note for each server that was left out."""
    left_out = {
        kind: f"{tls_servers.KINDS[kind][0]} is not installed"
        for kind in options.kinds
        if not machine.is_installed(tls_servers.KINDS[kind][0])
    }
    every = {size: [Series(kind, count) for kind in options.kinds] for count, size in LOADS}
    with tempfile.TemporaryDirectory() as directory:
        certificates = Certificates(Path(directory))
        for index in range(options.rounds):
            for size, group in every.items():
                for series in group:
                    if series.kind in left_out:
                        continue
                    where = f"round {index + 1}: {series.kind}, {size} bytes"
                    print(where, end="\033[K\r", file=sys.stderr)
                    try:
                        load = (series.connections, size)
                        sample = measure(series.kind, load, certificates, options)
                        series.samples.append(sample)
                    except ServerError as error:
                        left_out[series.kind] = str(error)
    print(end="\033[K", file=sys.stderr)
    notes = [f"Left out: {kind}: {reason}." for kind, reason in left_out.items()]
    return {
        size: [series for series in group if series.samples] for size, group in every.items()
    }, notes


def tabulate(group: list[Series], size: int, options: argparse.Namespace) -> report.Figures:
    """Return the table for one size."""
    reference = next((series for series in group if series.kind == options.reference), group[0])
    rows = [
        [
            series.kind,
            f"{series.best('requests_per_s'):,.0f}",
            f"{series.best('cpu_us'):,.2f}",
            f"{series.median('cpu_us'):,.2f}",
            f"{series.best('requests_per_s') / reference.best('requests_per_s'):.2f}",
            f"{reference.best('cpu_us') / series.best('cpu_us'):.2f}",
        ]
        for series in group
    ]
    columns = ["server", "messages/s", "CPU", "med", "x rate", "x CPU"]
    title = (
        f"TLS echo, {size} bytes, connections: {group[0].connections}; CPU per message in us, "
        f"best of {options.rounds}; x: times {reference.kind}"
    )
    return report.Figures(title, columns, rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    add_options(parser)
    options = report.parse(parser, "kinds", list(tls_servers.KINDS))
    every, notes = run_rounds(options)
    tables = [tabulate(group, size, options) for size, group in every.items() if group]
    rounds = {size: [asdict(series) for series in group] for size, group in every.items()}
    report.publish(options, tables, machine.versions(), notes, rounds)


if __name__ == "__main__":
    main()
