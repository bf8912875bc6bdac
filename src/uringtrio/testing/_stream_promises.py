"""The promises of streams, one function each, which gets a fresh pair of connected streams.

Where a check fails, the traceback names the promise. Sending and receiving always overlap,
because a stream need not have a buffer.
"""

from __future__ import annotations

import contextlib
import random

from uringtrio._abc import HalfCloseableStream, ReceiveStream, SendStream, Stream
from uringtrio._errors import BrokenResourceError, Cancelled, ClosedResourceError
from uringtrio._net.staple import aclose_forcefully
from uringtrio._scheduler.cancel import CancelScope
from uringtrio._scheduler.idle import wait_all_tasks_blocked
from uringtrio._scheduler.nursery import open_nursery

from ._stream_calls import (
    after_others,
    closing,
    expect,
    expect_conflict,
    fill_until_broken,
    receiving,
    receiving_anything,
    sending,
    sending_eof,
    together,
    waiting_to_send,
)

DUPLEX_BYTES = 2**20
CHUNK_BYTES_MAX = 2**14


# One way.


async def _sides_have_their_types(send: SendStream, receive: ReceiveStream) -> None:
    assert isinstance(send, SendStream)
    assert isinstance(receive, ReceiveStream)


async def _every_kind_of_buffer_arrives(send: SendStream, receive: ReceiveStream) -> None:
    await together(sending(send, b"1"), receiving(receive, b"1"))
    await together(sending(send, bytearray(b"2")), receiving(receive, b"2"))
    await together(sending(send, memoryview(b"3")), receiving(receive, b"3"))


async def _nothing_can_be_sent(send: SendStream, receive: ReceiveStream) -> None:
    async def send_nothing_then_y() -> None:
        await sending(send, b"")()
        await sending(send, b"y")()

    await together(send_nothing_then_y, receiving(receive, b"y"))


async def _max_bytes_is_none_or_positive(send: SendStream, receive: ReceiveStream) -> None:
    await expect(ValueError, lambda: receive.receive_some(-1))
    await expect(ValueError, lambda: receive.receive_some(0))
    await expect(TypeError, lambda: receive.receive_some(1.5))  # type: ignore[arg-type]  # on purpose
    await together(sending(send, b"x"), receiving(receive, b"x", max_bytes=None))

    async def receive_by_default() -> None:
        assert await receive.receive_some() == b"x"

    await together(sending(send, b"x"), receive_by_default)


async def _one_task_receives(_send: SendStream, receive: ReceiveStream) -> None:
    await expect_conflict(receiving_anything(receive), receiving_anything(receive))


async def _wait_send_ends_when_received(send: SendStream, receive: ReceiveStream) -> None:
    async with open_nursery() as nursery:
        nursery.start_soon(receiving_anything(receive))
        await waiting_to_send(send)()
        nursery.cancel_scope.cancel()


async def _closed_receiver_breaks_sender(send: SendStream, receive: ReceiveStream) -> None:
    await together(lambda: fill_until_broken(send), closing(receive))
    await expect(BrokenResourceError, sending(send, b"x" * 100))
    await expect(ClosedResourceError, receiving_anything(receive))
    await closing(receive)()
    await closing(receive)()
    await closing(send)()
    await _closed_sender_refuses(send)


async def _closed_sender_refuses(send: SendStream) -> None:
    await expect(ClosedResourceError, sending(send, b"x" * 100))
    await expect(ClosedResourceError, sending(send, b""))
    await expect(ClosedResourceError, waiting_to_send(send))
    await closing(send)()
    await closing(send)()


async def _closed_sender_ends_stream(send: SendStream, receive: ReceiveStream) -> None:
    async def send_then_close() -> None:
        await sending(send, b"y")()
        await closing(send)()

    async def receive_then_close() -> None:
        # The stream is closed before its data is received, unless it has no buffer.
        await wait_all_tasks_blocked()
        await receiving(receive, b"y", b"", b"")()
        await closing(receive)()

    await together(send_then_close, receive_then_close)


async def _forced_close_of_receiver_closes(send: SendStream, receive: ReceiveStream) -> None:
    await aclose_forcefully(receive)
    await fill_until_broken(send)
    await expect(ClosedResourceError, receiving_anything(receive))


async def _forced_close_of_sender_closes(send: SendStream, receive: ReceiveStream) -> None:
    await aclose_forcefully(send)
    await expect(ClosedResourceError, sending(send, b"123"))
    # Either end of stream, or an error that says that the end was not proper; no data.
    with contextlib.suppress(BrokenResourceError):
        await receiving(receive, b"")()


async def _cancelled_close_closes(send: SendStream, receive: ReceiveStream) -> None:
    for side in (receive, send):
        with CancelScope() as scope:
            scope.cancel()
            await side.aclose()
    await expect(ClosedResourceError, sending(send, b"123"))
    await expect(ClosedResourceError, receiving_anything(receive))


async def _calls_can_be_cancelled(send: SendStream, receive: ReceiveStream) -> None:
    with CancelScope() as scope:
        scope.cancel()
        await together(
            lambda: expect(Cancelled, sending(send, b"x")),
            lambda: expect(Cancelled, receiving_anything(receive)),
        )
    await together(closing(send), closing(receive))


async def _close_wakes_receiver(_send: SendStream, receive: ReceiveStream) -> None:
    async with open_nursery() as nursery:
        nursery.start_soon(expect, ClosedResourceError, receiving_anything(receive))
        await wait_all_tasks_blocked()
        await aclose_forcefully(receive)


ONE_WAY = (
    _sides_have_their_types,
    _every_kind_of_buffer_arrives,
    _nothing_can_be_sent,
    _max_bytes_is_none_or_positive,
    _one_task_receives,
    _wait_send_ends_when_received,
    _closed_receiver_breaks_sender,
    _closed_sender_ends_stream,
    _forced_close_of_receiver_closes,
    _forced_close_of_sender_closes,
    _cancelled_close_closes,
    _calls_can_be_cancelled,
    _close_wakes_receiver,
)


# One way, clogged.


async def _wait_send_waits_for_receiver(send: SendStream, receive: ReceiveStream) -> None:
    happened: list[str] = []
    async with open_nursery() as nursery:

        async def wait_to_send() -> None:
            await waiting_to_send(send)()
            happened.append("could send")
            nursery.cancel_scope.cancel()

        nursery.start_soon(wait_to_send)
        await wait_all_tasks_blocked()
        happened.append("receive")
        while True:
            await receive.receive_some(CHUNK_BYTES_MAX)
    assert happened == ["receive", "could send"], happened


async def _one_task_waits_to_send(send: SendStream, _receive: ReceiveStream) -> None:
    await expect_conflict(waiting_to_send(send), waiting_to_send(send))
    await expect_conflict(waiting_to_send(send), sending(send, b"123"))


async def _one_task_sends(send: SendStream, _receive: ReceiveStream) -> None:
    await expect_conflict(sending(send, b"123"), sending(send, b"123"))


async def _wait_send_survives_closed_receiver(send: SendStream, receive: ReceiveStream) -> None:
    async def wait_to_send() -> None:
        # It is not said which: the next `send_all` will tell.
        with contextlib.suppress(BrokenResourceError):
            await waiting_to_send(send)()

    async with open_nursery() as nursery:
        nursery.start_soon(wait_to_send)
        await wait_all_tasks_blocked()
        await aclose_forcefully(receive)
    await wait_to_send()


async def _close_wakes_sender(send: SendStream, _receive: ReceiveStream) -> None:
    async with open_nursery() as nursery:
        nursery.start_soon(expect, ClosedResourceError, sending(send, b"xyzzy"))
        await wait_all_tasks_blocked()
        await aclose_forcefully(send)


async def _close_wakes_wait_send(send: SendStream, _receive: ReceiveStream) -> None:
    async with open_nursery() as nursery:
        nursery.start_soon(expect, ClosedResourceError, waiting_to_send(send))
        await wait_all_tasks_blocked()
        await aclose_forcefully(send)


ONE_WAY_CLOGGED = (
    _wait_send_waits_for_receiver,
    _one_task_waits_to_send,
    _one_task_sends,
    _wait_send_survives_closed_receiver,
    _close_wakes_sender,
    _close_wakes_wait_send,
)


# Two ways.


async def _both_ways_at_once(left: Stream, right: Stream) -> None:
    assert isinstance(left, Stream)
    assert isinstance(right, Stream)
    data = random.Random(0).randbytes(DUPLEX_BYTES)

    async def send(stream: Stream, data: bytes, seed: int) -> None:
        sizes = random.Random(seed)
        rest = memoryview(data)
        while rest:
            size = sizes.randint(1, CHUNK_BYTES_MAX)
            await stream.send_all(rest[:size])
            rest = rest[size:]

    async def receive(stream: Stream, data: bytes, seed: int) -> None:
        sizes = random.Random(seed)
        got = bytearray()
        while len(got) < len(data):
            chunk = await stream.receive_some(sizes.randint(1, CHUNK_BYTES_MAX))
            assert chunk, f"end of stream after {len(got)} of {len(data)} bytes"
            got += chunk
        assert got == data, "other bytes were received than were sent"

    async with open_nursery() as nursery:
        nursery.start_soon(send, left, data, 0)
        nursery.start_soon(send, right, data[::-1], 1)
        nursery.start_soon(receive, left, data[::-1], 2)
        nursery.start_soon(receive, right, data, 3)


async def _close_ends_the_other_way_too(left: Stream, right: Stream) -> None:
    async def receive_then_close() -> None:
        await receiving(right, b"")()
        await closing(right)()

    await together(receive_then_close, left.aclose)


TWO_WAY = (_both_ways_at_once, _close_ends_the_other_way_too)


# Half-closeable.


async def _eof_ends_one_way_only(left: HalfCloseableStream, right: HalfCloseableStream) -> None:
    assert isinstance(left, HalfCloseableStream)
    assert isinstance(right, HalfCloseableStream)

    async def send_then_eof(stream: HalfCloseableStream) -> None:
        await sending(stream, b"x")()
        await sending_eof(stream)()

    async def receive_to_eof(stream: HalfCloseableStream) -> None:
        await wait_all_tasks_blocked()
        await receiving(stream, b"x", b"", max_bytes=10)()

    await together(lambda: send_then_eof(left), lambda: receive_to_eof(right))
    await expect(ClosedResourceError, sending(left, b"y"))
    await sending_eof(left)()
    await together(lambda: send_then_eof(right), lambda: receive_to_eof(left))


HALF_CLOSEABLE = (_eof_ends_one_way_only,)


async def _no_eof_while_sending(left: HalfCloseableStream, _right: HalfCloseableStream) -> None:
    await expect_conflict(sending(left, b"x"), after_others(sending_eof(left)))


async def _no_eof_while_waiting(left: HalfCloseableStream, _right: HalfCloseableStream) -> None:
    await expect_conflict(waiting_to_send(left), after_others(sending_eof(left)))


HALF_CLOSEABLE_CLOGGED = (_no_eof_while_sending, _no_eof_while_waiting)
