"""The Driver contract, and the one place where the platform is chosen."""

from __future__ import annotations

import os
import sys
from abc import ABC, abstractmethod
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from uringtrio._errors import DriverUnavailableError
from uringtrio._ring.options import RingOptions
from uringtrio._ring.report import ProbeReport

from .wakeup import Wakeup

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from uringtrio._ops.op import Multishot, Op

# The drivers, and the systems that have them.
SYSTEMS = {"io_uring": "Linux", "epoll": "Linux", "kqueue": "the BSDs and macOS"}
ENVIRONMENT = "URINGTRIO_DRIVER"


@dataclass(frozen=True, slots=True)
class IOStatistics:
    """What a driver has done since its run began.

    Attributes:
        driver: "io_uring", "epoll" or "kqueue".
        reason: why this driver and no other.
        enters: system calls that submitted or waited.
        sqes: ops and cancels submitted.
        cqes: completions received.
        overflows: enters that found the completion queue overflowed; nothing is lost by it.
        cancels: ops that were asked to end early.
        in_flight: how many ops of each kind wait for their completion, by the op's name.
    """

    driver: str
    reason: str
    enters: int
    sqes: int
    cqes: int
    overflows: int
    cancels: int
    in_flight: dict[str, int] = field(default_factory=dict)

    @property
    def backend(self) -> str:
        """The driver's name under Trio's name for it."""
        return self.driver


class Driver(ABC):
    """Carries out ops for one thread. Five methods; all but `wake` only in that thread.

    A driver completes each op that was submitted exactly once: `wait` returns it with `res` set.
    Until then the driver holds the op, and with it all that the kernel may touch. A `Multishot` is
    told of its completions inside `wait`, which does not return it.
    """

    __slots__ = ("_wakeup", "has_multishot", "last_id", "reason", "wakeup_fd")

    name: str

    def __init__(self, reason: str) -> None:
        self.reason = reason
        # Counts submissions and cancels; while it stands still, nothing new waits for `wait`.
        self.last_id = 0
        # Whether it carries out `Multishot` ops, and then has `end`.
        self.has_multishot = False
        self._wakeup = Wakeup()
        # For `signal.set_wakeup_fd`.
        self.wakeup_fd = self._wakeup.writer.fileno()

    @abstractmethod
    def submit(self, op: Op) -> None:
        """Start `op`, giving it an id. It completes in a later `wait`, even if it is done now."""

    @abstractmethod
    def cancel(self, op: Op) -> None:
        """Ask for an early end of `op`, which is in flight. It completes in a later `wait`."""

    def end(self, op: Multishot) -> None:
        """Cancel `op`, which is in flight, and return when its last completion has come.

        What else completes meanwhile is handed out by the next `wait`, which does not wait.
        """
        raise NotImplementedError(f"the {self.name} driver has no multishot ops to end: {op!r}")

    @abstractmethod
    def fileno(self) -> int:
        """Return a descriptor that polls readable once there is something for `wait`.

        For a thread that waits in place of this one: only this one may call `wait`. Ask for it
        each time, and look with `wait(0)` after that: what came before may not show in it.
        """

    @abstractmethod
    def wait(self, timeout_ns: int) -> Sequence[Op]:
        """Return the ops that have completed; wait for one if there is none yet.

        Args:
            timeout_ns: wait at most this long; 0 does not wait, negative waits without end.

        Returns:
            Ops with `res` set. None of them after a timeout, a signal or a wake.
        """

    def wake(self) -> None:
        """Make the current or next `wait` return at once. Safe in any thread and signal handler."""
        self._wakeup.wake()

    @abstractmethod
    def close(self) -> None:
        """Cancel what is in flight, wait for its completion, then release everything."""

    @abstractmethod
    def statistics(self) -> IOStatistics:
        """Return what has been done so far."""


def count_by_kind(ops: Sequence[Op]) -> dict[str, int]:
    """Return how many of `ops` there are of each class, by its name."""
    return dict(Counter(type(op).__name__ for op in ops))


def probe() -> ProbeReport:
    """Find out whether io_uring can be had here, by opening a ring and closing it.

    Returns:
        A report; `available` and `reason` say whether `run` will use io_uring and why.
    """
    if sys.platform != "linux":
        return ProbeReport(False, f"io_uring exists on Linux only, not on {sys.platform}", None, "")
    kernel = os.uname().release
    try:
        from uringtrio._ring.probe import probe_ring
    except ImportError as exc:
        return ProbeReport(
            False, f"uringtrio was built without io_uring here ({exc})", None, kernel
        )
    return probe_ring()


def choose_driver(name: str | None, options: RingOptions | None) -> Driver:
    """Open the driver to use.

    Args:
        name: "auto", "io_uring", "epoll" or "kqueue"; None takes the environment's
            URINGTRIO_DRIVER, and without that "auto": io_uring when it can be had, else the
            readiness that the system has, epoll or kqueue.
        options: for the ring.

    Raises:
        ValueError: there is no such driver.
        DriverUnavailableError: the driver was asked for by name and cannot be had.
    """
    wanted, asked_by = name, "run(driver=...)"
    if name is None:
        wanted, asked_by = os.environ.get(ENVIRONMENT, "auto"), f"the environment's {ENVIRONMENT}"
    if wanted not in ("auto", *SYSTEMS):
        known = ", ".join(repr(driver) for driver in ("auto", *SYSTEMS))
        raise ValueError(f"{asked_by} names an unknown driver {wanted!r}; known are {known}")
    if wanted in ("epoll", "kqueue"):
        return _open_readiness(wanted, f"asked for by {asked_by}")
    try:
        reason = "the best that this kernel has" if wanted == "auto" else f"asked for by {asked_by}"
        return _open_uring(options or RingOptions(), reason)
    except DriverUnavailableError as exc:
        if wanted == "io_uring":
            raise
        return _open_readiness("epoll" if sys.platform == "linux" else "kqueue", exc.reason)


def _open_uring(options: RingOptions, reason: str) -> Driver:
    if sys.platform != "linux":
        raise DriverUnavailableError("io_uring", probe().reason)
    try:
        from uringtrio._ring.probe import explain

        from .uring import UringDriver
    except ImportError:
        raise DriverUnavailableError("io_uring", probe().reason) from None
    try:
        return UringDriver(options, reason)
    except OSError as exc:
        raise DriverUnavailableError("io_uring", explain(exc), exc.errno) from exc


def _open_readiness(name: str, reason: str) -> Driver:
    open_driver: Callable[[str], Driver]
    try:
        if name == "epoll":
            from .epoll import EpollDriver

            open_driver = EpollDriver
        else:
            from .kqueue import KqueueDriver

            open_driver = KqueueDriver
    except ImportError as exc:
        systems = SYSTEMS[name]
        raise DriverUnavailableError(name, f"{name} exists on {systems} only ({exc})") from None
    return open_driver(reason)
