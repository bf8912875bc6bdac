"""Every exception of the package, each with the condition that raises it."""

from __future__ import annotations

from typing import Literal, NoReturn

CancelSource = Literal[
    "KeyboardInterrupt", "deadline", "explicit", "nursery", "shutdown", "unknown"
]

_PRIVATE = object()


class Cancelled(BaseException):
    """Raised by a checkpoint inside a cancelled scope; the scope that was cancelled absorbs it.

    Let it pass: code that catches it must re-raise it. It cannot be constructed or subclassed.

    Attributes:
        source: what cancelled the scope: "deadline", "explicit" (a call of `CancelScope.cancel`),
            "nursery" (a sibling failed), "shutdown", "KeyboardInterrupt" or "unknown".
        reason: the text given to `CancelScope.cancel`, or the runtime's own, or None.
        source_task: the repr of the task that cancelled, or None.
    """

    source: CancelSource
    reason: str | None
    source_task: str | None

    def __init__(
        self,
        *private: object,
        source: CancelSource = "unknown",
        reason: str | None = None,
        source_task: str | None = None,
    ) -> None:
        if private != (_PRIVATE,):
            raise TypeError(
                "uringtrio.Cancelled has no public constructor: "
                "to cancel, call CancelScope.cancel(); to time out, use fail_after()"
            )
        self.source = source
        self.reason = reason
        self.source_task = source_task

    def __init_subclass__(cls) -> NoReturn:
        raise TypeError("uringtrio.Cancelled cannot be subclassed")

    def __reduce__(self) -> tuple[object, ...]:
        return (new_cancelled, (self.source, self.reason, self.source_task))

    def __str__(self) -> str:
        reason = "" if self.reason is None else f" with reason {self.reason!r}"
        task = "" if self.source_task is None else f" from task {self.source_task}"
        return f"cancelled due to {self.source}{reason}{task}"


def new_cancelled(source: CancelSource, reason: str | None, source_task: str | None) -> Cancelled:
    """Make a `Cancelled`; the scheduler's way in, and pickle's."""
    return Cancelled(_PRIVATE, source=source, reason=reason, source_task=source_task)


class TrioInternalError(Exception):
    """Raised out of `run` when a system task, an entry callback or the runtime itself failed.

    The original exception is its `__cause__`.
    """


class RunFinishedError(RuntimeError):
    """Raised by `TrioToken.run_sync_soon` and `from_thread` when the run is over."""


class WouldBlock(Exception):  # noqa: N818  # Trio's name
    """Raised by every `*_nowait` function when it would have to wait."""


class BusyResourceError(Exception):
    """Raised when two tasks use one direction of one resource at the same time."""


class ClosedResourceError(Exception):
    """Raised when a resource is used after, or while, this side closed it."""


class BrokenResourceError(Exception):
    """Raised when a resource stopped working for a reason outside this program.

    For example the peer of a stream has gone; the `OSError` is its `__cause__`.
    """


class IncompleteReceiveError(BrokenResourceError):
    """Raised when a stream ends before what was to be received has come as a whole.

    What did come is not lost: it can still be received from the `BufferedStream`.
    """


class LimitExceededError(Exception):
    """Raised when a line, a message or a search is longer than the limit that was set for it."""


class EndOfChannel(Exception):  # noqa: N818  # Trio's name
    """Raised by `receive` on a channel whose senders have all been closed."""


class NeedHandshakeError(Exception):
    """Raised when a TLS or DTLS connection is asked what only its handshake decides, before it.

    Await its `do_handshake()` first.
    """


class TooSlowError(Exception):
    """Raised by `fail_after` and `fail_at` when their scope ran out of time."""


class TrioDeprecationWarning(FutureWarning):
    """Warns of what will be removed; visible by default. Trio's name, so that filters fit."""


class DriverUnavailableError(RuntimeError):
    """Raised by `run(driver=...)` when the driver that was asked for cannot be had here.

    Attributes:
        driver: the name that was asked for.
        reason: why it cannot be had, and what to do about it.
        errno: the kernel's answer, or None when the kernel was not asked.
    """

    def __init__(self, driver: str, reason: str, errno: int | None = None) -> None:
        super().__init__(f"driver {driver!r} is not available: {reason}")
        self.driver = driver
        self.reason = reason
        self.errno = errno

    def __reduce__(self) -> tuple[object, ...]:
        return (DriverUnavailableError, (self.driver, self.reason, self.errno))


class ShardError(Exception):
    """Raised out of `run_sharded`, in its group, for a shard that has no exception of its own.

    It died, or did not end when it was cancelled; or what it returned or raised cannot be sent
    from its process to the caller's.

    Attributes:
        index: which shard, from 0.
        reason: what became of it.
        exitcode: the exit status of its process; minus the number of the signal that ended it;
            None if the process had not ended by itself, or if the shard is a thread.
    """

    def __init__(self, index: int, reason: str, exitcode: int | None = None) -> None:
        super().__init__(f"shard {index} {reason}")
        self.index = index
        self.reason = reason
        self.exitcode = exitcode

    def __reduce__(self) -> tuple[object, ...]:
        return (ShardError, (self.index, self.reason, self.exitcode))
