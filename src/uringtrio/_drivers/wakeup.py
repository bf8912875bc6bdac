"""Wakeup: makes a driver's wait return, from any thread and from signal handlers."""

from __future__ import annotations

import contextlib
import socket

# One read takes this many wakes away; more than that only cost one more turn of the loop.
DRAIN_BYTES = 4096


class Wakeup:
    """A socketpair: `reader` becomes readable when somebody called `wake`.

    A socketpair and not an eventfd, because `signal.set_wakeup_fd` writes single bytes, which an
    eventfd refuses; one descriptor serves threads and signals alike.
    """

    __slots__ = ("reader", "writer")

    def __init__(self) -> None:
        self.reader, self.writer = socket.socketpair()
        self.reader.setblocking(False)
        self.writer.setblocking(False)

    def wake(self) -> None:
        # A full buffer means that a wake is already waiting to be seen; a closed socket, that
        # the run is over and there is nobody to wake.
        with contextlib.suppress(OSError):
            self.writer.send(b"\0")

    def drain(self) -> bool:
        """Forget the wakes so far; say whether there were any."""
        try:
            return bool(self.reader.recv(DRAIN_BYTES))
        except BlockingIOError:
            return False

    def close(self) -> None:
        self.reader.close()
        self.writer.close()
