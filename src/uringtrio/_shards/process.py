"""ProcessShard: a shard that is a process of its own, and what that process does.

The process is made by the standard library's `multiprocessing`, by spawning: forking a process
that has threads and rings is not safe. All that goes back and forth does so over one socket pair:
the plan, with the sockets in it, to the shard, and how it ended, back. The end of the stream
cancels the shard, whether the supervisor has asked for that or has died.

Signals. Ctrl-C in a terminal, and a service manager's SIGTERM, reach all processes. The first one
is the supervisor's alone to obey; the second may also be meant for one shard, which then cancels
itself. While a process starts it has neither handler, and a signal would end it with a traceback
or without a word: so both are blocked in it from before its first moment until they are in place.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import socket
from multiprocessing import resource_tracker
from typing import TYPE_CHECKING, Self

from uringtrio._errors import BrokenResourceError, ShardError
from uringtrio._net.readiness import wait_readable
from uringtrio._net.socket import from_stdlib_socket
from uringtrio._net.stream import SocketStream
from uringtrio._scheduler.current import current_time
from uringtrio._scheduler.nursery import open_nursery

from .ending import Ending, from_bytes, to_bytes
from .life import Life
from .mesh import as_mesh
from .parcel import SIZE, Parcel, receive_parcel, unpack

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.context import SpawnProcess
    from types import TracebackType

    from uringtrio._net.socket import Socket

    from .plan import Plan

# What `run_sharded` obeys.
SIGNALS = (signal.SIGINT, signal.SIGTERM)

# After the exit of a shard all that it wrote is there to be read. Only a process that it has
# forked can keep the other end open longer than that.
LAST_WORDS_SECONDS = 1.0


class ProcessShard:
    """The supervisor's view of a shard in a process; made, and used, in the supervisor's run.

    Args:
        plan: what to run.
        index: which shard this is.
        parcels: the plan, and the shard's mesh; the sockets in them must stay open until then.
        handed_over: called once the shard has its arguments.
    """

    __slots__ = ("_cancel_called", "_control", "_handed_over", "_index", "_parcels", "_plan",
                 "_process", "_words")  # fmt: skip

    def __init__(
        self, plan: Plan, index: int, parcels: list[Parcel], handed_over: Callable[[int], None]
    ) -> None:
        self._plan = plan
        self._handed_over = handed_over
        self._index = index
        self._parcels = parcels
        self._cancel_called = False
        # Both None before the start and after the end.
        self._process: SpawnProcess | None = None
        self._control: Socket | None = None
        # What the shard has written so far.
        self._words = bytearray()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._process is not None:
            # It has nothing left to say, or no time left for it.
            self._process.kill()
            self._process.join()
            # It believes that it runs, if the program ignores SIGCHLD.
            with contextlib.suppress(ValueError):
                self._process.close()
            self._process = None
        if self._control is not None:
            self._control.close()
            self._control = None

    def __str__(self) -> str:
        pid = None if self._process is None else self._process.pid
        return f"shard {self._index} of {len(self._plan.placement)} (process {pid})"

    def cancel(self) -> None:
        """Cancel the shard, which may not have been started."""
        self._cancel_called = True
        if self._control is not None:
            # It may have gone already.
            with contextlib.suppress(OSError):
                self._control.shutdown(socket.SHUT_WR)

    async def run(self) -> Ending:
        """Start the shard and wait for its end.

        Checkpoint: always.
        """
        try:
            self._start()
        except OSError as exc:
            return Ending(error=exc)
        assert self._process is not None
        exit_fd = _open_exit_fd(self._process)
        try:
            async with open_nursery() as nursery:
                nursery.start_soon(self._listen)
                nursery.start_soon(self._send_plan)
                await wait_readable(exit_fd)
                nursery.cancel_scope.deadline = current_time() + LAST_WORDS_SECONDS
        finally:
            os.close(exit_fd)
        self._process.join()
        return self._ending(self._process.exitcode)

    def _start(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            self._control = from_stdlib_socket(ours)
            process = multiprocessing.get_context("spawn").Process(
                target=live_as_process, args=(theirs, self._index), name=f"shard {self._index}"
            )
            # By itself it would start in `process.start`, and unblock the signals.
            resource_tracker.ensure_running()
            mask = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
            try:
                process.start()
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        self._process = process

    async def _send_plan(self) -> None:
        if self._cancel_called:
            # It came before there was a socket to end.
            self.cancel()
            return
        control = self._control
        assert control is not None
        # A shard that dies, or is cancelled, before it has read it all: its exit says why.
        with contextlib.suppress(OSError, BrokenResourceError):
            for parcel in self._parcels:
                for header, ancillary in parcel.headers():
                    await control.sendmsg([header], ancillary)
                await SocketStream(control).send_all(parcel.data)
        self._handed_over(self._index)

    async def _listen(self) -> None:
        control = self._control
        assert control is not None
        with contextlib.suppress(OSError):
            while data := await control.recv(65536):
                self._words += data

    def _ending(self, exitcode: int | None) -> Ending:
        size = int.from_bytes(self._words[:SIZE], "little")
        if len(self._words) >= SIZE + size > SIZE:
            ending = from_bytes(bytes(self._words[SIZE : SIZE + size]))
            if not ending.was_cancelled or self._cancel_called:
                return ending
            return Ending(error=ShardError(self._index, "ended because it got SIGTERM", exitcode))
        return Ending(
            error=ShardError(self._index, f"died: {_describe_exit(exitcode)}", exitcode),
            was_cancelled=self._cancel_called,
        )

    def abandon(self) -> Ending:
        """Kill the process, and say so."""
        return Ending(
            error=ShardError(
                self._index,
                f"did not end within {self._plan.grace_seconds} s after it was cancelled, and was "
                "killed: something in it blocks, or shields itself from cancellation",
            )
        )


def _open_exit_fd(process: SpawnProcess) -> int:
    """Return a descriptor that becomes readable when the process has exited."""
    if hasattr(os, "pidfd_open"):
        # An old kernel, or a sandbox, refuses it.
        with contextlib.suppress(OSError):
            assert process.pid is not None
            return os.pidfd_open(process.pid)
    # Not readable before processes that the shard has forked have ended as well.
    return os.dup(process.sentinel)


def _describe_exit(exitcode: int | None) -> str:
    if exitcode is None or exitcode >= 0:
        return f"its process exited with status {exitcode} before it was done"
    try:
        name = signal.Signals(-exitcode).name
    except ValueError:
        name = f"signal {-exitcode}"
    hint = ", which may be the system's, for want of memory" if -exitcode == signal.SIGKILL else ""
    return f"its process was ended by {name}{hint}"


# In the shard's process.


def live_as_process(control: socket.socket, index: int) -> None:
    """Be a shard: what its process does from beginning to end."""
    life = Life()
    # A handler that does nothing, and not SIG_IGN, which programs started here would inherit.
    signal.signal(signal.SIGINT, lambda _signum, _frame: None)
    signal.signal(signal.SIGTERM, lambda _signum, _frame: life.cancel())
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    with control:
        control.setblocking(True)
        received = [parcel for _ in range(2) if (parcel := receive_parcel(control))]
        ending = _live(life, received, index, control)
        data = to_bytes(ending, index)
        # If nobody reads, nobody wants to know.
        with contextlib.suppress(OSError):
            control.setblocking(True)
            control.sendall(len(data).to_bytes(SIZE, "little") + data)


def _live(
    life: Life, received: list[tuple[bytes, list[int]]], index: int, control: socket.socket
) -> Ending:
    async def end_with_supervisor() -> None:
        # Nothing but the end of the stream comes after the plan.
        await wait_readable(control)
        life.cancel()

    try:
        parts = [unpack(*parcel) for parcel in received]
    except Exception as exc:  # noqa: BLE001  # what importing the program raises
        exc.add_note(
            "This process could not load what to run. Functions and classes must be at the top "
            "level of a module that other processes can import"
        )
        return Ending(error=exc)
    if len(parts) < 2:
        # The supervisor has cancelled this shard, or has died.
        return Ending(was_cancelled=True)
    plan, posts = parts
    return life.live(plan, index, as_mesh(*posts), end_with_supervisor)
