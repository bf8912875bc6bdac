"""Mistakes that mypy must find: an ignore that is not needed is an error."""

from __future__ import annotations

import uringtrio
from uringtrio import from_thread, lowlevel, to_thread


async def number(a: int, b: str) -> float:
    return a + float(b)


def sync_number(a: int, b: str) -> float:
    return a + float(b)


def running() -> None:
    uringtrio.run(number, 1)  # type: ignore[arg-type]
    uringtrio.run(number, "1", "2")  # type: ignore[arg-type]
    uringtrio.run(number, 1, "2", 3)  # type: ignore[arg-type]
    uringtrio.run(sync_number, 1, "2")  # type: ignore[arg-type]
    uringtrio.run(number(1, "2"))  # type: ignore[arg-type]
    uringtrio.run(number, 1, b="2")  # type: ignore[call-arg, arg-type]
    text: str = uringtrio.run(number, 1, "2")  # type: ignore[assignment]
    del text


async def starting(nursery: uringtrio.Nursery) -> None:
    nursery.start_soon(number, 1)  # type: ignore[arg-type]
    nursery.start_soon(number, 1, 2)  # type: ignore[arg-type]
    nursery.start_soon(number(1, "2"))  # type: ignore[arg-type]
    nursery.start_soon(sync_number, 1, "2")  # type: ignore[arg-type]
    lowlevel.spawn_system_task(number, "1", "2")  # type: ignore[arg-type]
    await nursery.start(sync_number, 1, "2")  # type: ignore[arg-type]


async def forgetting() -> None:
    uringtrio.sleep(1)  # type: ignore[unused-coroutine]
    uringtrio.Event().wait()  # type: ignore[unused-coroutine]
    number(1, "2")  # type: ignore[unused-coroutine]


async def statuses(task_status: uringtrio.TaskStatus[int]) -> None:
    task_status.started("text")  # type: ignore[arg-type]


async def channels() -> None:
    send, receive = uringtrio.open_memory_channel[int](5)
    await send.send("text")  # type: ignore[arg-type]
    send.receive()  # type: ignore[attr-defined]
    receive.send(1)  # type: ignore[attr-defined]
    text: str = await receive.receive()  # type: ignore[assignment]
    del text


async def threads(token: lowlevel.TrioToken) -> None:
    await to_thread.run_sync(sync_number, 1)  # type: ignore[arg-type]
    await to_thread.run_sync(sync_number, 1, b="2")  # type: ignore[call-arg, arg-type]
    from_thread.run(sync_number, 1, "2")  # type: ignore[arg-type]
    from_thread.run_sync(sync_number, "1", "2")  # type: ignore[arg-type]
    token.run_sync_soon(sync_number, 1)  # type: ignore[arg-type]


def finals() -> None:
    class MyScope(uringtrio.CancelScope):  # type: ignore[misc]
        pass

    class MyNursery(uringtrio.Nursery):  # type: ignore[misc]
        pass

    class MyEvent(uringtrio.Event):  # type: ignore[misc]
        pass


def settings(scope: uringtrio.CancelScope, task: lowlevel.Task) -> None:
    scope.cancel_called = True  # type: ignore[misc]
    task.parent_nursery = None  # type: ignore[misc]
    uringtrio.move_on_after(1, True)  # type: ignore[call-arg]
    uringtrio.CancelScope(1)  # type: ignore[call-arg]


run_var: lowlevel.RunVar[int] = lowlevel.RunVar("run_var", "text")  # type: ignore[arg-type]
