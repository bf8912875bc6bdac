"""What the stress scripts measure of their own process, and the pattern of bytes they send."""

import contextlib
import os
import random
import sys
import time

import uringtrio

# Prime, so that no loss of a round number of bytes goes unseen.
PERIOD_BYTES = 65521
_TWICE = random.Random(2).randbytes(PERIOD_BYTES) * 2


def pattern(at, size):
    """Return `size` bytes, at most PERIOD_BYTES, of the endless pattern from byte `at` on."""
    at %= PERIOD_BYTES
    return _TWICE[at : at + size]


def resident_bytes():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def open_fds():
    """Return {fd: what it refers to}."""
    found = {}
    for name in os.listdir("/proc/self/fd"):
        # The descriptor of this very listing is gone already.
        with contextlib.suppress(FileNotFoundError):
            found[int(name)] = os.readlink(f"/proc/self/fd/{name}")
    return found


def statistics():
    return uringtrio.lowlevel.current_statistics()


class Progress:
    """Prints one line now and then."""

    def __init__(self, every_seconds=5.0):
        self._every_seconds = every_seconds
        self._start = self._last = time.monotonic()

    @property
    def seconds(self):
        return time.monotonic() - self._start

    def say(self, text, *, now=False):
        if now or time.monotonic() - self._last >= self._every_seconds:
            self._last = time.monotonic()
            sys.stdout.write(f"{self.seconds:6.1f} s  {text}\n")
            sys.stdout.flush()
