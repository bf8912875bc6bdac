"""An echo server on every CPU.

    python examples/sharded_echo.py --port 7000
    python examples/sharded_echo.py --port 7000 --one-queue

Without `--one-queue` each shard has a listener of its own on the port, and the kernel spreads the
connections over them by their addresses. With it, all shards accept from one listener, whoever is
free first. Under a service manager with socket activation its listeners are used instead.

Ctrl-C or SIGTERM ends it: idle connections at once, answers when they are whole. With
`--statistics` each shard prints a line of JSON now and then, and at its end: what it has done.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import socket
import time
from dataclasses import dataclass, field

import uringtrio

REPORT_SECONDS = 0.25


@dataclass(slots=True)
class Tally:
    """What one shard has done."""

    connections: int = 0
    echoed_bytes: int = 0
    # What the shard took to start is not counted.
    cpu_begin: float = field(default_factory=time.thread_time)

    async def echo(self, stream: uringtrio.SocketStream) -> None:
        """Send back what one client sends."""
        self.connections += 1
        with contextlib.suppress(uringtrio.BrokenResourceError):
            async for chunk in stream:
                # An answer that was begun is finished, however the shard ends.
                with uringtrio.move_on_after(5, shield=True):
                    await stream.send_all(chunk)
                self.echoed_bytes += len(chunk)

    async def report(self) -> None:
        """Print figures until the shard ends, and once more then."""
        try:
            while True:
                self._print()
                await uringtrio.sleep(REPORT_SECONDS)
        finally:
            self._print()

    def _print(self) -> None:
        io_statistics = uringtrio.lowlevel.current_statistics().io_statistics
        figures = {
            "shard": uringtrio.current_shard().index,
            "connections": self.connections,
            "echoed_bytes": self.echoed_bytes,
            "cpu_seconds": time.thread_time() - self.cpu_begin,
        }
        for name in ("driver", "reason", "sqes", "cqes", "enters", "overflows"):
            figures[name] = getattr(io_statistics, name)
        print(f"{json.dumps(figures)}\n", end="", flush=True)


async def serve(
    host: str,
    port: int,
    listeners: list[uringtrio.SocketListener],
    with_statistics: bool,
) -> None:
    """Be one shard."""
    shard = uringtrio.current_shard()
    if not listeners:
        listeners = await uringtrio.open_tcp_listeners(port, host=host)
    for listener in listeners:
        address = listener.socket.getsockname()
        # With the end of the line in it, so that what threads print is not mixed.
        print(f"shard {shard.index} of {shard.count}: {address}\n", end="", flush=True)
    tally = Tally()
    async with uringtrio.open_nursery() as nursery:
        if with_statistics:
            nursery.start_soon(tally.report)
        await uringtrio.serve_listeners(tally.echo, listeners)


def free_port(host: str) -> socket.socket:
    """Return a socket that keeps a port for listeners that share it, and does not listen."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    sock.bind((host, 0))
    return sock


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=7000, help="0 picks a free one")
    parser.add_argument("--one-queue", action="store_true", help="share one listener")
    parser.add_argument("--shards", type=int, help="default: one for each CPU")
    parser.add_argument("--kind", choices=("auto", "thread", "process"), default="auto")
    parser.add_argument("--statistics", action="store_true", help="print them as JSON")
    options = parser.parse_args()
    listeners = uringtrio.inherited_listeners()
    if options.one_queue and not listeners:
        sock = socket.create_server((options.host, options.port))
        listeners = [uringtrio.SocketListener(uringtrio.socket.from_stdlib_socket(sock))]
    with contextlib.ExitStack() as stack:
        port = options.port
        if port == 0 and not listeners:
            port = stack.enter_context(free_port(options.host)).getsockname()[1]
        stack.enter_context(contextlib.suppress(KeyboardInterrupt))
        uringtrio.run_sharded(
            serve,
            options.host,
            port,
            listeners,
            options.statistics,
            shards=options.shards,
            kind=options.kind,
        )


if __name__ == "__main__":
    main()
