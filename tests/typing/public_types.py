"""The types of the public interface, as mypy sees them; nothing here is ever run."""

from __future__ import annotations

import contextvars
import math
import types
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager
from typing import Any, NoReturn, assert_type

import outcome

import uringtrio
from uringtrio import abc, from_thread, lowlevel, socket, testing, to_thread


async def number(a: int, b: str) -> float:
    return a + float(b)


def sync_number(a: int, b: str) -> float:
    return a + float(b)


async def nothing() -> None:
    pass


def running() -> None:
    assert_type(uringtrio.run(number, 1, "2"), float)
    assert_type(uringtrio.run(nothing), None)
    assert_type(uringtrio.run(uringtrio.open_tcp_stream, "host", 80), uringtrio.SocketStream)


def guests(soon: Callable[[Callable[[], object]], None]) -> None:
    def done(result: outcome.Outcome[float]) -> None:
        assert_type(result.unwrap(), float)

    lowlevel.start_guest_run(
        number, 1, "2", run_sync_soon_threadsafe=soon, done_callback=done, clock=testing.MockClock()
    )


async def nurseries() -> None:
    async with uringtrio.open_nursery() as nursery:
        assert_type(nursery, uringtrio.Nursery)
        assert_type(nursery.cancel_scope, uringtrio.CancelScope)
        assert_type(nursery.child_tasks, frozenset[lowlevel.Task])
        assert_type(nursery.parent_task, lowlevel.Task)
        nursery.start_soon(number, 1, "2")
        nursery.start_soon(nothing, name=number)
        assert_type(await nursery.start(started), Any)


async def started(*, task_status: uringtrio.TaskStatus[int]) -> None:
    task_status.started(1)


async def started_with_default(
    task_status: uringtrio.TaskStatus[None] = uringtrio.TASK_STATUS_IGNORED,
) -> None:
    task_status.started()
    task_status.started(None)


async def scopes() -> None:
    with uringtrio.CancelScope(deadline=1, shield=True) as scope:
        assert_type(scope, uringtrio.CancelScope)
        assert_type(scope.deadline, float)
        assert_type(scope.relative_deadline, float)
        assert_type(scope.is_relative, bool | None)
        assert_type(scope.shield, bool)
        assert_type(scope.cancel_called, bool)
        assert_type(scope.cancelled_caught, bool)
        assert_type(scope.cancel(), None)
        scope.cancel("reason")
        scope.cancel(reason=None)
        scope.deadline = math.inf
        scope.shield = False
    assert_type(uringtrio.move_on_after(1), uringtrio.CancelScope)
    assert_type(uringtrio.move_on_at(1, shield=True), uringtrio.CancelScope)
    with uringtrio.fail_after(1) as scope:
        assert_type(scope, uringtrio.CancelScope)
    with uringtrio.fail_at(1, shield=True) as scope:
        assert_type(scope, uringtrio.CancelScope)
    assert_type(uringtrio.current_time(), float)
    assert_type(uringtrio.current_effective_deadline(), float)


def code_after_a_timeout_is_reached() -> Coroutine[Any, Any, str]:
    async def get() -> str:
        with uringtrio.move_on_after(1):
            return "in time"
        # Reached only if the scope may absorb: mypy must know that it does.
        return "too late"

    return get()


async def sleeping() -> None:
    assert_type(await uringtrio.sleep(1), None)
    assert_type(await uringtrio.sleep_until(1), None)


async def for_ever() -> NoReturn:
    await uringtrio.sleep_forever()


def cancelled(exc: uringtrio.Cancelled) -> None:
    assert_type(exc.source_task, str | None)
    assert_type(exc.reason, str | None)
    source: str = exc.source
    assert source


async def channels() -> None:
    send, receive = uringtrio.open_memory_channel[int](5)
    assert_type(send, uringtrio.MemorySendChannel[int])
    assert_type(receive, uringtrio.MemoryReceiveChannel[int])
    assert_type(await send.send(1), None)
    assert_type(send.send_nowait(1), None)
    assert_type(await receive.receive(), int)
    assert_type(receive.receive_nowait(), int)
    async for item in receive:
        assert_type(item, int)
    with send.clone() as clone, receive.clone() as other:
        assert_type(clone, uringtrio.MemorySendChannel[int])
        assert_type(other, uringtrio.MemoryReceiveChannel[int])
    async with send as entered:
        assert_type(entered, uringtrio.MemorySendChannel[int])
    statistics = receive.statistics()
    assert_type(statistics, uringtrio.MemoryChannelStatistics)
    assert_type(statistics.max_buffer_size, int | float)
    assert_type(statistics.peak_buffer_used, int)
    # Receivers give what is in there, senders take what fits.
    as_object: abc.ReceiveChannel[object] = receive
    send_bool: abc.SendChannel[bool] = send
    del as_object, send_bool


@uringtrio.as_safe_channel
async def generate(limit: int, *, text: str = "") -> AsyncGenerator[str, None]:
    yield text * limit


async def safe_channels() -> None:
    assert_type(generate(1, text="x"), AbstractAsyncContextManager[abc.ReceiveChannel[str]])
    async with generate(1) as values:
        async for value in values:
            assert_type(value, str)


async def synchronisation() -> None:
    event = uringtrio.Event()
    assert_type(event.is_set(), bool)
    assert_type(await event.wait(), None)
    assert_type(event.statistics(), uringtrio.EventStatistics)
    lock = uringtrio.Lock()
    async with lock as entered:
        assert_type(entered, None)
    assert_type(lock.statistics().owner, lowlevel.Task | None)
    async with uringtrio.Semaphore(1, max_value=None) as entered:
        assert_type(entered, None)
    semaphore = uringtrio.Semaphore(1)
    assert_type(semaphore.value, int)
    assert_type(semaphore.max_value, int | None)
    assert_type(semaphore.statistics(), lowlevel.ParkingLotStatistics)
    condition = uringtrio.Condition(lock)
    assert_type(condition.notify(), None)
    assert_type(condition.statistics().lock_statistics, uringtrio.LockStatistics)
    limiter = uringtrio.CapacityLimiter(math.inf)
    assert_type(limiter.total_tokens, int | float)
    limiter.total_tokens = 5
    assert_type(limiter.available_tokens, int | float)
    assert_type(limiter.borrowed_tokens, int)
    assert_type(await limiter.acquire_on_behalf_of("anybody"), None)
    lot = lowlevel.ParkingLot()
    assert_type(lot.unpark(count=math.inf), list[lowlevel.Task])
    assert_type(len(lot), int)
    assert_type(lot.broken_by, list[lowlevel.Task])


async def threads(token: lowlevel.TrioToken) -> None:
    assert_type(await to_thread.run_sync(sync_number, 1, "2", abandon_on_cancel=True), float)
    assert_type(to_thread.current_default_thread_limiter(), uringtrio.CapacityLimiter)
    assert_type(from_thread.run(number, 1, "2"), float)
    assert_type(from_thread.run_sync(sync_number, 1, "2", trio_token=token), float)
    assert_type(from_thread.check_cancelled(), None)
    token.run_sync_soon(sync_number, 1, "2", idempotent=True)

    def deliver(result: outcome.Outcome[float]) -> None:
        assert_type(result.unwrap(), float)

    lowlevel.start_thread_soon(lambda: 1.5, deliver, name="mine")


run_var: lowlevel.RunVar[int] = lowlevel.RunVar("run_var")


def run_vars() -> None:
    assert_type(run_var.get(), int)
    assert_type(lowlevel.RunVar("other", "text"), lowlevel.RunVar[str])
    token = run_var.set(1)
    assert_type(token, lowlevel.RunVarToken[int])
    assert_type(run_var.reset(token), None)


async def tasks() -> None:
    task = lowlevel.current_task()
    assert_type(task, lowlevel.Task)
    assert_type(task.name, str)
    coro = assert_type(task.coro, Coroutine[Any, Any, Any])
    coro.close()
    assert_type(task.context, contextvars.Context)
    assert_type(task.custom_sleep_data, Any)
    assert_type(task.parent_nursery, uringtrio.Nursery | None)
    assert_type(task.eventual_parent_nursery, uringtrio.Nursery | None)
    assert_type(task.child_nurseries, list[uringtrio.Nursery])
    assert_type(task.iter_await_frames(), Iterator[tuple[types.FrameType, int]])
    assert_type(lowlevel.current_root_task(), lowlevel.Task | None)
    assert_type(lowlevel.spawn_system_task(number, 1, "2", context=None), lowlevel.Task)
    assert_type(lowlevel.current_clock(), abc.Clock)
    assert_type(lowlevel.current_statistics(), lowlevel.RunStatistics)
    assert_type(lowlevel.current_statistics().seconds_to_next_deadline, float)


async def parking(task: lowlevel.Task) -> None:
    def abort(raise_cancel: lowlevel.RaiseCancelT) -> lowlevel.Abort:
        raise_cancel()

    assert_type(await lowlevel.wait_task_rescheduled(abort), Any)
    assert_type(lowlevel.reschedule(task, outcome.Value(1)), None)
    assert_type(await lowlevel.checkpoint(), None)
    assert_type(await lowlevel.permanently_detach_coroutine_object(outcome.Value(1)), Any)
    assert_type(await lowlevel.temporarily_detach_coroutine_object(abort), Any)
    assert_type(await lowlevel.reattach_detached_coroutine_object(task, 1), None)


@lowlevel.enable_ki_protection
def protected(a: int) -> str:
    return str(a)


@lowlevel.disable_ki_protection
async def unprotected(a: int) -> str:
    return str(a)


async def protection() -> None:
    assert_type(protected(1), str)
    assert_type(await unprotected(1), str)
    assert_type(lowlevel.currently_ki_protected(), bool)


async def streams(stream: uringtrio.SocketStream) -> None:
    assert_type(await uringtrio.open_tcp_stream("host", 80), uringtrio.SocketStream)
    assert_type(await uringtrio.open_tcp_listeners(80), list[uringtrio.SocketListener])
    assert_type(await stream.receive_some(), bytes)
    assert_type(await stream.send_all(memoryview(b"")), None)
    half: abc.HalfCloseableStream = stream
    stapled = uringtrio.StapledStream(stream, half)
    assert_type(stapled, uringtrio.StapledStream[uringtrio.SocketStream, abc.HalfCloseableStream])
    assert_type(stapled.send_stream, uringtrio.SocketStream)
    async with stream as entered:
        assert_type(entered, uringtrio.SocketStream)
    listener: abc.Listener[uringtrio.SocketStream] = uringtrio.SocketListener(socket.socket())
    assert_type(await listener.accept(), uringtrio.SocketStream)
    one_way = testing.memory_stream_one_way_pair()
    assert_type(one_way, tuple[testing.MemorySendStream, testing.MemoryReceiveStream])
    assert_type(await lowlevel.FdStream(0).receive_some(), bytes)


async def sockets(sock: socket.SocketType) -> None:
    assert_type(await sock.recv(1), bytes)
    assert_type(await sock.send(b""), int)
    assert_type(await sock.recv_into(bytearray(1)), int)
    assert_type(sock.fileno(), int)
    client, _address = await sock.accept()
    assert_type(client, socket.SocketType)
    left, right = socket.socketpair()
    as_type: socket.SocketType = left
    del right, as_type


async def helpers() -> None:
    clock = testing.MockClock(rate=1, autojump_threshold=0)
    assert_type(clock.rate, float)
    clock.autojump_threshold = math.inf
    assert_type(clock.jump(1), None)
    async with testing.Sequencer()(0):
        pass
    with testing.assert_checkpoints(), testing.assert_no_checkpoints():
        pass
    assert_type(await testing.wait_all_tasks_blocked(0.1), None)
    assert_type(testing.active_thread_count(), int)


def probing() -> None:
    report = uringtrio.probe()
    assert_type(report, uringtrio.ProbeReport)
    uringtrio.run(nothing, driver="epoll", ring=uringtrio.RingOptions())
