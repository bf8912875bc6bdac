"""What checks of streams are made of: calls that are checkpoints, made at the same time.

The makers of calls return functions without arguments, for tasks.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from uringtrio._errors import BrokenResourceError, BusyResourceError
from uringtrio._scheduler.idle import wait_all_tasks_blocked
from uringtrio._scheduler.nursery import open_nursery

from ._checkpoints import assert_checkpoints

if TYPE_CHECKING:
    from uringtrio._abc import (
        AsyncResource,
        Buffer,
        HalfCloseableStream,
        ReceiveStream,
        SendStream,
    )

Call = Callable[[], Awaitable[object]]


async def together(*calls: Call) -> None:
    """Make the calls in tasks of their own, and wait for all."""
    async with open_nursery() as nursery:
        for call in calls:
            nursery.start_soon(call)


async def expect(error: type[BaseException], call: Call) -> None:
    """Make the call, which must raise `error`."""
    try:
        await call()
    except error:
        return
    raise AssertionError(f"expected {error.__name__}, but nothing was raised")


async def expect_conflict(*calls: Call) -> None:
    """Make the calls at the same time; one must raise BusyResourceError, which cancels the rest."""
    try:
        await together(*calls)
    except BaseExceptionGroup as group:
        if len(group.exceptions) > 1 or not isinstance(group.exceptions[0], BusyResourceError):
            raise AssertionError(f"expected one BusyResourceError, not {group!r}") from group
    else:
        raise AssertionError("expected BusyResourceError: two tasks used the stream at once")


def sending(stream: SendStream, data: Buffer) -> Call:
    """Return a call that sends `data`."""

    async def send() -> None:
        with assert_checkpoints():
            # It returns nothing, whatever its annotations say.
            result: object = await stream.send_all(data)  # type: ignore[func-returns-value]
        assert result is None

    return send


def receiving(stream: ReceiveStream, *expected: bytes, max_bytes: int | None = 1) -> Call:
    """Return a call that receives the `expected` chunks, in order."""

    async def receive() -> None:
        for chunk in expected:
            with assert_checkpoints():
                got = await stream.receive_some(max_bytes)
            assert got == chunk, f"received {got!r} instead of {chunk!r}"

    return receive


def receiving_anything(stream: ReceiveStream) -> Call:
    """Return a call that receives a byte, whichever it is."""

    async def receive() -> None:
        with assert_checkpoints():
            await stream.receive_some(1)

    return receive


def waiting_to_send(stream: SendStream) -> Call:
    """Return a call that waits until sending might not block."""

    async def wait() -> None:
        with assert_checkpoints():
            await stream.wait_send_all_might_not_block()

    return wait


def closing(resource: AsyncResource) -> Call:
    """Return a call that closes `resource`."""

    async def close() -> None:
        with assert_checkpoints():
            await resource.aclose()

    return close


def sending_eof(stream: HalfCloseableStream) -> Call:
    """Return a call that sends end of stream."""

    async def send_eof() -> None:
        with assert_checkpoints():
            await stream.send_eof()

    return send_eof


async def fill_until_broken(stream: SendStream) -> None:
    """Send until the stream says that the connection is gone."""
    send = sending(stream, b"x" * 100)

    async def send_for_ever() -> None:
        while True:
            await send()

    await expect(BrokenResourceError, send_for_ever)


def after_others(call: Call) -> Call:
    """Return a call that is made when all other tasks wait."""

    async def wait_then_call() -> None:
        await wait_all_tasks_blocked()
        await call()

    return wait_then_call
