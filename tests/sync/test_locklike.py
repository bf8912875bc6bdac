"""What everything that is acquired and released promises, in the same words for each kind."""

import random
import signal

import pytest

import uringtrio
from uringtrio import lowlevel

KINDS = {
    "CapacityLimiter": lambda: uringtrio.CapacityLimiter(1),
    "Semaphore": lambda: uringtrio.Semaphore(1),
    "Lock": uringtrio.Lock,
    "StrictFIFOLock": uringtrio.StrictFIFOLock,
    "Condition": uringtrio.Condition,
}


@pytest.fixture(params=KINDS.values(), ids=KINDS.keys())
def lock(request):
    return request.param()


def is_free(lock):
    """Say whether it can be had at once; it is free afterwards if it was before."""
    try:
        lock.acquire_nowait()
    except uringtrio.WouldBlock:
        return False
    lock.release()
    return True


def waiting(lock):
    statistics = lock.statistics()
    return getattr(statistics, "lock_statistics", statistics).tasks_waiting


def test_one_at_a_time(lock):
    async def main():
        inside = 0
        entered = 0

        async def work():
            nonlocal inside, entered
            for _ in range(10):
                async with lock:
                    entered += 1
                    assert inside == 0
                    inside += 1
                    await lowlevel.checkpoint()
                    await lowlevel.checkpoint()
                    inside -= 1

        async with uringtrio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(work)
        assert entered == 50
        assert is_free(lock)

    uringtrio.run(main)


def test_first_come_first_served(lock, record):
    async def loop(name):
        record(name)
        for _ in range(5):
            async with lock:
                record(name)

    async def main():
        async with uringtrio.open_nursery() as nursery:
            for name in "abc":
                nursery.start_soon(loop, name)

    uringtrio.run(main)

    order = record.events[:3]
    assert record.events == order * 6


def test_release_hands_over(lock, settle):
    async def main():
        lock.acquire_nowait()
        async with uringtrio.open_nursery() as nursery:

            async def take():
                async with lock:
                    pass

            nursery.start_soon(take)
            await settle()
            assert waiting(lock) == 1
            lock.release()
            assert waiting(lock) == 0
            with pytest.raises(uringtrio.WouldBlock):
                lock.acquire_nowait()
        assert is_free(lock)

    uringtrio.run(main)


def test_acquiring_what_is_free_lets_others_run(lock, settle):
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
            lock.acquire_nowait()
            lock.release()
            assert turns == before
            for _ in range(10):
                async with lock:
                    pass
                await lock.acquire()
                lock.release()
            # Exactly one turn each; the order of the two tasks in a turn is random.
            assert turns - before in (19, 20, 21)
            nursery.cancel_scope.cancel()

    uringtrio.run(main)


def test_nothing_is_taken_in_a_cancelled_scope(lock):
    async def main():
        with uringtrio.CancelScope() as scope:
            scope.cancel()
            await lock.acquire()
        assert scope.cancelled_caught
        assert is_free(lock)
        with uringtrio.CancelScope() as scope:
            scope.cancel()
            async with lock:
                pytest.fail("entered")
        assert scope.cancelled_caught
        assert is_free(lock)

    uringtrio.run(main)


def test_nothing_is_taken_when_a_keyboard_interrupt_is_pending(lock):
    @lowlevel.enable_ki_protection
    def interrupt():
        signal.raise_signal(signal.SIGINT)

    async def main():
        interrupt()
        with pytest.raises(KeyboardInterrupt):
            await lock.acquire()
        assert is_free(lock)

    uringtrio.run(main)


def test_keyboard_interrupt_ends_a_wait_that_then_takes_nothing(lock, settle):
    @lowlevel.enable_ki_protection
    def interrupt():
        signal.raise_signal(signal.SIGINT)

    async def hold():
        async with lock:
            await settle()
            interrupt()
            await settle()
            assert waiting(lock) == 0

    async def main():
        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(hold)
            await settle()
            with pytest.raises(KeyboardInterrupt):
                await lock.acquire()
        assert is_free(lock)

    uringtrio.run(main)


def test_leaving_the_block_is_no_checkpoint(lock, record):
    async def other():
        record("other")

    async def main():
        async with uringtrio.open_nursery() as nursery:
            with uringtrio.CancelScope() as scope:
                async with lock:
                    nursery.start_soon(other)
                    scope.cancel()
                record("left")
            assert not scope.cancelled_caught

    uringtrio.run(main)

    assert record.events == ["left", "other"]


def test_timeout_while_waiting_takes_nothing(lock, clock):
    async def main():
        lock.acquire_nowait()
        async with uringtrio.open_nursery() as nursery:

            async def give_up():
                with uringtrio.move_on_after(1) as scope:
                    await lock.acquire()
                assert scope.cancelled_caught

            nursery.start_soon(give_up)
        assert waiting(lock) == 0
        lock.release()
        assert is_free(lock)

    uringtrio.run(main, clock=clock)


def test_nothing_is_lost_when_waits_are_cancelled_at_random(lock):
    """Whatever is cancelled, at most one task is inside, and at the end nobody is."""
    chance = random.Random(1)

    async def main():
        inside = 0
        served = 0
        scopes = set()

        async def work():
            nonlocal inside, served
            for _ in range(30):
                with uringtrio.CancelScope() as scope:
                    scopes.add(scope)
                    async with lock:
                        assert inside == 0
                        inside += 1
                        served += 1
                        try:
                            for _ in range(chance.randrange(3)):
                                await lowlevel.checkpoint()
                        finally:
                            inside -= 1
                scopes.discard(scope)

        async def disturb(workers):
            while workers.child_tasks:
                await lowlevel.checkpoint()
                if scopes and chance.random() < 0.5:
                    chance.choice(sorted(scopes, key=id)).cancel()

        async with uringtrio.open_nursery() as nursery, uringtrio.open_nursery() as workers:
            for _ in range(6):
                workers.start_soon(work)
            nursery.start_soon(disturb, workers)
        assert served > 10
        assert waiting(lock) == 0
        assert is_free(lock)

    for _ in range(5):
        uringtrio.run(main)


def test_it_cannot_be_subclassed(lock):
    with pytest.raises(TypeError, match="final"):
        type("Sub", (type(lock),), {})
