"""SplicePipe: the pipe that a splice from one descriptor to another passes through."""

from __future__ import annotations

import contextlib
import fcntl
import os
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType

# Whether this system and this interpreter have splice(2).
HAS_SPLICE = hasattr(os, "splice")

# What the pipe should hold: with the default of 64 KiB, whose trip to a kernel worker takes longer
# than sending it, a file takes three times as long (benchmarks/transfer.py). Of 512 KiB an
# unprivileged user can have 128; what is over that gets less (pipe(7), pipe-user-pages-soft).
PIPE_BYTES = 1 << 19
F_SETPIPE_SZ = 1031
F_GETPIPE_SZ = 1032


class SplicePipe:
    """A pipe, open while it is entered.

    Attributes:
        reader: its end to splice from, non-blocking.
        writer: its end to splice to, non-blocking.
        size: how many bytes it holds at most.
    """

    __slots__ = ("reader", "size", "writer")

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        # The user may have used up what is allowed; a small pipe is slower and that is all.
        with contextlib.suppress(OSError):
            fcntl.fcntl(self.writer, F_SETPIPE_SZ, PIPE_BYTES)
        self.size = fcntl.fcntl(self.writer, F_GETPIPE_SZ)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        os.close(self.reader)
        os.close(self.writer)
