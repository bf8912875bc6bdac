"""The kqueue driver: one-shot readiness by kevent(2), on the BSDs and macOS.

A direction of a descriptor is a filter of its own. One that nobody waits for any more is left
where it is: it reports once, to nobody, and is gone, which is cheaper than taking it out. Closing
a descriptor takes its filters out of the queue.
"""

from __future__ import annotations

# The names exist on the systems that have kqueue, and type checkers look at another one.
from select import (  # type: ignore[attr-defined]
    KQ_EV_ADD,
    KQ_EV_ONESHOT,
    KQ_FILTER_READ,
    KQ_FILTER_WRITE,
    kevent,
    kqueue,
)
from typing import TYPE_CHECKING

from uringtrio._ops.op import POLLIN, POLLOUT

from .readiness import ReadinessDriver

if TYPE_CHECKING:
    from collections.abc import Sequence

EVENTS_MAX = 256

_FILTERS = ((POLLIN, KQ_FILTER_READ), (POLLOUT, KQ_FILTER_WRITE))
_DIRECTIONS = {number: direction for direction, number in _FILTERS}


class KqueueDriver(ReadinessDriver):
    """Carries out ops by readiness from kqueue."""

    __slots__ = ("_kqueue",)

    name = "kqueue"

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self._kqueue = kqueue()
        self._kqueue.control([kevent(self._wake_fd, KQ_FILTER_READ, KQ_EV_ADD)], 0)

    def _arm(self, fd: int, events: int) -> None:
        changes = [
            kevent(fd, number, KQ_EV_ADD | KQ_EV_ONESHOT)
            for direction, number in _FILTERS
            if events & direction
        ]
        if changes:
            # With no room for events, an error of a change is raised here and not reported later.
            self._kqueue.control(changes, 0)

    def _await(self, timeout_ns: int) -> Sequence[tuple[int, int]]:
        found = self._kqueue.control(
            None, EVENTS_MAX, timeout_ns / 1e9 if timeout_ns >= 0 else None
        )
        # Both directions of a descriptor in one entry: whoever waits there is looked up once.
        ready: dict[int, int] = {}
        for event in found:
            ready[event.ident] = ready.get(event.ident, 0) | _DIRECTIONS[event.filter]
        return list(ready.items())

    def fileno(self) -> int:
        return self._kqueue.fileno()  # type: ignore[no-any-return]  # see the import

    def close(self) -> None:
        super().close()
        self._kqueue.close()
