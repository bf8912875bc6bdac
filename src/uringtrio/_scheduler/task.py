"""Task: one coroutine under the run loop, and what it waits for."""

from __future__ import annotations

import functools
import gc
from typing import TYPE_CHECKING, Any, final

from uringtrio._abc import Sealed
from uringtrio._ops.op import Thrown

from .cancel import MISNESTED

if TYPE_CHECKING:
    import contextvars
    import types
    from collections.abc import Callable, Coroutine, Iterator

    from uringtrio._ops.op import Interruption

    from .cancel import CancelScope
    from .nursery import Nursery
    from .parking import ParkingLot
    from .runner import Runner
    from .watch import Watch


@final
class Task(Sealed):
    """One thread of execution in a run. Made by nurseries; for debugging and `lowlevel`.

    Attributes:
        coro: the coroutine object.
        custom_sleep_data: for whoever parks the task; None after it was rescheduled.
    """

    __slots__ = (
        "__weakref__",
        "_breaks",
        "_context",
        "_error",
        "_eventual_nursery",
        "_is_rescheduled",
        "_ki_pending",
        "_ki_protected",
        "_name",
        "_nurseries",
        "_nursery",
        "_parked",
        "_run",
        "_runner",
        "_scope",
        "_send",
        "_value",
        "_watch",
        "coro",
        "custom_sleep_data",
    )

    def __init__(  # noqa: PLR0913, PLR0917  # only `Runner` calls it
        self,
        coro: Coroutine[Any, Any, Any] | None = None,
        nursery: Nursery | None = None,
        runner: Runner | None = None,
        name: object = None,
        context: contextvars.Context | None = None,
        scope: CancelScope | None = None,
        ki_protected: bool = False,
    ) -> None:
        if coro is None or runner is None or context is None or scope is None:
            raise TypeError(
                "uringtrio.lowlevel.Task has no public constructor: use nursery.start_soon()"
            )
        self.coro = coro
        self._context = context
        self.custom_sleep_data: Any = None
        # Bound once: 50 ns less for each step of the task (benchmarks/echo.py).
        self._run: Callable[..., Any] = context.run
        self._send = coro.send
        # A str, or what `name` makes one from when somebody asks.
        self._name = name
        self._runner = runner
        # None for the run's first task.
        self._nursery = nursery
        # The nursery that `Nursery.start` will move the task to; None at other times.
        self._eventual_nursery: Nursery | None = None
        # Open nurseries, outermost first; a list from the first one on.
        self._nurseries: list[Nursery] | tuple[()] = ()
        # The innermost cancel scope.
        self._scope: CancelScope = scope
        # The parking lots that break when the task exits; None while there never was one.
        self._breaks: list[ParkingLot] | None = None
        # Counts the task's checkpoints while a test asserts them, see `Watch`; None otherwise.
        self._watch: Watch | None = None
        self._ki_protected = ki_protected
        # A KeyboardInterrupt waits for this task's next checkpoint; only ever for the main task.
        self._ki_pending = False
        # What the task waits on, with `abort`; None when it runs, is runnable, or has been
        # aborted once.
        self._parked: Any = None
        # False while it waits in `wait_task_rescheduled`.
        self._is_rescheduled = True
        # How it is resumed: `_error` is thrown if it is set, else `_value` sent; a `Thrown` is
        # raised by what waits. Throwing is for what cannot raise: see `_throw`.
        self._value: Any = None
        self._error: BaseException | None = None

    def __repr__(self) -> str:
        return f"<Task {self.name!r} at {id(self):#x}>"

    @property
    def name(self) -> str:
        """What the task runs, as "module.function", or the name it was given."""
        name = self._name
        if isinstance(name, str):
            return name
        while isinstance(name, functools.partial):
            name = name.func
        module = getattr(name, "__module__", None)
        qualname = getattr(name, "__qualname__", None)
        # Worked out late: most tasks live and die without anybody asking.
        self._name = repr(name) if qualname is None else f"{module}.{qualname}"
        return self._name

    @name.setter
    def name(self, name: str) -> None:
        self._name = name

    @property
    def context(self) -> contextvars.Context:
        """The task's context variables; another context counts from the task's next step on."""
        return self._context

    @context.setter
    def context(self, context: contextvars.Context) -> None:
        self._context = context
        if self._watch is None:
            self._run = context.run

    @property
    def parent_nursery(self) -> Nursery | None:
        """The nursery this task is in; None for the run's first task."""
        return self._nursery

    @property
    def eventual_parent_nursery(self) -> Nursery | None:
        """The nursery that `Nursery.start` will move this task to; None once it is there."""
        return self._eventual_nursery

    @property
    def child_nurseries(self) -> list[Nursery]:
        """The nurseries that this task has open, outermost first."""
        return list(self._nurseries)

    def iter_await_frames(self) -> Iterator[tuple[types.FrameType, int]]:
        """Yield (frame, line number) of what the task is awaiting, outermost first."""
        coro: Any = self.coro
        while coro is not None:
            if hasattr(coro, "cr_frame"):
                frame, coro = coro.cr_frame, coro.cr_await
            elif hasattr(coro, "gi_frame"):
                frame, coro = coro.gi_frame, coro.gi_yieldfrom
            elif hasattr(coro, "ag_frame"):
                frame, coro = coro.ag_frame, coro.ag_await
            else:
                # What `async for` awaits knows its generator, but tells only the collector.
                generators = [it for it in gc.get_referents(coro) if hasattr(it, "ag_frame")]
                if not generators:
                    return
                coro = generators[0]
                continue
            if frame is None:
                return
            yield frame, frame.f_lineno

    def _resume(self, value: Any) -> None:
        """Make the task runnable; it continues with `value`."""
        self._parked = None
        self.custom_sleep_data = None
        self._value = value
        self._runner.runq.append(self)

    def _resume_with(self, error: BaseException) -> None:
        """Make the task runnable; it continues by raising `error`."""
        self._resume(Thrown(error))

    def _throw(self, error: BaseException) -> None:
        """Make the task runnable; `error` comes out of what it has yielded, which has no frame."""
        self._error = error
        self._resume(None)

    def _take_error(self) -> BaseException:
        error, self._error = self._error, None
        assert error is not None
        return error

    def _interruption(self) -> Interruption:
        """Return why the task is to be interrupted; call it only if there is a reason."""
        if self._ki_pending:
            return self._runner.keyboard_interruption
        return self._scope._reason or MISNESTED

    def _interrupt_now(self) -> None:
        """Make the task runnable with the pending interruption; it has just yielded."""
        self._resume_with(self._interruption().exception())

    def _deliver(self) -> None:
        """Interrupt the task's wait, if it waits and has not been asked before."""
        parked = self._parked
        if parked is None:
            return
        self._parked = None
        interruption = self._interruption()
        if parked.abort(self, interruption):
            self._resume_with(interruption.exception())
