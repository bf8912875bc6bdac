"""The handles of shared channels between processes, which pickle and unpickle the objects."""

from __future__ import annotations

import functools
import os
import pickle
from math import inf
from typing import Any, TypeVar

from uringtrio._errors import WouldBlock
from uringtrio._scheduler.current import get_task
from uringtrio._scheduler.traps import CHECKED_CHECKPOINT, CHECKPOINT

from . import shared_buffer as shared
from .channel import (
    SharedChannelStatistics,
    SharedReceiveChannel,
    SharedSendChannel,
    check_may_block,
)
from .channel_end import End, ReceiveEnd, SendEnd, Waits

T_contra = TypeVar("T_contra", contravariant=True)
T_co = TypeVar("T_co", covariant=True)


def _as_bytes(value: object) -> bytes:
    try:
        return pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
    except Exception as exc:
        raise TypeError(
            f"cannot send {value!r} through a shared channel between processes: {exc}"
        ) from exc


class ProcessSendChannel(SharedSendChannel[T_contra]):
    """The sending end, between processes."""

    __slots__ = ("__weakref__", "_waits", "end")

    def __init__(self, end: End) -> None:
        assert isinstance(end, SendEnd)
        self.end = end
        self._waits = Waits()
        end.open()

    def _put(self, value: T_contra) -> bool:
        self._waits.check_open()
        data = _as_bytes(value)
        with self.end.buffer as buffer:
            if buffer.fits(data):
                return self.end.put(data)
        with self.end.buffer.whole:
            return self.end.put(data)

    def send_nowait(self, value: T_contra) -> None:
        if not self._put(value):
            raise WouldBlock

    async def send(self, value: T_contra) -> None:
        task = get_task("SharedSendChannel.send()")
        if task._scope._effectively_cancelled or task._ki_pending:
            await CHECKPOINT
        if self._put(value):
            await CHECKED_CHECKPOINT
        else:
            attempt = functools.partial(self.end.put, _as_bytes(value))
            await self._waits.repeat(attempt, self.end)

    def send_sync(self, value: T_contra, timeout: float = inf) -> None:
        if not self._put(value):
            check_may_block("SharedSendChannel.send_sync()", "send(value)")
            attempt = functools.partial(self.end.put, _as_bytes(value))
            self._waits.repeat_sync(attempt, self.end, timeout)

    def descriptors(self) -> list[int]:
        """Return what another process needs for a handle like this one; -1 if it is closed."""
        return [-1] if self._waits.is_closed else self.end.descriptors()

    def clone(self) -> ProcessSendChannel[T_contra]:
        self._waits.check_open()
        return ProcessSendChannel(self.end)

    def close(self) -> None:
        self._waits.close(self.end)

    def statistics(self) -> SharedChannelStatistics:
        self._waits.check_open()
        return self.end.statistics()


class _Taker:
    """An attempt to receive, and what it has received."""

    __slots__ = ("_end", "data")

    def __init__(self, end: ReceiveEnd) -> None:
        self._end = end
        self.data: bytes | None = None

    def __call__(self) -> bool:
        self.data = self._end.take()
        return self.data is not None


class ProcessReceiveChannel(SharedReceiveChannel[T_co]):
    """The receiving end, between processes."""

    __slots__ = ("__weakref__", "_waits", "end")

    def __init__(self, end: End) -> None:
        assert isinstance(end, ReceiveEnd)
        self.end = end
        self._waits = Waits()
        end.open()

    def _take(self) -> bytes | None:
        self._waits.check_open()
        with self.end.buffer:
            return self.end.take()

    def receive_nowait(self) -> T_co:
        data = self._take()
        if data is None:
            raise WouldBlock
        return pickle.loads(data)  # type: ignore[no-any-return]  # what `send` was given

    async def receive(self) -> T_co:
        task = get_task("SharedReceiveChannel.receive()")
        if task._scope._effectively_cancelled or task._ki_pending:
            await CHECKPOINT
        data = self._take()
        if data is not None:
            await CHECKED_CHECKPOINT
        else:
            taker = _Taker(self.end)
            await self._waits.repeat(taker, self.end)
            assert taker.data is not None
            data = taker.data
        return pickle.loads(data)  # type: ignore[no-any-return]  # as above

    def receive_sync(self, timeout: float = inf) -> T_co:
        data = self._take()
        if data is None:
            check_may_block("SharedReceiveChannel.receive_sync()", "receive()")
            taker = _Taker(self.end)
            self._waits.repeat_sync(taker, self.end, timeout)
            assert taker.data is not None
            data = taker.data
        return pickle.loads(data)  # type: ignore[no-any-return]  # as above

    def descriptors(self) -> list[int]:
        """Return what another process needs for a handle like this one; -1 if it is closed."""
        return [-1] if self._waits.is_closed else self.end.descriptors()

    def clone(self) -> ProcessReceiveChannel[T_co]:
        self._waits.check_open()
        return ProcessReceiveChannel(self.end)

    def close(self) -> None:
        self._waits.close(self.end)

    def statistics(self) -> SharedChannelStatistics:
        self._waits.check_open()
        return self.end.statistics()


def open_process_channel(
    max_buffer_size: float,
) -> tuple[SharedSendChannel[Any], SharedReceiveChannel[Any]]:
    """Return a new channel's first handles."""
    fds = shared.create(max_buffer_size)
    send_buffer = shared.SharedBuffer((os.dup(fds[0]), os.dup(fds[1])), is_sender=True)
    receive_buffer = shared.SharedBuffer(fds, is_sender=False)
    items_reader, items_writer = os.pipe()
    room_reader, room_writer = os.pipe()
    send_end = SendEnd(send_buffer, room_reader, items_writer)
    receive_end = ReceiveEnd(receive_buffer, items_reader, room_writer)
    return ProcessSendChannel(send_end), ProcessReceiveChannel(receive_end)


def rebuild(kind: str, fds: list[int]) -> object:
    """Return a handle in another process.

    Args:
        kind: the name of its class.
        fds: what `End.descriptors` said, as descriptors of this process that this owns from now on.
    """
    memory, receivers_lock, waits_on, wakes = fds
    is_sender = kind == ProcessSendChannel.__name__
    buffer = shared.SharedBuffer((memory, receivers_lock), is_sender=is_sender)
    if is_sender:
        return ProcessSendChannel(SendEnd(buffer, waits_on, wakes))
    return ProcessReceiveChannel(ReceiveEnd(buffer, waits_on, wakes))
