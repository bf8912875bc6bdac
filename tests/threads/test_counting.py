"""How many waits for worker threads there are in a run, and waiting for their end."""

import threading

import pytest

import uringtrio
from uringtrio import from_thread, to_thread
from uringtrio._threads.counting import active_thread_count, wait_all_threads_completed

LIMIT_SECONDS = 10.0


def test_calls_in_flight_are_counted(run):
    async def main():
        gate = threading.Event()
        counts = []
        arrived = []
        all_there = uringtrio.Event()

        def block():
            from_thread.run_sync(arrive)
            assert gate.wait(LIMIT_SECONDS)

        def arrive():
            arrived.append(1)
            if len(arrived) == 3:
                all_there.set()

        counts.append(active_thread_count())
        async with uringtrio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(to_thread.run_sync, block)
            await all_there.wait()
            counts.append(active_thread_count())
            gate.set()
        counts.append(active_thread_count())
        return counts

    assert run(main) == [0, 3, 0]


def test_waiting_ends_with_the_last_thread(run, settle, record):
    async def main():
        gates = [uringtrio.Event() for _ in range(2)]

        async def call(gate):
            await to_thread.run_sync(from_thread.run, gate.wait)
            record("thread")

        async def wait():
            await wait_all_threads_completed()
            record("all")

        async with uringtrio.open_nursery() as nursery:
            for gate in gates:
                nursery.start_soon(call, gate)
            await settle()
            for _ in range(2):
                nursery.start_soon(wait)
            for gate in gates:
                await settle()
                gate.set()

    run(main)
    assert record.events == ["thread", "thread", "all", "all"]


def test_waiting_without_threads_is_a_checkpoint():
    async def main():
        await wait_all_threads_completed()
        with uringtrio.CancelScope() as scope:
            scope.cancel()
            await wait_all_threads_completed()
        return scope.cancelled_caught

    assert uringtrio.run(main)


def test_calls_that_wait_for_a_token_are_not_counted(run, settle):
    async def main():
        gate = uringtrio.Event()
        async with uringtrio.open_nursery() as nursery:
            limiter = uringtrio.CapacityLimiter(1)
            for _ in range(2):
                nursery.start_soon(run_limited, gate, limiter)
            await settle()
            count = active_thread_count()
            gate.set()
        return count

    async def run_limited(gate, limiter):
        await to_thread.run_sync(from_thread.run, gate.wait, limiter=limiter)

    assert run(main) == 1


def test_abandoned_thread_is_not_counted(run):
    gate = threading.Event()

    async def main():
        with uringtrio.CancelScope() as scope:

            def block():
                from_thread.run_sync(scope.cancel)
                gate.wait(LIMIT_SECONDS)

            await to_thread.run_sync(block, abandon_on_cancel=True)
        count = active_thread_count()
        await wait_all_threads_completed()
        return count

    assert run(main) == 0
    gate.set()


def test_thread_that_could_not_start_is_not_counted(run, monkeypatch):
    def refuse(*_args):
        raise RuntimeError("can't start new thread")

    async def main():
        monkeypatch.setattr("uringtrio._threads.to_thread.start_thread_soon", refuse)
        with pytest.raises(RuntimeError, match="can't start new thread"):
            await to_thread.run_sync(int)
        return active_thread_count()

    assert run(main) == 0


def test_count_belongs_to_a_run():
    with pytest.raises(RuntimeError):
        active_thread_count()
