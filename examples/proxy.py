"""A TCP proxy: what one side sends goes to the other, unchanged, until both have ended.

    python examples/proxy.py --port 7001 --to 127.0.0.1:7000

Each direction ends by itself, so that a client that has said all it has to say still gets its
answer. A connection on which neither side sends anything for `--idle` seconds is cut. For every
connection that has ended, a line says how many bytes went each way. Ctrl-C ends the proxy.
"""

from __future__ import annotations

import argparse
import signal
from functools import partial

import uringtrio


class Connection:
    """A client, and the connection that was made for it."""

    def __init__(self, client: uringtrio.SocketStream, idle_seconds: float) -> None:
        self._client = client
        self._idle_seconds = idle_seconds
        self._scope = uringtrio.CancelScope()
        self._there = self._back = 0
        self._end = "ended"

    async def forward(self, host: str, port: int) -> None:
        """Copy in both directions until both have ended, and say how much it was."""
        try:
            async with await uringtrio.open_tcp_stream(host, port) as server:
                with self._scope:
                    self._put_off_the_end()
                    await self._copy_both_ways(server)
                if self._scope.cancelled_caught:
                    self._end = "idle"
        except OSError as exc:
            self._end = f"no connection: {exc}"
        print(f"{self._there} bytes there, {self._back} bytes back, {self._end}", flush=True)

    async def _copy_both_ways(self, server: uringtrio.SocketStream) -> None:
        try:
            async with uringtrio.open_nursery() as nursery:
                nursery.start_soon(self._copy_there, server)
                nursery.start_soon(self._copy_back, server)
        except* uringtrio.BrokenResourceError:
            # One side is gone, and the other finds that out when both streams are closed.
            self._end = "broken"

    async def _copy_there(self, server: uringtrio.SocketStream) -> None:
        async for chunk in self._client:
            await server.send_all(chunk)
            self._there += len(chunk)
            self._put_off_the_end()
        await server.send_eof()

    async def _copy_back(self, server: uringtrio.SocketStream) -> None:
        async for chunk in server:
            await self._client.send_all(chunk)
            self._back += len(chunk)
            self._put_off_the_end()
        await self._client.send_eof()

    def _put_off_the_end(self) -> None:
        self._scope.deadline = uringtrio.current_time() + self._idle_seconds


async def serve(port: int, to: tuple[str, int], idle_seconds: float) -> None:
    """Serve until the program is interrupted."""

    async def handle(client: uringtrio.SocketStream) -> None:
        await Connection(client, idle_seconds).forward(*to)

    async with uringtrio.open_nursery() as nursery:
        listeners = await nursery.start(
            partial(uringtrio.serve_tcp, handle, port, host="127.0.0.1")
        )
        print(f"listening on port {listeners[0].socket.getsockname()[1]}", flush=True)
        await uringtrio.sleep_forever()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--port", type=int, default=7001, help="0 picks a free one")
    parser.add_argument("--to", metavar="HOST:PORT", required=True, help="where to connect to")
    parser.add_argument("--idle", type=float, default=60.0, help="seconds of silence allowed")
    options = parser.parse_args()
    host, _, port = options.to.rpartition(":")
    # A shell that starts a program in the background may have it ignore Ctrl-C; this one must not.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        uringtrio.run(serve, options.port, (host, int(port)), options.idle)
    except* KeyboardInterrupt:
        pass  # Ctrl-C is how this proxy is meant to end.


if __name__ == "__main__":
    main()
