"""The epoll driver: one-shot readiness by epoll(7).

A registration stays in the epoll set, disarmed, after its event; arming it again is one
EPOLL_CTL_MOD. The set may have changed behind our back, because closing a descriptor removes it:
then MOD says ENOENT and ADD is right.
"""

from __future__ import annotations

import errno
import select
from typing import TYPE_CHECKING

from .readiness import ReadinessDriver

if TYPE_CHECKING:
    from collections.abc import Sequence

EVENTS_MAX = 256


class EpollDriver(ReadinessDriver):
    """Carries out ops by readiness from epoll."""

    __slots__ = ("_epoll", "_registered")

    name = "epoll"

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self._epoll = select.epoll()
        self._registered: set[int] = set()
        self._epoll.register(self._wake_fd, select.EPOLLIN)

    def _arm(self, fd: int, events: int) -> None:
        if fd in self._registered:
            try:
                self._epoll.modify(fd, events | select.EPOLLONESHOT)
            except OSError as exc:
                self._registered.discard(fd)
                # The descriptor was closed (EBADF), and maybe opened again (ENOENT).
                if events and exc.errno != errno.ENOENT:
                    raise
            else:
                return
        if events:
            self._epoll.register(fd, events | select.EPOLLONESHOT)
            self._registered.add(fd)

    def _await(self, timeout_ns: int) -> Sequence[tuple[int, int]]:
        return self._epoll.poll(timeout_ns / 1e9 if timeout_ns >= 0 else -1, EVENTS_MAX)

    def fileno(self) -> int:
        return self._epoll.fileno()

    def close(self) -> None:
        super().close()
        self._epoll.close()
