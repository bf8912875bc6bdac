"""Sequencer: blocks in several tasks, in order."""

import pytest

import uringtrio
from uringtrio.testing import Sequencer, wait_all_tasks_blocked


def test_blocks_run_in_order_of_position(record):
    async def run_at(sequencer, *positions):
        for position in positions:
            async with sequencer(position):
                record(position)
                await uringtrio.lowlevel.checkpoint()
                record(position)

    async def main():
        sequencer = Sequencer()
        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(run_at, sequencer, 1, 3, 4)
            nursery.start_soon(run_at, sequencer, 0, 2)
            async with sequencer(5):
                record("end")

    uringtrio.run(main)

    assert record.events == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, "end"]


def test_position_can_be_entered_once():
    async def main():
        sequencer = Sequencer()
        async with sequencer(0):
            pass
        with pytest.raises(RuntimeError, match="Attempted to reuse sequence point 0"):
            async with sequencer(0):
                pass

    uringtrio.run(main)


def test_block_that_raises_lets_the_next_one_run():
    async def main():
        sequencer = Sequencer()
        with pytest.raises(KeyError):
            async with sequencer(0):
                raise KeyError
        async with sequencer(1):
            return "went on"

    assert uringtrio.run(main) == "went on"


def test_cancelled_wait_breaks_the_sequence_for_all(record):
    async def enter(sequencer, position):
        with pytest.raises(RuntimeError, match="sequence broken"):
            async with sequencer(position):
                record("entered")
        record(position)

    async def main():
        sequencer = Sequencer()
        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(enter, sequencer, 2)
            await wait_all_tasks_blocked()
            with uringtrio.CancelScope() as scope:
                scope.cancel()
                await enter(sequencer, 1)
        await enter(sequencer, 3)

    uringtrio.run(main)

    assert record.events == [1, 2, 3]
