"""The scheduler cases for asyncio and uvloop: what comes nearest to those in `cases_trio.py`."""

from __future__ import annotations

import asyncio

from cases_trio import FAR_SECONDS, GROUP, nothing


async def checkpoint(count: int) -> None:
    """Let the other tasks run."""
    for _ in range(count):
        await asyncio.sleep(0)


async def spawn(count: int) -> None:
    """Start tasks that do nothing, and join them."""
    for _ in range(count // GROUP):
        async with asyncio.TaskGroup() as group:
            for _ in range(GROUP):
                group.create_task(nothing())


async def nursery(count: int) -> None:
    """Open and close a nursery without tasks."""
    for _ in range(count):
        async with asyncio.TaskGroup():
            pass


async def cancel_scope(count: int) -> None:
    """Enter and leave a scope without a deadline."""
    for _ in range(count):
        async with asyncio.timeout(None):
            pass


async def timeout(count: int) -> None:
    """Set a deadline around one checkpoint, as a server does for each request."""
    for _ in range(count):
        async with asyncio.timeout(FAR_SECONDS):
            await asyncio.sleep(0)


async def channel(count: int) -> None:
    """Hand items from one task to another."""
    # A queue of one is as close as asyncio comes to a rendezvous.
    queue: asyncio.Queue[int] = asyncio.Queue(1)

    async def send() -> None:
        for index in range(count):
            await queue.put(index)

    async with asyncio.TaskGroup() as group:
        group.create_task(send())
        for _ in range(count):
            await queue.get()


async def lock(count: int) -> None:
    """Take and release a lock that is free."""
    lock = asyncio.Lock()
    for _ in range(count):
        async with lock:
            pass


async def event_ping_pong(count: int) -> None:
    """Wake each other in turn, by a new event each time."""
    pings = [asyncio.Event() for _ in range(count // 2)]
    pongs = [asyncio.Event() for _ in range(count // 2)]

    async def answer() -> None:
        for ping, pong in zip(pings, pongs, strict=True):
            await ping.wait()
            pong.set()

    async with asyncio.TaskGroup() as group:
        group.create_task(answer())
        for ping, pong in zip(pings, pongs, strict=True):
            ping.set()
            await pong.wait()


async def sleepers(count: int) -> None:
    """Sleep, in thousands of tasks at once."""
    async with asyncio.TaskGroup() as group:
        for index in range(count):
            group.create_task(asyncio.sleep(index % GROUP * 1e-4))


async def cancel_tree(count: int) -> None:
    """Cancel a nursery full of sleeping tasks."""
    for _ in range(count // GROUP):
        forever = asyncio.Event()
        tasks = [asyncio.create_task(forever.wait()) for _ in range(GROUP)]
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
