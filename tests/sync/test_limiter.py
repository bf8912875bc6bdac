"""CapacityLimiter: so many tokens, each for one borrower."""

from math import inf

import pytest

import uringtrio
from uringtrio import lowlevel


@pytest.mark.parametrize("total", [1.0, "1", None, -inf])
def test_number_of_tokens_is_an_int_or_inf(total):
    with pytest.raises(TypeError, match=r"int or math\.inf"):
        uringtrio.CapacityLimiter(total)
    limiter = uringtrio.CapacityLimiter(inf)
    with pytest.raises(TypeError, match=r"int or math\.inf"):
        limiter.total_tokens = total
    assert limiter.total_tokens == inf


def test_number_of_tokens_is_not_negative():
    with pytest.raises(ValueError, match=">= 0"):
        uringtrio.CapacityLimiter(-1)
    limiter = uringtrio.CapacityLimiter(1)
    with pytest.raises(ValueError, match=">= 0"):
        limiter.total_tokens = -1
    assert limiter.total_tokens == 1


def test_a_borrower_has_one_token_and_only_that():
    async def main():
        limiter = uringtrio.CapacityLimiter(3)
        with pytest.raises(RuntimeError, match="isn't holding"):
            limiter.release()
        await limiter.acquire()
        with pytest.raises(RuntimeError, match="already holding"):
            limiter.acquire_nowait()
        with pytest.raises(RuntimeError, match="already holding"):
            await limiter.acquire()
        await limiter.acquire_on_behalf_of("somebody")
        with pytest.raises(RuntimeError, match="already holding"):
            limiter.acquire_on_behalf_of_nowait("somebody")
        assert limiter.borrowed_tokens == 2
        assert limiter.available_tokens == 1
        assert limiter.statistics() == uringtrio.CapacityLimiterStatistics(
            borrowed_tokens=2,
            total_tokens=3,
            borrowers=[lowlevel.current_task(), "somebody"],
            tasks_waiting=0,
        )
        limiter.release_on_behalf_of("somebody")
        with pytest.raises(RuntimeError, match="isn't holding"):
            limiter.release_on_behalf_of("somebody")
        limiter.release()
        assert limiter.borrowed_tokens == 0

    uringtrio.run(main)


def test_token_goes_to_who_waits_and_not_to_who_comes(settle, record):
    async def borrow(limiter, name):
        await limiter.acquire_on_behalf_of(name)
        record(name)

    async def main():
        limiter = uringtrio.CapacityLimiter(1)
        limiter.acquire_on_behalf_of_nowait("first")
        async with uringtrio.open_nursery() as nursery:
            for name in "abc":
                nursery.start_soon(borrow, limiter, name)
                await settle()
            assert limiter.statistics().tasks_waiting == 3
            limiter.release_on_behalf_of("first")
            with pytest.raises(uringtrio.WouldBlock):
                limiter.acquire_nowait()
            assert limiter.statistics().borrowers == ["a"]
            for name in "abc":
                await settle()
                limiter.release_on_behalf_of(name)
        assert limiter.borrowed_tokens == 0

    uringtrio.run(main)

    assert record.events == ["a", "b", "c"]


def test_block_borrows_and_gives_back():
    async def main():
        limiter = uringtrio.CapacityLimiter(1)
        async with limiter as entered:
            assert entered is None
            assert limiter.statistics().borrowers == [lowlevel.current_task()]
        assert limiter.borrowed_tokens == 0
        with pytest.raises(ValueError, match="mine"):
            async with limiter:
                raise ValueError("mine")
        assert limiter.borrowed_tokens == 0

    uringtrio.run(main)


def test_without_end_there_is_always_a_token():
    async def main():
        limiter = uringtrio.CapacityLimiter(inf)
        for number in range(100):
            limiter.acquire_on_behalf_of_nowait(number)
        assert limiter.borrowed_tokens == 100
        assert limiter.available_tokens == inf

    uringtrio.run(main)


def test_raising_the_total_wakes_as_many_as_there_are_new_tokens(settle):
    async def main():
        limiter = uringtrio.CapacityLimiter(1)
        async with uringtrio.open_nursery() as nursery:
            for number in range(5):
                nursery.start_soon(limiter.acquire_on_behalf_of, number)
                await settle()
            assert limiter.statistics().borrowers == [0]
            limiter.total_tokens = 3
            assert limiter.statistics().borrowers == [0, 1, 2]
            limiter.total_tokens = inf
            assert limiter.statistics().tasks_waiting == 0

    uringtrio.run(main)


def test_lowering_the_total_takes_nothing_away(settle):
    async def main():
        limiter = uringtrio.CapacityLimiter(3)
        for number in range(3):
            limiter.acquire_on_behalf_of_nowait(number)
        limiter.total_tokens = 1
        assert limiter.borrowed_tokens == 3
        assert limiter.available_tokens == -2
        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(limiter.acquire_on_behalf_of, "late")
            await settle()
            limiter.release_on_behalf_of(0)
            limiter.release_on_behalf_of(1)
            assert limiter.statistics().borrowers == [2]
            limiter.release_on_behalf_of(2)
            assert limiter.statistics().borrowers == ["late"]

    uringtrio.run(main)


def test_with_no_tokens_everybody_waits(settle):
    async def main():
        limiter = uringtrio.CapacityLimiter(0)
        with pytest.raises(uringtrio.WouldBlock):
            limiter.acquire_nowait()
        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(limiter.acquire_on_behalf_of, "a")
            await settle()
            assert limiter.statistics().tasks_waiting == 1
            limiter.total_tokens = 1
            assert limiter.statistics().borrowers == ["a"]

    uringtrio.run(main)


def test_cancelled_wait_borrows_nothing(settle):
    async def main():
        limiter = uringtrio.CapacityLimiter(1)
        async with limiter:
            async with uringtrio.open_nursery() as nursery:
                nursery.start_soon(limiter.acquire_on_behalf_of, "a")
                await settle()
                nursery.cancel_scope.cancel()
            assert limiter.statistics().tasks_waiting == 0
        assert limiter.borrowed_tokens == 0
        limiter.acquire_nowait()
        limiter.release()

    uringtrio.run(main)


def test_two_who_wait_on_behalf_of_one_do_not_share_a_token(settle, record):
    async def borrow(limiter, name):
        try:
            await limiter.acquire_on_behalf_of(name)
        except RuntimeError:
            record(f"{name} refused")
        else:
            record(f"{name} served")

    async def main():
        limiter = uringtrio.CapacityLimiter(0)
        async with uringtrio.open_nursery() as nursery:
            for name in ("same", "same", "other"):
                nursery.start_soon(borrow, limiter, name)
                await settle()
            limiter.total_tokens = 2
        assert limiter.statistics().borrowers == ["same", "other"]

    uringtrio.run(main)

    assert sorted(record.events) == ["other served", "same refused", "same served"]


def test_repr_tells_the_figures():
    limiter = uringtrio.CapacityLimiter(2)
    limiter.acquire_on_behalf_of_nowait("a")

    assert "1/2 with 0 waiting" in repr(limiter)
