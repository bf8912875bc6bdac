"""The ops of datagram sockets, which are tried before they are submitted.

Sending a datagram hardly ever waits, and one that has come is received by one system call. On a
ring each needs a message header, a vector and a name in memory of their own, which to fill in takes
ten times as long as the call (benchmarks/network.py, datagrams). So the call is made at once, and
the driver has something to do only if it would have to wait.
"""

from __future__ import annotations

from socket import MSG_PEEK
from typing import TYPE_CHECKING, Any

from uringtrio._errors import BusyResourceError

from .net import MSG_NOSIGNAL, NEVER_AHEAD, SendMsg, SocketOp
from .op import POLLIN, Op

if TYPE_CHECKING:
    import socket

    from uringtrio._ring.ring import Ring

    from .net import Buffer
    from .receive_ahead import RecvMultishot
    from .sockaddr import Address


class Attempt(Op):
    """An op that is performed when it is armed, and submitted if it would have to wait."""

    __slots__ = ()

    def arm(self, task: Any) -> None:
        if task._scope._effectively_cancelled or task._ki_pending:
            task._interrupt_now()
            return
        try:
            res = self.perform()
        except BlockingIOError:
            # A driver without a ring need not try again at once.
            self.arms_first = True
            super().arm(task)
            return
        except Exception as exc:  # noqa: BLE001  # it goes to the task, which made the call
            self.pins = None
            task._resume_with(exc)
            return
        # Until the task has resumed, the value is in here.
        self.waiter = task
        self.res = res
        self.value = self.collect(res)
        self.pins = None
        task._runner.runq.append(task)


class RecvFrom(Attempt, SocketOp):
    """recvfrom(2): returns (data, the sender's address).

    While it waits it holds no memory: a ring only polls.

    Attributes:
        size: the most bytes to receive; the rest of a longer datagram is lost.
        flags: MSG_* flags.
    """

    __slots__ = ("_received", "flags", "size")

    def __init__(self, sock: socket.socket, size: int = 0, flags: int = 0) -> None:
        super().__init__(sock, POLLIN)
        self.size = size
        self.flags = flags
        self._received: tuple[bytes, Address] | None = None

    def prepare(self, ring: Ring) -> int:
        return self.prepare_poll(ring)

    def perform(self) -> int:
        self._received = received = self.sock.recvfrom(self.size, self.flags)
        return len(received[0])

    def receive_from(self, source: RecvMultishot) -> tuple[bytes, Address] | None:
        """As `RecvInto.receive_from`: a stream's bytes, without an address."""
        if self.flags & NEVER_AHEAD:
            return None
        buffer = bytearray(self.size)
        count = source.take_into([buffer], is_peek=bool(self.flags & MSG_PEEK))
        return bytes(buffer[:count]), None

    def collect(self, res: int) -> tuple[bytes, Address] | None:
        del res
        received, self._received = self._received, None
        return received


class SendTo(Attempt, SendMsg):
    """sendto(2), or send(2) without an address.

    Args:
        sock: the socket.
        rival: an op in flight that waits to send through the same socket: if this one would have
            to wait too, it is refused with BusyResourceError.
    """

    __slots__ = ("_rival",)

    def __init__(self, sock: socket.socket, rival: Op | None = None) -> None:
        super().__init__(sock, (), (), 0, None)
        self._rival = rival

    def take(self, data: Buffer, flags: int, address: Address) -> None:
        """Set what to send, and where to."""
        self.pins = ([data], None)
        self._flags = flags
        self._address = address
        self.arms_first = False

    def perform(self) -> int:
        ((data,), _) = self.pins
        flags = self._flags | MSG_NOSIGNAL
        try:
            if self._address is None:
                return self.sock.send(data, flags)
            return self.sock.sendto(data, flags, self._address)
        except BlockingIOError:
            if self._rival is not None:
                raise BusyResourceError(
                    "another task is already sending through this socket"
                ) from None
            raise
