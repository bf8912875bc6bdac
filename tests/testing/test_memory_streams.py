"""Memory streams: what is sent waits for the test, or for a pump."""

import pytest

import uringtrio
from uringtrio.testing import (
    MemoryReceiveStream,
    MemorySendStream,
    assert_checkpoints,
    memory_stream_one_way_pair,
    memory_stream_pair,
    memory_stream_pump,
    wait_all_tasks_blocked,
)


def test_what_was_sent_can_be_taken_in_pieces():
    async def main():
        stream = MemorySendStream()
        await stream.send_all(b"abc")
        await stream.send_all(bytearray(b"def"))
        assert stream.get_data_nowait(2) == b"ab"
        with assert_checkpoints():
            assert await stream.get_data(3) == b"cde"
        assert stream.get_data_nowait() == b"f"
        with pytest.raises(uringtrio.WouldBlock):
            stream.get_data_nowait()

    uringtrio.run(main)


def test_get_data_waits_until_something_is_sent(record):
    async def get(stream):
        with assert_checkpoints():
            record(bytes(await stream.get_data()))

    async def main():
        stream = MemorySendStream()
        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(get, stream)
            await wait_all_tasks_blocked()
            # Nothing is no data.
            await stream.send_all(b"")
            await stream.wait_send_all_might_not_block()
            await wait_all_tasks_blocked()
            assert record.events == []
            await stream.send_all(b"x")

    uringtrio.run(main)

    assert record.events == [b"x"]


def test_one_task_at_a_time_takes_data():
    async def main():
        stream = MemorySendStream()
        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(stream.get_data)
            await wait_all_tasks_blocked()
            with pytest.raises(uringtrio.BusyResourceError):
                await stream.get_data()
            nursery.cancel_scope.cancel()

    uringtrio.run(main)


def test_closed_send_stream_still_gives_what_was_sent():
    async def main():
        stream = MemorySendStream()
        await stream.send_all(b"abc")
        stream.close()
        for call in (lambda: stream.send_all(b""), stream.wait_send_all_might_not_block):
            with pytest.raises(uringtrio.ClosedResourceError):
                await call()
        assert await stream.get_data() == b"abc"
        assert await stream.get_data() == b""
        assert stream.get_data_nowait() == b""

    uringtrio.run(main)


def test_send_hooks_are_called_at_the_end(record):
    async def main():
        async def sent():
            record(bytes(stream.get_data_nowait()))

        async def waited():
            record("waited")

        stream = MemorySendStream(sent, waited, lambda: record("closed"))
        await stream.send_all(b"abc")
        await stream.wait_send_all_might_not_block()
        await uringtrio.aclose_forcefully(stream)
        stream.close()

    uringtrio.run(main)

    assert record.events == [b"abc", "waited", "closed", "closed"]


def test_receive_hook_is_called_before_receiving(record):
    async def main():
        async def before():
            stream.put_data(b"b")

        stream = MemoryReceiveStream(before, lambda: record("closed"))
        stream.put_data(b"a")
        assert await stream.receive_some() == b"ab"
        stream.receive_some_hook = None
        stream.put_data(b"c")
        assert await stream.receive_some() == b"c"
        await stream.aclose()

    uringtrio.run(main)

    assert record.events == ["closed"]


def test_end_of_stream_comes_after_the_data():
    async def main():
        stream = MemoryReceiveStream()
        stream.put_data(b"abc")
        stream.put_eof()
        stream.put_eof()
        with pytest.raises(uringtrio.ClosedResourceError):
            stream.put_data(b"d")
        assert [bytes(chunk) async for chunk in stream] == [b"abc"]
        assert await stream.receive_some(1) == b""

    uringtrio.run(main)


def test_closing_drops_what_was_not_received():
    async def main():
        stream = MemoryReceiveStream()
        stream.put_data(b"abc")
        stream.close()
        with pytest.raises(uringtrio.ClosedResourceError):
            await stream.receive_some(1)
        with pytest.raises(uringtrio.ClosedResourceError):
            stream.put_data(b"d")

    uringtrio.run(main)


@pytest.mark.parametrize("data", ["text", 5, None])
def test_only_bytes_can_be_put(data):
    with pytest.raises(TypeError):
        MemoryReceiveStream().put_data(data)


def test_pump_moves_data_and_then_the_end():
    async def main():
        send, receive = MemorySendStream(), MemoryReceiveStream()
        assert not memory_stream_pump(send, receive)
        await send.send_all(b"abc")
        assert memory_stream_pump(send, receive, max_bytes=1)
        assert await receive.receive_some() == b"a"
        send.close()
        assert memory_stream_pump(send, receive, max_bytes=2)
        assert await receive.receive_some() == b"bc"
        assert await receive.receive_some() == b""

    uringtrio.run(main)


def test_pump_into_closed_stream_is_the_peers_fault():
    async def main():
        send, receive = MemorySendStream(), MemoryReceiveStream()
        await send.send_all(b"abc")
        receive.close()
        with pytest.raises(uringtrio.BrokenResourceError):
            memory_stream_pump(send, receive)

    uringtrio.run(main)


def test_one_way_pair_without_hook_stalls_until_the_next_pump(record):
    async def receive_one(receive):
        record(bytes(await receive.receive_some()))

    async def main():
        send, receive = memory_stream_one_way_pair()
        hook, send.send_all_hook = send.send_all_hook, None
        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(receive_one, receive)
            await send.send_all(b"abc")
            await wait_all_tasks_blocked()
            assert record.events == []
            send.send_all_hook = hook
            await send.send_all(b"def")

    uringtrio.run(main)

    assert record.events == [b"abcdef"]


def test_pair_goes_both_ways():
    async def main():
        left, right = memory_stream_pair()
        await left.send_all(b"123")
        assert await right.receive_some() == b"123"
        await right.send_all(b"456")
        assert await left.receive_some() == b"456"
        await left.send_eof()
        assert await right.receive_some() == b""

    uringtrio.run(main)
