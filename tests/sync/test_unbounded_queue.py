"""UnboundedQueue: batches, to one reader at a time."""

import warnings

import pytest

import uringtrio
from uringtrio import lowlevel


@pytest.fixture
def queue():
    with pytest.warns(uringtrio.TrioDeprecationWarning, match="UnboundedQueue"):
        return lowlevel.UnboundedQueue()


def test_constructing_one_warns_where_it_is_done():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        lowlevel.UnboundedQueue()

    assert [warning.filename for warning in caught] == [__file__]


def test_batch_is_everything_in_order(queue):
    async def main():
        assert queue.empty()
        for number in range(3):
            queue.put_nowait(number)
        assert queue.qsize() == 3
        assert not queue.empty()
        assert queue.statistics() == lowlevel.UnboundedQueueStatistics(qsize=3, tasks_waiting=0)
        assert "3 items" in repr(queue)
        assert await queue.get_batch() == [0, 1, 2]
        assert queue.empty()
        with pytest.raises(uringtrio.WouldBlock):
            queue.get_batch_nowait()
        queue.put_nowait(None)
        assert queue.get_batch_nowait() == [None]

    uringtrio.run(main)


def test_reader_that_waits_gets_all_that_was_put_until_it_runs(queue, settle, record):
    async def read():
        async for batch in queue:
            record(batch)

    async def main():
        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(read)
            await settle()
            assert queue.statistics().tasks_waiting == 1
            queue.put_nowait(1)
            queue.put_nowait(2)
            with pytest.raises(uringtrio.WouldBlock):
                # They are promised to the reader.
                queue.get_batch_nowait()
            await settle()
            queue.put_nowait(3)
            await settle()
            nursery.cancel_scope.cancel()

    uringtrio.run(main)

    assert record.events == [[1, 2], [3]]


def test_readers_take_turns_and_none_is_woken_for_nothing(queue, settle, record):
    async def read(name):
        while True:
            record((name, await queue.get_batch()))

    async def main():
        async with uringtrio.open_nursery() as nursery:
            for name in "ab":
                nursery.start_soon(read, name)
                await settle()
            for number in range(4):
                queue.put_nowait(number)
                queue.put_nowait(number)
                await settle()
            nursery.cancel_scope.cancel()

    uringtrio.run(main)

    assert record.events == [("a", [0, 0]), ("b", [1, 1]), ("a", [2, 2]), ("b", [3, 3])]


def test_getting_a_batch_that_is_there_lets_others_run(queue, settle):
    turns = 0

    async def count_turns():
        nonlocal turns
        while True:
            turns += 1
            await lowlevel.checkpoint()

    async def main():
        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(count_turns)
            await settle()
            before = turns
            for number in range(10):
                queue.put_nowait(number)
                assert await queue.get_batch() == [number]
            # The order of the two tasks in a turn is random.
            assert turns - before in (9, 10, 11)
            nursery.cancel_scope.cancel()

    uringtrio.run(main)


def test_nothing_is_taken_in_a_cancelled_scope(queue):
    async def main():
        queue.put_nowait(1)
        with uringtrio.CancelScope() as scope:
            scope.cancel()
            await queue.get_batch()
        assert scope.cancelled_caught
        assert queue.get_batch_nowait() == [1]

    uringtrio.run(main)


def test_cancelled_reader_gets_no_promise(queue, settle):
    async def main():
        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(queue.get_batch)
            await settle()
            nursery.cancel_scope.cancel()
        queue.put_nowait(1)
        assert queue.get_batch_nowait() == [1]

    uringtrio.run(main)
