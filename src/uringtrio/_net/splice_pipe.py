"""The pipes that a splice from one descriptor to another passes through."""

from __future__ import annotations

import contextlib
import fcntl
import os
from typing import TYPE_CHECKING, Self

from uringtrio._ops.transfer import SEND_FILE_BYTES, SENDFILE_PIPE_BYTES
from uringtrio._scheduler.locals import RunVar

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

    Args:
        size: how many bytes it should hold.

    Attributes:
        reader: its end to splice from, non-blocking.
        writer: its end to splice to, non-blocking.
        size: how many bytes it holds at most.
    """

    __slots__ = ("reader", "size", "writer")

    def __init__(self, size: int = PIPE_BYTES) -> None:
        self.reader, self.writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        # The user may have used up what is allowed; a small pipe is slower and that is all.
        with contextlib.suppress(OSError):
            fcntl.fcntl(self.writer, F_SETPIPE_SZ, size)
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


class RunPipe:
    """The pipe that a run sends through what is in memory, each time from empty to empty.

    A pipe for each of them would hold up to 1 MiB for as long as a slow peer takes, and a user
    cannot have many, see `PIPE_BYTES`. It stays open while it is entered, by any number of tasks.
    """

    __slots__ = ("_descriptors", "_open", "_users")

    def __init__(self) -> None:
        self._users = 0
        self._open = contextlib.ExitStack()
        self._descriptors: tuple[int, int, int] | None = None

    def __enter__(self) -> Self:
        self._users += 1
        return self

    def descriptors(self) -> tuple[int, int, int] | None:
        """Return what `SendFile` sends through; None is the kernel's pipe, if that is no worse."""
        if self._descriptors is None:
            # Who is short of descriptors can do without these.
            with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
                pipe = stack.enter_context(SplicePipe(SEND_FILE_BYTES))
                if pipe.size > SENDFILE_PIPE_BYTES:
                    null = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
                    stack.callback(os.close, null)
                    self._descriptors = pipe.reader, pipe.writer, null
                    self._open = stack.pop_all()
        return self._descriptors

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._users -= 1
        if not self._users:
            self._descriptors = None
            self._open.close()


_RUN_PIPE: RunVar[RunPipe] = RunVar("pipe that files are sent through")


def run_pipe() -> RunPipe:
    """Return that of this run."""
    try:
        return _RUN_PIPE.get()
    except LookupError:
        pipe = RunPipe()
        _RUN_PIPE.set(pipe)
        return pipe
