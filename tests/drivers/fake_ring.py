"""A ring of Python, in which a test is the kernel."""

import errno
import functools

import uringtrio
from uringtrio._drivers import uring

OPCODES = (
    "nop", "recv", "recv_provided", "send", "recvmsg", "sendmsg", "accept", "connect", "shutdown",
    "close_fd", "poll", "read", "write", "cancel", "send_zc", "splice",
)  # fmt: skip


class Pin:
    """As what cffi makes: it has a length, and is no buffer itself."""

    def __init__(self, view):
        self.view = view

    def __len__(self):
        return len(self.view)


class FakeRing:
    """Takes SQEs and gives the CQEs that a test put into `cqes`.

    Attributes:
        sqes: (opcode, id, ...) of each SQE, in order.
        room: how many SQEs fit between two flushes.
        room_after_flush: what `room` is then; 0 means that flushing does not help.
        cqes: (id, res, flags), given out by the next enter.
    """

    buffers = None
    tier = "a ring of Python"
    is_poisoned = False

    def __init__(self, _options):
        self.sqes = []
        self.room = self.room_after_flush = 1000
        self.cqes = []
        self.enter_timeouts = []
        self.returned_count = 0
        self.is_closed = False
        for opcode in OPCODES:
            setattr(self, opcode, functools.partial(self._prepare, opcode))

    def _prepare(self, opcode, op_id, *args):
        if self.room == 0:
            return -errno.EBUSY
        self.room -= 1
        self.sqes.append((opcode, op_id, *args))
        return 0

    def flush(self):
        self.room = self.room_after_flush
        return 0

    def enter(self, timeout_ns):
        self.room = self.room_after_flush = 1000
        self.enter_timeouts.append(timeout_ns)
        cqes, self.cqes = self.cqes, []
        return iter(cqes)

    def has_news(self):
        return bool(self.cqes)

    def pin(self, buffer, *, writable):
        view = memoryview(buffer)
        assert not (writable and view.readonly)
        return Pin(view)

    def counters(self):
        return (len(self.enter_timeouts), len(self.sqes), 0, 0)

    def close(self):
        self.is_closed = True

    def last(self, opcode):
        """Return the id of the newest SQE, which must be of `opcode`."""
        assert self.sqes[-1][0] == opcode
        return self.sqes[-1][1]


class Fake:
    """A driver over a FakeRing, `ring`; it answers cancels when it is closed."""

    def __init__(self):
        self.driver = uring.UringDriver(uringtrio.RingOptions(), "for a test")
        self.ring = self.driver._ring

    def answer(self, op_id, res, flags=0):
        self.ring.cqes.append((op_id, res, flags))
        return list(self.driver.wait(0))

    def submit(self, op):
        self.driver.submit(op)
        return op

    def close(self):
        enter = self.ring.enter

        def cancelling_enter(timeout_ns):
            for op_id in list(self.driver._ops):
                self.ring.cqes.append((op_id, -errno.ECANCELED, 0))
            return enter(timeout_ns)

        self.ring.enter = cancelling_enter
        self.driver.close()
        assert self.ring.is_closed


class Stop:
    def exception(self):
        return RuntimeError("stopped by the test")

    def ended(self):
        pass


def cancel(fake, op):
    op.interruption = Stop()
    fake.driver.cancel(op)
