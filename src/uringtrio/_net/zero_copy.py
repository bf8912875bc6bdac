"""Sends of data that the kernel reads where it lies, for as long as the peer has not got it."""

from __future__ import annotations

import errno
import socket as stdlib
from typing import TYPE_CHECKING

from uringtrio._ops.net import MSG_NOSIGNAL, MSG_WAITALL
from uringtrio._ops.transfer import SendZC

from .socket import Socket

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

    from uringtrio._abc import Buffer

    from .foreign import ForeignSocket

# Pinning the pages and one completion more cost as much as copying 8 to 32 KiB does, by the
# network card: less than this is copied.
ZERO_COPY_BYTES_MIN = 1 << 14

# What the kernel says of a socket that has no such sends, or when it has none at all.
_REFUSALS = frozenset({errno.EOPNOTSUPP, errno.EINVAL, errno.ENOMEM})

# (family, protocol) of sockets that were refused: found once, and it stays so for the process.
_refused: set[tuple[int, int]] = {(stdlib.AF_UNIX, 0)}


def checked(data: Buffer | Sequence[Buffer]) -> list[memoryview]:
    """Return what to send, in order.

    Raises:
        TypeError: it is no buffer, nor a list or tuple of them; or one could be changed while the
            kernel still reads it.
    """
    buffers = data if isinstance(data, (list, tuple)) else (data,)
    views = [memoryview(buffer).cast("B") for buffer in buffers]
    for buffer, view in zip(buffers, views, strict=True):
        if not view.readonly:
            raise TypeError(
                f"send_all(zero_copy=True) needs read-only data, not a {type(buffer).__name__}: "
                "the kernel may read it long after the call; pass bytes, or "
                "memoryview(data).toreadonly() of what you will not change again"
            )
    return [view for view in views if view]


async def send_some(io: Socket | ForeignSocket, data: memoryview) -> int:
    """Send the front of `data`; return how many bytes, all of them unless it is interrupted.

    Raises: what a send of `io` raises.
    """
    if not isinstance(io, Socket) or len(data) < ZERO_COPY_BYTES_MIN:
        return await _copied(io, data)
    kind = (int(io.family), io.proto)
    if kind in _refused:
        return await _copied(io, data)
    try:
        return await io._write(SendZC(io._sock, data, MSG_WAITALL | MSG_NOSIGNAL))  # type: ignore[no-any-return]
    except OSError as exc:
        if exc.errno not in _REFUSALS:
            raise
        # Short of memory that may be locked is no property of the socket.
        if exc.errno != errno.ENOMEM:
            _refused.add(kind)
    return await _copied(io, data)


def _copied(io: Socket | ForeignSocket, data: memoryview) -> Awaitable[int]:
    return io._start_send(data)
