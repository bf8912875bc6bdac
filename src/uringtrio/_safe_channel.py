"""as_safe_channel: an async generator behind a channel, which may be cancelled at any point.

A generator that yields out of a cancel scope or a nursery breaks the nesting that they stand for.
Here it runs in a task of its own and its values come through a channel without a buffer, in
lockstep: the generator goes on only when somebody asks for the next value.
"""

from __future__ import annotations

import contextlib
import functools
from typing import TYPE_CHECKING, NoReturn, ParamSpec, TypeVar

from ._abc import ReceiveChannel
from ._channels import MemoryReceiveChannel, MemorySendChannel, open_memory_channel
from ._errors import BrokenResourceError, Cancelled
from ._scheduler.nursery import TaskStatus, open_nursery
from ._sync.semaphore import Semaphore

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable

T = TypeVar("T")
P = ParamSpec("P")


class _SafeReceiveChannel(ReceiveChannel[T]):
    """Asks the generator for a value, and hands it on."""

    __slots__ = ("_channel", "_requests")

    def __init__(self, channel: MemoryReceiveChannel[T], requests: Semaphore) -> None:
        self._channel = channel
        self._requests = requests

    async def receive(self) -> T:
        self._requests.release()
        return await self._channel.receive()

    async def aclose(self) -> None:
        await self._channel.aclose()


def as_safe_channel(
    fn: Callable[P, AsyncGenerator[T, None]],
) -> Callable[P, contextlib.AbstractAsyncContextManager[ReceiveChannel[T]]]:
    """Turn an async generator function into one that may be used with timeouts and nurseries.

    Args:
        fn: a function that contains `yield`; a decorator's argument.

    Returns:
        A function with the same arguments for `async with fn(...) as channel`; iterate over the
        channel. The generator runs in a task in between, and not ahead of who receives; leaving
        the block cancels and closes it. Its exception comes out of the block by itself, unless
        the block raises one too: then in an ExceptionGroup.
    """

    @contextlib.asynccontextmanager
    @functools.wraps(fn)
    async def open_safe_channel(
        *args: P.args, **kwargs: P.kwargs
    ) -> AsyncIterator[ReceiveChannel[T]]:
        send_channel, receive_channel = open_memory_channel[T](0)
        requests = Semaphore(0)
        try:
            async with open_nursery(strict_exception_groups=True) as nursery:
                # Started, and not only scheduled: from here on the task closes the generator.
                await nursery.start(_feed, fn(*args, **kwargs), send_channel, requests)
                with receive_channel:
                    yield _SafeReceiveChannel(receive_channel, requests)
                nursery.cancel_scope.cancel("left the block of as_safe_channel")
        except BaseExceptionGroup as group:
            _raise_the_one(group)

    return open_safe_channel


async def _feed(
    generator: AsyncGenerator[T, None],
    channel: MemorySendChannel[T],
    requests: Semaphore,
    task_status: TaskStatus[None],
) -> None:
    # `with`, as the checkpoint of an `async with` would take the place of an exception.
    with channel:
        try:
            task_status.started()
            while True:
                await requests.acquire()
                if not channel.statistics().open_receive_channels:
                    return
                try:
                    value = await anext(generator)
                except StopAsyncIteration:
                    return
                try:
                    await channel.send(value)
                except BrokenResourceError:
                    return
        finally:
            await _close(generator)


async def _close(generator: AsyncGenerator[T, None]) -> None:
    """Close `generator`, also if its nurseries wrap the GeneratorExit that this throws in."""
    try:
        await generator.aclose()
    except BaseExceptionGroup as group:
        ours, rest = group.split(GeneratorExit)
        if _count_leaves(ours) > 1:
            # One is ours; somebody else has raised the others, and they must not be lost.
            extra = AssertionError("More than one GeneratorExit found.")
            others = () if rest is None else rest.exceptions
            rest = group.derive([*others, extra])
        if rest is not None:
            raise rest from None


def _count_leaves(exc: BaseException | None) -> int:
    if isinstance(exc, BaseExceptionGroup):
        return sum(_count_leaves(member) for member in exc.exceptions)
    return 0 if exc is None else 1


def _raise_the_one(group: BaseExceptionGroup[BaseException]) -> NoReturn:
    """Raise the exception in `group` that is no Cancelled, by itself; the group if there are more.

    An interrupt of the whole program goes before everything else.
    """
    for exc in group.exceptions:
        if isinstance(exc, (KeyboardInterrupt, SystemExit)):
            raise type(exc)(*exc.args) from group
    errors = [exc for exc in group.exceptions if not isinstance(exc, Cancelled)]
    if len(errors) > 1:
        group.add_note(
            "Encountered exception during cleanup of generator object, as well as exception in "
            "the contextmanager body - unable to unwrap."
        )
        raise group from None
    the_one = (errors or group.exceptions)[0]
    context, cause = the_one.__context__, the_one.__cause__
    try:
        raise the_one
    finally:
        # As it was raised: the group is nobody's concern.
        the_one.__context__, the_one.__cause__ = context, cause
        # The traceback refers to this frame, which must not refer back.
        del the_one, context, cause, errors, group, exc
