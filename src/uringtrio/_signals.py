"""Signals as something to iterate over: `open_signal_receiver`.

A Python-level handler notes the number, and asks the run to wake the task that iterates. Not
signalfd: that needs the signal blocked in every thread, which a library cannot ask for once other
threads run, and which child processes inherit.

The handler notes the number by itself instead of leaving that to the run: so nothing is on its way
when the block ends, and what has not been iterated over is raised again there, at a known place.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Self

from ._errors import BusyResourceError, RunFinishedError
from ._scheduler.entry import TrioToken, current_trio_token
from ._scheduler.parking import ParkingLot
from ._scheduler.traps import CHECKPOINT

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from contextlib import AbstractContextManager
    from types import FrameType

    Handler = Callable[[int, FrameType | None], object] | int | None


class _SignalReceiver:
    """What `open_signal_receiver` gives: an endless async iterator of signal numbers."""

    __slots__ = ("_is_busy", "_is_closed", "_lot", "_pending", "_token")

    def __init__(self, token: TrioToken) -> None:
        self._token = token
        # In order of arrival. The handler may run between any two bytecodes, so an entry is taken
        # by `popitem`, which is one step; looking for the first and then deleting it is not.
        self._pending: OrderedDict[int, None] = OrderedDict()
        self._lot = ParkingLot()
        self._is_busy = False
        self._is_closed = False

    def handle(self, signum: int, _frame: FrameType | None) -> None:
        """Note a signal; the Python-level handler."""
        self._pending[signum] = None
        # Once the run is over nobody iterates; the end of the block raises the signal again.
        with contextlib.suppress(RunFinishedError):
            self._token.run_sync_soon(self._wake, idempotent=True)

    def _wake(self) -> None:
        # What this is about may have been taken meanwhile, by an iteration that did not wait.
        if self._pending:
            self._lot.unpark()

    def close(self) -> None:
        """End the iteration, and raise again what it has not delivered."""
        self._is_closed = True
        self._lot.unpark()
        _raise_all(tuple(self._pending))

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> int:
        self._check_open()
        if self._is_busy:
            raise BusyResourceError("another task is already iterating over this signal receiver")
        self._is_busy = True
        try:
            if self._pending:
                await CHECKPOINT
            else:
                await self._lot.park()
        finally:
            self._is_busy = False
        self._check_open()
        signum, _ = self._pending.popitem(last=False)
        return signum

    def _check_open(self) -> None:
        if self._is_closed:
            raise RuntimeError(
                "this signal receiver is closed: iterate inside its "
                "`with uringtrio.open_signal_receiver(...)` block"
            )


def check_main_thread(call: str) -> None:
    """Refuse `call` in threads where there are no signals."""
    if threading.get_ident() != threading.main_thread().ident:
        raise RuntimeError(
            f"{call} works in the main thread only: Python runs signal handlers nowhere else. "
            "Call it there, and pass on what arrives"
        )


def take_over(signum: int, handler: Handler) -> Handler:
    """Install a handler for a signal; return the one before, which can be put back.

    Raises:
        ValueError: there is no such signal.
        RuntimeError: the one before could not be put back.
        OSError: the kernel lets nobody handle this signal.
    """
    if signal.getsignal(signum) is None:
        raise RuntimeError(
            f"cannot handle {signal.Signals(signum).name}: its handler was installed by other "
            "code than Python's, and could not be put back afterwards"
        )
    try:
        return signal.signal(signum, handler)
    except OSError as exc:
        name = signal.Signals(signum).name
        raise OSError(exc.errno, f"cannot handle {name}: the kernel lets no process do so") from exc


def _raise_all(signums: tuple[int, ...]) -> None:
    """Raise each signal, even if the handler of another one raises an exception."""
    if signums:
        try:
            signal.raise_signal(signums[0])
        finally:
            _raise_all(signums[1:])


def open_signal_receiver(*signals: int) -> AbstractContextManager[AsyncIterator[int]]:
    """Return a context manager for an async iterator over the signals that the process gets.

        with uringtrio.open_signal_receiver(signal.SIGHUP) as receiver:
            async for signum in receiver:
                reload_configuration()

    Inside the block the signals do nothing else: their handlers are put aside until its end. What
    arrived and was not iterated over is then raised again, so that no signal is lost at the end.

    A signal is delivered once for however many times it arrived since it was last delivered;
    different ones come in order of arrival. Each iteration is a checkpoint, and a cancelled one
    has taken nothing. A task that iterates while another one leaves the block gets RuntimeError.

    Args:
        signals: one or more numbers, such as `signal.SIGTERM`.

    Returns:
        A context manager, to be entered once, inside a run. Its iterator yields plain ints.

    Raises:
        TypeError: no signals are given.
        RuntimeError: called in a thread other than the main thread, where Python has no signals;
            or, when entering, the present handler is none of Python's; or the iterator is used
            after the block.
        ValueError: when entering: there is no such signal.
        OSError: when entering: the kernel lets nobody handle this signal (SIGKILL, SIGSTOP).
        BusyResourceError: two tasks iterate at the same time.

    Source: signal(7); Trio's `open_signal_receiver`.
    """
    if not signals:
        raise TypeError(
            "No signals were provided: name them, as in "
            "`with uringtrio.open_signal_receiver(signal.SIGTERM)`"
        )
    check_main_thread("uringtrio.open_signal_receiver()")
    return _receive(signals)


@contextlib.contextmanager
def _receive(signals: tuple[int, ...]) -> Iterator[AsyncIterator[int]]:
    receiver = _SignalReceiver(current_trio_token())
    with contextlib.ExitStack() as stack:
        # The last to happen: by then the previous handlers are in place.
        stack.callback(receiver.close)
        for signum in dict.fromkeys(signals):
            stack.callback(signal.signal, signum, take_over(signum, receiver.handle))
        yield receiver
