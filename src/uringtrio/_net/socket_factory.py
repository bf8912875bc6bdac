"""Who makes the sockets of a run: the system, unless a test says otherwise."""

from __future__ import annotations

from typing import TYPE_CHECKING

from uringtrio._scheduler.locals import RunVar

if TYPE_CHECKING:
    from .socket_type import SocketFactory

# None makes sockets of our own.
FACTORY: RunVar[SocketFactory | None] = RunVar("socket factory", None)


def set_custom_socket_factory(socket_factory: SocketFactory | None) -> SocketFactory | None:
    """Let `socket_factory` make the sockets of this run: for tests without a network.

    Args:
        socket_factory: called by `uringtrio.socket.socket`, and so by all that opens connections
            and listeners, but not where there is a descriptor already. What it returns must be
            an instance of `SocketType`: streams and listeners refuse everything else. None goes
            back to sockets of the system.

    Returns:
        The previous one, None for sockets of the system.

    Raises:
        RuntimeError: called outside of a run.
    """
    previous = FACTORY.get()
    FACTORY.set(socket_factory)
    return previous
