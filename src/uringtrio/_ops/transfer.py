"""The ops that move bytes which no one looks at: from file to socket, between descriptors.

Nothing of it passes through the memory of the process, which would cost two copies.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from .attempt import Attempt
from .net import MSG_NOSIGNAL, Send, SocketOp
from .op import POLLOUT, Op

if TYPE_CHECKING:
    import socket

    from uringtrio._ring.ring import Ring

    from .net import Buffer

SPLICE_F_NONBLOCK = 2
# TCP need not send a segment that is not full: what comes next fills it.
SPLICE_F_MORE = 4

# What one call transfers at most, whatever it is asked for: MAX_RW_COUNT, send(2).
TRANSFER_BYTES_MAX = 0x7FFFF000

# What one `SendFile` takes at most: it keeps the run busy for so long.
SEND_FILE_BYTES = 1 << 20
# What sendfile(2) has in its own pipe at a time. Through a larger one of ours the same costs a
# third less CPU (benchmarks/transfer.py).
SENDFILE_PIPE_BYTES = 1 << 16


class Splice(Op):
    """splice(2) between a pipe and another descriptor: returns how many bytes, 0 at the end.

    The pipe must be ready: empty, or with `count` bytes in it. If the other descriptor has
    readiness, it is waited for, by a ring too: a kernel worker that blocks in a splice costs a
    thread, and could not be cancelled. If it has none, a worker or a thread makes the call.

    Args:
        source: the descriptor to take from.
        sink: the descriptor to give to.
        count: the most bytes to move, at least 1.
        waits_for: the one of the two that has readiness, non-blocking; -1 for a file on a disk.
        interest: POLLIN or POLLOUT, of that.
        offset: where in the file `source` to begin; -1 is its position, which then moves.
        is_more: whether more will be given to the sink at once.
    """

    __slots__ = ("_count", "_flags", "_offset", "_sink", "_source")

    def __init__(  # noqa: PLR0913  # two descriptors, and how to wait for them
        self,
        source: int,
        sink: int,
        count: int,
        *,
        waits_for: int = -1,
        interest: int = 0,
        offset: int = -1,
        is_more: bool = False,
    ) -> None:
        super().__init__(waits_for, interest)
        self._source = source
        self._sink = sink
        self._count = count
        self._offset = offset
        # A file has no flag of its own for this, and a thread or worker may wait for it.
        self._flags = SPLICE_F_NONBLOCK * bool(interest) | SPLICE_F_MORE * is_more

    def prepare(self, ring: Ring) -> int:
        if self.interest:
            self.is_indirect = self.is_polled = True
            return ring.poll(self.id, self.fd, self.interest)
        return ring.splice(self.id, self._source, self._offset, self._sink, -1, self._count, 0)

    def perform(self) -> int:
        return os.splice(
            self._source,
            self._sink,
            self._count,
            offset_src=None if self._offset < 0 else self._offset,
            flags=self._flags,
        )


class SendFile(Attempt, SocketOp):
    """sendfile(2) of what is in memory: returns how many bytes went out, 0 at the end of the file.

    What is not in memory keeps the run waiting for the disk.

    Args:
        sock: non-blocking.
        file: the descriptor of a file on a disk.
        offset: where in the file to begin; its position does not matter and stays.
        count: the most bytes to send, at least 1.
        pipe: an empty one to send through, with whatever it holds at most, and where to drop what
            the socket does not take: (reader, writer, the null device). None is the kernel's.
        is_more: whether more will be sent at once.
    """

    __slots__ = ("_count", "_file", "_flags", "_offset", "_pipe")

    def __init__(
        self,
        sock: socket.socket,
        file: int,
        offset: int,
        count: int,
        pipe: tuple[int, int, int] | None = None,
        *,
        is_more: bool = False,
    ) -> None:
        super().__init__(sock, POLLOUT)
        self._file = file
        self._offset = offset
        self._count = min(count, SEND_FILE_BYTES)
        self._pipe = pipe
        self._flags = SPLICE_F_NONBLOCK | SPLICE_F_MORE * is_more

    def prepare(self, ring: Ring) -> int:
        return self.prepare_poll(ring)

    def perform(self) -> int:
        if self._pipe is None:
            return os.sendfile(self.fd, self._file, self._offset, self._count)
        reader, writer, null = self._pipe
        size = os.splice(self._file, writer, self._count, offset_src=self._offset)
        sent = 0
        try:
            if size:
                sent = os.splice(reader, self.fd, size, flags=self._flags)
        finally:
            # The pipe is everybody's, and the file has it still.
            rest = size - sent
            while rest:
                rest -= os.splice(reader, null, rest)
        return sent


class SendZC(Send):
    """send(2) that lets the network card read the data where it is: as `Send` for the waiter.

    The kernel reads the data for longer, until the peer has acknowledged it: a ring's second
    completion says when that is over, see `Notification`. Without a ring it is a `Send`.
    Source: io_uring_prep_send_zc(3), since Linux 6.0.
    """

    __slots__ = ()

    def __init__(self, sock: socket.socket, data: Buffer, flags: int = MSG_NOSIGNAL) -> None:
        super().__init__(sock, data, flags)

    def prepare(self, ring: Ring) -> int:
        # There may be a second completion, which the driver looks for in these only.
        self.is_indirect = True
        pins = self.pins if type(self.pins) is bytes else self._pin(ring)
        size = min(len(pins), TRANSFER_BYTES_MAX)
        return ring.send_zc(self.id, self.fd, pins, size, self.flags)


class Notification(Op):
    """What is left in flight of a `SendZC` that has ended, until the kernel is done with its data.

    It is never submitted, nobody waits for it, and no cancel ends it.
    """

    __slots__ = ()

    def __init__(self, op: Op) -> None:
        super().__init__(op.fd)
        self.id = op.id
        self.pins = op.pins

    def prepare(self, ring: Ring) -> int:
        del ring
        raise AssertionError("a notification is not submitted")

    def perform(self) -> int:
        raise AssertionError("a notification is not submitted")
