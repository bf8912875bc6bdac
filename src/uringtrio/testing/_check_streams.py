"""The contracts of streams, as checks that any stream can be put to."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

from uringtrio._abc import AsyncResource, HalfCloseableStream, ReceiveStream, SendStream, Stream
from uringtrio._net.staple import aclose_forcefully

from ._stream_promises import (
    HALF_CLOSEABLE,
    HALF_CLOSEABLE_CLOGGED,
    ONE_WAY,
    ONE_WAY_CLOGGED,
    TWO_WAY,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

FirstT = TypeVar("FirstT", bound=AsyncResource)
SecondT = TypeVar("SecondT", bound=AsyncResource)

# Makes two streams that are connected with each other.
StreamMaker = Callable[[], Awaitable[tuple[FirstT, SecondT]]]


async def check_one_way_stream(
    stream_maker: StreamMaker[SendStream, ReceiveStream],
    clogged_stream_maker: StreamMaker[SendStream, ReceiveStream] | None,
) -> None:
    """Check that a pair of streams keeps the contracts of `SendStream` and `ReceiveStream`.

    Args:
        stream_maker: an async function that returns a sending and a receiving stream, connected
            with each other. Called many times; what it makes is closed.
        clogged_stream_maker: the same, but `send_all` and `wait_send_all_might_not_block` of what
            it makes wait until something is received. None leaves out the checks that need this.

    Raises:
        AssertionError: a promise is broken. Other exceptions may also come out, and a stream that
            waits where it should not makes the check wait for ever: set a timeout.

    Checkpoint: always.
    """
    await _run_checks(ONE_WAY, stream_maker)
    if clogged_stream_maker is not None:
        await _run_checks(ONE_WAY_CLOGGED, clogged_stream_maker)


async def check_two_way_stream(
    stream_maker: StreamMaker[Stream, Stream],
    clogged_stream_maker: StreamMaker[Stream, Stream] | None,
) -> None:
    """Check that a pair of streams keeps the contract of `Stream`.

    Includes `check_one_way_stream`, in both directions.

    Args:
        stream_maker: as there; both streams must go in both directions.
        clogged_stream_maker: as there; both streams must be clogged.

    Raises: what that raises.

    Checkpoint: always.
    """
    await check_one_way_stream(stream_maker, clogged_stream_maker)
    await check_one_way_stream(
        _flipped(stream_maker),
        None if clogged_stream_maker is None else _flipped(clogged_stream_maker),
    )
    await _run_checks(TWO_WAY, stream_maker)


async def check_half_closeable_stream(
    stream_maker: StreamMaker[HalfCloseableStream, HalfCloseableStream],
    clogged_stream_maker: StreamMaker[HalfCloseableStream, HalfCloseableStream] | None,
) -> None:
    """Check that a pair of streams keeps the contract of `HalfCloseableStream`.

    Includes `check_two_way_stream`.

    Args:
        stream_maker: as there; both streams must have `send_eof`.
        clogged_stream_maker: as there.

    Raises: what that raises.

    Checkpoint: always.
    """
    await check_two_way_stream(stream_maker, clogged_stream_maker)
    await _run_checks(HALF_CLOSEABLE, stream_maker)
    if clogged_stream_maker is not None:
        await _run_checks(HALF_CLOSEABLE_CLOGGED, clogged_stream_maker)


async def _run_checks(
    checks: Sequence[Callable[[FirstT, SecondT], Awaitable[None]]],
    stream_maker: StreamMaker[FirstT, SecondT],
) -> None:
    for check in checks:
        first, second = await stream_maker()
        try:
            await check(first, second)
        finally:
            try:
                await aclose_forcefully(first)
            finally:
                await aclose_forcefully(second)


def _flipped(stream_maker: StreamMaker[FirstT, SecondT]) -> StreamMaker[SecondT, FirstT]:
    async def make() -> tuple[SecondT, FirstT]:
        first, second = await stream_maker()
        return second, first

    return make
