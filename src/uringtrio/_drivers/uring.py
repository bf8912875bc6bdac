"""The io_uring driver: the table of ops in flight, over a Ring.

The table is the only owner of what the kernel may touch: an op enters it at `submit` and leaves it
at its last CQE. Ids count up and are never used twice, so a late CQE cannot be taken for another
op's; id 0 belongs to the CQEs of cancels, which nobody waits for.

Some things that a CQE may say are no result, and send the op round once more: -ENOBUFS, all
provided buffers are out (they are back by the next enter); -EINTR, a signal came between;
-EAGAIN, an older kernel answers so for a non-blocking descriptor instead of waiting (poll, then
make the call ourselves); and the poll that this leads to.
"""

from __future__ import annotations

import collections
import contextlib
import errno
import functools
import os
import select
import time
import warnings
from typing import TYPE_CHECKING

from uringtrio._ops.op import POLLIN, Op
from uringtrio._ops.transfer import Notification
from uringtrio._ring.ring import SETUP_DEFER_TASKRUN, Ring

from .driver import Driver, IOStatistics, count_by_kind
from .wakeup import DRAIN_BYTES

if TYPE_CHECKING:
    import mmap
    from collections.abc import Callable, Sequence

    from uringtrio._ops.op import Multishot
    from uringtrio._ring.options import RingOptions

# A call that a signal has interrupted, in a worker or not: -512 is ERESTARTSYS.
INTERRUPTED = frozenset({-errno.EINTR, -512})

# Events that end every poll.
POLL_BROKEN = select.POLLERR | select.POLLHUP | select.POLLNVAL

CQE_F_BUFFER = 1 << 0
CQE_F_MORE = 1 << 1
CQE_BUFFER_SHIFT = 16

# A cancel can be spent without effect: it interrupts a send that a kernel worker carries out, and
# MSG_WAITALL takes what was sent until then for progress and goes on. So a cancel is repeated until
# its op has ended; the first one is enough in all other cases.
CANCEL_AGAIN_NS = 10_000_000

# How long `close` waits for ops that a kernel worker will not let go of.
DRAIN_SECONDS = 5.0

_leaked: list[object] = []


class _Wake(Op):
    """Receives the bytes of wakes. Always in flight; its completions stay inside the driver."""

    __slots__ = ("_memory", "_pin")

    def __init__(self, fd: int, ring: Ring) -> None:
        super().__init__(fd, POLLIN)
        self.is_indirect = True
        self._memory = bytearray(DRAIN_BYTES)
        self._pin = ring.pin(self._memory, writable=True)

    def prepare(self, ring: Ring) -> int:
        return ring.recv(self.id, self.fd, self._pin, DRAIN_BYTES, 0)

    def perform(self) -> int:
        return 0


class UringDriver(Driver):
    """Carries out ops on a ring of its own."""

    __slots__ = (
        "_backlog",
        "_buffers",
        "_cancelled",
        "_cancels",
        "_early",
        "_entered_id",
        "_epolls",
        "_eventfd",
        "_ops",
        "_ring",
        "_wake_op",
    )

    name = "io_uring"

    def __init__(self, options: RingOptions, reason: str) -> None:
        self._ring = ring = Ring(options)
        super().__init__(f"{reason} ({ring.tier})")
        self._ops: dict[int, Op] = {}
        # `_last_id` as it was at the last enter: ops and cancels are queued when they differ.
        self._entered_id = 0
        self._cancels = 0
        # Ops that were cancelled and have not ended, as far as was looked: id to when to cancel
        # again, by `time.monotonic_ns`.
        self._cancelled: dict[int, int] = {}
        # Completed while `end` waited: for the next `wait`.
        self._early: list[Op] = []
        # See `_poll_through_epoll`; by the op's id.
        self._epolls: dict[int, select.epoll] = {}
        # See `fileno`; -1 until somebody asks.
        self._eventfd = -1
        # What found the submission queue full, in order.
        self._backlog: collections.deque[Callable[[], int]] = collections.deque()
        # The pool's memory, the size of each buffer, and where to put ids to give back.
        self._buffers: tuple[mmap.mmap | bytes, int, memoryview] = (b"", 0, memoryview(b""))
        if ring.buffers is not None:
            self._buffers = (ring.buffers.memory, ring.buffers.size, ring.buffers.returned)
            # Without deferred task work (Linux 6.1) it would take data at any time, and not only
            # inside an enter. A kernel that has that and no multishot says so, see `ended`.
            self.has_multishot = bool(ring.flags & SETUP_DEFER_TASKRUN)
        self._wake_op = _Wake(self._wakeup.reader.fileno(), ring)
        self.submit(self._wake_op)
        try:
            # A filter may allow the setup and deny this.
            self.wait(0)
        except OSError:
            self._wakeup.close()
            ring.close()
            raise

    def submit(self, op: Op) -> None:
        self.last_id = op.id = op_id = self.last_id + 1
        self._ops[op_id] = op
        try:
            is_full = op.prepare(self._ring)
        except BaseException:
            # It refused its arguments: nothing was submitted.
            del self._ops[op_id]
            raise
        if is_full:
            self._queue(functools.partial(op.prepare, self._ring))

    def _queue(self, prepare: Callable[[], int]) -> None:
        """The submission queue is full: make room, or else keep `prepare` for the next wait."""
        if not self._backlog:
            self._ring.flush()
            if prepare() == 0:
                return
        self._backlog.append(prepare)

    def cancel(self, op: Op) -> None:
        self._cancels += 1
        self._cancelled[op.id] = time.monotonic_ns() + CANCEL_AGAIN_NS
        self._submit_cancel(op.id)

    def _submit_cancel(self, op_id: int) -> None:
        # Counts like an op, so that `wait` knows that something is queued.
        self.last_id += 1
        cancel = functools.partial(self._ring.cancel, op_id)
        # Never before the op itself, which may be in the backlog.
        if self._backlog or cancel():
            self._queue(cancel)

    def end(self, op: Multishot) -> None:
        # The next enter carries out the cancel before any deferred task work, so that `op` takes
        # nothing more from the kernel than what is in the completion queue already.
        op_id = op.id
        self.cancel(op)
        while op.id == op_id:
            self._early = list(self.wait(0))
        # The wake of another thread may have been among what came.
        self.wake()

    def _cancel_again(self, timeout_ns: int) -> int:
        """Repeat the cancels that are due; return how long to wait at most, for the next one."""
        now = time.monotonic_ns()
        for op_id, due in list(self._cancelled.items()):
            if op_id not in self._ops:
                del self._cancelled[op_id]
            elif due <= now:
                self._cancelled[op_id] = now + CANCEL_AGAIN_NS
                self._submit_cancel(op_id)
        if not self._cancelled or 0 <= timeout_ns <= CANCEL_AGAIN_NS:
            return timeout_ns
        return CANCEL_AGAIN_NS

    def wait(self, timeout_ns: int) -> Sequence[Op]:  # noqa: C901  # hot: a call for each CQE
        if self._cancelled:
            timeout_ns = self._cancel_again(timeout_ns)
        if (
            timeout_ns == 0
            and self._entered_id == self.last_id
            and not self._backlog
            and not self._ring.has_news()
        ):
            return ()
        self._entered_id = self.last_id
        while self._backlog and self._backlog[0]() == 0:
            self._backlog.popleft()
        if self._backlog:
            # There is more to submit than one enter can take.
            timeout_ns = 0
        get, pop = self._ops.get, self._ops.pop
        done, self._early = self._early, []
        memory, size, returned = self._buffers
        returned_count = 0
        for op_id, res, flags in self._ring.enter(timeout_ns):
            op = get(op_id) if flags & CQE_F_MORE else pop(op_id, None)
            if op is None:
                continue
            if flags & CQE_F_BUFFER:
                # Copied and given back here rather than by the waiter, so that no buffer is
                # out for longer than one wait; and inlined, for 70 ns (benchmarks/echo.py).
                buffer = flags >> CQE_BUFFER_SHIFT
                start = buffer * size
                data = memory[start : start + res] if res > 0 else b""
                returned[returned_count] = buffer
                returned_count += 1
                if op.is_indirect:
                    # Only a `Multishot` is that with a provided buffer.
                    op.more(data)  # type: ignore[attr-defined]  # as just said
                    if not flags & CQE_F_MORE:
                        op.ended(res)  # type: ignore[attr-defined]
                    continue
                op.value = data
            elif res <= 0 or op.is_indirect:
                if self._goes_on(op, res, flags):
                    continue
                res = op.res  # noqa: PLW2901  # what `perform` returned after a poll
                op.pins = None
            else:
                op.value = res
                op.pins = None
            op.res = res
            done.append(op)
        self._ring.returned_count = returned_count
        return done

    def _goes_on(self, op: Op, res: int, flags: int) -> bool:
        """Handle the rarer CQEs: say whether `op` is still under way, else set its result."""
        if type(op) is Notification:
            return True
        op.res = res
        if op.is_multishot:
            op.ended(res)  # type: ignore[attr-defined]  # as just said
            return True
        if flags & CQE_F_MORE:
            # It has ended, and the kernel goes on reading the data, until one more CQE.
            self._ops[op.id] = Notification(op)
        if op is self._wake_op:
            if op.interruption is None:
                self.submit(op)
            return True
        if res < 0:
            self._epolls.pop(op.id, None)
            if op.interruption is None and self._is_tried_again(op, res):
                return True
        elif op.is_polled and not self._finish_polled(op, res):
            return True
        op.is_indirect = op.is_polled = False
        if op.res >= 0:
            op.value = op.collect(op.res)
        return False

    def _finish_polled(self, op: Op, events: int) -> bool:
        """The poll of `op` found `events`: make the call; say whether that was the end of it."""
        if self._epolls.pop(op.id, None) is not None:
            events = op.interest
        elif not events & (op.interest | POLL_BROKEN):
            self._poll_through_epoll(op)
            return False
        try:
            op.res = op.after_poll(events)
        except BlockingIOError:
            if op.interruption is None:
                self._poll(op)
                return False
            op.res = -errno.ECANCELED
        except OSError as exc:
            op.res = -(exc.errno or errno.EIO)
        return True

    def _is_tried_again(self, op: Op, res: int) -> bool:
        if res == -errno.ENOBUFS or (res in INTERRUPTED and op.waits_on_eagain):
            self.submit(op)
        elif res == -errno.EAGAIN and op.interest and op.waits_on_eagain:
            self._poll(op)
        else:
            return False
        return True

    def _poll(self, op: Op) -> None:
        op.is_indirect = op.is_polled = True
        self.last_id = op.id = self.last_id + 1
        self._ops[op.id] = op
        poll = functools.partial(self._ring.poll, op.id, op.fd, op.interest)
        if poll():
            self._queue(poll)

    def _poll_through_epoll(self, op: Op) -> None:
        """Wait for `op.interest` and not for the peer's end of stream.

        POLL_ADD reports POLLRDHUP whether it was asked for or not, at once and for ever, so that
        a ring cannot wait for POLLOUT on a half-closed socket; an epoll set can, and the ring can
        poll that.
        """
        epoll = select.epoll()
        epoll.register(op.fd, op.interest | select.EPOLLONESHOT)
        self.last_id = op.id = self.last_id + 1
        self._ops[op.id] = op
        self._epolls[op.id] = epoll
        poll = functools.partial(self._ring.poll, op.id, epoll.fileno(), POLLIN)
        if poll():
            self._queue(poll)

    def fileno(self) -> int:
        # Not the ring's own descriptor: with deferred task work that does not wake who polls it.
        if self._eventfd == -1:
            self._eventfd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
            self._ring.eventfd(self._eventfd)
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._eventfd)
        return self._eventfd

    def close(self) -> None:
        if self._eventfd != -1:
            os.close(self._eventfd)
            self._eventfd = -1
        if self._ring.is_poisoned:
            self._wakeup.close()
            return
        give_up = time.monotonic() + DRAIN_SECONDS
        for op in list(self._ops.values()):
            if op.interruption is None:
                op.interruption = _RUN_IS_OVER
                self.cancel(op)
        while self._ops and time.monotonic() < give_up:
            try:
                done = self.wait(10_000_000)
            except OSError:
                break  # The ring is unusable; what is in flight is leaked, as below.
            for op in done:
                op.finish_unclaimed()
        self._wakeup.close()
        if not self._ops:
            self._ring.close()
            return
        # The kernel may still write to what these ops hold, so neither they nor the ring may go.
        _leaked.append((self._ring, dict(self._ops)))
        kinds = count_by_kind(list(self._ops.values()))
        warnings.warn(
            f"the kernel did not end {kinds} within {DRAIN_SECONDS:g} s of the end of the run; "
            "their memory is left allocated",
            ResourceWarning,
            stacklevel=2,
        )

    def statistics(self) -> IOStatistics:
        enters, sqes, cqes, overflows = self._ring.counters()
        waiting = [op for op in self._ops.values() if op is not self._wake_op]
        return IOStatistics(
            driver=self.name,
            reason=self.reason,
            enters=enters,
            sqes=sqes,
            cqes=cqes,
            overflows=overflows,
            cancels=self._cancels,
            in_flight=count_by_kind(waiting),
        )


class _RunIsOver:
    """The interruption of ops whose run has ended around them."""

    def exception(self) -> BaseException:
        return RuntimeError("the run is over")

    def ended(self) -> None:
        pass


_RUN_IS_OVER = _RunIsOver()
