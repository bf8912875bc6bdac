"""The tree of a run, written when a signal asks for it, whatever the run is doing."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import signal
import sys
from typing import TYPE_CHECKING, TextIO

from uringtrio._scheduler.current import CURRENT
from uringtrio._signals import check_main_thread, take_over

from .tree import tree_lines

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from types import FrameType

LOGGER = logging.getLogger("uringtrio.dump_task_tree_on")


def dump_task_tree_on(signum: int, file: TextIO | None = None) -> AbstractContextManager[None]:
    """Return a context manager; in its block the signal writes the tree of tasks to `file`.

        with uringtrio.lowlevel.dump_task_tree_on(signal.SIGUSR1):
            uringtrio.run(main)

    Then `kill -USR1 PID` shows what every task is waiting for, see `format_task_tree`. The text
    is written by the signal handler itself: also while the run waits, and while a task holds up
    all others, unless C code does not let Python's handlers run. The tree is that of the main
    thread's run.

    Args:
        signum: such as `signal.SIGUSR1`. The handler before is in place again after the block.
        file: a text file; if it has a descriptor, the text goes there without its buffer, which
            the interrupted code may be using. None is `sys.stderr`, looked up each time.

    Raises:
        RuntimeError: called in another thread than the main thread; or, when entering, the
            present handler is none of Python's.
        ValueError: when entering: there is no such signal.
        OSError: when entering: the kernel lets nobody handle this signal (SIGKILL, SIGSTOP).

    If the text cannot be written, that is logged to "uringtrio.dump_task_tree_on".
    """
    check_main_thread("uringtrio.lowlevel.dump_task_tree_on()")
    return _dump_on(signum, file)


@contextlib.contextmanager
def _dump_on(signum: int, file: TextIO | None) -> Iterator[None]:
    def handle(_signum: int, frame: FrameType | None) -> None:
        try:
            _write(_text(frame), file or sys.stderr)
        except Exception:
            # Whatever it is, it must not come out of the code that the signal interrupted, which
            # may be the runtime's.
            LOGGER.exception("the tree of tasks could not be written")

    previous = take_over(signum, handle)
    try:
        yield
    finally:
        signal.signal(signum, previous)


def _text(frame: FrameType | None) -> str:
    runner = CURRENT.runner
    title = f"tasks of process {os.getpid()}"
    if runner is None:
        return f"{title}: no run in the main thread\n"
    lines = tree_lines(runner.init_task, frame)
    return "\n".join((f"{title}, on {runner.driver.name}:", *lines, ""))


def _write(text: str, file: TextIO) -> None:
    try:
        fd = file.fileno()
    except (AttributeError, io.UnsupportedOperation):
        file.write(text)
        return
    data = text.encode(file.encoding or "utf-8", "backslashreplace")
    while data:
        data = data[os.write(fd, data) :]
