"""Semaphore: a number that waits at 0."""

import pytest

import uringtrio


def test_arguments_are_checked():
    with pytest.raises(TypeError, match="initial_value"):
        uringtrio.Semaphore(1.0)
    with pytest.raises(ValueError, match=r"^initial value must be >= 0$"):
        uringtrio.Semaphore(-1)
    with pytest.raises(TypeError, match="max_value"):
        uringtrio.Semaphore(1, max_value=1.0)
    with pytest.raises(ValueError, match=r"^max_values must be >= initial_value$"):
        uringtrio.Semaphore(2, max_value=1)


def test_acquire_counts_down_and_release_counts_up():
    async def main():
        semaphore = uringtrio.Semaphore(1)
        assert semaphore.max_value is None
        semaphore.release()
        assert semaphore.value == 2
        semaphore.acquire_nowait()
        await semaphore.acquire()
        assert semaphore.value == 0
        with pytest.raises(uringtrio.WouldBlock):
            semaphore.acquire_nowait()
        semaphore.release()
        assert semaphore.value == 1
        async with semaphore as entered:
            assert entered is None
            assert semaphore.value == 0
        assert semaphore.value == 1

    uringtrio.run(main)


def test_release_serves_who_waits_and_not_who_comes(settle, record):
    async def take(semaphore, name):
        await semaphore.acquire()
        record(name)

    async def main():
        semaphore = uringtrio.Semaphore(0)
        async with uringtrio.open_nursery() as nursery:
            for name in "abc":
                nursery.start_soon(take, semaphore, name)
                await settle()
            assert semaphore.statistics().tasks_waiting == 3
            for _ in range(3):
                semaphore.release()
                assert semaphore.value == 0
                with pytest.raises(uringtrio.WouldBlock):
                    semaphore.acquire_nowait()
                await settle()
        assert semaphore.value == 0

    uringtrio.run(main)

    assert record.events == ["a", "b", "c"]


def test_bounded_semaphore_refuses_to_exceed_its_bound():
    semaphore = uringtrio.Semaphore(1, max_value=1)
    assert semaphore.max_value == 1

    with pytest.raises(ValueError, match=r"^semaphore released too many times$"):
        semaphore.release()

    assert semaphore.value == 1
    semaphore.acquire_nowait()
    semaphore.release()
    assert semaphore.value == 1


def test_cancelled_wait_counts_nothing(settle):
    async def main():
        semaphore = uringtrio.Semaphore(0)
        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(semaphore.acquire)
            await settle()
            nursery.cancel_scope.cancel()
        assert semaphore.statistics().tasks_waiting == 0
        semaphore.release()
        assert semaphore.value == 1

    uringtrio.run(main)


def test_repr_tells_value_and_bound():
    assert "Semaphore(1)" in repr(uringtrio.Semaphore(1))
    assert "Semaphore(1, max_value=2)" in repr(uringtrio.Semaphore(1, max_value=2))
