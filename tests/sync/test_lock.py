"""Locks: ownership, order, broken owners. What they share with other locks is in test_locklike."""

import re
import weakref

import pytest

import uringtrio
from uringtrio import lowlevel

both_kinds = pytest.mark.parametrize("kind", [uringtrio.Lock, uringtrio.StrictFIFOLock])


@both_kinds
def test_only_the_owner_releases_and_only_once(kind, settle):
    async def hold(lock):
        async with lock:
            await uringtrio.sleep_forever()

    async def main():
        lock = kind()
        with pytest.raises(RuntimeError, match="don't own"):
            lock.release()
        await lock.acquire()
        assert lock.locked()
        lock.release()
        assert not lock.locked()
        with pytest.raises(RuntimeError, match="don't own"):
            lock.release()
        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(hold, lock)
            await settle()
            with pytest.raises(RuntimeError, match="don't own"):
                lock.release()
            with pytest.raises(uringtrio.WouldBlock):
                lock.acquire_nowait()
            assert lock.locked()
            nursery.cancel_scope.cancel()
        assert not lock.locked()

    uringtrio.run(main)


@both_kinds
def test_owner_must_not_acquire_it_again(kind):
    async def main():
        lock = kind()
        async with lock as entered:
            assert entered is None
            with pytest.raises(RuntimeError, match="re-acquire"):
                lock.acquire_nowait()
            with pytest.raises(RuntimeError, match="re-acquire"):
                await lock.acquire()
            assert lock.locked()
        assert not lock.locked()

    uringtrio.run(main)


@both_kinds
def test_statistics_name_the_owner_and_count_who_waits(kind, settle):
    async def main():
        lock = kind()
        assert lock.statistics() == uringtrio.LockStatistics(
            locked=False, owner=None, tasks_waiting=0
        )
        async with uringtrio.open_nursery() as nursery:
            async with lock:
                nursery.start_soon(lock.acquire)
                await settle()
                assert lock.statistics() == uringtrio.LockStatistics(
                    locked=True, owner=lowlevel.current_task(), tasks_waiting=1
                )
                assert "1 waiters" in repr(lock)
                nursery.cancel_scope.cancel()

    uringtrio.run(main)


@both_kinds
def test_lock_can_be_referred_to_weakly_and_says_its_name(kind):
    lock = kind()

    assert weakref.ref(lock)() is lock
    assert f"unlocked {kind.__name__}" in repr(lock)


def test_acquiring_outside_of_a_run_says_so():
    lock = uringtrio.Lock()
    with pytest.raises(RuntimeError, match="async context"):
        lock.acquire_nowait()
    with pytest.raises(RuntimeError, match="async context"):
        lock.release()

    assert not lock.locked()


def test_lock_whose_owner_has_exited_is_broken_for_those_who_come():
    async def main():
        lock = uringtrio.Lock()
        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(lock.acquire)
        owner = lock.statistics().owner
        expected = f"^Owner of this lock exited without releasing: {re.escape(str(owner))}$"
        for _ in range(2):
            with pytest.raises(uringtrio.BrokenResourceError, match=expected) as caught:
                await lock.acquire()
            assert caught.value.__suppress_context__
        with pytest.raises(uringtrio.WouldBlock):
            lock.acquire_nowait()
        assert lock.locked()

    uringtrio.run(main)


def test_lock_whose_owner_exits_is_broken_for_those_who_wait(settle, record):
    async def wait(lock):
        with pytest.raises(uringtrio.BrokenResourceError, match=r"^Owner of this lock exited"):
            await lock.acquire()
        record("broken")

    async def main():
        lock = uringtrio.Lock()
        async with uringtrio.open_nursery() as nursery:
            async with uringtrio.open_nursery() as owners:

                async def own():
                    await lock.acquire()
                    await uringtrio.sleep_forever()

                owners.start_soon(own)
                await settle()
                nursery.start_soon(wait, lock)
                nursery.start_soon(wait, lock)
                await settle()
                assert record.events == []
                owners.cancel_scope.cancel()
        assert lock.statistics().tasks_waiting == 0

    uringtrio.run(main)

    assert record.events == ["broken", "broken"]


def test_owner_of_a_lock_that_was_handed_over_breaks_it(settle):
    async def main():
        lock = uringtrio.Lock()
        lock.acquire_nowait()
        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(lock.acquire)
            await settle()
            lock.release()
            assert lock.statistics().owner is not lowlevel.current_task()
        with pytest.raises(uringtrio.BrokenResourceError):
            await lock.acquire()

    uringtrio.run(main)


def test_released_lock_outlives_its_owners():
    async def use(locks):
        for lock in locks:
            await lock.acquire()
        # Not in the reverse order, as blocks would.
        for lock in locks:
            lock.release()

    async def main():
        locks = [uringtrio.Lock() for _ in range(3)]
        for _ in range(2):
            async with uringtrio.open_nursery() as nursery:
                nursery.start_soon(use, locks)
        for lock in locks:
            async with lock:
                assert lock.locked()

    uringtrio.run(main)


def test_every_lock_that_a_task_left_locked_is_broken():
    async def main():
        locks = [uringtrio.Lock() for _ in range(3)]

        async def leave():
            for lock in locks:
                await lock.acquire()
            locks[1].release()

        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(leave)
        assert [lock.locked() for lock in locks] == [True, False, True]
        for lock in (locks[0], locks[2]):
            with pytest.raises(uringtrio.BrokenResourceError):
                await lock.acquire()
        async with locks[1]:
            pass

    uringtrio.run(main)


def test_lock_is_handed_over_before_a_cancellation(settle, record):
    """Who was given the lock has it, though it was cancelled before it could run."""

    async def take(lock):
        await lock.acquire()
        record("has it")
        lock.release()

    async def main():
        lock = uringtrio.Lock()
        lock.acquire_nowait()
        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(take, lock)
            await settle()
            lock.release()
            nursery.cancel_scope.cancel()
        assert not lock.locked()

    uringtrio.run(main)

    assert record.events == ["has it"]
