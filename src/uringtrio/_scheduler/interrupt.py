"""KeyboardInterrupt: raised at once in the user's code, and never in the runtime's.

The signal handler may run between any two bytecodes of the main thread. Raising in the middle of
the runtime would corrupt it, so the handler looks at the frames below it, innermost first:

* the frame of the running task's coroutine function is the user's code: raise. System tasks are
  protected and do not count;
* any other frame of this package is the runtime at work: do not raise;
* no such frame at all: there is no task, so do not raise.

That costs nothing until a signal comes, and needs no marks: every function of the package is
protected because of where it lives. A function may also be marked by hand, see
`enable_ki_protection`; the innermost mark wins.

What is not raised at once is pending: it is delivered to the main task at its next checkpoint, by
the same path as a cancellation, and if there is none, raised out of `run`.

Not chosen: a flag in each task that is set and cleared around user code costs two stores for each
step; blocking the signal around the runtime costs two system calls.
"""

from __future__ import annotations

import signal
import sys
import threading
import types
import warnings
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from .current import CURRENT

if TYPE_CHECKING:
    from types import FrameType

    from .runner import Runner

CallableT = TypeVar("CallableT", bound=Callable[..., Any])

PACKAGE = __name__.partition(".")[0]


class _CodeMarks:
    """Marks on code objects, by identity: equal code of another function is not marked."""

    def __init__(self) -> None:
        self._marks: dict[int, tuple[weakref.ref[types.CodeType], bool]] = {}

    def get(self, code: types.CodeType) -> bool | None:
        mark = self._marks.get(id(code))
        return None if mark is None else mark[1]

    def set(self, code: types.CodeType, *, protected: bool) -> None:
        key = id(code)
        ref = weakref.ref(code, lambda _ref: self._marks.pop(key, None))
        self._marks[key] = (ref, protected)


_MARKS = _CodeMarks()


def _mark(fn: CallableT, *, protected: bool) -> CallableT:
    target: Any = fn
    while not isinstance(target, types.FunctionType):
        target = getattr(target, "__func__", None) or getattr(target, "__wrapped__", None)
        if target is None:
            raise TypeError(f"cannot protect {fn!r}: it is no Python function")
    # A copy of its own: functions made in a loop share one code object.
    target.__code__ = target.__code__.replace()
    _MARKS.set(target.__code__, protected=protected)
    return fn


def enable_ki_protection(fn: CallableT) -> CallableT:
    """Mark a function, of any kind, as not to be interrupted; what it calls inherits that.

    Returns:
        `fn` itself.

    Raises:
        TypeError: there is no Python function in `fn`.
    """
    return _mark(fn, protected=True)


def disable_ki_protection(fn: CallableT) -> CallableT:
    """Mark a function, of any kind, as one that KeyboardInterrupt may be raised in.

    Returns:
        `fn` itself.

    Raises:
        TypeError: there is no Python function in `fn`.
    """
    return _mark(fn, protected=False)


def is_protected(frame: FrameType | None) -> bool:
    """Say whether code at `frame` must not be interrupted, by the rules above."""
    runner = CURRENT.runner
    task = runner.task if runner is not None else None
    task_frame = getattr(task.coro, "cr_frame", None) if task is not None else None
    while frame is not None:
        mark = _MARKS.get(frame.f_code)
        if mark is not None:
            return mark
        if frame.f_code.co_name == "__del__":
            # Exceptions from there are swallowed, and the interrupt with them.
            return True
        if task is not None and frame is task_frame:
            return task._ki_protected
        module = frame.f_globals.get("__name__", "")
        if module == PACKAGE or module.startswith(f"{PACKAGE}."):
            return True
        frame = frame.f_back
    return True


def currently_ki_protected() -> bool:
    """Say whether a KeyboardInterrupt that came now would wait for a checkpoint of the main task.

    Returns:
        True also outside of a run, where no function is marked.
    """
    return is_protected(sys._getframe(1))


class KeyboardInterruption:
    """The interruption of the main task by a KeyboardInterrupt."""

    __slots__ = ("_runner",)

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    def exception(self) -> BaseException:
        self._runner.clear_ki()
        return KeyboardInterrupt()

    def ended(self) -> None:
        pass


class InterruptHandler:
    """Installs the SIGINT handler and the wakeup fd for one run, and takes them back.

    Only in the main thread, and the handler only where Python's own is in place.
    """

    __slots__ = ("_handler", "_old_wakeup_fd", "_runner")

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._handler: Callable[[int, FrameType | None], object] | None = None
        self._old_wakeup_fd: int | None = None

    def install(self, wakeup_fd: int | None, *, only_at_checkpoints: bool) -> None:
        """Take over.

        Args:
            wakeup_fd: where the C-level handler writes, so that a signal that comes just before
                the wait ends it; None if somebody else sees to that.
            only_at_checkpoints: treat all code as protected.
        """
        if threading.get_ident() != threading.main_thread().ident:
            return
        if wakeup_fd is not None:
            self._take_wakeup_fd(wakeup_fd)
        if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
            return

        def handle(_signum: int, frame: FrameType | None) -> None:
            if not only_at_checkpoints and not is_protected(frame):
                raise KeyboardInterrupt
            self._runner.deliver_ki()

        signal.signal(signal.SIGINT, handle)
        self._handler = handle

    def _take_wakeup_fd(self, wakeup_fd: int) -> None:
        self._old_wakeup_fd = signal.set_wakeup_fd(wakeup_fd, warn_on_full_buffer=False)
        if self._old_wakeup_fd != -1:
            warnings.warn(
                "It looks like uringtrio's signal handling code might have collided with another "
                "library: signal.set_wakeup_fd() was called before. That library will not hear of "
                "signals as long as this run goes on",
                RuntimeWarning,
                stacklevel=6,
            )

    def restore_wakeup_fd(self) -> None:
        """Give the wakeup fd back: before the driver closes it, since a signal may come then."""
        if self._old_wakeup_fd is not None:
            signal.set_wakeup_fd(self._old_wakeup_fd)
            self._old_wakeup_fd = None

    def restore_handler(self) -> None:
        """Give SIGINT back."""
        # Unless somebody has put another handler in place meanwhile.
        if self._handler is not None and signal.getsignal(signal.SIGINT) is self._handler:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        self._handler = None
