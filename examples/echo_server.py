"""An echo server: every byte that a client sends comes back to it.

    python examples/echo_server.py --port 7000

Ctrl-C ends it. With `--statistics` its last line is what the driver did, as JSON.
"""

from __future__ import annotations

import argparse
import json
import signal
from functools import partial

import uringtrio

STATISTICS = ("driver", "reason", "sqes", "cqes", "enters", "overflows", "cancels")


async def echo(stream: uringtrio.SocketStream) -> None:
    """Send back what one client sends, until it closes its side."""
    try:
        async for chunk in stream:
            await stream.send_all(chunk)
    except uringtrio.BrokenResourceError:
        # This client went away in the middle of an answer, which is no concern of the others.
        pass


async def serve(host: str, port: int, *, with_statistics: bool) -> None:
    """Serve until the program is interrupted."""
    async with uringtrio.open_nursery() as nursery:
        listeners = await nursery.start(
            partial(uringtrio.serve_tcp, echo, port, host=host, backlog=1024)
        )
        bound_port = listeners[0].socket.getsockname()[1]
        print(f"driver: {driver_statistics()['driver']}", flush=True)
        print(f"listening on {host} port {bound_port}", flush=True)
        try:
            await uringtrio.sleep_forever()
        finally:
            if with_statistics:
                print(json.dumps(driver_statistics()), flush=True)


def driver_statistics() -> dict[str, object]:
    """Return which driver serves this run and why, and what it has done so far."""
    io_statistics = uringtrio.lowlevel.current_statistics().io_statistics
    return {name: getattr(io_statistics, name) for name in STATISTICS}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=7000, help="0 picks a free one")
    parser.add_argument("--statistics", action="store_true", help="print them as JSON at the end")
    options = parser.parse_args()
    # A shell that starts a program in the background may have it ignore Ctrl-C; this one must not.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        uringtrio.run(
            partial(serve, options.host, options.port, with_statistics=options.statistics)
        )
    except* KeyboardInterrupt:
        pass  # Ctrl-C is how this server is meant to end.


if __name__ == "__main__":
    main()
