"""A program as a user of Trio would write it, with the import changed and nothing else.

Checked with mypy --strict, and run by test_typing.py, which knows what comes out.
"""

from __future__ import annotations

import contextlib
import contextvars
import functools
import math
import signal
import ssl
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, NoReturn, TypeVar

import outcome

import uringtrio as trio
import uringtrio.testing

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable

T = TypeVar("T")
R = TypeVar("R")

request_id: contextvars.ContextVar[int] = contextvars.ContextVar("request_id", default=0)
default_timeout: trio.lowlevel.RunVar[float] = trio.lowlevel.RunVar("default_timeout", 1.0)


# A generic worker pool over memory channels.


@dataclass
class Job(Generic[T]):
    number: int
    payload: T
    done: trio.Event = field(default_factory=trio.Event)


async def produce(channel: trio.MemorySendChannel[Job[str]], count: int) -> None:
    async with channel:
        for number in range(count):
            await channel.send(Job(number, f"job {number}"))


async def work(
    jobs: trio.MemoryReceiveChannel[Job[str]],
    results: trio.MemorySendChannel[tuple[int, int]],
    limiter: trio.CapacityLimiter,
) -> None:
    async with jobs, results:
        async for job in jobs:
            async with limiter:
                length = await trio.to_thread.run_sync(len, job.payload)
            await results.send((job.number, length))
            job.done.set()


async def pool(workers: int, count: int) -> dict[int, int]:
    send_jobs, receive_jobs = trio.open_memory_channel[Job[str]](0)
    send_results, receive_results = trio.open_memory_channel[tuple[int, int]](math.inf)
    limiter = trio.CapacityLimiter(2)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(produce, send_jobs, count)
        async with receive_jobs, send_results:
            for _ in range(workers):
                nursery.start_soon(work, receive_jobs.clone(), send_results.clone(), limiter)
        collected = {number: length async for number, length in receive_results}
    statistics = send_results.statistics()
    assert statistics.open_send_channels == 0
    return collected


# Services that say when they are up.


async def ticker(
    period: float, *, task_status: trio.TaskStatus[float] = trio.TASK_STATUS_IGNORED
) -> NoReturn:
    task_status.started(trio.current_time())
    while True:
        await trio.sleep(period)


async def service() -> bool:
    async with trio.open_nursery() as nursery:
        began: float = await nursery.start(ticker, 0.001, name="ticker")
        nursery.start_soon(ticker, 0.001)
        nursery.start_soon(functools.partial(ticker, period=0.001))
        names = sorted(task.name for task in nursery.child_tasks)
        await trio.sleep(0.002)
        nursery.cancel_scope.cancel(reason="seen enough")
    return began <= trio.current_effective_deadline() and "ticker" in names


# Time.


async def with_retries(
    fn: Callable[[int], Awaitable[R]], attempts: int, timeout: float
) -> R | None:
    for attempt in range(attempts):
        with trio.move_on_after(timeout) as scope:
            return await fn(attempt)
        if not scope.cancelled_caught:
            break
    return None


async def slow_at_first(attempt: int) -> str:
    await trio.sleep(math.inf if attempt == 0 else 0)
    return f"attempt {attempt}"


async def deadlines() -> list[str]:
    log = []
    try:
        with trio.fail_after(0.001):
            await trio.sleep_forever()
    except trio.TooSlowError as exc:
        log.append(type(exc.__context__).__name__)
    with trio.CancelScope(relative_deadline=5, shield=True) as scope:
        scope.deadline = trio.current_time() + 1
        scope.shield = False
        log.append(f"{scope.is_relative} {scope.cancel_called}")
    with trio.move_on_at(-math.inf) as past:
        await trio.lowlevel.checkpoint()
    log.append(str(past.cancelled_caught))
    log.append(str(await with_retries(slow_at_first, 3, 0.001)))
    return log


# Locks and their relatives.


class Stock:
    def __init__(self) -> None:
        self.condition = trio.Condition(trio.Lock())
        self.items: list[int] = []

    async def put(self, item: int) -> None:
        async with self.condition:
            self.items.append(item)
            self.condition.notify()

    async def take(self) -> int:
        async with self.condition:
            while not self.items:
                await self.condition.wait()
            return self.items.pop(0)


async def synchronise() -> list[int]:
    stock = Stock()
    taken: list[int] = []
    semaphore = trio.Semaphore(1, max_value=2)
    strict = trio.StrictFIFOLock()

    async def consumer() -> None:
        async with semaphore, strict:
            taken.append(await stock.take())

    async with trio.open_nursery() as nursery:
        for _ in range(2):
            nursery.start_soon(consumer)
        for item in (1, 2):
            await stock.put(item)
    assert strict.statistics().owner is None
    assert stock.condition.statistics().lock_statistics.locked is False
    return taken


# Threads, both ways.


def in_thread(base: int, *, factor: int) -> int:
    trio.from_thread.check_cancelled()
    doubled = trio.from_thread.run(slow_double, base)
    return trio.from_thread.run_sync(power, doubled, factor)


def power(base: int, exponent: int) -> int:
    result = 1
    for _ in range(exponent):
        result *= base
    return result


async def slow_double(number: int) -> int:
    await trio.sleep(0)
    return number * 2


async def threads() -> int:
    limiter = trio.to_thread.current_default_thread_limiter()
    assert limiter.total_tokens == 40
    return await trio.to_thread.run_sync(
        functools.partial(in_thread, factor=2), 3, thread_name="mine", limiter=limiter
    )


# Streams.


async def echo(stream: trio.SocketStream) -> None:
    async for chunk in stream:
        await stream.send_all(chunk)


async def talk(message: bytes) -> bytes:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, echo, [listener])
        port: int = listener.socket.getsockname()[1]
        received = b""
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            await stream.send_all(message)
            await stream.send_eof()
            while data := await stream.receive_some(3):
                received += data
        nursery.cancel_scope.cancel()
    return received


async def datagrams() -> tuple[bytes, int]:
    with trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_DGRAM) as receiver:
        await receiver.bind(("127.0.0.1", 0))
        with trio.socket.socket(type=trio.socket.SOCK_DGRAM) as sender:
            count: int = await sender.sendto(b"datagram", receiver.getsockname())
        data, _ = await receiver.recvfrom(100)
        return data, count


class Upper(trio.abc.SendStream):
    """A stream of the user's own."""

    def __init__(self, transport: trio.abc.SendStream) -> None:
        self.transport = transport

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self.transport.send_all(bytes(data).upper())

    async def wait_send_all_might_not_block(self) -> None:
        await self.transport.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        await self.transport.aclose()


async def in_memory() -> bytes:
    send, receive = uringtrio.testing.memory_stream_one_way_pair()
    async with Upper(send) as upper, receive:
        await upper.send_all(b"quiet")
        return bytes(await receive.receive_some())


# Async generators behind a channel.


@trio.as_safe_channel
async def count_up(limit: int, *, step: int = 1) -> AsyncGenerator[int, None]:
    for number in range(0, limit, step):
        await trio.sleep(0)
        yield number


@contextlib.asynccontextmanager
async def background(name: str) -> AsyncIterator[trio.Nursery]:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.sleep_forever, name=name)
        yield nursery
        nursery.cancel_scope.cancel()


async def generators() -> int:
    total = 0
    async with background("sleeper") as nursery, count_up(10, step=3) as numbers:
        async for number in numbers:
            total += number
        assert [task.name for task in nursery.child_tasks] == ["sleeper"]
    return total


# What libraries are made of.


class Gate:
    """A lock-like object on a parking lot."""

    def __init__(self) -> None:
        self._lot = trio.lowlevel.ParkingLot()

    async def wait(self) -> None:
        await self._lot.park()

    def open(self) -> list[trio.lowlevel.Task]:
        return self._lot.unpark_all()


async def wait_in_another_thread(seconds: float) -> str:
    """A future of another world, adapted by hand."""
    task = trio.lowlevel.current_task()
    token = trio.lowlevel.current_trio_token()

    def deliver() -> None:
        trio.lowlevel.reschedule(task, outcome.Value("woken"))

    timer = threading.Timer(seconds, token.run_sync_soon, (deliver,))

    def abort(_raise_cancel: trio.lowlevel.RaiseCancelT) -> trio.lowlevel.Abort:
        timer.cancel()
        return trio.lowlevel.Abort.SUCCEEDED

    timer.start()
    result = await trio.lowlevel.wait_task_rescheduled(abort)
    assert isinstance(result, str)
    return result


class Steps(trio.abc.Instrument):
    def __init__(self) -> None:
        self.count = 0

    def before_task_step(self, _task: trio.lowlevel.Task) -> None:
        self.count += 1


async def low() -> list[str]:
    gate = Gate()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(gate.wait)
        await uringtrio.testing.wait_all_tasks_blocked()
        opened = gate.open()
    steps = Steps()
    trio.lowlevel.add_instrument(steps)
    await trio.lowlevel.cancel_shielded_checkpoint()
    trio.lowlevel.remove_instrument(steps)
    token = default_timeout.set(2.5)
    changed = default_timeout.get()
    default_timeout.reset(token)
    task = trio.lowlevel.current_task()
    assert task.parent_nursery is not None
    frames = [frame.f_code.co_name for frame, _line in task.iter_await_frames()]
    statistics = trio.lowlevel.current_statistics()
    return [
        str(len(opened)),
        str(steps.count),
        str(changed),
        str(default_timeout.get()),
        await wait_in_another_thread(0.001),
        frames[0],
        statistics.io_statistics.backend,
    ]


@trio.lowlevel.enable_ki_protection
def protected(sign: int) -> str:
    return f"{trio.lowlevel.currently_ki_protected()} {sign}"


# As a guest of a loop of the user's own.


def as_guest(async_fn: Callable[[int], Awaitable[R]], argument: int) -> R:
    todo: list[Callable[[], object]] = []
    results: list[outcome.Outcome[R]] = []
    wake = threading.Event()

    def soon(fn: Callable[[], object]) -> None:
        todo.append(fn)
        wake.set()

    trio.lowlevel.start_guest_run(
        async_fn, argument, run_sync_soon_threadsafe=soon, done_callback=results.append
    )
    while not results:
        wake.wait(10)
        wake.clear()
        while todo:
            todo.pop(0)()
    return results[0].unwrap()


async def main() -> dict[str, object]:
    request_id.set(7)
    results = {
        "pool": await pool(3, 4),
        "service": await service(),
        "deadlines": await deadlines(),
        "synchronise": await synchronise(),
        "threads": await threads(),
        "talk": await talk(b"hello"),
        "datagrams": await datagrams(),
        "in_memory": await in_memory(),
        "generators": await generators(),
        "low": await low(),
        "protected": protected(signal.SIGINT),
    }
    sender, receiver = trio.open_memory_channel[ssl.SSLContext](0)
    sender.close()
    with contextlib.suppress(trio.EndOfChannel):
        await receiver.receive()
    return results


def run_everything() -> dict[str, object]:
    results = trio.run(main)
    clock = uringtrio.testing.MockClock(rate=0, autojump_threshold=0)
    trio.run(trio.sleep, 1000, clock=clock)
    return {**results, "clock": clock.current_time(), "guest": as_guest(slow_double, 21)}
