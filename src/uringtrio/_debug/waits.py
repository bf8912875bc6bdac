"""What a task is doing, in one line: the op in flight, a sleep, a park; and where."""

from __future__ import annotations

import inspect
import os
from typing import TYPE_CHECKING, NamedTuple

from uringtrio._ops.op import Op
from uringtrio._scheduler.interrupt import PACKAGE
from uringtrio._scheduler.traps import SLEEP_FOREVER, Park, SleepUntil

if TYPE_CHECKING:
    from types import FrameType

    from uringtrio._scheduler.task import Task


# Where Python's own modules are, and below it, maybe, the users' packages.
STDLIB = os.path.dirname(os.__file__) + os.sep
PACKAGES = ("site-packages", "dist-packages")


class Place(NamedTuple):
    """A frame and its line."""

    frame: FrameType
    line: int

    def is_library(self) -> bool:
        """Say whether this is in uringtrio, or in the standard library."""
        module: str = self.frame.f_globals.get("__name__", "")
        if module == PACKAGE or module.startswith(f"{PACKAGE}."):
            return True
        filename = self.frame.f_code.co_filename
        return filename.startswith(STDLIB) and not any(name in filename for name in PACKAGES)

    def function(self) -> str:
        """Return the name of a function of a library, by its public module."""
        qualname = self.frame.f_code.co_qualname
        outermost = self.frame.f_globals.get(qualname.partition(".")[0])
        module = getattr(outermost, "__module__", None) or self.frame.f_globals["__name__"]
        return f"{module}.{qualname}"


def describe(task: Task, frame: FrameType | None) -> str:
    """Say what `task` is doing.

    Args:
        task: a task of the calling thread's run.
        frame: where this thread was when somebody asked; the task may be the one that runs there.
    """
    places = _running(task, frame)
    if places is not None:
        return f"running{_where(places, with_call=True)}"
    places = [Place(*awaiting) for awaiting in task.iter_await_frames()]
    if not places:
        return "finished"
    if inspect.getcoroutinestate(task.coro) == inspect.CORO_CREATED:
        return f"not started{_where(places, with_call=False)}"
    if task._nurseries and task._nurseries[-1]._waiter is task:
        return f"waiting for its nursery{_where(places, with_call=False)}"
    return f"{_wait(task, places)}{_where(places, with_call=True)}"


def _running(task: Task, frame: FrameType | None) -> list[Place] | None:
    """Return the stack of the task if it is running at `frame`, outermost first, else None."""
    if task._runner.task is not task:
        return None
    own_frame = getattr(task.coro, "cr_frame", None)
    places: list[Place] = []
    while frame is not None:
        places.append(Place(frame, frame.f_lineno))
        if frame is own_frame:
            return places[::-1]
        frame = frame.f_back
    # Its step has just ended, or is about to begin.
    return None


def _wait(task: Task, places: list[Place]) -> str:
    parked = task._parked
    # A wait that was asked to end, but goes on, is in `_parked` no more.
    waited = parked if parked is not None else places[-1].frame.f_locals.get("self")
    text = "runnable"
    if isinstance(waited, Op):
        if waited.id:
            text = _op(waited)
    elif isinstance(waited, SleepUntil):
        if waited.timer:
            left = waited._deadline - task._runner.now()
            text = f"sleeping, {seconds_left(left)}"
    elif waited is SLEEP_FOREVER and parked is not None:
        text = "sleeping for ever"
    elif not task._is_rescheduled or (isinstance(waited, Park) and parked is not None):
        text = "waiting"
    return text


def _op(op: Op) -> str:
    text = type(op).__name__.lower()
    if op.fd >= 0:
        text += f" fd={op.fd}"
    if op.interruption is not None:
        text += ", being cancelled"
    return text


def seconds_left(seconds: float) -> str:
    """Say how long it is until a deadline, which may be past."""
    return f"{max(0.0, seconds):.2f} s left"


def _where(places: list[Place], *, with_call: bool) -> str:
    """Return the innermost place in the user's code, and what of a library's it has called."""
    inner: list[Place] = []
    for place in reversed(places):
        if not place.is_library():
            break
        inner.insert(0, place)
    else:
        # A task of the runtime's own.
        place = inner.pop(0)
    call = ""
    if with_call:
        called = [at for at in inner if at.frame.f_code.co_name != "__await__"]
        call = f" in {called[0].function()}" if called else ""
    filename = place.frame.f_code.co_filename
    return f"{call} at {filename}:{place.line} in {place.frame.f_code.co_qualname}"
