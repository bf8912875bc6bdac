"""Completions out of readiness: try the call, wait for the descriptor one-shot, try again.

What epoll and kqueue share. An op is tried at once unless it says that it would most likely block;
if it would, the descriptor is armed for one event, and the op tried again when it comes. Spurious
readiness is therefore harmless. Ops without readiness, which is to say files, go to threads.

Everything that completes is handed out by the next `wait`, never inside `submit` or `cancel`, so
the layers above see the same order of things as with a ring.
"""

from __future__ import annotations

import collections
import errno
import select
from abc import abstractmethod
from typing import TYPE_CHECKING

from uringtrio._ops.op import POLLIN, POLLOUT
from uringtrio._thread_cache import start_thread_soon

from .driver import Driver, IOStatistics, count_by_kind

if TYPE_CHECKING:
    from collections.abc import Sequence

    import outcome

    from uringtrio._ops.op import Op


# What poll(2), epoll(7) and their kin report without being asked.
BROKEN = select.POLLERR | select.POLLHUP | select.POLLNVAL


class ReadinessDriver(Driver):
    """Carries out ops by readiness; a subclass says how to wait for it."""

    __slots__ = (
        "_cancels",
        "_done",
        "_enters",
        "_from_threads",
        "_in_threads",
        "_ops_done",
        "_waiting",
        "_wake_fd",
    )

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self._enters = self._ops_done = self._cancels = 0
        self._done: list[Op] = []
        self._wake_fd = self._wakeup.reader.fileno()
        # Armed ops by descriptor, those of each direction in order of arrival. Most often one.
        self._waiting: dict[int, list[Op]] = {}
        self._in_threads: dict[int, Op] = {}
        # Filled by worker threads: append and popleft of a deque are atomic.
        self._from_threads: collections.deque[Op] = collections.deque()

    @abstractmethod
    def _arm(self, fd: int, events: int) -> None:
        """Report `events` of `fd` once; 0 reports none. Replaces what was armed before.

        Raises:
            OSError: `fd` is closed, or has no readiness. Never for 0.
        """

    @abstractmethod
    def _await(self, timeout_ns: int) -> Sequence[tuple[int, int]]:
        """Wait and return (fd, poll(2) events that are there); an armed fd is then disarmed.

        The descriptor of wakes, `_wake_fd`, is always armed.
        """

    def submit(self, op: Op) -> None:
        self.last_id += 1
        op.id = self.last_id
        if not (op.interest or op.is_instant):
            self._run_in_thread(op)
        elif op.arms_first or not self._try(op):
            self._wait_for(op)

    def _try(self, op: Op) -> bool:
        try:
            op.res = op.perform()
        except BlockingIOError:
            return False
        except OSError as exc:
            op.res = -(exc.errno or errno.EIO)
        self._complete(op)
        return True

    def _complete(self, op: Op) -> None:
        """`op.res` is known: hand the op out at the next wait."""
        if op.res >= 0:
            op.value = op.collect(op.res)
        op.pins = None
        self._done.append(op)

    def _wait_for(self, op: Op) -> None:
        waiting = self._waiting.get(op.fd)
        if waiting is not None:
            waiting.append(op)
            self._rearm(op.fd)
            return
        # The usual case, without the loop of `_rearm`.
        try:
            self._arm(op.fd, op.interest)
        except PermissionError:
            # What has no readiness after all, as the device /dev/full.
            self._run_in_thread(op)
        except OSError as exc:
            op.res = -(exc.errno or errno.EIO)
            self._complete(op)
        else:
            self._waiting[op.fd] = [op]

    def _rearm(self, fd: int) -> None:
        """Arm `fd` for whoever waits; if that fails, so do all who wait."""
        waiting = self._waiting.get(fd, ())
        events = 0
        for op in waiting:
            events |= op.interest
        try:
            self._arm(fd, events)
        except OSError as exc:
            del self._waiting[fd]
            for op in waiting:
                op.res = -(exc.errno or errno.EIO)
                self._complete(op)

    def _run_in_thread(self, op: Op) -> None:
        def deliver(result: outcome.Outcome[int]) -> None:
            try:
                op.res = result.unwrap()
            except OSError as exc:
                op.res = -(exc.errno or errno.EIO)
            except Exception:  # noqa: BLE001  # a buffer of the wrong kind, say
                op.res = -errno.EINVAL
            self._from_threads.append(op)
            self._wakeup.wake()

        start_thread_soon(op.perform, deliver)
        self._in_threads[op.id] = op

    def cancel(self, op: Op) -> None:
        self._cancels += 1
        self.last_id += 1
        # A call in a thread cannot be taken back, and one that is done is done.
        waiting = self._waiting.get(op.fd, [])
        if op in waiting:
            waiting.remove(op)
            if not waiting:
                del self._waiting[op.fd]
            self._rearm(op.fd)
            op.res = op.res_on_cancel()
            self._complete(op)

    def wait(self, timeout_ns: int) -> Sequence[Op]:
        if self._done or self._from_threads:
            timeout_ns = 0
        self._enters += 1
        for fd, ready in self._await(timeout_ns):
            waiting = self._waiting.pop(fd, None)
            if waiting is None:
                if fd == self._wake_fd:
                    self._wakeup.drain()
                continue
            # An error or a hang-up is for whoever waits, in either direction.
            if ready & BROKEN:
                ready = POLLIN | POLLOUT  # noqa: PLW2901  # what it means
            left = [op for op in waiting if not (op.interest & ready and self._try(op))]
            if left:
                self._waiting[fd] = left
                self._rearm(fd)
        while self._from_threads:
            op = self._from_threads.popleft()
            self._in_threads.pop(op.id, None)
            self._complete(op)
        done, self._done = self._done, []
        self._ops_done += len(done)
        return done

    def close(self) -> None:
        for op in [op for waiting in self._waiting.values() for op in waiting]:
            self.cancel(op)
        # Threads cannot be stopped: wait, as the memory they touch is ours.
        while self._in_threads or self._done:
            for op in self.wait(-1):
                op.finish_unclaimed()
        self._wakeup.close()

    def statistics(self) -> IOStatistics:
        waiting = [op for ops in self._waiting.values() for op in ops]
        return IOStatistics(
            driver=self.name,
            reason=self.reason,
            enters=self._enters,
            sqes=self.last_id,
            cqes=self._ops_done,
            overflows=0,
            cancels=self._cancels,
            in_flight=count_by_kind([*waiting, *self._in_threads.values(), *self._done]),
        )
