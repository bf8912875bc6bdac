"""assert_checkpoints and assert_no_checkpoints: a checkpoint is two things at once."""

import pytest

import uringtrio
from uringtrio import from_thread, lowlevel, to_thread
from uringtrio.testing import assert_checkpoints, assert_no_checkpoints


async def nothing():
    pass


async def both_halves():
    await lowlevel.checkpoint_if_cancelled()
    await lowlevel.cancel_shielded_checkpoint()


async def empty_nursery():
    async with uringtrio.open_nursery():
        pass


async def visit_from_thread():
    await to_thread.run_sync(from_thread.run_sync, int)


async def caught_cancellation():
    with uringtrio.CancelScope() as scope:
        scope.cancel()
        await lowlevel.checkpoint()


async def nested():
    with assert_checkpoints():
        await lowlevel.checkpoint()


async def acquire_free_lock():
    await uringtrio.Lock().acquire()


async def acquire_free_semaphore():
    await uringtrio.Semaphore(1).acquire()


async def acquire_free_limiter():
    await uringtrio.CapacityLimiter(1).acquire()


async def send_to_buffer():
    send, receive = uringtrio.open_memory_channel(1)
    with send, receive:
        await send.send(1)


async def receive_from_buffer():
    send, receive = uringtrio.open_memory_channel(1)
    with send, receive:
        send.send_nowait(1)
        await receive.receive()


CHECKPOINTS = [
    lowlevel.checkpoint, both_halves, visit_from_thread, caught_cancellation, nested,
    acquire_free_lock, acquire_free_semaphore, acquire_free_limiter, send_to_buffer,
    receive_from_buffer,
]  # fmt: skip
HALVES = [
    lowlevel.checkpoint_if_cancelled,
    lowlevel.cancel_shielded_checkpoint,
    empty_nursery,
]


@pytest.mark.parametrize("block", CHECKPOINTS)
def test_block_with_both_halves_is_a_checkpoint(block):
    async def main():
        with assert_checkpoints():
            await block()
        with pytest.raises(AssertionError, match="yielded!"):
            with assert_no_checkpoints():
                await block()

    uringtrio.run(main)


@pytest.mark.parametrize("block", HALVES)
def test_half_a_checkpoint_satisfies_neither(block):
    async def main():
        with pytest.raises(AssertionError, match="did not yield!"):
            with assert_checkpoints():
                await block()
        with pytest.raises(AssertionError, match="yielded!"):
            with assert_no_checkpoints():
                await block()

    uringtrio.run(main)


def test_block_that_does_nothing_is_no_checkpoint():
    async def main():
        with assert_no_checkpoints():
            await nothing()
        with pytest.raises(AssertionError, match="did not yield!"):
            with assert_checkpoints():
                await nothing()

    uringtrio.run(main)


def test_checkpoints_before_and_after_the_block_do_not_count():
    async def main():
        await lowlevel.checkpoint()
        with assert_no_checkpoints():
            await nothing()
        await lowlevel.checkpoint()

    uringtrio.run(main)


def test_checkpoints_of_other_tasks_do_not_count():
    async def main():
        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(lowlevel.checkpoint)
            with pytest.raises(AssertionError, match="did not yield!"):
                with assert_checkpoints():
                    await lowlevel.cancel_shielded_checkpoint()

    uringtrio.run(main)


def test_exception_satisfies_assert_checkpoints():
    async def main():
        with pytest.raises(KeyError):
            with assert_checkpoints():
                raise KeyError

    uringtrio.run(main)


def test_assertion_outside_of_a_task_says_what_is_missing():
    with pytest.raises(RuntimeError, match="assert_checkpoints"):
        with assert_checkpoints():
            pass
    with pytest.raises(RuntimeError, match="assert_no_checkpoints"):
        with assert_no_checkpoints():
            pass
