"""Lockstep streams: nothing is ever on the way."""

import pytest

import uringtrio
from uringtrio.testing import (
    lockstep_stream_one_way_pair,
    lockstep_stream_pair,
    wait_all_tasks_blocked,
)


def test_sending_lasts_until_all_is_received(record):
    async def send_all(send):
        await send.send_all(b"abc")
        record("sent")

    async def main():
        send, receive = lockstep_stream_one_way_pair()
        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(send_all, send)
            await wait_all_tasks_blocked()
            assert await receive.receive_some(2) == b"ab"
            await wait_all_tasks_blocked()
            assert record.events == []
            assert await receive.receive_some(2) == b"c"

    uringtrio.run(main)

    assert record.events == ["sent"]


def test_cancelled_send_leaves_nothing_behind():
    async def main():
        send, receive = lockstep_stream_one_way_pair()
        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(send.send_all, b"lost")
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(send.send_all, b"new")
            assert await receive.receive_some() == b"new"

    uringtrio.run(main)


def test_send_that_was_received_whole_succeeds_although_closed_at_once():
    async def main():
        send, receive = lockstep_stream_one_way_pair()
        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(send.send_all, b"abc")
            await wait_all_tasks_blocked()
            assert await receive.receive_some() == b"abc"
            receive.close()
            send.close()

    uringtrio.run(main)


def test_closed_sides_say_whose_fault_it_is():
    async def main():
        send, receive = lockstep_stream_one_way_pair()
        receive.close()
        with pytest.raises(uringtrio.BrokenResourceError):
            await send.send_all(b"x")
        await send.wait_send_all_might_not_block()
        with pytest.raises(uringtrio.ClosedResourceError):
            await receive.receive_some()
        send.close()
        with pytest.raises(uringtrio.ClosedResourceError):
            await send.send_all(b"x")

    uringtrio.run(main)


def test_pair_goes_both_ways():
    async def main():
        left, right = lockstep_stream_pair()
        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(left.send_all, b"1")
            nursery.start_soon(right.send_all, b"2")
            assert await left.receive_some() == b"2"
            assert await right.receive_some() == b"1"

    uringtrio.run(main)
