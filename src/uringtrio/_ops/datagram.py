"""The ops of datagram sockets, which are tried before they are submitted.

Sending a datagram hardly ever waits, and one that has come is received by one system call. On a
ring each needs a message header, a vector and a name in memory of their own, which to fill in takes
ten times as long as the call (benchmarks/network.py, datagrams). So the call is made at once, and
the driver has something to do only if it would have to wait.
"""

from __future__ import annotations

import contextlib
import fcntl
import socket
import struct
import termios
from socket import AF_UNIX
from typing import TYPE_CHECKING, Any

from uringtrio._errors import BusyResourceError

from .attempt import Attempt
from .net import MSG_NOSIGNAL, MSG_PEEK, NEVER_AHEAD, SendMsg, SocketOp
from .op import POLLIN, Op

if TYPE_CHECKING:
    from uringtrio._ring.ring import Ring

    from .net import Buffer
    from .receive_ahead import RecvMultishot
    from .sockaddr import Address


# How many receives are not tried after one that was tried in vain, which costs as much as the
# waiting: so it is with a peer that answers.
WAITS_AFTER_WAIT = 4


class RecvFrom(Attempt, SocketOp):
    """recvfrom(2): returns (data, the sender's address).

    While it waits it holds no memory: a ring only polls.

    Attributes:
        size: the most bytes to receive; the rest of a longer datagram is lost.
        flags: MSG_* flags.
    """

    __slots__ = ("_received", "_waits", "flags", "size")

    def __init__(self, sock: socket.socket, size: int = 0, flags: int = 0) -> None:
        super().__init__(sock, POLLIN)
        self.size = size
        self.flags = flags
        self._received: tuple[bytes, Address] | None = None
        # How many of the next receives are not to be tried.
        self._waits = 0

    def arm(self, task: Any) -> None:
        # Readiness is not about what these ask for.
        if self._waits and not self.flags & NEVER_AHEAD:
            self._waits -= 1
            Op.arm(self, task)
            return
        self.arms_first = False
        super().arm(task)
        if self.arms_first:
            self._waits = WAITS_AFTER_WAIT

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


def _has_room(sock: socket.socket) -> bool:
    """Say whether it is not the buffer of `sock` itself that is full.

    Not by readiness, which comes only when three quarters of it are free.
    """
    (queued_bytes,) = struct.unpack("i", fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, bytes(4)))
    return bool(queued_bytes < sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF))


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
        if self.arms_first:
            # The last one had to wait, maybe for another descriptor.
            self.arms_first = False
            self.fd = self.sock.fileno()

    def prepare(self, ring: Ring) -> int:
        # With the pins of a `_Lookout`, the ring could only make the call too early.
        return super().prepare(ring) if self.pins[1] is None else self.prepare_poll(ring)

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
            # Not while it waits: the driver has it under the descriptor.
            if (
                not self.id
                and self._address is not None
                and self.sock.family == AF_UNIX
                and _has_room(self.sock)
            ):
                self._look_out(data)
            raise

    def _look_out(self, data: Buffer) -> None:
        """Wait for room where the datagram is to go, and not here.

        A Unix socket can be written to, says the kernel, when its own buffer has room. Whether the
        receiver's queue has, it says only of sockets that are connected to that.
        """
        # If it fails, the receiver is gone, as the next try will say, or descriptors are short.
        with contextlib.suppress(OSError):
            lookout = _Lookout(socket.socket(AF_UNIX, socket.SOCK_DGRAM))
            lookout.sock.setblocking(False)
            lookout.sock.connect(self._address)
            self.fd = lookout.sock.fileno()
            self.pins = ([data], lookout)


class _Lookout:
    """A socket that is connected to where another one sends to; closed when it is forgotten."""

    __slots__ = ("sock",)

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock

    def __del__(self) -> None:
        self.sock.close()
