"""What resumes tasks is refused where their run is not, and has then changed nothing."""

import contextlib
import gc
import os
import threading

import pytest

import uringtrio
from uringtrio import lowlevel

RAISED_BY_CLOSING = (
    uringtrio.BrokenResourceError,
    uringtrio.ClosedResourceError,
    uringtrio.EndOfChannel,
)


# Each returns what a task waits in, and a call that resumes it.


def event():
    one = uringtrio.Event()
    return one.wait, one.set


def parking_lot():
    lot = lowlevel.ParkingLot()
    return lot.park, lot.unpark


def parking_lot_with_all():
    lot = lowlevel.ParkingLot()
    return lot.park, lot.unpark_all


def parking_lot_that_breaks():
    lot = lowlevel.ParkingLot()
    task = lowlevel.current_task()
    return lot.park, lambda: lot.break_lot(task)


def semaphore():
    one = uringtrio.Semaphore(0)
    return one.acquire, one.release


def limiter():
    one = uringtrio.CapacityLimiter(1)
    one.acquire_on_behalf_of_nowait("us")
    return one.acquire, lambda: one.release_on_behalf_of("us")


def limiter_that_grows():
    one = uringtrio.CapacityLimiter(0)
    return one.acquire, lambda: setattr(one, "total_tokens", 1)


def receiver():
    send, receive = uringtrio.open_memory_channel(0)
    return receive.receive, lambda: send.send_nowait(1)


def sender():
    send, receive = uringtrio.open_memory_channel(0)
    return lambda: send.send(1), receive.receive_nowait


def receiver_whose_end_is_closed():
    send, receive = uringtrio.open_memory_channel(0)
    return receive.receive, lambda: (receive.close(), send)


def receiver_whose_sender_closes():
    send, receive = uringtrio.open_memory_channel(0)
    return receive.receive, send.close


def sender_whose_end_is_closed():
    send, receive = uringtrio.open_memory_channel(0)
    return lambda: send.send(1), lambda: (send.close(), receive)


def sender_whose_receiver_closes():
    send, receive = uringtrio.open_memory_channel(0)
    return lambda: send.send(1), receive.close


def reader_of_a_pipe_that_is_closed():
    reader, writer = os.pipe()
    stream = lowlevel.FdStream(reader)

    def close():
        stream.close()
        os.close(writer)

    return stream.receive_some, close


def reader_of_a_socket_that_is_closed():
    left, right = uringtrio.socket.socketpair()

    def close():
        left.close()
        right.close()

    return lambda: left.recv(1), close


KINDS = [
    event,
    parking_lot,
    parking_lot_with_all,
    parking_lot_that_breaks,
    semaphore,
    limiter,
    limiter_that_grows,
    receiver,
    sender,
    receiver_whose_end_is_closed,
    receiver_whose_sender_closes,
    sender_whose_end_is_closed,
    sender_whose_receiver_closes,
    reader_of_a_pipe_that_is_closed,
    reader_of_a_socket_that_is_closed,
]


def in_a_thread(call):
    thread = threading.Thread(target=call)
    thread.start()
    thread.join(10)


def in_another_run(call):
    async def main():
        call()

    in_a_thread(lambda: uringtrio.run(main))


@pytest.mark.parametrize("elsewhere", [in_a_thread, in_another_run])
@pytest.mark.parametrize("kind", KINDS)
def test_task_is_resumed_by_its_own_run_only(kind, elsewhere, settle, record):
    """Everywhere else it became runnable without its run noticing, and went on by chance."""
    refused = []

    async def wait(wait_there):
        with contextlib.suppress(*RAISED_BY_CLOSING):
            await wait_there()
        record("resumed")

    async def main():
        wait_there, resume = kind()

        def try_to_resume():
            with pytest.raises(RuntimeError, match="must be called from async context") as caught:
                resume()
            refused.append(str(caught.value))

        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(wait, wait_there)
            await settle()
            elsewhere(try_to_resume)
            await settle()
            assert record.events == []
            resume()

    uringtrio.run(main)

    assert record.events == ["resumed"]
    (message,) = refused
    assert "from_thread.run_sync()" in message


def test_task_is_not_started_from_another_thread():
    errors = []

    async def main():
        async with uringtrio.open_nursery() as nursery:

            def start():
                with pytest.raises(RuntimeError, match=r"from_thread\.run_sync\(nursery") as caught:
                    nursery.start_soon(uringtrio.sleep, 0)
                errors.append(caught.value)

            in_a_thread(start)
            assert not nursery.child_tasks

    uringtrio.run(main)
    assert len(errors) == 1


def test_lock_is_not_released_to_a_task_of_another_run(settle):
    lock = uringtrio.Lock()
    waits, may_end = threading.Event(), threading.Event()

    async def wait_elsewhere():
        with uringtrio.move_on_after(10) as scope:
            async with uringtrio.open_nursery() as nursery:
                nursery.start_soon(lock.acquire)
                await settle()
                waits.set()
                await uringtrio.to_thread.run_sync(may_end.wait, 10)
                scope.cancel()

    async def main():
        await lock.acquire()
        thread = threading.Thread(target=uringtrio.run, args=(wait_elsewhere,))
        thread.start()
        assert waits.wait(10)
        with pytest.raises(RuntimeError, match=r"Lock\.release\(\) must be called from async"):
            lock.release()
        assert lock.statistics().owner is lowlevel.current_task()
        may_end.set()
        thread.join(10)
        lock.release()
        assert not lock.locked()

    uringtrio.run(main)


def test_what_resumes_nobody_is_allowed_everywhere():
    event, semaphore = uringtrio.Event(), uringtrio.Semaphore(0)
    limiter, lot = uringtrio.CapacityLimiter(1), lowlevel.ParkingLot()
    send, receive = uringtrio.open_memory_channel(1)
    limiter.acquire_on_behalf_of_nowait("us")

    event.set()
    semaphore.release()
    limiter.release_on_behalf_of("us")
    assert lot.unpark(count=5) == lot.unpark(count=-1) == lot.unpark_all() == []
    send.send_nowait(1)
    assert receive.receive_nowait() == 1
    send.close()
    receive.close()

    assert event.is_set()
    assert semaphore.value == limiter.available_tokens == 1


@pytest.mark.filterwarnings("ignore::uringtrio.TrioDeprecationWarning")
def test_queue_is_filled_in_the_run_of_who_waits_for_it(settle):
    async def main():
        queue = lowlevel.UnboundedQueue()
        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(queue.get_batch)
            await settle()
            with pytest.raises(RuntimeError, match="put_nowait"):
                await uringtrio.to_thread.run_sync(queue.put_nowait, 1)
            assert queue.empty()
            queue.put_nowait(1)
        assert queue.empty()

    uringtrio.run(main)


# The coroutine of the main task says that it cannot be unwound.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_tasks_of_a_crashed_run_may_wake_each_other_while_they_are_destroyed(leftovers):
    leftovers.allowed = True
    ended = []

    async def tell(event, send):
        try:
            with send:
                await uringtrio.sleep_forever()
        finally:
            event.set()
            ended.append(True)

    async def main():
        def fail(_raise_cancel):
            raise ValueError("from the abort function")

        event = uringtrio.Event()
        send, receive = uringtrio.open_memory_channel(0)
        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(tell, event, send)
            nursery.start_soon(event.wait)
            nursery.start_soon(receive.receive)
            await lowlevel.checkpoint()
            await lowlevel.checkpoint()
            nursery.cancel_scope.shield = True
            with uringtrio.CancelScope() as scope:
                scope.cancel()
                await lowlevel.wait_task_rescheduled(fail)

    with pytest.raises(uringtrio.TrioInternalError):
        uringtrio.run(main)
    gc.collect()

    assert ended == [True]
