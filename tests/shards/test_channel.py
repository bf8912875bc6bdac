"""Shared channels of both kinds: what they promise within one process, to tasks and threads."""

import contextlib
import enum
import gc
import random
import signal
import threading
import time
from math import inf

import pytest

import uringtrio
from uringtrio import (
    BrokenResourceError,
    ClosedResourceError,
    EndOfChannel,
    SharedReceiveChannel,
    SharedSendChannel,
    TooSlowError,
    WouldBlock,
    open_shared_channel,
)
from uringtrio._shards import shared_buffer
from uringtrio.testing import assert_checkpoints

SECONDS_MAX = 20


@pytest.fixture(params=["thread", "process", "process without C"])
def kind(request, monkeypatch):
    if request.param == "process without C":
        monkeypatch.setattr(shared_buffer, "HAS_QUEUE_IN_C", False)
    return request.param.split()[0]


@pytest.fixture
def open_channel(kind):
    """Open channels of each kind, and close what the test has left open."""
    handles = []

    def open_one(max_buffer_size):
        pair = open_shared_channel(max_buffer_size, kind=kind)
        handles.extend(pair)
        return pair

    yield open_one
    for handle in handles:
        handle.close()
    del handles[:]
    gc.collect()


def start(function, *args):
    """Start a thread; its `result()` waits for what the function returns or raises."""
    outcome = []

    def work():
        try:
            outcome.append((function(*args), None))
        except BaseException as exc:  # noqa: BLE001  # `result` raises it
            outcome.append((None, exc))

    thread = threading.Thread(target=work)

    def result():
        thread.join(SECONDS_MAX)
        assert outcome, "the thread does not end"
        value, error = outcome[0]
        if error is not None:
            raise error
        return value

    thread.result = result
    thread.start()
    return thread


def wait_for(statistics, **figures):
    """Wait until the statistics say so: the only sign of a thread that waits."""
    give_up = time.monotonic() + SECONDS_MAX
    while any(getattr(statistics(), name) != value for name, value in figures.items()):
        assert time.monotonic() < give_up, statistics()
        time.sleep(0.001)


# Sending and receiving.


@pytest.mark.parametrize("size", [1, 10, inf])
def test_objects_come_in_order(open_channel, run, size):
    send, receive = open_channel(size)

    async def produce():
        async with send:
            for value in range(100):
                await send.send(value)

    async def main():
        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(produce)
            return [value async for value in receive]

    assert run(main) == list(range(100))


def test_full_buffer_would_block_and_empty_one_too(open_channel):
    send, receive = open_channel(2)
    with pytest.raises(WouldBlock):
        receive.receive_nowait()
    send.send_nowait("first")
    send.send_nowait("second")
    with pytest.raises(WouldBlock):
        send.send_nowait("third")

    assert receive.receive_nowait() == "first"
    send.send_nowait("fourth")
    assert [receive.receive_nowait() for _ in range(2)] == ["second", "fourth"]


def test_unbounded_channel_takes_all(open_channel):
    send, receive = open_channel(inf)
    values = [bytes([value % 256]) * value for value in range(2000)]
    for value in values:
        send.send_nowait(value)

    assert receive.statistics().current_buffer_used == 2000
    assert [receive.receive_nowait() for _ in values] == values


def test_rendezvous_waits_for_a_receiver(open_channel, run):
    send, receive = open_channel(0)
    events = []

    async def produce():
        await send.send("hello")
        events.append("sent")

    async def main():
        with pytest.raises(WouldBlock):
            send.send_nowait("nobody waits")
        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(produce)
            await uringtrio.sleep(0.02)
            events.append("receiving")
            assert await receive.receive() == "hello"
        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(receive.receive)
            await uringtrio.sleep(0.02)
            send.send_nowait("somebody waits")

    run(main)
    assert events == ["receiving", "sent"]


def test_send_waits_until_there_is_room(open_channel, run):
    send, receive = open_channel(1)
    events = []

    async def produce():
        for value in range(3):
            await send.send(value)
            events.append(value)

    async def main():
        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(produce)
            await uringtrio.sleep(0.02)
            assert events == [0]
            assert [await receive.receive() for _ in range(3)] == [0, 1, 2]

    run(main)
    assert events == [0, 1, 2]


def test_they_are_checkpoints_always(open_channel, run):
    send, receive = open_channel(1)

    async def main():
        with assert_checkpoints():
            await send.send(1)
        with assert_checkpoints():
            await receive.receive()
        with uringtrio.CancelScope() as scope:
            scope.cancel()
            await send.send(2)
        assert scope.cancelled_caught
        assert receive.statistics().current_buffer_used == 0
        send.send_nowait(3)
        with uringtrio.CancelScope() as scope:
            scope.cancel()
            await receive.receive()
        assert scope.cancelled_caught
        assert receive.receive_nowait() == 3
        with assert_checkpoints():
            await send.aclose()
        with assert_checkpoints():
            await receive.aclose()

    run(main)


def test_many_tasks_wait_and_each_gets_one(open_channel, run):
    send, receive = open_channel(0)
    got = []

    async def consume():
        got.append(await receive.receive())

    async def main():
        async with uringtrio.open_nursery() as nursery:
            for _ in range(50):
                nursery.start_soon(consume)
            for value in range(50):
                nursery.start_soon(send.send, value)

    run(main)
    assert sorted(got) == list(range(50))


class Number(enum.IntEnum):
    ONE = 1


class Text(str):
    __slots__ = ()


OBJECTS = [
    None, True, 0, -1, 1 << 100, 1.5, -0.0, inf, "", "\N{SNOWMAN}", "\ud800", b"", b"\x80\x05K.",
    b"x" * 20_000, b"x" * 100_000, (), (1, "two", b"three"), [None], {"a": {1}}, Number.ONE,
    Text("text"), uringtrio.Event,
]  # fmt: skip


@pytest.mark.parametrize("value", OBJECTS, ids=lambda value: repr(value)[:20])
def test_objects_are_the_same_with_the_same_type(open_channel, value):
    send, receive = open_channel(1)
    send.send_nowait(value)
    got = receive.receive_nowait()

    assert type(got) is type(value)
    assert got == value
    assert repr(got) == repr(value)


# Threads.


def test_threads_send_and_receive_with_runs(open_channel, run):
    send, receive = open_channel(3)

    def produce():
        with send.clone() as mine:
            for value in range(200):
                mine.send_sync(value, SECONDS_MAX)

    threads = [start(produce) for _ in range(3)]
    wait_for(send.statistics, tasks_waiting_send=3)
    send.close()

    async def main():
        return [value async for value in receive]

    assert sorted(run(main)) == sorted(list(range(200)) * 3)
    for thread in threads:
        thread.result()


def test_thread_receives_what_a_run_sends(open_channel, run):
    send, receive = open_channel(0)
    thread = start(lambda: [receive.receive_sync(SECONDS_MAX) for _ in range(20)])

    async def main():
        for value in range(20):
            await send.send(value)

    run(main)
    assert thread.result() == list(range(20))


def test_sync_forms_end_when_the_time_is_over(open_channel):
    send, receive = open_channel(1)
    with pytest.raises(TooSlowError):
        receive.receive_sync(0.01)
    with pytest.raises(TooSlowError):
        receive.receive_sync(0)
    send.send_sync(1)
    with pytest.raises(TooSlowError):
        send.send_sync(2, 0.01)

    assert receive.receive_sync() == 1
    statistics = receive.statistics()
    assert (statistics.tasks_waiting_send, statistics.tasks_waiting_receive) == (0, 0)
    with pytest.raises(WouldBlock):
        receive.receive_nowait()


def test_sync_forms_refuse_to_block_a_run(open_channel, run):
    send, receive = open_channel(1)

    async def main():
        with pytest.raises(RuntimeError, match=r"use `await receive\(\)` there"):
            receive.receive_sync()
        # Without a wait they do no harm.
        send.send_sync(1)
        with pytest.raises(RuntimeError, match=r"use `await send\(value\)` there"):
            send.send_sync(2)
        assert receive.receive_sync() == 1

    run(main)


def test_interrupted_thread_loses_nothing(open_channel):
    send, receive = open_channel(1)

    def interrupt():
        wait_for(receive.statistics, tasks_waiting_receive=1)
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    thread = start(interrupt)
    with pytest.raises(KeyboardInterrupt):
        receive.receive_sync(SECONDS_MAX)
    thread.result()
    send.send_nowait(1)

    assert receive.receive_nowait() == 1
    assert receive.statistics().tasks_waiting_receive == 0


# Closing.


def test_end_of_senders_is_the_end_of_the_channel(open_channel, run):
    send, receive = open_channel(5)
    other = send.clone()
    send.send_nowait(1)
    send.close()
    send.close()
    assert receive.receive_nowait() == 1
    with pytest.raises(WouldBlock):
        receive.receive_nowait()
    other.close()
    with pytest.raises(EndOfChannel):
        receive.receive_nowait()
    with pytest.raises(EndOfChannel):
        receive.receive_sync()

    async def main():
        with pytest.raises(EndOfChannel):
            await receive.receive()

    run(main)


def test_end_of_receivers_breaks_sending(open_channel, run):
    send, receive = open_channel(5)
    receive.clone().close()
    send.send_nowait(1)
    receive.close()
    with pytest.raises(BrokenResourceError):
        send.send_nowait(2)
    with pytest.raises(BrokenResourceError):
        send.send_sync(2)

    async def main():
        with pytest.raises(BrokenResourceError):
            await send.send(2)

    run(main)


def test_closed_handles_say_so(open_channel, run):
    send, receive = open_channel(5)
    send.close()
    receive.close()
    for call in (
        lambda: send.send_nowait(1),
        lambda: send.send_sync(1),
        send.clone,
        receive.receive_nowait,
        receive.receive_sync,
        receive.clone,
    ):
        with pytest.raises(ClosedResourceError):
            call()

    async def main():
        with pytest.raises(ClosedResourceError):
            await send.send(1)
        with pytest.raises(ClosedResourceError):
            await receive.receive()

    run(main)


def test_closing_the_last_sender_wakes_all_receivers(open_channel, run):
    send, receive = open_channel(0)

    async def consume():
        with pytest.raises(EndOfChannel):
            await receive.receive()

    def consume_sync():
        with pytest.raises(EndOfChannel):
            receive.receive_sync(SECONDS_MAX)

    thread = start(consume_sync)
    wait_for(receive.statistics, tasks_waiting_receive=1)

    async def main():
        async with uringtrio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(consume)
            await uringtrio.sleep(0.02)
            send.close()

    run(main)
    thread.result()


def test_closing_the_last_receiver_wakes_all_senders(open_channel, run):
    send, receive = open_channel(0)

    async def produce():
        with pytest.raises(BrokenResourceError):
            await send.send(1)

    def produce_sync():
        with pytest.raises(BrokenResourceError):
            send.send_sync(1, SECONDS_MAX)

    thread = start(produce_sync)
    wait_for(send.statistics, tasks_waiting_send=1)

    async def main():
        async with uringtrio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(produce)
            await uringtrio.sleep(0.02)
            receive.close()

    run(main)
    thread.result()


def test_closing_a_handle_ends_the_waits_through_it_only(open_channel, run):
    send, receive = open_channel(0)
    other = receive.clone()
    got = []

    async def consume():
        with pytest.raises(ClosedResourceError):
            await receive.receive()

    async def consume_other():
        got.append(await other.receive())

    def consume_sync():
        with pytest.raises(ClosedResourceError):
            receive.receive_sync(SECONDS_MAX)

    thread = start(consume_sync)
    wait_for(receive.statistics, tasks_waiting_receive=1)

    async def main():
        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(consume)
            nursery.start_soon(consume_other)
            nursery.start_soon(consume)
            await uringtrio.sleep(0.02)
            receive.close()
            await uringtrio.sleep(0.02)
            await send.send("for the other")

    run(main)
    thread.result()
    assert got == ["for the other"]
    other.close()


def test_closing_a_send_handle_ends_the_waits_through_it(open_channel, run):
    send, receive = open_channel(0)
    other = send.clone()

    async def produce():
        with pytest.raises(ClosedResourceError):
            await send.send(1)

    def produce_sync():
        with pytest.raises(ClosedResourceError):
            send.send_sync(1, SECONDS_MAX)

    thread = start(produce_sync)
    wait_for(send.statistics, tasks_waiting_send=1)

    async def main():
        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(produce)
            await uringtrio.sleep(0.02)
            send.close()
        with uringtrio.move_on_after(0.02) as scope:
            await receive.receive()
        assert scope.cancelled_caught, "what the closed handle was to send was sent"

    run(main)
    thread.result()
    other.close()


def test_handle_is_closed_by_one_thread_while_others_use_it(open_channel):
    """Whoever comes too late hears that it is closed, and nothing else."""

    def use_for_ever(send):
        while True:
            with contextlib.suppress(WouldBlock):
                send.send_nowait(1)
                send.clone().close()

    def use(send):
        with pytest.raises(ClosedResourceError):
            use_for_ever(send)

    for _ in range(20):
        send, receive = open_channel(3)
        users = [start(use, send) for _ in range(2)]
        time.sleep(random.uniform(0, 0.003))
        closers = [start(send.close) for _ in range(2)]
        for thread in (*users, *closers):
            thread.result()
        statistics = receive.statistics()
        assert (statistics.open_send_channels, statistics.open_receive_channels) == (0, 1)
        receive.close()


def test_handles_close_as_context_managers(open_channel, run):
    send, receive = open_channel(1)

    async def main():
        async with send:
            pass
        with receive:
            pass

    run(main)
    with pytest.raises(ClosedResourceError):
        send.send_nowait(1)
    with pytest.raises(ClosedResourceError):
        receive.receive_nowait()


# Cancellation: nothing is lost, neither objects nor wakes.


def test_cancelled_receiver_leaves_the_object_to_others(open_channel, run):
    send, receive = open_channel(0)

    async def main():
        with uringtrio.move_on_after(0.01) as scope:
            await receive.receive()
        assert scope.cancelled_caught
        assert receive.statistics().tasks_waiting_receive == 0
        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(send.send, "hello")
            assert await receive.receive() == "hello"

    run(main)


def test_cancelled_sender_has_sent_nothing(open_channel, run):
    send, receive = open_channel(1)

    async def main():
        await send.send(1)
        with uringtrio.move_on_after(0.01) as scope:
            await send.send(2)
        assert scope.cancelled_caught
        assert send.statistics().tasks_waiting_send == 0
        assert await receive.receive() == 1
        with pytest.raises(WouldBlock):
            receive.receive_nowait()

    run(main)


@pytest.mark.parametrize("cancel_first", [True, False])
def test_receiver_that_is_cancelled_and_served_at_once(open_channel, run, cancel_first):
    """Both in one turn of the loop, in either order: the object is received, or still there."""
    send, receive = open_channel(1)
    got = []

    async def consume(scope):
        with scope:
            got.append(await receive.receive())

    async def main():
        scope = uringtrio.CancelScope()
        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(consume, scope)
            await uringtrio.sleep(0.01)
            if cancel_first:
                scope.cancel()
            send.send_nowait("hello")
            if not cancel_first:
                scope.cancel()
        if not got:
            assert scope.cancelled_caught
            got.append(receive.receive_nowait())

    run(main)
    assert got == ["hello"]
    with pytest.raises(WouldBlock):
        receive.receive_nowait()


@pytest.mark.parametrize("cancel_first", [True, False])
def test_sender_that_is_cancelled_and_served_at_once(open_channel, run, cancel_first):
    send, receive = open_channel(1)
    sent = []

    async def produce(scope):
        with scope:
            await send.send("second")
            sent.append("second")

    async def main():
        scope = uringtrio.CancelScope()
        send.send_nowait("first")
        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(produce, scope)
            await uringtrio.sleep(0.01)
            if cancel_first:
                scope.cancel()
            assert receive.receive_nowait() == "first"
            if not cancel_first:
                scope.cancel()
        try:
            left = [receive.receive_nowait()]
        except WouldBlock:
            left = []
        assert left == sent

    run(main)


def test_cancelled_receiver_passes_its_wake_on(open_channel, run):
    """Two wait; the one that is woken is cancelled before it runs: the other must get it."""
    send, receive = open_channel(1)
    got = []

    async def consume(scope):
        with scope:
            got.append(await receive.receive())

    async def main():
        scopes = [uringtrio.CancelScope() for _ in range(2)]
        async with uringtrio.open_nursery() as nursery:
            for scope in scopes:
                nursery.start_soon(consume, scope)
                await uringtrio.sleep(0.01)
            send.send_nowait("hello")
            scopes[0].cancel()
            with uringtrio.move_on_after(SECONDS_MAX):
                while not got:
                    await uringtrio.sleep(0.001)
            nursery.cancel_scope.cancel()

    run(main, seconds=2 * SECONDS_MAX)
    assert got == ["hello"]


@pytest.mark.parametrize("size", [0, 1, 7])
def test_random_cancellation_loses_and_doubles_nothing(open_channel, size):
    """Runs in three threads, with deadlines that hit in the middle of everything."""
    send, receive = open_channel(size)
    count = 300

    async def produce(first):
        sent = []
        with send.clone() as mine:
            for index in range(count):
                value = (first, index)
                while True:
                    with uringtrio.move_on_after(random.uniform(0, 0.001)) as scope:
                        await mine.send(value)
                    if not scope.cancelled_caught:
                        break
                sent.append(value)
        return sent

    async def consume():
        got = []
        with receive.clone() as mine:
            while True:
                with uringtrio.move_on_after(random.uniform(0, 0.001)):
                    try:
                        got.append(await mine.receive())
                    except EndOfChannel:
                        return got

    producers = [start(uringtrio.run, produce, first) for first in range(2)]
    consumers = [start(uringtrio.run, consume) for _ in range(2)]
    wait_for(send.statistics, open_send_channels=3, open_receive_channels=3)
    send.close()
    sent = [value for thread in producers for value in thread.result()]
    got = [value for thread in consumers for value in thread.result()]

    assert len(sent) == 2 * count
    assert sorted(got) == sorted(sent)


# Figures, and what is refused.


def test_statistics_of_both_ends_agree(open_channel):
    send, receive = open_channel(5)
    clone = send.clone()
    send.send_nowait(1)

    assert send.statistics() == receive.statistics()
    assert send.statistics() == uringtrio.SharedChannelStatistics(
        current_buffer_used=1,
        max_buffer_size=5,
        open_send_channels=2,
        open_receive_channels=1,
        tasks_waiting_send=0,
        tasks_waiting_receive=0,
    )
    clone.close()
    assert send.statistics().open_send_channels == 1
    assert open_channel(inf)[0].statistics().max_buffer_size == inf


@pytest.mark.parametrize(
    ("size", "error"), [(-1, ValueError), (1.5, TypeError), ("1", TypeError), (None, TypeError)]
)
def test_impossible_sizes_are_refused(size, error):
    with pytest.raises(error, match="max_buffer_size must be"):
        open_shared_channel(size)


def test_impossible_kind_is_refused():
    with pytest.raises(ValueError, match="kind must be"):
        open_shared_channel(1, kind="fiber")


def test_classes_have_no_public_constructor():
    for cls in (SharedSendChannel, SharedReceiveChannel):
        with pytest.raises(TypeError, match="abstract"):
            cls()


def test_type_of_objects_can_be_said():
    send, receive = open_shared_channel[int](1, kind="thread")

    send.send_nowait(1)
    assert receive.receive_nowait() == 1


def test_send_outside_of_a_run_says_so(open_channel):
    send, receive = open_channel(1)
    for awaitable in (send.send(1), receive.receive()):
        with pytest.raises(RuntimeError, match="must be called from async context"):
            awaitable.send(None)
