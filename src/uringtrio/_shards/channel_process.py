"""The handles of shared channels between processes, which pickle and unpickle the objects."""

from __future__ import annotations

import functools
import marshal
import os
import pickle
from math import inf
from types import NoneType
from typing import TYPE_CHECKING, Any, TypeVar

from uringtrio._errors import ClosedResourceError, WouldBlock
from uringtrio._scheduler.current import get_task
from uringtrio._scheduler.traps import CHECKED_CHECKPOINT, CHECKPOINT

from . import shared_buffer as shared
from .channel import (
    SharedChannelStatistics,
    SharedReceiveChannel,
    SharedSendChannel,
    check_may_block,
)
from .channel_end import ReceiveEnd, SendEnd, Waits

if TYPE_CHECKING:
    from collections.abc import Callable

E = TypeVar("E", SendEnd, ReceiveEnd)
T_contra = TypeVar("T_contra", contravariant=True)
T_co = TypeVar("T_co", covariant=True)


# Of these alone, and of nothing that looks like them, marshal makes the same again, and in a third
# of the time.
_PLAIN = frozenset({NoneType, bool, bytes, float, int, str})
# The last one whose first byte is below 0x80, which is where all pickles begin.
_MARSHAL_VERSION = 2
_PICKLE_BEGIN = 0x80


# No object is b"", so `take() or take()` never takes two.
def _as_object(data: bytes) -> Any:
    return pickle.loads(data) if data[0] == _PICKLE_BEGIN else marshal.loads(data)


class ProcessSendChannel(SharedSendChannel[T_contra]):
    """The sending end, between processes."""

    __slots__ = ("__weakref__", "_buffer", "_end", "_waits")

    def __init__(self, end: SendEnd) -> None:
        self._end = end
        self._buffer = end.buffer
        self._waits = Waits()
        end.open()

    def _as_bytes(self, value: T_contra) -> bytes:
        if self._waits.is_closed:
            raise ClosedResourceError
        try:
            if type(value) in _PLAIN:
                try:
                    return marshal.dumps(value, _MARSHAL_VERSION)  # type: ignore[arg-type]  # see `_PLAIN`
                except ValueError:
                    # Longer than 2 GiB, which only pickle can say.
                    return pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
            return pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
        except Exception as exc:
            raise TypeError(
                f"cannot send {value!r} through a shared channel between processes: {exc}"
            ) from exc

    def send_nowait(self, value: T_contra) -> None:
        data = self._as_bytes(value)
        if not (self._buffer.put(data, len(data)) or self._end.put(data)):
            raise WouldBlock

    async def send(self, value: T_contra) -> None:
        task = get_task("SharedSendChannel.send()")
        if task._scope._effectively_cancelled or task._ki_pending:
            await CHECKPOINT
        data = self._as_bytes(value)
        if self._buffer.put(data, len(data)) or self._end.put(data):
            await CHECKED_CHECKPOINT
        else:
            await self._waits.repeat(functools.partial(self._end.put_locked, data), self._end)

    def send_sync(self, value: T_contra, timeout: float = inf) -> None:
        data = self._as_bytes(value)
        if not (self._buffer.put(data, len(data)) or self._end.put(data)):
            check_may_block("SharedSendChannel.send_sync()", "send(value)")
            attempt = functools.partial(self._end.put_locked, data)
            self._waits.repeat_sync(attempt, self._end, timeout)

    def descriptors(self) -> list[int]:
        """Return what another process needs for a handle like this one; -1 if it is closed."""
        return [-1] if self._waits.is_closed else self._end.descriptors()

    def clone(self) -> ProcessSendChannel[T_contra]:
        self._waits.check_open()
        return ProcessSendChannel(self._end)

    def close(self) -> None:
        self._waits.close(self._end)

    def statistics(self) -> SharedChannelStatistics:
        self._waits.check_open()
        return self._end.statistics()


class _Taker:
    """An attempt to receive, and what it has received."""

    __slots__ = ("_end", "data")

    def __init__(self, end: ReceiveEnd) -> None:
        self._end = end
        self.data: bytes | None = None

    def __call__(self) -> bool:
        self.data = self._end.take_locked()
        return self.data is not None


class ProcessReceiveChannel(SharedReceiveChannel[T_co]):
    """The receiving end, between processes."""

    __slots__ = ("__weakref__", "_buffer", "_end", "_waits")

    def __init__(self, end: ReceiveEnd) -> None:
        self._end = end
        self._buffer = end.buffer
        self._waits = Waits()
        end.open()

    def receive_nowait(self) -> T_co:
        if self._waits.is_closed:
            raise ClosedResourceError
        data = self._buffer.take() or self._end.take()
        if data is None:
            raise WouldBlock
        return _as_object(data)  # type: ignore[no-any-return]  # what `send` was given

    async def receive(self) -> T_co:
        task = get_task("SharedReceiveChannel.receive()")
        if task._scope._effectively_cancelled or task._ki_pending:
            await CHECKPOINT
        if self._waits.is_closed:
            raise ClosedResourceError
        data = self._buffer.take() or self._end.take()
        if data is not None:
            await CHECKED_CHECKPOINT
        else:
            taker = _Taker(self._end)
            await self._waits.repeat(taker, self._end)
            assert taker.data is not None
            data = taker.data
        return _as_object(data)  # type: ignore[no-any-return]  # as above

    def receive_sync(self, timeout: float = inf) -> T_co:
        if self._waits.is_closed:
            raise ClosedResourceError
        data = self._buffer.take() or self._end.take()
        if data is None:
            check_may_block("SharedReceiveChannel.receive_sync()", "receive()")
            taker = _Taker(self._end)
            self._waits.repeat_sync(taker, self._end, timeout)
            assert taker.data is not None
            data = taker.data
        return _as_object(data)  # type: ignore[no-any-return]  # as above

    def descriptors(self) -> list[int]:
        """Return what another process needs for a handle like this one; -1 if it is closed."""
        return [-1] if self._waits.is_closed else self._end.descriptors()

    def clone(self) -> ProcessReceiveChannel[T_co]:
        self._waits.check_open()
        return ProcessReceiveChannel(self._end)

    def close(self) -> None:
        self._waits.close(self._end)

    def statistics(self) -> SharedChannelStatistics:
        self._waits.check_open()
        return self._end.statistics()


def open_process_channel(
    max_buffer_size: float,
) -> tuple[SharedSendChannel[Any], SharedReceiveChannel[Any]]:
    """Return a new channel's first handles."""
    fds: list[int] = []
    try:
        fds.append(shared.create(max_buffer_size))
        fds.append(os.dup(fds[0]))
        fds += os.pipe()
        fds += os.pipe()
    except BaseException:
        _close_all(fds)
        raise
    memory, copy, items_reader, items_writer, room_reader, room_writer = fds
    try:
        send_end = _make_end(SendEnd, [copy, room_reader, items_writer])
    except BaseException:
        _close_all([memory, items_reader, room_writer])
        raise
    receive_end = _make_end(ReceiveEnd, [memory, items_reader, room_writer])
    return ProcessSendChannel(send_end), ProcessReceiveChannel(receive_end)


def _make_end(make: Callable[[shared.SharedBuffer, int, int], E], fds: list[int]) -> E:
    """Return an end that owns the descriptors; if there is an error, they are closed."""
    memory, *pipes = fds
    try:
        return make(shared.SharedBuffer(memory), *pipes)
    except BaseException:
        _close_all(pipes)
        raise


def _close_all(fds: list[int]) -> None:
    for fd in fds:
        os.close(fd)


def rebuild(kind: str, fds: list[int]) -> object:
    """Return a handle in another process.

    Args:
        kind: the name of its class.
        fds: what `End.descriptors` said, as descriptors of this process that this owns from now on.
    """
    if kind == ProcessSendChannel.__name__:
        return ProcessSendChannel(_make_end(SendEnd, fds))
    return ProcessReceiveChannel(_make_end(ReceiveEnd, fds))
