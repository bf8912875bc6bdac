"""Listeners that this process was started with: a service manager has opened them.

Source: sd_listen_fds(3).
"""

from __future__ import annotations

import errno
import os
import socket as stdlib

from .listen import SocketListener
from .socket import from_stdlib_socket

# SD_LISTEN_FDS_START: after standard input, output and error.
FIRST_FD = 3

_VARIABLES = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")


def inherited_listeners() -> list[SocketListener]:
    """Return the listeners that a service manager such as systemd has opened for this process.

    With them a service need not have the right to open its port, and no client is refused while
    the service restarts. Give them to `run_sharded` as an argument, and all shards accept from the
    same queues.

    Returns:
        One listener for each socket of the unit, in its order; none if the process was started in
        another way, or if this was called before. May be called outside of a run.

    Raises:
        OSError: one of them is not open (EBADF), or no socket (ENOTSOCK).
        ValueError: one is no listening stream socket, as with Accept=yes or ListenDatagram; or
            what the environment says of them is no number.

    Checkpoint: never; this is no async function.

    Source: sd_listen_fds(3).
    """
    pid, count, _names = (os.environ.get(name, "") for name in _VARIABLES)
    if pid != str(os.getpid()):
        # Nothing, or what was meant for the process that has started this one.
        return []
    # Once only, and not for the processes that this one starts.
    for name in _VARIABLES:
        os.environ.pop(name, None)
    fds = range(FIRST_FD, FIRST_FD + int(count))
    sockets: list[stdlib.socket] = []
    try:
        for fd in fds:
            os.set_inheritable(fd, False)
            sockets.append(stdlib.socket(fileno=fd))
        return [SocketListener(from_stdlib_socket(sock)) for sock in sockets]
    except BaseException as exc:
        for sock in sockets:
            sock.close()
        # None of the others is anybody's now, unless fewer were passed than was said.
        if not (isinstance(exc, OSError) and exc.errno == errno.EBADF):
            os.closerange(FIRST_FD + len(sockets), fds.stop)
        raise
