"""Event: set once, seen by everybody."""

import pytest

import uringtrio


def test_set_wakes_all_who_wait(settle, record):
    async def wait(event, name):
        await event.wait()
        record(name)

    async def main():
        event = uringtrio.Event()
        async with uringtrio.open_nursery() as nursery:
            for name in "abc":
                nursery.start_soon(wait, event, name)
            await settle()
            assert record.events == []
            assert event.statistics().tasks_waiting == 3
            assert not event.is_set()
            event.set()
            assert event.is_set()
            assert event.statistics().tasks_waiting == 0
            # `set` itself lets nobody run.
            assert record.events == []

    uringtrio.run(main)

    assert sorted(record.events) == ["a", "b", "c"]


def test_wait_after_set_does_not_block():
    async def main():
        event = uringtrio.Event()
        event.set()
        event.set()
        await event.wait()
        return "went on"

    assert uringtrio.run(main) == "went on"


def test_event_may_be_set_before_the_run():
    event = uringtrio.Event()
    event.set()

    uringtrio.run(event.wait)


def test_cancelled_wait_is_forgotten(settle):
    async def main():
        event = uringtrio.Event()
        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(event.wait)
            await settle()
            nursery.cancel_scope.cancel()
        assert event.statistics().tasks_waiting == 0
        assert not event.is_set()
        event.set()

    uringtrio.run(main)


def test_event_has_no_truth_value_and_no_clear():
    event = uringtrio.Event()
    with pytest.raises(NotImplementedError, match="is_set"):
        bool(event)

    assert not hasattr(event, "clear")
