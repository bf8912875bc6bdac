"""Vector: several buffers that are sent as one, and how far that has come."""

from __future__ import annotations

import collections
import itertools
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from uringtrio._abc import Buffer

# How many buffers one sendmsg(2) takes.
IOV_MAX = os.sysconf("SC_IOV_MAX")


class Vector:
    """Buffers to send in their order, borrowed until all is sent or given up.

    Args:
        buffers: any number of them, of any size; all are looked at before anything is sent.

    Raises:
        TypeError: one of them is no buffer.

    Attributes:
        sent_bytes: how many bytes have been sent.
    """

    __slots__ = ("_views", "sent_bytes")

    def __init__(self, buffers: Iterable[Buffer]) -> None:
        views = [memoryview(buffer).cast("B") for buffer in buffers]
        # What is left, the first perhaps in part. An empty view is false.
        self._views = collections.deque(view for view in views if view)
        self.sent_bytes = 0

    def head(self) -> list[memoryview]:
        """Return what one call can send; empty when all is sent."""
        return list(itertools.islice(self._views, IOV_MAX))

    def advance(self, count: int) -> None:
        """Count `count` bytes, at most those of `head`, as sent."""
        self.sent_bytes += count
        while count:
            view = self._views.popleft()
            if count < len(view):
                self._views.appendleft(view[count:])
                return
            count -= len(view)
