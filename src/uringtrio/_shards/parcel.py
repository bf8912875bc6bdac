"""Parcels: objects for another process, with the sockets and shared channels that are in them.

Pickling takes care of the objects; sockets and channels go as descriptors beside the bytes
(SCM_RIGHTS), and their places in them say which.

Source: unix(7), SCM_RIGHTS; the `pickle` module, persistence of external objects.
"""

from __future__ import annotations

import array
import io
import os
import pickle
import socket as stdlib
from typing import TYPE_CHECKING, Any, TypeGuard

from uringtrio._net.ahead import end_without_loss
from uringtrio._net.listen import SocketListener
from uringtrio._net.socket import Socket, from_stdlib_socket
from uringtrio._net.stream import SocketStream

from .channel import SharedReceiveChannel, SharedSendChannel
from .channel_process import ProcessReceiveChannel, ProcessSendChannel, rebuild

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from uringtrio._ops.sockaddr import ControlMessage

# Bytes of a number that says how long something is.
SIZE = 8

# SCM_MAX_FD: what the kernel passes with one message.
DESCRIPTORS_MAX = 253


# What goes beside the bytes.
Portable = (
    stdlib.socket
    | Socket
    | SocketStream
    | SocketListener
    | SharedSendChannel[Any]
    | SharedReceiveChannel[Any]
)


def is_portable(thing: object) -> TypeGuard[Portable]:
    """Say whether `thing` is a socket, or has one of ours, or is a shared channel."""
    if isinstance(thing, (SocketStream, SocketListener)):
        return isinstance(thing.socket, Socket)
    return isinstance(thing, (stdlib.socket, Socket, SharedSendChannel, SharedReceiveChannel))


class _Pickler(pickle.Pickler):
    """Puts aside what is no matter of bytes, and its descriptors. They stay the owner's."""

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file, protocol=pickle.HIGHEST_PROTOCOL)
        self.put_aside: list[Portable] = []
        self.fds: list[int] = []

    def persistent_id(self, thing: object) -> tuple[str, int, int] | None:
        if not is_portable(thing):
            return None
        fds = _descriptors(thing)
        if -1 in fds:
            raise pickle.PicklingError("a socket or channel in it is closed")
        self.put_aside.append(thing)
        self.fds += fds
        return type(thing).__name__, len(self.fds) - len(fds), len(fds)


def _descriptors(thing: Portable) -> list[int]:
    if isinstance(thing, (ProcessSendChannel, ProcessReceiveChannel)):
        return thing.descriptors()
    if isinstance(thing, (SharedSendChannel, SharedReceiveChannel)):
        raise pickle.PicklingError(
            "it has a shared channel in it that is for threads: open_shared_channel(..., "
            'kind="process")'
        )
    sock = thing.socket if isinstance(thing, (SocketStream, SocketListener)) else thing
    if isinstance(sock, Socket):
        end_without_loss(sock)
    return [sock.fileno()]


class _Unpickler(pickle.Unpickler):
    """Takes descriptors out of `fds`, where -1 is left for those that were taken."""

    def __init__(self, file: io.BytesIO, fds: list[int]) -> None:
        super().__init__(file)
        self.fds = fds

    def persistent_load(self, pid: Any) -> object:
        kind, index, count = pid
        fds = self.fds[index : index + count]
        self.fds[index : index + count] = [-1] * count
        if count > 1:
            return rebuild(kind, fds)
        return _wrap(kind, stdlib.socket(fileno=fds[0]))


def _wrap(kind: str, sock: stdlib.socket) -> object:
    if kind == stdlib.socket.__name__:
        return sock
    ours = from_stdlib_socket(sock)
    if kind == SocketStream.__name__:
        return SocketStream(ours)
    if kind == SocketListener.__name__:
        return SocketListener(ours)
    return ours


class Parcel:
    """Bytes, and the descriptors that go with them; these are borrowed from what was packed.

    Args:
        thing: what to pack.

    Raises: whatever pickling it raises.

    Attributes:
        data: the pickled object.
        fds: the descriptors of what was put aside.
        put_aside: the sockets and channels in it.
    """

    __slots__ = ("data", "fds", "put_aside")

    def __init__(self, thing: object) -> None:
        file = io.BytesIO()
        pickler = _Pickler(file)
        pickler.dump(thing)
        self.data = file.getvalue()
        self.fds = pickler.fds
        self.put_aside = pickler.put_aside

    def headers(self) -> Iterator[tuple[bytes, list[ControlMessage]]]:
        """Yield the messages that go before `data`, with the ancillary data of each."""
        header = len(self.data).to_bytes(SIZE, "little") + len(self.fds).to_bytes(SIZE, "little")
        yield header, ancillary_for(self.fds[:DESCRIPTORS_MAX])
        for start in range(DESCRIPTORS_MAX, len(self.fds), DESCRIPTORS_MAX):
            yield b"\0", ancillary_for(self.fds[start : start + DESCRIPTORS_MAX])


def ancillary_for(fds: list[int]) -> list[ControlMessage]:
    """Return the ancillary data that passes descriptors on."""
    rights = array.array("i", fds).tobytes()
    return [(stdlib.SOL_SOCKET, stdlib.SCM_RIGHTS, rights)] if fds else []


def receive_parcel(sock: stdlib.socket) -> tuple[bytes, list[int]] | None:
    """Wait for a parcel on a blocking socket; None at the end of the stream, or in the middle."""
    header, fds, _, _ = stdlib.recv_fds(sock, 2 * SIZE, DESCRIPTORS_MAX)
    header += _receive_exactly(sock, 2 * SIZE - len(header)) if header else b""
    size, count = (int.from_bytes(header[i : i + SIZE], "little") for i in (0, SIZE))
    more = header
    while len(fds) < count and more:
        more, more_fds, _, _ = stdlib.recv_fds(sock, 1, DESCRIPTORS_MAX)
        fds += more_fds
    data = _receive_exactly(sock, size)
    if not header or len(data) < size:
        for fd in fds:
            os.close(fd)
        return None
    return data, fds


def _receive_exactly(sock: stdlib.socket, size: int) -> bytes:
    """Return `size` bytes; less at the end of the stream."""
    data = bytearray()
    while len(data) < size and (chunk := sock.recv(size - len(data))):
        data += chunk
    return bytes(data)


def unpack(data: bytes, fds: list[int]) -> Any:
    """Return the object in a parcel; what it takes no descriptors for is closed.

    Args:
        data: the bytes.
        fds: the descriptors, of which this becomes the owner.
    """
    rest = list(fds)
    try:
        return _Unpickler(io.BytesIO(data), rest).load()
    finally:
        for fd in rest:
            if fd != -1:
                os.close(fd)


def put_aside_in(thing: Any) -> list[Portable]:
    """Return the sockets and channels that `copy_for_shard` would copy."""
    if is_portable(thing):
        return [thing]
    if type(thing) in (list, tuple):
        return [portable for item in thing for portable in put_aside_in(item)]
    return []


def copy_for_shard(thing: Any) -> Any:
    """Return the same with each socket and channel copied, also in lists and tuples.

    Raises:
        OSError: there is no descriptor left.
        ClosedResourceError: a channel in it is closed.
        RuntimeError: a socket in it has received what nobody has asked for yet.

    Then nothing was copied.
    """
    copies: list[Portable] = []
    try:
        return _copy_into(copies, thing)
    except BaseException:
        close_all(copies)
        raise


def _copy_into(copies: list[Portable], thing: Any) -> Any:
    if is_portable(thing):
        copies.append(_copy(thing))
        return copies[-1]
    if type(thing) in (list, tuple):
        return type(thing)(_copy_into(copies, item) for item in thing)
    return thing


def _copy(thing: Portable) -> Portable:
    if isinstance(thing, (SharedSendChannel, SharedReceiveChannel)):
        return thing.clone()
    sock = thing.socket if isinstance(thing, (SocketStream, SocketListener)) else thing
    if isinstance(sock, Socket):
        # A copy finds only what is still in the kernel.
        end_without_loss(sock)
    if isinstance(thing, (SocketStream, SocketListener)):
        return type(thing)(thing.socket.dup())
    return thing.dup()


def close_all(things: Iterable[Portable]) -> None:
    """Close sockets and channels, at once."""
    for thing in things:
        if isinstance(thing, (SocketStream, SocketListener)):
            thing.socket.close()
        else:
            thing.close()
