"""Receiving ahead: when a socket's stream may, and how everybody else gets what came too early.

From the second `receive_some` of a `SocketStream` on, a `RecvMultishot` stays armed on a ring and
takes bytes out of the kernel before somebody asks for them. So they must be the stream's alone:

- Never on Unix sockets: a receive without room for descriptors throws away those that come along.
- Never again once the descriptor was given out by `fileno`, `dup` or `detach`, nor once one of the
  socket's own methods has received: whoever has it finds in the kernel all that is still to come.
- What is ahead by then stays there for the methods of the socket, which begin with it. Only
  `detach` would lose it, and refuses.

Ending is one step, with no waiting in between: `Driver.end` returns when the kernel is done.
"""

from __future__ import annotations

import contextlib
import socket as stdlib
from typing import TYPE_CHECKING, Any

from uringtrio._errors import BusyResourceError, ClosedResourceError, RunFinishedError
from uringtrio._ops.net import RecvInto
from uringtrio._scheduler.current import CURRENT
from uringtrio._scheduler.traps import checkpoint

if TYPE_CHECKING:
    from uringtrio._ops.datagram import RecvFrom
    from uringtrio._ops.net import Recv, RecvMsg
    from uringtrio._ops.receive_ahead import RecvMultishot

    from .socket import Socket

FAMILIES = frozenset({stdlib.AF_INET, stdlib.AF_INET6})


def may_begin(sock: Socket) -> bool:
    """Say whether the stream of `sock` may receive ahead, from its second receive on.

    Not from the first, because a connection for a single request has nothing to gain.
    """
    runner = CURRENT.runner
    if runner is None or not runner.driver.has_multishot:
        sock._may_receive_ahead = False
    return sock._may_receive_ahead


def end(sock: Socket) -> None:
    """Receive ahead no more on `sock`, for good: somebody else may receive from its descriptor."""
    sock._may_receive_ahead = False
    if sock._ahead is not None:
        sock._ahead.is_over = True
        _pause(sock._ahead)


def end_for_another(sock: Socket) -> None:
    """Do as `end`, because something that is not the stream is about to receive.

    Raises:
        BusyResourceError: a task is receiving.
    """
    if sock._ahead is not None and sock._ahead.waiter is not None:
        raise BusyResourceError("another task is already receiving from this socket")
    end(sock)


def take(sock: Socket, size: int) -> bytes:
    """Return at most `size` bytes of what is ahead, none if nothing is; after `end_for_another`.

    Raises:
        OSError: that is what is ahead.
    """
    source = sock._ahead
    if source is None:
        return b""
    if not source.ahead and source.error:
        raise source.take_error()
    return source.take(size)


def end_without_loss(sock: Socket) -> None:
    """Do as `end`; what is ahead must have been received before.

    Raises:
        RuntimeError: it was not.
    """
    end(sock)
    if sock._ahead is not None and sock._ahead.ahead:
        raise RuntimeError(
            f"{sock!r} has {len(sock._ahead.ahead)} bytes which it has received before its stream "
            "was asked for them; to give its descriptor away would lose them: receive them first"
        )


def has_something(sock: Socket) -> bool:
    """Say whether a receive would not have to wait, whatever the kernel has."""
    source = sock._ahead
    if source is None:
        return False
    if source.waiter is None:
        # What is in the completion queue counts too.
        _pause(source)
    return bool(source.ahead or source.error)


def take_error(sock: Socket) -> int:
    """Return and forget the errno that the kernel has told the receive, 0 for none."""
    source = sock._ahead
    if source is None or not has_something(sock):
        return 0
    error, source.error = source.error, 0
    return error


def _pause(source: RecvMultishot) -> None:
    """Receive no more for now; return when all that was received is in `source`."""
    if source.id:
        runner = CURRENT.runner
        if runner is not None and runner is source.runner:
            runner.driver.end(source)
        else:
            # Another thread cannot wait for it: this is as soon as it can be.
            let_go(source)


def let_go(source: RecvMultishot) -> None:
    """End `source` soon. Safe in any thread, and at any moment in the run's own."""
    if source.id:
        # A run that has finished has ended all its ops.
        with contextlib.suppress(RunFinishedError):
            source.runner.entry.run_sync_soon(source.cancel)


async def receive(sock: Socket, op: Recv | RecvFrom | RecvInto | RecvMsg) -> Any:
    """Carry out `op`, which is not a stream's, with what `sock` has ahead if there is anything.

    Checkpoint: always.
    """
    source = sock._ahead
    assert source is not None
    end_for_another(sock)
    await checkpoint()
    if sock._is_closed():
        # Before `op` meets another file under the number that it knows.
        raise ClosedResourceError("another task closed this descriptor")
    value: Any = None
    if source.ahead:
        value = op.receive_from(source)
    elif source.error:
        raise source.take_error()
    else:
        sock._ahead = None
    if value is None:
        return await sock._read(op)
    rest = op.rest(value) if type(op) is RecvInto else None
    if rest is None:
        return value
    sock._ahead = None
    try:
        return value + await sock._read(rest)
    except BaseException:
        source.ahead = bytes(op.pins[0][:value])
        sock._ahead = source
        raise
