"""Drive an echo server with many TCP connections, and check every byte that comes back.

    python examples/echo_load.py --connections 200 --seconds 10
    python examples/echo_load.py --connections 200 --seconds 10 --shards 2

Without `--server HOST:PORT` it starts `echo_server.py` for the time of the measurement, and
shows the statistics of that server's driver too. With `--shards` it starts `sharded_echo.py`, and
shows what each shard does.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from array import array
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from rich.console import Console
from rich.live import Live
from rich.table import Table

import uringtrio

if TYPE_CHECKING:
    from types import TracebackType

SERVER = Path(__file__).with_name("echo_server.py")
SHARDED_SERVER = Path(__file__).with_name("sharded_echo.py")

# A request is sent whole before its answer is read, so it has to fit the sockets' buffers.
SIZE_BYTES_MAX = 64 * 1024

# What the requests of one connection are cut from: a little more than one of them, so that each
# differs from those before it.
SLACK_BYTES = 4096

# A server that answers at all ends every connection well within this time.
GRACE_SECONDS = 10.0

REFRESH_SECONDS = 0.25
PRINT_SECONDS = 1.0


class EchoError(Exception):
    """The server did not send back what it was sent."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to measure; the same for all connections."""

    host: str
    port: int
    connections: int
    size_bytes: int
    seconds: float


# What a server, or one of its shards, says of itself.
Statistics = dict[str, Any]


@dataclass(slots=True)
class Tally:
    """What the clients have seen so far: they write it, the display reads it."""

    started: float = field(default_factory=time.monotonic)
    connections: int = 0
    latencies_ns: array[int] = field(default_factory=lambda: array("Q"))
    seconds: float = 0.0  # the whole measurement; 0 until it is over
    shards: dict[int, Statistics] = field(default_factory=dict)  # the newest of each


class LocalServer:
    """`echo_server.py`, or with shards `sharded_echo.py`, as a subprocess."""

    def __init__(self, shards: int) -> None:
        # Without -u its first lines would wait in a buffer of a pipe that nobody flushes.
        command = [sys.executable, "-u", str(SHARDED_SERVER if shards else SERVER)]
        command += ["--port", "0", "--statistics"] + ["--shards", str(shards)] * bool(shards)
        # Unbuffered, because `watch` reads from the same pipe.
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, bufsize=0)
        self.host = "127.0.0.1"
        self.port = self._read_port(max(shards, 1))

    def _read_port(self, listeners: int) -> int:
        """Wait until the server listens, with each of its shards."""
        assert self._process.stdout is not None
        port = 0
        for line in self._process.stdout:
            words = line.decode().split()
            # "listening on HOST port PORT", or "shard I of N: ('HOST', PORT)".
            if words[0] in ("listening", "shard"):
                port = int(words[-1].strip(")"))
                listeners -= 1
            if not listeners:
                return port
        raise SystemExit(f"the server did not start (exit status {self._process.wait()})")

    async def watch(self, tally: Tally) -> None:
        """Take note of what the shards say of themselves."""
        assert self._process.stdout is not None
        async with uringtrio.lowlevel.FdStream(os.dup(self._process.stdout.fileno())) as stream:
            rest = b""
            async for chunk in stream:
                *lines, rest = (rest + chunk).split(b"\n")
                note_all(lines, tally)

    def stop(self, tally: Tally) -> list[Statistics]:
        """Interrupt the server and return the statistics that it prints last."""
        self._process.send_signal(signal.SIGINT)
        output, _ = self._process.communicate(timeout=GRACE_SECONDS)
        lines = output.splitlines()
        if not tally.shards:
            return [json.loads(lines[-1])]
        note_all(lines, tally)
        return [statistics for _, statistics in sorted(tally.shards.items())]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # After stop() this does nothing; after a failure the server must not outlive its load.
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()


def note_all(lines: list[bytes], tally: Tally) -> None:
    """Take note of lines in JSON, but not of the rest of one that was cut."""
    for line in lines:
        if line.startswith(b"{"):
            statistics = json.loads(line)
            tally.shards[statistics["shard"]] = statistics


async def client(index: int, plan: Plan, tally: Tally) -> None:
    """Open one connection and keep exactly one request in flight on it until time is up."""
    # Random bytes of its own let a connection notice the answer to another one's request.
    noise = os.urandom(plan.size_bytes + SLACK_BYTES)
    end = tally.started + plan.seconds
    count = 0
    async with await uringtrio.open_tcp_stream(plan.host, plan.port) as stream:
        tally.connections += 1
        while time.monotonic() < end:
            offset = count % SLACK_BYTES
            request = noise[offset : offset + plan.size_bytes]
            sent_ns = time.perf_counter_ns()
            await stream.send_all(request)
            answer = await receive_exactly(stream, plan.size_bytes)
            tally.latencies_ns.append(time.perf_counter_ns() - sent_ns)
            count += 1
            if answer != request:
                raise EchoError(f"connection {index}: the answer to request {count} differs")
        tally.connections -= 1


async def receive_exactly(stream: uringtrio.SocketStream, size_bytes: int) -> bytes | bytearray:
    """Receive `size_bytes` bytes, which may come in several pieces."""
    received = await stream.receive_some(size_bytes)
    if len(received) == size_bytes:
        return received
    pieces = bytearray(received)
    while received and len(pieces) < size_bytes:
        received = await stream.receive_some(size_bytes - len(pieces))
        pieces += received
    if len(pieces) < size_bytes:
        raise EchoError(f"the server closed a connection after {len(pieces)} bytes of an answer")
    return pieces


async def load(plan: Plan, tally: Tally, console: Console, server: LocalServer | None) -> None:
    """Run all clients to their end beside the display; `server` says what its shards do."""
    async with uringtrio.open_nursery() as display:
        show = show_live if console.is_terminal else print_lines
        display.start_soon(show, plan, tally, console)
        if server is not None:
            display.start_soon(server.watch, tally)
        with uringtrio.fail_after(plan.seconds + GRACE_SECONDS):
            async with uringtrio.open_nursery() as clients:
                for index in range(plan.connections):
                    clients.start_soon(client, index, plan, tally)
        tally.seconds = time.monotonic() - tally.started
        display.cancel_scope.cancel()


async def show_live(plan: Plan, tally: Tally, console: Console) -> None:
    """Redraw one table in place, on a terminal."""
    with Live(console=console, auto_refresh=False, transient=True) as live:
        seen = 0
        while True:
            await uringtrio.sleep(REFRESH_SECONDS)
            table = Table(title="echo", show_header=False)
            for name, value in progress(tally, seen):
                table.add_row(name, value)
            table.add_section()
            for name, value in shard_rows(plan, tally):
                table.add_row(name, value)
            live.update(table, refresh=True)
            seen = len(tally.latencies_ns)


async def print_lines(plan: Plan, tally: Tally, console: Console) -> None:
    """Print a line now and then, where there is no terminal to redraw, and one for each shard."""
    seen = 0
    while True:
        await uringtrio.sleep(PRINT_SECONDS)
        line = ", ".join(f"{name} {value}" for name, value in progress(tally, seen))
        console.print(line, soft_wrap=True)
        for name, value in shard_rows(plan, tally):
            console.print(f"  {name}: {value}", soft_wrap=True)
        seen = len(tally.latencies_ns)


def shard_rows(plan: Plan, tally: Tally) -> list[tuple[str, str]]:
    """Describe what each shard has done so far."""
    seconds = tally.seconds or time.monotonic() - tally.started
    rows = []
    for index, statistics in sorted(tally.shards.items()):
        rate = statistics["echoed_bytes"] / plan.size_bytes / seconds
        cpu = statistics["cpu_seconds"] / seconds
        value = f"{statistics['connections']:,} connections, {rate:,.0f} requests/s, {cpu:.0%} CPU"
        rows.append((f"shard {index}", value))
    return rows


def progress(tally: Tally, seen: int) -> list[tuple[str, str]]:
    """Describe the measurement so far, and the latency since `seen` requests were done."""
    seconds = time.monotonic() - tally.started
    count = len(tally.latencies_ns)
    recent = sorted(tally.latencies_ns[seen:])
    return [
        ("seconds", f"{seconds:.1f}"),
        ("connections", f"{tally.connections:,}"),
        ("requests/s", f"{count / seconds:,.0f}"),
        ("latency p50", f"{percentile_us(recent, 50):,.0f} us"),
        ("latency p99", f"{percentile_us(recent, 99):,.0f} us"),
    ]


def percentile_us(ordered_ns: list[int], percent: int) -> float:
    """Return a percentile of sorted nanoseconds in microseconds, or 0 of none."""
    if not ordered_ns:
        return 0.0
    return ordered_ns[len(ordered_ns) * percent // 100] / 1000


def summary(plan: Plan, tally: Tally, servers: list[Statistics]) -> Table:
    """Return the closing table; `servers` are the statistics of ours, one for each shard."""
    ordered_ns = sorted(tally.latencies_ns)
    count = len(ordered_ns)
    table = Table(title="summary", show_header=False)
    if servers:
        table.add_row("driver of the server", str(servers[0]["driver"]))
        table.add_row("why this driver", str(servers[0]["reason"]))
    table.add_section()
    table.add_row("connections", f"{plan.connections:,}")
    table.add_row("requests", f"{count:,} of {plan.size_bytes:,} bytes, every byte compared")
    table.add_row("requests/s", f"{count / tally.seconds:,.0f}")
    table.add_row("latency p50", f"{percentile_us(ordered_ns, 50):,.0f} us")
    table.add_row("latency p99", f"{percentile_us(ordered_ns, 99):,.0f} us")
    table.add_section()
    for name, value in shard_rows(plan, tally) + ring_rows(servers):
        table.add_row(name, value)
    return table


def ring_rows(servers: list[Statistics]) -> list[tuple[str, str]]:
    """Describe what the server's rings did, all together."""
    if not servers:
        return []
    if servers[0]["driver"] != "io_uring":
        return [("ring", "none: this driver has no ring")]
    sqes, cqes, enters, overflows = (
        sum(statistics[name] for statistics in servers)
        for name in ("sqes", "cqes", "enters", "overflows")
    )
    return [
        ("SQEs", f"{sqes:,}"),
        ("CQEs", f"{cqes:,}"),
        ("enters", f"{enters:,}"),
        ("CQEs per enter", f"{cqes / max(enters, 1):.1f}"),
        ("CQ overflows", f"{overflows:,}"),
    ]


def measure(plan: Plan, console: Console, server: LocalServer | None = None) -> Tally:
    """Run the load and return what it saw; exit with a message if the echo is not right."""
    tally = Tally()
    # An exit from within `except*` would arrive as a group of exceptions, so it has to wait.
    failure = ""
    try:
        uringtrio.run(partial(load, plan, tally, console, server))
    except* (EchoError, OSError, uringtrio.BrokenResourceError) as errors:
        failure = f"FAILED: {first_of(errors)}"
    except* uringtrio.TooSlowError:
        failure = f"FAILED: no answer for {GRACE_SECONDS:.0f} seconds"
    except* KeyboardInterrupt:
        failure = "interrupted"
    if failure:
        raise SystemExit(failure)
    return tally


def first_of(error: BaseException) -> str:
    """Describe the first error in a group of them; many connections tend to fail alike."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return str(error) or type(error).__name__


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--server", metavar="HOST:PORT", help="drive this one, start none")
    parser.add_argument("--connections", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--size", type=int, default=1024, help="bytes in a request")
    parser.add_argument("--shards", type=int, default=0, help="of the server; 0: no shards at all")
    options = parser.parse_args()
    if options.shards < 0 or (options.shards and options.server):
        parser.error("--shards is how many the server that is started here has")
    if options.connections < 1 or not 1 <= options.size <= SIZE_BYTES_MAX:
        parser.error(f"at least 1 connection, and a size of 1 to {SIZE_BYTES_MAX} bytes")
    console = Console()
    rest = (options.connections, options.size, options.seconds)
    servers: list[Statistics] = []
    if options.server:
        host, _, port = options.server.rpartition(":")
        plan = Plan(host, int(port), *rest)
        tally = measure(plan, console)
    else:
        with LocalServer(options.shards) as server:
            plan = Plan(server.host, server.port, *rest)
            tally = measure(plan, console, server if options.shards else None)
            servers = server.stop(tally)
    console.print(summary(plan, tally, servers))


if __name__ == "__main__":
    main()
