"""What the tree says of one task: what it waits for, and where."""

import functools
import socket
import time

import pytest

import uringtrio
from uringtrio import lowlevel


def line_of(task):
    """Return what the tree says of a task, without its name."""
    first, _, _ = lowlevel.format_task_tree(task).partition("\n")
    return first.partition(": ")[2]


@pytest.fixture
def said_of(settle):
    """An async function that runs another one until it waits, and returns what is said of it."""

    async def say(async_fn, *args):
        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(async_fn, *args)
            (task,) = nursery.child_tasks
            await settle()
            text = line_of(task)
            nursery.cancel_scope.cancel()
        return text

    return say


def here(async_fn, offset):
    """Return how the line `offset` lines below `async def` is named."""
    code = async_fn.__code__
    return f" at {code.co_filename}:{code.co_firstlineno + offset} in {code.co_qualname}"


def test_op_in_flight_with_its_descriptor(run, said_of):
    async def receiving(sock):
        await sock.recv(10)

    async def accepting(sock):
        await sock.accept()

    async def main():
        one, other = uringtrio.socket.socketpair()
        with one, other:
            assert await said_of(receiving, one) == (
                f"recv fd={one.fileno()} in {one.recv.__module__}.{one.recv.__qualname__}"
                + here(receiving, 1)
            )
        with uringtrio.socket.socket() as listener:
            await listener.bind(("127.0.0.1", 0))
            listener.listen()
            text = await said_of(accepting, listener)
            assert text.startswith(f"accept fd={listener.fileno()} in ")

    run(main)


def test_op_that_is_asked_to_end_is_still_in_flight(run):
    async def main():
        one, other = uringtrio.socket.socketpair()
        with one, other:
            async with uringtrio.open_nursery() as nursery:
                nursery.start_soon(one.recv, 10)
                (task,) = nursery.child_tasks
                while "fd" not in line_of(task):
                    await lowlevel.checkpoint()
                nursery.cancel_scope.cancel()
                assert line_of(task).startswith(f"recv fd={one.fileno()}, being cancelled")

    run(main)


def test_readiness(run, said_of):
    async def waiting(fd):
        await lowlevel.wait_readable(fd)

    async def main():
        one, other = socket.socketpair()
        with one, other:
            text = await said_of(waiting, one.fileno())
            assert f"fd={one.fileno()} in uringtrio.lowlevel.wait_readable at" in text

    run(main)


def test_sleeps(clock, said_of):
    async def sleeping():
        await uringtrio.sleep(2.5)

    async def for_ever():
        await uringtrio.sleep_forever()

    async def main():
        assert await said_of(sleeping) == "sleeping, 2.50 s left in uringtrio.sleep" + here(
            sleeping, 1
        )
        assert await said_of(for_ever) == (
            "sleeping for ever in uringtrio.sleep_forever" + here(for_ever, 1)
        )

    uringtrio.run(main, clock=clock)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: uringtrio.Event().wait, "waiting in uringtrio.Event.wait at"),
        (lambda: uringtrio.Semaphore(0).acquire, "waiting in uringtrio.Semaphore.acquire at"),
        (lambda: lowlevel.ParkingLot().park, "waiting in uringtrio.lowlevel.ParkingLot.park at"),
        (
            lambda: functools.partial(lowlevel.wait_task_rescheduled, succeed),
            "waiting in uringtrio.lowlevel.wait_task_rescheduled at",
        ),
    ],
)
def test_parks_are_named_by_the_call_that_waits(clock, said_of, make, text):
    async def waiting():
        await make()()

    async def main():
        assert (await said_of(waiting)).startswith(text)

    uringtrio.run(main, clock=clock)


def succeed(_raise_cancel):
    return lowlevel.Abort.SUCCEEDED


def test_channels(clock, said_of):
    async def sending(channel):
        await channel.send(None)

    async def iterating(channel):
        async for _ in channel:
            raise AssertionError

    async def main():
        send, receive = uringtrio.open_memory_channel(0)
        with send, receive:
            text = await said_of(sending, send)
            assert text.startswith("waiting in uringtrio.MemorySendChannel.send at")
            text = await said_of(iterating, receive)
            assert text.startswith("waiting in uringtrio.abc.ReceiveChannel.__anext__ at")

    uringtrio.run(main, clock=clock)


def test_thread(run):
    async def main():
        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(uringtrio.to_thread.run_sync, time.sleep, 0.02)
            (task,) = nursery.child_tasks
            while not line_of(task).startswith("waiting"):
                await lowlevel.checkpoint()
            # The function is the task's own, so that the place is in the library.
            assert line_of(task).endswith(" in run_sync")

    run(main)


def test_task_that_has_not_started(clock):
    async def fresh():
        await uringtrio.sleep_forever()

    async def main():
        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(fresh)
            (task,) = nursery.child_tasks
            assert line_of(task) == "not started" + here(fresh, 0)
            nursery.cancel_scope.cancel()

    uringtrio.run(main, clock=clock)


def test_runnable_tasks_wait_for_nothing(clock, settle):
    async def busy():
        while True:
            await lowlevel.checkpoint()

    async def woken(event):
        await event.wait()

    async def main():
        async with uringtrio.open_nursery() as nursery:
            event = uringtrio.Event()
            nursery.start_soon(busy, name="busy")
            nursery.start_soon(woken, event, name="woken")
            nursery.start_soon(uringtrio.sleep, 5, name="late")
            await settle()
            tasks = {task.name: task for task in nursery.child_tasks}
            event.set()
            assert line_of(tasks["busy"]).startswith("runnable in uringtrio.lowlevel.checkpoint")
            assert line_of(tasks["woken"]).startswith("runnable in uringtrio.Event.wait at")
            nursery.cancel_scope.cancel()
            # Each wait has been ended, and none of the tasks has run since.
            assert {line_of(task).split()[0] for task in tasks.values()} == {"runnable"}

    uringtrio.run(main, clock=clock)


def test_wait_that_cannot_be_ended_goes_on(clock, settle):
    async def main():
        async with uringtrio.open_nursery() as nursery:

            @nursery.start_soon
            async def stubborn():
                await lowlevel.wait_task_rescheduled(lambda _raise_cancel: lowlevel.Abort.FAILED)

            (task,) = nursery.child_tasks
            await settle()
            nursery.cancel_scope.cancel()
            assert line_of(task).startswith("waiting in uringtrio.lowlevel.wait_task_rescheduled")
            lowlevel.reschedule(task)
            assert line_of(task).startswith("runnable")

    uringtrio.run(main, clock=clock)


def test_running_task_is_shown_where_it_runs(clock):
    def plain():
        return line_of(lowlevel.current_task())

    async def inner():
        return plain()

    async def main():
        return await inner()

    text = uringtrio.run(main, clock=clock)
    # It is this file's `line_of` that asks.
    assert text.startswith("running at ")
    assert text.endswith(" in line_of")


def test_place_is_the_innermost_line_of_the_users_code(clock, said_of):
    async def inner(event):
        with uringtrio.fail_after(10):
            await event.wait()

    async def middle(event):
        async for _ in generate(event):
            raise AssertionError

    async def generate(event):
        yield await inner(event)

    async def main():
        assert (await said_of(middle, uringtrio.Event())).endswith(here(inner, 2))

    uringtrio.run(main, clock=clock)
