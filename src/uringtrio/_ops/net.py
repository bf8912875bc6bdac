"""The ops of sockets. Each holds the standard library's socket object, which owns the fd."""

from __future__ import annotations

import array
import errno
import os
import select
import socket
from typing import TYPE_CHECKING, Any

from . import sockaddr
from .attempt import Attempt
from .op import POLLIN, POLLOUT, Op

if TYPE_CHECKING:
    from collections.abc import Sequence

    from uringtrio._ring.ring import Ring

    from .receive_ahead import RecvMultishot
    from .sockaddr import Address, ControlMessage

# Plain ints: an operator of their enum takes 1.5 us each time.
MSG_CMSG_CLOEXEC = int(socket.MSG_CMSG_CLOEXEC)
MSG_NOSIGNAL = int(socket.MSG_NOSIGNAL)
MSG_PEEK = int(socket.MSG_PEEK)
MSG_WAITALL = int(socket.MSG_WAITALL)
# These ask for other things than the bytes of a stream in their order.
NEVER_AHEAD = int(socket.MSG_OOB | getattr(socket, "MSG_ERRQUEUE", 0))

# From how many bytes on a send is a `SendLarge`.
LARGE_BYTES_MIN = 1 << 14

Buffer = bytes | bytearray | memoryview

# (a socket of the standard library) -> its family as an int. Its `family` property looks that up
# in an enum, for 0.3 to 1.1 us each time (benchmarks/accept.py).
_family_of = socket.SocketType.family.__get__


class SocketOp(Op):
    """An op on a socket.

    Attributes:
        sock: keeps the descriptor open until the last completion.
    """

    __slots__ = ("sock",)

    def __init__(self, sock: socket.socket, interest: int) -> None:
        super().__init__(sock.fileno(), interest)
        self.sock = sock

    def prepare_poll(self, ring: Ring) -> int:
        """Wait for readiness instead: for what the ring cannot express; then `perform`."""
        self.is_indirect = self.is_polled = True
        return ring.poll(self.id, self.fd, self.interest)


class Recv(SocketOp):
    """recv(2) from a stream: returns 1 to `size` bytes, or none at the end of the stream.

    On a ring the bytes come in a provided buffer, so that waiting holds no memory. A provided
    buffer may be shorter than `size`, which a stream allows; for all else there is RecvInto.

    Attributes:
        size: the most bytes to receive, at least 1.
    """

    __slots__ = ("_data", "size")

    def __init__(self, sock: socket.socket, size: int = 0) -> None:
        super().__init__(sock, POLLIN)
        self.size = size
        # The buffer of our own, or what `perform` received.
        self._data: bytes | bytearray = b""

    def prepare(self, ring: Ring) -> int:
        if ring.buffers is None:
            self._data = bytearray(self.size)
            self.pins = ring.pin(self._data, writable=True)
            self.is_indirect = True
            return ring.recv(self.id, self.fd, self.pins, self.size, 0)
        return ring.recv_provided(self.id, self.fd, self.size, 0)

    def perform(self) -> int:
        self._data = data = self.sock.recv(self.size)
        # A short read emptied the socket: the next receive will most likely have to wait.
        self.arms_first = len(data) < self.size
        return len(data)

    def collect(self, res: int) -> bytes:
        data, self._data = self._data, b""
        return data if type(data) is bytes else bytes(data[:res])

    def receive_from(self, source: RecvMultishot) -> bytes:
        """Receive what `source` has ahead, instead of being submitted; there is something."""
        return source.take(self.size)


class RecvInto(SocketOp):
    """recv(2) into the caller's buffer, which is pinned until the last completion.

    Attributes:
        pins: (the buffer, the ring's pin of it); the last completion lets it go.
    """

    __slots__ = ("_flags", "_received")

    def __init__(self, sock: socket.socket, buffer: memoryview, flags: int) -> None:
        super().__init__(sock, POLLIN)
        self.pins = (buffer, None)
        self._flags = flags
        # What MSG_WAITALL has gathered so far without a ring.
        self._received = 0

    def prepare(self, ring: Ring) -> int:
        buffer, _ = self.pins
        pin = ring.pin(buffer, writable=True)
        self.pins = (buffer, pin)
        return ring.recv(self.id, self.fd, pin, len(pin), self._flags)

    def perform(self) -> int:
        buffer, _ = self.pins
        if not self._flags & MSG_WAITALL:
            return self.sock.recv_into(buffer, 0, self._flags)
        flags = self._flags & ~MSG_WAITALL
        while self._received < len(buffer):
            count = self.sock.recv_into(buffer[self._received :], 0, flags)
            if not count:
                break
            self._received += count
        return self._received

    def res_on_cancel(self) -> int:
        return self._received or -errno.ECANCELED

    def receive_from(self, source: RecvMultishot) -> int | None:
        """As `Recv.receive_from`; None if the flags ask for what cannot be ahead."""
        if self._flags & NEVER_AHEAD:
            return None
        return source.take_into(self.pins[:1], is_peek=bool(self._flags & MSG_PEEK))

    def rest(self, count: int) -> RecvInto | None:
        """Return an op for what MSG_WAITALL still wants after `count` bytes; None if nothing."""
        buffer, _ = self.pins
        is_all = count == len(buffer) or not self._flags & MSG_WAITALL
        if is_all or self._flags & MSG_PEEK:
            return None
        return RecvInto(self.sock, buffer[count:], self._flags)


class Send(SocketOp):
    """send(2): returns how many bytes went out; with MSG_WAITALL all, unless it is interrupted.

    Attributes:
        pins: the data, or (the data, the ring's pin of it); the last completion lets it go.
        flags: MSG_* flags. MSG_NOSIGNAL must be among them.
        sent: how many bytes readiness has sent so far; whoever sets `pins` sets it to 0.
    """

    __slots__ = ("flags", "sent")

    def __init__(self, sock: socket.socket, data: Buffer = b"", flags: int = MSG_NOSIGNAL) -> None:
        super().__init__(sock, POLLOUT)
        self.pins = data
        self.flags = flags
        self.sent = 0

    def prepare(self, ring: Ring) -> int:
        pins = self.pins
        # cffi passes the address of bytes itself, which never move.
        if type(pins) is not bytes:
            pins = self._pin(ring)
        return ring.send(self.id, self.fd, pins, len(pins), self.flags)

    def _pin(self, ring: Ring) -> Any:
        """Return a pin of the data, which stays in `pins` for a second `prepare` or `perform`."""
        data = self._data()
        pin = ring.pin(data, writable=False)
        self.pins = (data, pin)
        return pin

    def _data(self) -> Buffer:
        pins = self.pins
        return pins[0] if type(pins) is tuple else pins  # type: ignore[no-any-return]

    def perform(self) -> int:
        if not self.flags & MSG_WAITALL:
            return self.sock.send(self._data(), self.flags)
        # As the ring does it: keep on until all is out, and let a cancel report the count.
        rest = memoryview(self._data()).cast("B")
        flags = self.flags & ~MSG_WAITALL
        while True:
            try:
                self.sent += self.sock.send(rest[self.sent :], flags)
            except OSError as exc:
                # What went out counts; a connection that is broken says so again.
                if self.sent and not isinstance(exc, BlockingIOError):
                    return self.sent
                raise
            if self.sent == len(rest):
                return self.sent

    def res_on_cancel(self) -> int:
        return self.sent or -errno.ECANCELED


class SendLarge(Attempt, Send):
    """A `Send` of as much as there is room for; submitted, and then of all, if there is none.

    From `LARGE_BYTES_MIN` on, the system call costs less than a request and its completion: an echo
    of 100 KiB takes a seventh less time. Shorter ones are sent faster as a batch of the ring,
    although that takes more instructions (benchmarks/echo.py).
    """

    __slots__ = ()

    def perform(self) -> int:
        return self.sock.send(self._data(), self.flags & ~MSG_WAITALL)


class RecvMsg(SocketOp):
    """recvmsg(2): data, control messages, flags and the sender's address.

    Attributes:
        pins: (the buffers, what the ring needs beside them); the last completion lets them go.
    """

    __slots__ = ("_control_size", "_flags", "_received")

    def __init__(
        self, sock: socket.socket, buffers: Sequence[Any], control_size: int, flags: int
    ) -> None:
        super().__init__(sock, POLLIN)
        self.pins = (buffers, None)
        self._control_size = control_size
        self._flags = flags
        self._received: tuple[list[ControlMessage], int, Address] | None = None

    def prepare(self, ring: Ring) -> int:
        if _family_of(self.sock) not in sockaddr.NATIVE_FAMILIES:
            return self.prepare_poll(ring)
        buffers, _ = self.pins
        name = ring.allocate(128)
        control = ring.allocate(self._control_size) if self._control_size else ring.null()
        message, keep = ring.new_message(
            [ring.pin(buffer, writable=True) for buffer in buffers],
            name,
            128,
            control,
            self._control_size,
        )
        self.pins = (buffers, (message, keep, name, control, ring))
        self.is_indirect = True
        return ring.recvmsg(self.id, self.fd, message, self._flags | MSG_CMSG_CLOEXEC)

    def perform(self) -> int:
        buffers, _ = self.pins
        size, control, flags, address = self.sock.recvmsg_into(
            buffers, self._control_size, self._flags | MSG_CMSG_CLOEXEC
        )
        self._received = control, flags & ~MSG_CMSG_CLOEXEC, address
        return size

    def collect(self, res: int) -> int:
        if self._received is None:
            message, _, name, control, ring = self.pins[1]
            raw = ring.copy_out(control, message.msg_controllen) if self._control_size else b""
            flags = message.msg_flags & ~MSG_CMSG_CLOEXEC
            address = sockaddr.unpack(ring.copy_out(name, message.msg_namelen))
            self._received = list(sockaddr.unpack_control(raw)), flags, address
        return res

    def receive_from(self, source: RecvMultishot) -> int | None:
        """As `RecvInto.receive_from`; a stream's bytes come without a message around them."""
        if self._flags & NEVER_AHEAD:
            return None
        self._received = [], 0, None
        return source.take_into(self.pins[0], is_peek=bool(self._flags & MSG_PEEK))

    def message(self) -> tuple[list[ControlMessage], int, Address]:
        """Return what came with the data: (control messages, flags, address)."""
        assert self._received is not None
        return self._received

    def discard(self) -> None:
        control, _, _ = self.message()
        for level, kind, data in control:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                for fd in array.array("i", data[: len(data) - len(data) % 4]):
                    os.close(fd)


class SendMsg(SocketOp):
    """sendmsg(2): data from several buffers, with control messages, to an address or the peer.

    Attributes:
        pins: (the buffers, what the ring needs beside them); the last completion lets them go.
    """

    __slots__ = ("_address", "_control", "_flags")

    def __init__(
        self,
        sock: socket.socket,
        buffers: Sequence[Any],
        control: Sequence[ControlMessage],
        flags: int,
        address: Address,
    ) -> None:
        super().__init__(sock, POLLOUT)
        self.pins = (buffers, None)
        self._control = control
        self._flags = flags
        self._address = address

    def prepare(self, ring: Ring) -> int:
        family = _family_of(self.sock)
        if self._address is not None and family not in sockaddr.NATIVE_FAMILIES:
            return self.prepare_poll(ring)
        name = b"" if self._address is None else sockaddr.pack(family, self._address)
        control = sockaddr.pack_control(self._control)
        buffers, _ = self.pins
        message, keep = ring.new_message(
            [ring.pin(buffer, writable=False) for buffer in buffers],
            ring.pin(name, writable=False) if name else ring.null(),
            len(name),
            ring.pin(control, writable=False) if control else ring.null(),
            len(control),
        )
        self.pins = (buffers, (message, keep))
        return ring.sendmsg(self.id, self.fd, message, self._flags | MSG_NOSIGNAL)

    def perform(self) -> int:
        buffers, _ = self.pins
        flags = self._flags | MSG_NOSIGNAL
        if self._address is None:
            return self.sock.sendmsg(buffers, self._control, flags)
        return self.sock.sendmsg(buffers, self._control, flags, self._address)


class Accept(SocketOp):
    """accept4(2): returns a descriptor that is close-on-exec and non-blocking."""

    __slots__ = ("_address", "_memory", "_ring")

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock, POLLIN)
        self._address: Address = None
        self._memory: tuple[Any, Any] | None = None
        self._ring: Any = None

    def prepare(self, ring: Ring) -> int:
        if self._memory is None:
            self._memory = ring.new_address()
            self._ring = ring
        name, size = self._memory
        size[0] = 128
        flags = socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
        return ring.accept(self.id, self.fd, name, size, flags)

    def perform(self) -> int:
        conn, self._address = self.sock.accept()
        conn.setblocking(False)
        return conn.detach()

    def address(self) -> Address:
        """Return the address of the peer that was accepted.

        None for a family that only the standard library can read; then ask `getpeername`.
        """
        if self._memory is None:
            return self._address
        if _family_of(self.sock) not in sockaddr.NATIVE_FAMILIES:
            return None
        name, size = self._memory
        return sockaddr.unpack(self._ring.copy_out(name, size[0]))

    def discard(self) -> None:
        os.close(self.res)


class Connect(SocketOp):
    """connect(2) to a numeric address.

    EAGAIN is a failure here, and not to be waited for: the listener of a Unix socket has no room
    in its queue, and nothing tells when it has.
    """

    __slots__ = ("_address", "_is_under_way")
    waits_on_eagain = False

    def __init__(self, sock: socket.socket, address: Address) -> None:
        super().__init__(sock, POLLOUT)
        self._address = address
        self._is_under_way = False

    def prepare(self, ring: Ring) -> int:
        family = _family_of(self.sock)
        if family not in sockaddr.NATIVE_FAMILIES:
            return self.prepare_poll(ring)
        self.pins = packed = sockaddr.pack(family, self._address)
        return ring.connect(self.id, self.fd, packed, len(packed))

    def perform(self) -> int:
        if self._is_under_way:
            return -self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        try:
            self.sock.connect(self._address)
        except BlockingIOError as exc:
            if exc.errno != errno.EINPROGRESS:
                return -errno.EAGAIN
            self._is_under_way = True
            raise
        return 0


class Shutdown(SocketOp):
    """shutdown(2)."""

    __slots__ = ("_how",)
    is_instant = True

    def __init__(self, sock: socket.socket, how: int) -> None:
        super().__init__(sock, 0)
        self._how = how

    def prepare(self, ring: Ring) -> int:
        return ring.shutdown(self.id, self.fd, self._how)

    def perform(self) -> int:
        self.sock.shutdown(self._how)
        return 0


class Poll(Op):
    """poll(2) of one descriptor: returns the events that are there."""

    __slots__ = ()

    def __init__(self, fd: int, interest: int) -> None:
        super().__init__(fd, interest)
        self.arms_first = True

    def prepare(self, ring: Ring) -> int:
        self.is_indirect = self.is_polled = True
        return ring.poll(self.id, self.fd, self.interest)

    def after_poll(self, events: int) -> int:
        return events

    def perform(self) -> int:
        poll = select.poll()
        poll.register(self.fd, self.interest)
        for _, events in poll.poll(0):
            return events
        raise BlockingIOError
