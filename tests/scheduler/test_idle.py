"""wait_all_tasks_blocked: nobody can go on by himself."""

import pytest

import uringtrio
from uringtrio import lowlevel, socket
from uringtrio.testing import MockClock, wait_all_tasks_blocked


def test_wait_ends_when_all_others_wait(record):
    async def busy():
        for _ in range(10):
            await lowlevel.checkpoint()
        record("busy no more")

    async def wait():
        await wait_all_tasks_blocked()
        record("blocked")

    async def main():
        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(busy)
            nursery.start_soon(wait)
            nursery.start_soon(wait)

    uringtrio.run(main)

    assert record.events == ["busy no more", "blocked", "blocked"]


def test_wait_can_be_cancelled(record):
    async def main():
        with uringtrio.CancelScope() as scope:
            scope.cancel()
            await wait_all_tasks_blocked()
            record("not reached")
        await wait_all_tasks_blocked()

    uringtrio.run(main)

    assert record.events == []


def test_smallest_cushion_ends_first(record):
    async def wait(cushion):
        await wait_all_tasks_blocked(cushion)
        record(cushion)

    async def main():
        async with uringtrio.open_nursery() as nursery:
            for cushion in (0.02, 0.0, 0.01, 0.02):
                nursery.start_soon(wait, cushion)

    uringtrio.run(main)

    assert record.events == [0.0, 0.01, 0.02, 0.02]


def test_task_that_waits_for_io_is_blocked(run):
    async def main():
        left, right = socket.socketpair()
        with left, right:
            async with uringtrio.open_nursery() as nursery:
                nursery.start_soon(left.recv, 1)
                await wait_all_tasks_blocked()
                await right.send(b"x")

    run(main)


def test_call_of_another_thread_counts_as_runnable(record):
    async def main():
        lowlevel.current_trio_token().run_sync_soon(record, "called")
        await wait_all_tasks_blocked()
        record("blocked")

    uringtrio.run(main)

    assert record.events == ["called", "blocked"]


def test_cushion_is_real_time():
    async def main():
        await wait_all_tasks_blocked(0.001)
        return uringtrio.current_time()

    assert uringtrio.run(main, clock=MockClock()) == 0


def test_wait_outside_of_a_run_says_what_is_missing():
    with pytest.raises(RuntimeError, match="wait_all_tasks_blocked"):
        wait_all_tasks_blocked().send(None)
