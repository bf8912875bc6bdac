"""No reference cycles: what a program drops is freed at once, whatever went wrong with it.

An exception in a cycle keeps its traceback, and with it every frame and all that they hold, until
the collector comes by: sockets stay open, and large buffers stay allocated.
"""

import contextlib
import gc
import sys
import threading
import types
import weakref

import outcome
import pytest

import uringtrio.testing
from uringtrio import lowlevel, socket

from .interrupts import interrupt

pytestmark = pytest.mark.skipif(
    sys.implementation.name == "pypy", reason="PyPy does not count references"
)


def garbage_of(call, *args, **options):
    """Return the exceptions, frames and coroutines that only the collector frees after `call`."""
    kinds = (BaseException, types.FrameType, types.CoroutineType, lowlevel.Task, uringtrio.Nursery)
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        call(*args, **options)
        gc.collect()
        return [repr(found)[:150] for found in gc.garbage if isinstance(found, kinds)]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


def raising(async_fn, error, **options):
    """Run `async_fn` and drop the exception of type `error` that comes out."""
    try:
        uringtrio.run(async_fn, **options)
    except error:
        return
    raise AssertionError("nothing came out")


async def fail():
    raise LookupError


async def fail_later():
    await lowlevel.checkpoint()
    raise LookupError


async def cancelled_scope():
    with uringtrio.CancelScope() as scope:
        scope.cancel()
        await uringtrio.sleep_forever()


async def expired_scope():
    with contextlib.suppress(uringtrio.TooSlowError), uringtrio.fail_after(0):
        await uringtrio.sleep_forever()


async def nested_scopes():
    with uringtrio.CancelScope() as outer, uringtrio.CancelScope(), uringtrio.CancelScope():
        outer.cancel()
        await uringtrio.sleep_forever()


async def failing_child():
    with contextlib.suppress(ExceptionGroup):
        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(fail_later)
            nursery.start_soon(uringtrio.sleep_forever)
            await uringtrio.sleep_forever()


async def failing_body():
    with contextlib.suppress(ExceptionGroup):
        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(uringtrio.sleep_forever)
            raise LookupError


async def many_failing_children():
    with contextlib.suppress(ExceptionGroup):
        async with uringtrio.open_nursery() as outer:
            outer.start_soon(fail)
            async with uringtrio.open_nursery() as nursery:
                for _ in range(5):
                    nursery.start_soon(fail_later)


async def start_that_succeeds():
    async def child(task_status):
        task_status.started()
        await uringtrio.sleep_forever()

    async with uringtrio.open_nursery() as nursery:
        await nursery.start(child)
        nursery.cancel_scope.cancel()


async def start_that_fails():
    async def child(task_status):
        assert task_status is not None
        raise LookupError

    async with uringtrio.open_nursery() as nursery:
        with contextlib.suppress(LookupError):
            await nursery.start(child)


async def start_that_never_says_so():
    async def child(task_status):
        assert task_status is not None

    async with uringtrio.open_nursery() as nursery:
        with contextlib.suppress(RuntimeError):
            await nursery.start(child)


async def cancelled_start():
    async def child(task_status):
        assert task_status is not None
        await uringtrio.sleep_forever()

    async with uringtrio.open_nursery() as nursery:
        with uringtrio.move_on_after(0):
            await nursery.start(child)


async def channel_that_ends():
    send, receive = uringtrio.open_memory_channel(0)
    async with uringtrio.open_nursery() as nursery:
        nursery.start_soon(send.send, 1)
        assert await receive.receive() == 1
        send.close()
        with contextlib.suppress(uringtrio.EndOfChannel):
            await receive.receive()


async def channel_that_breaks():
    send, receive = uringtrio.open_memory_channel(0)

    async def send_to_nobody():
        with contextlib.suppress(uringtrio.BrokenResourceError):
            await send.send(1)

    async with uringtrio.open_nursery() as nursery:
        nursery.start_soon(send_to_nobody)
        await uringtrio.testing.wait_all_tasks_blocked()
        receive.close()
    with contextlib.suppress(uringtrio.ClosedResourceError):
        await receive.receive()


async def channel_that_would_block():
    send, receive = uringtrio.open_memory_channel(0)
    with contextlib.suppress(uringtrio.WouldBlock):
        send.send_nowait(1)
    with contextlib.suppress(uringtrio.WouldBlock):
        receive.receive_nowait()
    with uringtrio.move_on_after(0):
        await receive.receive()
    with uringtrio.move_on_after(0):
        await send.send(1)


async def failing_thread():
    def fail_in_thread():
        raise LookupError

    with contextlib.suppress(LookupError):
        await uringtrio.to_thread.run_sync(fail_in_thread)


async def failing_call_from_a_thread():
    def call():
        uringtrio.from_thread.run(fail)

    with contextlib.suppress(LookupError):
        await uringtrio.to_thread.run_sync(call)


async def rescheduled_with_an_error():
    task = lowlevel.current_task()

    def wake():
        lowlevel.reschedule(task, outcome.Error(LookupError()))

    lowlevel.current_trio_token().run_sync_soon(wake)
    with contextlib.suppress(LookupError):
        await lowlevel.wait_task_rescheduled(lambda _: lowlevel.Abort.FAILED)


async def locks_that_break():
    lock = uringtrio.Lock()

    async with uringtrio.open_nursery() as nursery:
        nursery.start_soon(lock.acquire)
    with contextlib.suppress(uringtrio.BrokenResourceError):
        await lock.acquire()


async def cancelled_locks():
    lock = uringtrio.Lock()
    condition = uringtrio.Condition()
    limiter = uringtrio.CapacityLimiter(0)
    async with lock:
        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(lock.acquire)
            nursery.start_soon(limiter.acquire)
            await uringtrio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
    async with condition:
        with uringtrio.move_on_after(0):
            await condition.wait()


async def failing_io():
    left, right = socket.socketpair()
    with right:
        left.close()
        with contextlib.suppress(OSError):
            await left.recv(1)
        with contextlib.suppress(OSError):
            await right.send(b"x")
        with uringtrio.move_on_after(0):
            await uringtrio.SocketStream(right).receive_some(1)


async def closed_io():
    left, right = socket.socketpair()

    async def receive():
        with contextlib.suppress(uringtrio.ClosedResourceError):
            await left.recv(1)

    with left, right:
        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(receive)
            await uringtrio.testing.wait_all_tasks_blocked()
            left.close()


async def foreign_awaitable():
    class Foreign:
        def __await__(self):
            yield "something"

    with contextlib.suppress(TypeError):
        await Foreign()


async def safe_channel_that_fails():
    @uringtrio.as_safe_channel
    async def generate():
        yield 1
        raise LookupError

    with contextlib.suppress(LookupError):
        async with generate() as values:
            async for _ in values:
                pass


async def safe_channel_left_early():
    @uringtrio.as_safe_channel
    async def generate():
        while True:
            yield 1

    async with generate() as values:
        async for _ in values:
            break


PROGRAMS = [
    cancelled_scope, expired_scope, nested_scopes, failing_child, failing_body,
    many_failing_children, start_that_succeeds, start_that_fails, start_that_never_says_so,
    cancelled_start, channel_that_ends, channel_that_breaks, channel_that_would_block,
    failing_thread, failing_call_from_a_thread, rescheduled_with_an_error, locks_that_break,
    cancelled_locks, failing_io, closed_io, foreign_awaitable, safe_channel_that_fails,
    safe_channel_left_early,
]  # fmt: skip


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.__name__)
def test_run_leaves_nothing_for_the_collector(program):
    uringtrio.run(program)  # What is imported or cached the first time does not count.

    assert garbage_of(uringtrio.run, program) == []


@pytest.mark.parametrize(
    ("program", "error"),
    [(fail, LookupError), (fail_later, LookupError)],
)
def test_run_that_fails_leaves_nothing_for_the_collector(program, error):
    assert garbage_of(raising, program, error) == []


def test_run_that_fails_in_a_group_leaves_nothing_for_the_collector():
    async def main():
        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(fail)

    assert garbage_of(raising, main, ExceptionGroup) == []


def test_run_with_a_failing_system_task_leaves_nothing_for_the_collector():
    async def main():
        lowlevel.spawn_system_task(fail)
        await uringtrio.sleep_forever()

    assert garbage_of(raising, main, uringtrio.TrioInternalError) == []


def test_interrupted_run_leaves_nothing_for_the_collector():
    async def main():
        interrupt()

    async def main_protected():
        await protected()

    @lowlevel.enable_ki_protection
    async def protected():
        interrupt()
        await uringtrio.sleep_forever()

    assert garbage_of(raising, main, KeyboardInterrupt) == []
    assert garbage_of(raising, main_protected, KeyboardInterrupt) == []


def test_guest_run_leaves_nothing_for_the_collector(guest):
    async def main():
        with uringtrio.move_on_after(0.001):
            await uringtrio.sleep_forever()

    assert garbage_of(guest.run, main) == []


def test_run_itself_is_freed_when_it_is_over():
    refs = []

    async def main():
        refs.append(weakref.ref(lowlevel.current_task()))
        refs.append(weakref.ref(lowlevel.current_root_task()))
        refs.append(weakref.ref(lowlevel.current_trio_token()))
        async with uringtrio.open_nursery() as nursery:
            refs.append(weakref.ref(nursery))
            refs.append(weakref.ref(nursery.cancel_scope))

    gc.collect()
    gc.disable()
    try:
        uringtrio.run(main)
        assert [ref() for ref in refs] == [None] * len(refs)
    finally:
        gc.enable()


def test_arguments_and_results_are_freed_at_once():
    class Payload:
        pass

    async def echo(payload):
        await lowlevel.checkpoint()
        return payload

    async def main():
        refs = []
        gc.disable()
        try:
            async with uringtrio.open_nursery() as nursery:
                payload = Payload()
                refs.append(weakref.ref(payload))
                nursery.start_soon(echo, payload)
                del payload
            send, receive = uringtrio.open_memory_channel(1)
            await send.send(Payload())
            refs.append(weakref.ref(await receive.receive()))
            assert [ref() for ref in refs] == [None, None]
        finally:
            gc.enable()

    uringtrio.run(main)


def test_handles_can_be_referred_to_weakly():
    """Up to 0.1.0 the two ends of a channel could not, other than Trio's."""
    send, receive = uringtrio.open_memory_channel(0)
    refs = [weakref.ref(send), weakref.ref(receive)]

    assert [ref() for ref in refs] == [send, receive]

    del send, receive
    assert [ref() for ref in refs] == [None, None]


def test_thread_of_a_run_that_is_over_keeps_nothing_of_it():
    refs = []
    let_go = threading.Event()

    async def main():
        refs.append(weakref.ref(lowlevel.current_task()))
        with uringtrio.move_on_after(0.001):
            await uringtrio.to_thread.run_sync(let_go.wait, 10, abandon_on_cancel=True)

    uringtrio.run(main)
    let_go.set()
    gc.collect()

    assert refs[0]() is None
