"""Ctrl-C as tests press it."""

import contextlib
import os
import signal
import sys
import threading
import time
from pathlib import Path

import uringtrio

LIMIT_SECONDS = 10.0


def interrupt():
    """Send ourselves what Ctrl-C sends; Python's handler has run when this returns."""
    signal.raise_signal(signal.SIGINT)


def _waits(thread):
    """Say whether the driver in `thread` has been told to wait, by the frame that does it."""
    frame = sys._current_frames()[thread.ident]
    while frame is not None:
        if Path(frame.f_code.co_filename).parent.name == "_drivers":
            return frame.f_locals.get("timeout_ns", 0) != 0
        frame = frame.f_back
    return False


def _interrupt_while_it_waits(thread):
    give_up = time.monotonic() + LIMIT_SECONDS
    while not _waits(thread) and time.monotonic() < give_up:
        time.sleep(0.001)
    os.kill(os.getpid(), signal.SIGINT)


@contextlib.contextmanager
def interrupt_from_outside():
    """Send SIGINT from another thread when the run of this one waits because no task can run."""
    thread = threading.Thread(target=_interrupt_while_it_waits, args=(threading.current_thread(),))
    thread.start()
    yield
    thread.join()


def run_whole(async_fn, **options):
    """Run what is not to be ended by the interrupt; one that gets out must not end the suite."""
    try:
        return uringtrio.run(async_fn, **options)
    except KeyboardInterrupt:
        raise AssertionError("the interrupt came out of run()") from None
