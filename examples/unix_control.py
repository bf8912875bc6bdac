"""A control socket: commands to a running program, from this user and root only.

    python examples/unix_control.py --path /tmp/control serve
    python examples/unix_control.py --path /tmp/control send status

A client sends one command and ends its side; the answer is one line. `stop` ends the server, which
removes the socket's file; a file that a killed server has left is replaced by the next one.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys

import uringtrio

COMMAND_BYTES_MAX = 100


class Control:
    """What the commands act on."""

    def __init__(self) -> None:
        self._start_seconds = uringtrio.current_time()
        self._answers = 0
        self.stopped = uringtrio.Event()

    async def serve_client(self, stream: uringtrio.SocketStream) -> None:
        """Answer one client."""
        peer = stream.get_peer_credentials()
        if peer.uid not in (0, os.geteuid()):
            await stream.send_all(b"not for you\n")
            return
        command = bytearray()
        with uringtrio.move_on_after(5):
            async for chunk in stream:
                command += chunk
                if len(command) > COMMAND_BYTES_MAX:
                    break
        # It need not have waited for its answer.
        with contextlib.suppress(uringtrio.BrokenResourceError):
            # One request to the kernel, without putting the two together first.
            await stream.send_all([self._answer(bytes(command).strip()), b"\n"])

    def _answer(self, command: bytes) -> bytes:
        self._answers += 1
        if command == b"status":
            seconds = uringtrio.current_time() - self._start_seconds
            return f"up for {seconds:.0f} s, {self._answers} commands".encode()
        if command == b"stop":
            self.stopped.set()
            return b"stopping"
        return b"unknown command: there are status and stop"


async def serve(path: str) -> None:
    """Serve until a client says stop."""
    control = Control()
    async with uringtrio.open_nursery() as clients, uringtrio.open_nursery() as nursery:
        (listener,) = await uringtrio.open_unix_listeners(path, mode=0o600)
        nursery.start_soon(
            lambda: uringtrio.serve_listeners(
                control.serve_client, [listener], handler_nursery=clients
            )
        )
        print(f"listening on {path}", flush=True)
        await control.stopped.wait()
        nursery.cancel_scope.cancel()


async def send(path: str, command: str) -> None:
    """Send a command and print the answer."""
    async with await uringtrio.open_unix_socket(path) as stream:
        await stream.send_all(command.encode())
        await stream.send_eof()
        async for chunk in stream:
            sys.stdout.write(chunk.decode())


def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--path", required=True, help="where the socket's file is")
    parser.add_argument("action", choices=["serve", "send"])
    parser.add_argument("command", nargs="?", default="status", help="status or stop")
    options = parser.parse_args()
    if options.action == "serve":
        uringtrio.run(serve, options.path)
    else:
        uringtrio.run(send, options.path, options.command)


if __name__ == "__main__":
    main()
