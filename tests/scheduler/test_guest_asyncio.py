"""Guest mode: tasks of asyncio and tasks of ours in one thread, each waiting for the other."""

import asyncio
from math import inf

import sniffio

import uringtrio
from uringtrio import lowlevel


def test_asyncio_and_uringtrio_tasks_take_turns_and_call_each_other():
    # A channel in one direction, asyncio's queue in the other.
    log = []

    async def trio_side(to_us, to_asyncio):
        async with to_us:
            async for number in to_us:
                log.append(("uringtrio", number, sniffio.current_async_library()))
                await uringtrio.sleep(0.001)
                to_asyncio.put_nowait(number + 1)

    async def asyncio_side():
        to_us, from_asyncio = uringtrio.open_memory_channel(inf)
        to_asyncio = asyncio.Queue()
        done = asyncio.get_running_loop().create_future()
        lowlevel.start_guest_run(
            trio_side,
            from_asyncio,
            to_asyncio,
            run_sync_soon_threadsafe=asyncio.get_running_loop().call_soon_threadsafe,
            run_sync_soon_not_threadsafe=asyncio.get_running_loop().call_soon,
            done_callback=done.set_result,
            host_uses_signal_set_wakeup_fd=True,
        )
        number = 0
        with to_us:
            while number < 6:
                to_us.send_nowait(number)
                number = await asyncio.wait_for(to_asyncio.get(), 10)
                log.append(("asyncio", number, sniffio.current_async_library()))
                await asyncio.sleep(0.001)
                number += 1
        (await asyncio.wait_for(done, 10)).unwrap()

    asyncio.run(asyncio_side())

    sides = ["uringtrio", "asyncio"] * 3
    assert log == [(side, number, side) for number, side in enumerate(sides)]


def test_task_waits_for_a_coroutine_of_asyncio_and_cancels_it():
    async def in_asyncio(coro):
        """Run `coro` as a task of asyncio, wait for its result, and cancel it with ours."""
        us = lowlevel.current_task()
        theirs = asyncio.get_running_loop().create_task(coro)

        def done(_theirs):
            lowlevel.reschedule(us)

        def abort(_raise_cancel):
            theirs.cancel()
            return lowlevel.Abort.FAILED

        theirs.add_done_callback(done)
        await lowlevel.wait_task_rescheduled(abort)
        if theirs.cancelled():
            await lowlevel.checkpoint_if_cancelled()
        return theirs.result()

    async def answer():
        await asyncio.sleep(0.01)
        assert sniffio.current_async_library() == "asyncio"
        return 42

    async def main():
        assert await in_asyncio(answer()) == 42
        with uringtrio.move_on_after(0.01) as scope:
            await in_asyncio(asyncio.sleep(60))
        return scope.cancelled_caught

    async def host():
        loop = asyncio.get_running_loop()
        done = loop.create_future()
        lowlevel.start_guest_run(
            main,
            run_sync_soon_threadsafe=loop.call_soon_threadsafe,
            done_callback=done.set_result,
            host_uses_signal_set_wakeup_fd=True,
        )
        return (await asyncio.wait_for(done, 10)).unwrap()

    assert asyncio.run(host()) is True
