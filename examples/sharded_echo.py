"""An echo server on every CPU.

    python examples/sharded_echo.py --port 7000
    python examples/sharded_echo.py --port 7000 --one-queue

Without `--one-queue` each shard has a listener of its own on the port, and the kernel spreads the
connections over them by their addresses. With it, all shards accept from one listener, whoever is
free first. Under a service manager with socket activation its listeners are used instead.

Ctrl-C or SIGTERM ends it: idle connections at once, answers when they are whole.
"""

from __future__ import annotations

import argparse
import contextlib
import socket

import uringtrio


async def echo(stream: uringtrio.SocketStream) -> None:
    """Send back what one client sends."""
    with contextlib.suppress(uringtrio.BrokenResourceError):
        async for chunk in stream:
            # An answer that was begun is finished, however the shard ends.
            with uringtrio.move_on_after(5, shield=True):
                await stream.send_all(chunk)


async def serve(host: str, port: int, listeners: list[uringtrio.SocketListener]) -> None:
    """Be one shard."""
    shard = uringtrio.current_shard()
    if not listeners:
        listeners = await uringtrio.open_tcp_listeners(port, host=host)
    for listener in listeners:
        address = listener.socket.getsockname()
        # With the end of the line in it, so that what threads print is not mixed.
        print(f"shard {shard.index} of {shard.count}: {address}\n", end="", flush=True)
    await uringtrio.serve_listeners(echo, listeners)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=7000)
    parser.add_argument("--one-queue", action="store_true", help="share one listener")
    parser.add_argument("--shards", type=int, help="default: one for each CPU")
    parser.add_argument("--kind", choices=("auto", "thread", "process"), default="auto")
    options = parser.parse_args()
    listeners = uringtrio.inherited_listeners()
    if options.one_queue and not listeners:
        sock = socket.create_server((options.host, options.port))
        listeners = [uringtrio.SocketListener(uringtrio.socket.from_stdlib_socket(sock))]
    with contextlib.suppress(KeyboardInterrupt):
        uringtrio.run_sharded(
            serve, options.host, options.port, listeners, shards=options.shards, kind=options.kind
        )


if __name__ == "__main__":
    main()
