"""The mesh: from every shard to every other one, objects and calls, and sockets too.

Each shard has one inbox, of which all have an outbox. Between threads that is a shared channel;
between processes a pair of sockets that keep messages apart (SOCK_SEQPACKET), so that any number of
processes write to one end, each message whole, and descriptors travel along. The kernel limits how
much waits there, and tells the senders when the process that reads has gone.

Source: unix(7), SOCK_SEQPACKET and SCM_RIGHTS.
"""

from __future__ import annotations

import array
import errno
import os
import socket as stdlib
from typing import TYPE_CHECKING, Any, Protocol

from uringtrio._errors import BrokenResourceError
from uringtrio._net.socket import from_stdlib_socket
from uringtrio._sync.lock import StrictFIFOLock

from .channel_thread import open_thread_channel
from .parcel import (
    DESCRIPTORS_MAX,
    Parcel,
    ancillary_for,
    close_all,
    copy_for_shard,
    put_aside_in,
    unpack,
)

if TYPE_CHECKING:
    from .channel import SharedReceiveChannel, SharedSendChannel

# The sender's index, an async function or None, and its arguments or the object.
Message = tuple[int, Any, Any]

# How many messages wait for a shard in a thread; between processes the kernel limits the bytes.
WAITING_MAX = 64

# Longer ones go in a memory file: a message must fit into the buffer of the socket, which has
# 208 KiB by default.
INLINE_BYTES_MAX = 1 << 16

_ANCILLARY_BYTES = stdlib.CMSG_SPACE(DESCRIPTORS_MAX * 4)
_GONE = frozenset({errno.EPIPE, errno.ECONNRESET, errno.ENOTCONN, errno.ECONNREFUSED})


class Outbox(Protocol):
    """Where a shard puts what is for one other shard."""

    async def send(self, message: Message) -> None:
        """Send a message, and give away the sockets and channels in it.

        Raises:
            BrokenResourceError: that shard has ended.
            TypeError: the message cannot be pickled; between processes.

        Checkpoint: always. If it is cancelled, nothing was sent.
        """

    def close(self) -> None:
        """Let go of it."""


class Inbox(Protocol):
    """Where a shard finds what the others have sent."""

    async def receive(self) -> Message:
        """Wait for a message.

        Checkpoint: always. If it is cancelled, nothing was received.
        """

    def close(self) -> None:
        """Let the senders know that nobody reads any more."""


class ThreadOutbox:
    """An outbox within one process."""

    __slots__ = ("_channel",)

    def __init__(self, channel: SharedSendChannel[Message]) -> None:
        self._channel = channel

    async def send(self, message: Message) -> None:
        copy = copy_for_shard(message)
        try:
            await self._channel.send(copy)
        except BaseException:
            close_all(put_aside_in(copy))
            raise
        close_all(put_aside_in(message))

    def close(self) -> None:
        self._channel.close()


class SocketOutbox:
    """An outbox for another process."""

    __slots__ = ("_gate", "_sock")

    def __init__(self, sock: stdlib.socket) -> None:
        self._sock = from_stdlib_socket(sock)
        # Any number of tasks may send, and a socket has one at a time.
        self._gate = StrictFIFOLock()

    async def send(self, message: Message) -> None:
        try:
            parcel = Parcel(message)
        except Exception as exc:
            raise TypeError(f"cannot send {message[1:]!r} to another process: {exc}") from exc
        if len(parcel.fds) >= DESCRIPTORS_MAX:
            raise TypeError(f"cannot send more than {DESCRIPTORS_MAX - 1} descriptors at once")
        async with self._gate:
            if len(parcel.data) <= INLINE_BYTES_MAX:
                await self._send(b"\0" + parcel.data, parcel.fds)
            else:
                fd = _as_file(parcel.data)
                try:
                    await self._send(b"\1", [*parcel.fds, fd])
                finally:
                    os.close(fd)
        # They are the other shard's now.
        close_all(parcel.put_aside)

    async def _send(self, data: bytes, fds: list[int]) -> None:
        try:
            await self._sock.sendmsg([data], ancillary_for(fds), stdlib.MSG_NOSIGNAL)
        except OSError as exc:
            if exc.errno in _GONE:
                raise BrokenResourceError("the shard has ended") from exc
            raise

    def close(self) -> None:
        self._sock.close()


class SocketInbox:
    """The inbox of a process."""

    __slots__ = ("_sock",)

    def __init__(self, sock: stdlib.socket) -> None:
        self._sock = from_stdlib_socket(sock)

    async def receive(self) -> Message:
        data, ancillary, _, _ = await self._sock.recvmsg(
            1 + INLINE_BYTES_MAX, _ANCILLARY_BYTES, stdlib.MSG_CMSG_CLOEXEC
        )
        fds = array.array("i")
        for _level, _type, rights in ancillary:
            fds.frombytes(rights)
        if data[:1] == b"\1":
            with os.fdopen(fds.pop(), "rb") as file:
                return unpack(file.read(), fds.tolist())  # type: ignore[no-any-return]  # as sent
        return unpack(data[1:], fds.tolist())  # type: ignore[no-any-return]  # as above

    def close(self) -> None:
        self._sock.close()


def _as_file(data: bytes) -> int:
    """Return a memory file with `data` in it, to be read from its beginning."""
    fd = os.memfd_create("uringtrio message", os.MFD_CLOEXEC)
    try:
        with os.fdopen(fd, "wb", closefd=False) as file:
            file.write(data)
        os.lseek(fd, 0, os.SEEK_SET)
    except BaseException:
        os.close(fd)
        raise
    return fd


class Mesh:
    """The inboxes and outboxes of one shard, by index; it closes them.

    Args:
        inbox: the shard's own.
        outboxes: one to each shard, itself included.
    """

    __slots__ = ("inbox", "outboxes")

    def __init__(self, inbox: Inbox, outboxes: list[Outbox]) -> None:
        self.inbox = inbox
        self.outboxes = outboxes

    def close(self) -> None:
        """Let the others see that this shard has ended."""
        self.inbox.close()
        for outbox in self.outboxes:
            outbox.close()


class ThreadPosts:
    """The inboxes of all shards, before they are theirs; between threads."""

    __slots__ = ("_pairs",)

    def __init__(self, count: int) -> None:
        self._pairs: list[tuple[SharedSendChannel[Any], SharedReceiveChannel[Any]]] = [
            open_thread_channel(WAITING_MAX) for _ in range(count)
        ]

    def mesh_of(self, index: int) -> Mesh:
        """Return what shard `index` is to have."""
        return Mesh(
            self._pairs[index][1].clone(), [ThreadOutbox(send.clone()) for send, _ in self._pairs]
        )

    def close(self) -> None:
        """Let go of all, each shard having its own, or never being to have it."""
        for pair in self._pairs:
            close_all(pair)


class SocketPosts:
    """The same between processes."""

    __slots__ = ("_pairs",)

    def __init__(self, count: int) -> None:
        self._pairs: list[tuple[stdlib.socket, stdlib.socket]] = []
        try:
            for _ in range(count):
                self._pairs.append(stdlib.socketpair(stdlib.AF_UNIX, stdlib.SOCK_SEQPACKET))
        except BaseException:
            close_all([sock for pair in self._pairs for sock in pair])
            raise

    def parcel_for(self, index: int) -> Parcel:
        """Return what shard `index` is to have, for `as_mesh`."""
        return Parcel((self._pairs[index][1], [send for send, _ in self._pairs]))

    def close(self) -> None:
        """Let go of all, each shard having its own, or never being to have it."""
        close_all([sock for pair in self._pairs for sock in pair])


def as_mesh(inbox: stdlib.socket, outboxes: list[stdlib.socket]) -> Mesh:
    """Return the mesh of a process, of what was in its parcel."""
    return Mesh(SocketInbox(inbox), [SocketOutbox(sock) for sock in outboxes])
