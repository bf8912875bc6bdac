"""Condition: waiting for a change, and holding the lock whatever happens."""

import pytest

import uringtrio
from uringtrio import lowlevel


async def wait_and_say(condition, name, record):
    async with condition:
        await condition.wait()
        record(name)


async def fill(nursery, condition, names, record, settle):
    for name in names:
        nursery.start_soon(wait_and_say, condition, name, record)
        await settle()


def test_lock_must_be_a_lock():
    for wrong in (uringtrio.Semaphore(1), uringtrio.StrictFIFOLock(), uringtrio.Lock):
        with pytest.raises(TypeError, match=r"uringtrio\.Lock"):
            uringtrio.Condition(wrong)


def test_lock_of_its_own_or_a_shared_one():
    async def main():
        lock = uringtrio.Lock()
        one, other = uringtrio.Condition(lock), uringtrio.Condition(lock)
        async with one:
            assert lock.locked()
            assert one.locked()
            assert other.locked()
            assert not uringtrio.Condition().locked()
            with pytest.raises(RuntimeError, match="re-acquire"):
                other.acquire_nowait()
        other.acquire_nowait()
        one.release()
        assert not lock.locked()

    uringtrio.run(main)


def test_everything_but_acquire_needs_the_lock(settle):
    async def hold(condition):
        async with condition:
            await uringtrio.sleep_forever()

    async def main():
        condition = uringtrio.Condition()

        async def refuse():
            with pytest.raises(RuntimeError, match="must hold the lock to wait"):
                await condition.wait()
            with pytest.raises(RuntimeError, match="must hold the lock to notify"):
                condition.notify()
            with pytest.raises(RuntimeError, match="must hold the lock to notify"):
                condition.notify_all()
            with pytest.raises(RuntimeError, match="don't own"):
                condition.release()

        await refuse()
        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(hold, condition)
            await settle()
            await refuse()
            nursery.cancel_scope.cancel()

    uringtrio.run(main)


def test_notify_lets_the_first_go_on(settle, record):
    async def main():
        condition = uringtrio.Condition()
        async with uringtrio.open_nursery() as nursery:
            await fill(nursery, condition, "abcd", record, settle)
            async with condition:
                condition.notify()
                await settle()
                # It needs the lock, which is held here.
                assert record.events == []
            assert condition.locked()
            await settle()
            assert record.events == ["a"]
            async with condition:
                condition.notify(2)
                statistics = condition.statistics()
                assert statistics.tasks_waiting == 1
                assert statistics.lock_statistics.tasks_waiting == 2
            await settle()
            assert record.events == ["a", "b", "c"]
            async with condition:
                condition.notify(100)

    uringtrio.run(main)

    assert record.events == ["a", "b", "c", "d"]


def test_notify_all_lets_all_go_on_in_order(settle, record):
    async def main():
        condition = uringtrio.Condition()
        async with uringtrio.open_nursery() as nursery:
            await fill(nursery, condition, "abcd", record, settle)
            async with condition:
                condition.notify_all()
                assert condition.statistics().tasks_waiting == 0
        assert not condition.locked()

    uringtrio.run(main)

    assert record.events == ["a", "b", "c", "d"]


def test_who_was_notified_comes_after_who_waits_for_the_lock_already(settle, record):
    async def lock_and_say(condition):
        async with condition:
            record("locker")

    async def main():
        condition = uringtrio.Condition()
        async with uringtrio.open_nursery() as nursery:
            await fill(nursery, condition, "a", record, settle)
            async with condition:
                nursery.start_soon(lock_and_say, condition)
                await settle()
                condition.notify()

    uringtrio.run(main)

    assert record.events == ["locker", "a"]


def test_notify_without_anybody_waiting_is_forgotten(settle, record):
    async def main():
        condition = uringtrio.Condition()
        async with condition:
            condition.notify()
        async with uringtrio.open_nursery() as nursery:
            await fill(nursery, condition, "a", record, settle)
            assert record.events == []
            nursery.cancel_scope.cancel()

    uringtrio.run(main)

    assert record.events == []


def test_cancelled_wait_holds_the_lock_when_it_raises(record):
    async def main():
        condition = uringtrio.Condition()
        with uringtrio.CancelScope() as scope:
            async with condition:
                scope.cancel()
                try:
                    await condition.wait()
                finally:
                    record(condition.statistics().lock_statistics.owner is lowlevel.current_task())
        assert scope.cancelled_caught
        assert not condition.locked()
        assert condition.statistics().tasks_waiting == 0

    uringtrio.run(main)

    assert record.events == [True]


def test_cancelled_wait_waits_for_the_lock_first(settle, record):
    async def wait(condition):
        async with condition:
            try:
                await condition.wait()
            finally:
                record("cancelled")

    async def main():
        condition = uringtrio.Condition()
        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(wait, condition)
            await settle()
            async with condition:
                nursery.cancel_scope.cancel()
                with uringtrio.CancelScope(shield=True):
                    await settle()
                assert record.events == []
        assert not condition.locked()

    uringtrio.run(main)

    assert record.events == ["cancelled"]


def test_wait_that_is_cancelled_after_its_notification_holds_the_lock(settle, record):
    async def wait(condition):
        async with condition:
            try:
                await condition.wait()
            finally:
                record(condition.statistics().lock_statistics.owner is lowlevel.current_task())

    async def main():
        condition = uringtrio.Condition()
        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(wait, condition)
            await settle()
            async with condition:
                condition.notify()
                nursery.cancel_scope.cancel()
        assert not condition.locked()
        assert condition.statistics().lock_statistics.tasks_waiting == 0

    uringtrio.run(main)

    assert record.events == [True]


def test_owner_that_exits_breaks_the_waits_that_were_notified(settle, record):
    async def wait(condition):
        await condition.acquire()
        record("waits")
        with pytest.raises(uringtrio.BrokenResourceError, match=r"^Owner of this lock"):
            await condition.wait()
        record("broken")
        # The lock is lost.
        with pytest.raises(RuntimeError, match="don't own"):
            condition.release()

    async def own_and_exit(condition):
        await condition.acquire()
        condition.notify()

    async def main():
        condition = uringtrio.Condition()
        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(wait, condition)
            await settle()
            nursery.start_soon(own_and_exit, condition)

    uringtrio.run(main)

    assert record.events == ["waits", "broken"]
