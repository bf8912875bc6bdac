"""Memory channels: handles, buffer, rendezvous, closing, cancellation, statistics."""

from math import inf

import pytest

import uringtrio
from uringtrio import lowlevel


def test_buffered_objects_arrive_in_order():
    async def main():
        send, receive = uringtrio.open_memory_channel(3)
        for number in range(3):
            await send.send(number)
        assert [await receive.receive() for _ in range(3)] == [0, 1, 2]

    uringtrio.run(main)


def test_full_buffer_makes_send_wait(settle, record):
    async def produce(send):
        for number in range(3):
            await send.send(number)
            record(f"sent {number}")

    async def main():
        send, receive = uringtrio.open_memory_channel(1)
        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(produce, send)
            await settle()
            assert record.events == ["sent 0"]
            assert await receive.receive() == 0
            await settle()
            assert record.events == ["sent 0", "sent 1"]
            assert await receive.receive() == 1
            assert await receive.receive() == 2

    uringtrio.run(main)


def test_channel_without_a_buffer_hands_over(settle, record):
    async def produce(send):
        await send.send("object")
        record("taken")

    async def main():
        send, receive = uringtrio.open_memory_channel(0)
        with pytest.raises(uringtrio.WouldBlock):
            send.send_nowait("nobody waits")
        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(produce, send)
            await settle()
            assert record.events == []
            assert receive.receive_nowait() == "object"
            await settle()
            assert record.events == ["taken"]

    uringtrio.run(main)


def test_send_nowait_serves_a_waiting_receiver(settle):
    async def consume(receive, seen):
        seen.append(await receive.receive())

    async def main():
        send, receive = uringtrio.open_memory_channel(0)
        seen = []
        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(consume, receive, seen)
            await settle()
            send.send_nowait("object")
            with pytest.raises(uringtrio.WouldBlock):
                send.send_nowait("second")
        return seen

    assert uringtrio.run(main) == ["object"]


def test_receivers_and_senders_are_served_in_order_of_arrival(settle):
    async def consume(receive, name, seen):
        seen.append((name, await receive.receive()))

    async def produce(send, value):
        await send.send(value)

    async def main():
        send, receive = uringtrio.open_memory_channel(0)
        seen = []
        async with uringtrio.open_nursery() as nursery:
            for name in "abc":
                nursery.start_soon(consume, receive, name, seen)
                await settle()
            for number in range(3):
                send.send_nowait(number)
                await settle()
        assert seen == [("a", 0), ("b", 1), ("c", 2)]
        async with uringtrio.open_nursery() as nursery:
            for number in range(3):
                nursery.start_soon(produce, send, number)
                await settle()
            return [receive.receive_nowait() for _ in range(3)]

    assert uringtrio.run(main) == [0, 1, 2]


def test_waiting_senders_come_after_the_buffer(settle):
    async def main():
        send, receive = uringtrio.open_memory_channel(2)
        send.send_nowait(0)
        send.send_nowait(1)
        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(send.send, 2)
            await settle()
            nursery.start_soon(send.send, 3)
            await settle()
            return [receive.receive_nowait() for _ in range(4)]

    assert uringtrio.run(main) == [0, 1, 2, 3]


def test_unlimited_buffer_never_makes_send_wait():
    async def main():
        send, receive = uringtrio.open_memory_channel(inf)
        for number in range(1000):
            send.send_nowait(number)
        assert receive.statistics().current_buffer_used == 1000
        assert receive.statistics().max_buffer_size == inf

    uringtrio.run(main)


# Ends.


def test_receivers_get_the_buffer_and_then_the_end():
    async def main():
        send, receive = uringtrio.open_memory_channel(5)
        async with send:
            await send.send(1)
            await send.send(2)
        assert [item async for item in receive] == [1, 2]
        for _ in range(2):
            with pytest.raises(uringtrio.EndOfChannel):
                await receive.receive()
            with pytest.raises(uringtrio.EndOfChannel):
                receive.receive_nowait()

    uringtrio.run(main)


def test_last_clone_to_close_ends_the_channel(settle):
    async def consume(receive, seen):
        async for item in receive:
            seen.append(item)
        seen.append("end")

    async def main():
        send, receive = uringtrio.open_memory_channel(0)
        second = send.clone()
        seen = []
        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(consume, receive, seen)
            await settle()
            send.close()
            await settle()
            assert seen == []
            await second.send("through the clone")
            await settle()
            second.close()
        return seen

    assert uringtrio.run(main) == ["through the clone", "end"]


def test_closing_all_receivers_breaks_the_senders_and_drops_the_buffer(settle):
    async def blocked(send, record):
        with pytest.raises(uringtrio.BrokenResourceError):
            await send.send("never")
        record.append("broken")

    async def main():
        send, receive = uringtrio.open_memory_channel(1)
        second = receive.clone()
        send.send_nowait("dropped")
        broken = []
        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(blocked, send, broken)
            await settle()
            receive.close()
            await settle()
            assert broken == []
            second.close()
        assert broken == ["broken"]
        assert send.statistics().current_buffer_used == 0
        with pytest.raises(uringtrio.BrokenResourceError):
            await send.send(1)
        with pytest.raises(uringtrio.BrokenResourceError):
            send.send_nowait(1)

    uringtrio.run(main)


def test_closing_a_handle_wakes_only_those_who_wait_through_it(settle):
    async def consume(receive, seen, name):
        try:
            seen.append((name, await receive.receive()))
        except uringtrio.ClosedResourceError:
            seen.append((name, "closed"))

    async def main():
        send, receive = uringtrio.open_memory_channel(0)
        second = receive.clone()
        seen = []
        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(consume, receive, seen, "first")
            nursery.start_soon(consume, second, seen, "second")
            await settle()
            receive.close()
            await settle()
            assert seen == [("first", "closed")]
            send.send_nowait("object")
        assert seen[1] == ("second", "object")

    uringtrio.run(main)


def test_closing_a_send_handle_takes_back_what_waits_through_it(settle):
    async def produce(send, value, seen):
        try:
            await send.send(value)
        except uringtrio.ClosedResourceError:
            seen.append(f"{value} taken back")

    async def main():
        send, receive = uringtrio.open_memory_channel(0)
        second = send.clone()
        seen = []
        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(produce, send, "first", seen)
            nursery.start_soon(produce, second, "second", seen)
            await settle()
            send.close()
            await settle()
            assert seen == ["first taken back"]
            assert receive.receive_nowait() == "second"
            with pytest.raises(uringtrio.WouldBlock):
                receive.receive_nowait()

    uringtrio.run(main)


def test_closed_handle_refuses_everything_but_closing():
    async def main():
        send, receive = uringtrio.open_memory_channel(1)
        send.close()
        receive.close()
        send.close()
        await receive.aclose()
        with pytest.raises(uringtrio.ClosedResourceError):
            await send.send(1)
        with pytest.raises(uringtrio.ClosedResourceError):
            send.send_nowait(1)
        with pytest.raises(uringtrio.ClosedResourceError):
            send.clone()
        with pytest.raises(uringtrio.ClosedResourceError):
            await receive.receive()
        with pytest.raises(uringtrio.ClosedResourceError):
            receive.receive_nowait()
        with pytest.raises(uringtrio.ClosedResourceError):
            receive.clone()

    uringtrio.run(main)


def test_with_and_async_with_close():
    async def main():
        send, receive = uringtrio.open_memory_channel(1)
        with send as same:
            assert same is send
        async with receive as same:
            assert same is receive
        assert send.statistics().open_send_channels == 0
        assert send.statistics().open_receive_channels == 0

    uringtrio.run(main)


def test_close_needs_no_run():
    send, receive = uringtrio.open_memory_channel(1)
    send.send_nowait(1)

    assert receive.receive_nowait() == 1
    send.close()
    receive.close()


def test_aclose_closes_even_if_cancelled():
    async def main():
        send, _ = uringtrio.open_memory_channel(1)
        with uringtrio.CancelScope() as scope:
            scope.cancel()
            await send.aclose()
        assert scope.cancelled_caught
        assert send.statistics().open_send_channels == 0

    uringtrio.run(main)


# Cancellation and sharing.


def test_cancelled_receive_takes_nothing(settle):
    async def main():
        send, receive = uringtrio.open_memory_channel(0)
        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(receive.receive)
            await settle()
            nursery.cancel_scope.cancel()
        assert receive.statistics().tasks_waiting_receive == 0
        with pytest.raises(uringtrio.WouldBlock):
            send.send_nowait("nobody is there")

    uringtrio.run(main)


def test_cancelled_send_leaves_nothing(settle):
    async def main():
        send, receive = uringtrio.open_memory_channel(0)
        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(send.send, "never")
            await settle()
            nursery.cancel_scope.cancel()
        assert receive.statistics().tasks_waiting_send == 0
        with pytest.raises(uringtrio.WouldBlock):
            receive.receive_nowait()

    uringtrio.run(main)


def test_object_and_cancel_at_the_same_time_lose_nothing(settle):
    async def consume(receive, seen):
        seen.append(await receive.receive())

    async def main():
        for cancel_first in (False, True):
            send, receive = uringtrio.open_memory_channel(1)
            seen = []
            async with uringtrio.open_nursery() as nursery:
                nursery.start_soon(consume, receive, seen)
                await settle()
                if cancel_first:
                    nursery.cancel_scope.cancel()
                    send.send_nowait("object")
                else:
                    send.send_nowait("object")
                    nursery.cancel_scope.cancel()
            if cancel_first:
                assert seen == []
                assert receive.receive_nowait() == "object"
            else:
                assert seen == ["object"]

    uringtrio.run(main)


def test_many_tasks_may_share_the_handles():
    async def produce(send, count):
        for number in range(count):
            await send.send(number)

    async def consume(receive, seen):
        while True:
            seen.append(await receive.receive())

    async def main():
        send, receive = uringtrio.open_memory_channel(2)
        seen = []
        async with uringtrio.open_nursery() as consumers:
            for _ in range(5):
                consumers.start_soon(consume, receive, seen)
            async with uringtrio.open_nursery() as producers:
                for _ in range(10):
                    producers.start_soon(produce, send, 20)
            while len(seen) < 200:
                await lowlevel.checkpoint()
            consumers.cancel_scope.cancel()
        assert sorted(seen) == sorted(list(range(20)) * 10)

    uringtrio.run(main)


# Statistics and construction.


def test_statistics_tell_everything_and_both_ends_agree(settle):
    async def main():
        send, receive = uringtrio.open_memory_channel(2)
        clone = send.clone()
        send.send_nowait(1)
        send.send_nowait(2)
        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(send.send, 3)
            await settle()
            statistics = send.statistics()
            assert statistics == receive.statistics() == clone.statistics()
            assert statistics.current_buffer_used == 2
            assert statistics.max_buffer_size == 2
            assert statistics.open_send_channels == 2
            assert statistics.open_receive_channels == 1
            assert statistics.tasks_waiting_send == 1
            assert statistics.tasks_waiting_receive == 0
            for _ in range(3):
                receive.receive_nowait()
        assert send.statistics().current_buffer_used == 0
        assert send.statistics().peak_buffer_used == 2

    uringtrio.run(main)


def test_subscripted_form_makes_a_channel():
    send, receive = uringtrio.open_memory_channel[int](5)
    with send, receive:
        assert send.statistics().max_buffer_size == 5
        assert isinstance(send, uringtrio.MemorySendChannel)
        assert isinstance(receive, uringtrio.MemoryReceiveChannel)
        assert isinstance(send, uringtrio.abc.SendChannel)
        assert isinstance(receive, uringtrio.abc.ReceiveChannel)


@pytest.mark.parametrize("size", ["1", 1.5, None])
def test_buffer_size_must_be_a_number_of_objects(size):
    with pytest.raises(TypeError, match=r"max_buffer_size must be an integer or math\.inf"):
        uringtrio.open_memory_channel(size)


def test_buffer_size_must_not_be_negative():
    with pytest.raises(ValueError, match="max_buffer_size must be >= 0"):
        uringtrio.open_memory_channel(-1)


@pytest.mark.parametrize("cls", [uringtrio.MemorySendChannel, uringtrio.MemoryReceiveChannel])
def test_handles_have_no_public_constructor(cls):
    with pytest.raises(TypeError, match="open_memory_channel"):
        cls()


def test_repr_tells_which_handles_belong_together():
    send, receive = uringtrio.open_memory_channel(0)
    other_send, _ = uringtrio.open_memory_channel(0)

    def buffer_of(handle):
        return repr(handle).rpartition("using buffer at ")[2]

    assert repr(send).startswith("<send channel at 0x")
    assert repr(receive).startswith("<receive channel at 0x")
    assert buffer_of(send) == buffer_of(receive) == buffer_of(send.clone())
    assert buffer_of(other_send) != buffer_of(send)
