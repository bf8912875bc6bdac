"""The scheduler cases for Trio, and for anything with its API."""

from __future__ import annotations

from typing import Any

# Tasks in one nursery, where a case needs some.
GROUP = 100
# A deadline that is never reached.
FAR_SECONDS = 60.0


async def nothing() -> None:
    """End at once."""


class TrioCases:
    """Each method does `count` operations on the runtime that it was made for."""

    def __init__(self, runtime: Any) -> None:
        self.runtime = runtime

    async def checkpoint(self, count: int) -> None:
        """Let the other tasks run."""
        checkpoint = self.runtime.lowlevel.checkpoint
        for _ in range(count):
            await checkpoint()

    async def spawn(self, count: int) -> None:
        """Start tasks that do nothing, and join them."""
        for _ in range(count // GROUP):
            async with self.runtime.open_nursery() as nursery:
                for _ in range(GROUP):
                    nursery.start_soon(nothing)

    async def nursery(self, count: int) -> None:
        """Open and close a nursery without tasks."""
        for _ in range(count):
            async with self.runtime.open_nursery():
                pass

    async def cancel_scope(self, count: int) -> None:
        """Enter and leave a scope without a deadline."""
        for _ in range(count):
            with self.runtime.CancelScope():
                pass

    async def timeout(self, count: int) -> None:
        """Set a deadline around one checkpoint, as a server does for each request."""
        checkpoint = self.runtime.lowlevel.checkpoint
        for _ in range(count):
            with self.runtime.fail_after(FAR_SECONDS):
                await checkpoint()

    async def channel(self, count: int) -> None:
        """Hand items from one task to another."""
        sender, receiver = self.runtime.open_memory_channel(0)

        async def send() -> None:
            async with sender:
                for index in range(count):
                    await sender.send(index)

        async with self.runtime.open_nursery() as nursery:
            nursery.start_soon(send)
            async for _ in receiver:
                pass

    async def lock(self, count: int) -> None:
        """Take and release a lock that is free."""
        lock = self.runtime.Lock()
        for _ in range(count):
            async with lock:
                pass

    async def event_ping_pong(self, count: int) -> None:
        """Wake each other in turn, by a new event each time."""
        pings = [self.runtime.Event() for _ in range(count // 2)]
        pongs = [self.runtime.Event() for _ in range(count // 2)]

        async def answer() -> None:
            for ping, pong in zip(pings, pongs, strict=True):
                await ping.wait()
                pong.set()

        async with self.runtime.open_nursery() as nursery:
            nursery.start_soon(answer)
            for ping, pong in zip(pings, pongs, strict=True):
                ping.set()
                await pong.wait()

    async def sleepers(self, count: int) -> None:
        """Sleep, in thousands of tasks at once."""
        async with self.runtime.open_nursery() as nursery:
            for index in range(count):
                nursery.start_soon(self.runtime.sleep, index % GROUP * 1e-4)

    async def cancel_tree(self, count: int) -> None:
        """Cancel a nursery full of sleeping tasks."""
        for _ in range(count // GROUP):
            async with self.runtime.open_nursery() as nursery:
                for _ in range(GROUP):
                    nursery.start_soon(self.runtime.sleep_forever)
                await self.runtime.lowlevel.checkpoint()
                nursery.cancel_scope.cancel()
