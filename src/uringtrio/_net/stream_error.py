"""What an OSError of a socket is in the words of a stream."""

from __future__ import annotations

import errno

from uringtrio._errors import BrokenResourceError, ClosedResourceError

CLOSED_ERRNOS = frozenset({errno.EBADF, errno.ENOTSOCK})


def as_stream_error(exc: OSError) -> Exception:
    """Say in a stream's words what went wrong with its socket."""
    if exc.errno in CLOSED_ERRNOS:
        return ClosedResourceError("this socket was already closed")
    return BrokenResourceError(f"socket connection broken: {exc}")
