"""An echo server that ends without dropping an answer.

    python examples/graceful_shutdown.py --port 7000

SIGTERM or Ctrl-C makes it take no new connections, close those that are idle, and finish the
answers that it has begun. Connections that take longer than `--grace` seconds for that are cut;
a second signal cuts them at once.
"""

from __future__ import annotations

import argparse
import signal
from functools import partial
from typing import TYPE_CHECKING

import uringtrio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class EchoServer:
    """Serves until it is told to drain; then each connection ends after its current answer."""

    def __init__(self) -> None:
        self._is_draining = False
        # One for each connection that waits for its client, and so may be closed at any time.
        self._idle: set[uringtrio.CancelScope] = set()

    async def echo(self, stream: uringtrio.SocketStream) -> None:
        """Send back what one client sends."""
        try:
            while data := await self._receive(stream):
                await stream.send_all(data)
        except uringtrio.BrokenResourceError:
            # This client went away in the middle of an answer, which is no concern of the others.
            pass

    async def _receive(self, stream: uringtrio.SocketStream) -> bytes:
        """Return what the client sends, or nothing once there will be no more answers."""
        data = b""
        with uringtrio.CancelScope() as scope:
            if self._is_draining:
                scope.cancel()
            self._idle.add(scope)
            try:
                data = await stream.receive_some()
            finally:
                self._idle.remove(scope)
        return data

    def drain(self) -> None:
        """Close the idle connections, and the others after the answers they have begun."""
        self._is_draining = True
        for scope in self._idle:
            scope.cancel()


async def serve(host: str, port: int, grace_seconds: float) -> None:
    """Serve until a signal comes, then drain."""
    server = EchoServer()
    with uringtrio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with uringtrio.open_nursery() as impatience:
            async with uringtrio.open_nursery() as connections:
                async with uringtrio.open_nursery() as accepting:
                    listeners = await accepting.start(
                        partial(
                            uringtrio.serve_tcp,
                            server.echo,
                            port,
                            host=host,
                            handler_nursery=connections,
                        )
                    )
                    bound_port = listeners[0].socket.getsockname()[1]
                    print(f"listening on {host} port {bound_port}", flush=True)
                    signum = await anext(signals)
                    # This closes the listeners: new clients are refused from here on.
                    accepting.cancel_scope.cancel()
                server.drain()
                name, open_count = signal.Signals(signum).name, len(connections.child_tasks)
                print(f"{name}: draining {open_count} connections", flush=True)
                connections.cancel_scope.deadline = uringtrio.current_time() + grace_seconds
                impatience.start_soon(cancel_on_signal, signals, connections.cancel_scope)
            impatience.cancel_scope.cancel()
        print("cut" if connections.cancel_scope.cancelled_caught else "drained", flush=True)


async def cancel_on_signal(signals: AsyncIterator[int], scope: uringtrio.CancelScope) -> None:
    """Cancel `scope` when the next signal comes."""
    await anext(signals)
    scope.cancel()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=7000, help="0 picks a free one")
    parser.add_argument("--grace", type=float, default=10, help="seconds to drain")
    options = parser.parse_args()
    uringtrio.run(serve, options.host, options.port, options.grace)


if __name__ == "__main__":
    main()
