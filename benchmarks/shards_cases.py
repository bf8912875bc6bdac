"""Runs one case of shards.py: shards_cases.py work KIND SHARDS | channel CHANNEL | wake CHANNEL.

Prints one line of JSON.
"""

from __future__ import annotations

import json
import multiprocessing
import queue
import sys
import threading
import time
from typing import Any

import uringtrio

SECONDS = 1.0
OBJECTS = 100_000
ROUND_TRIPS = 3000
BUFFER_SIZE = 1000


# CPU-bound requests: each shard answers requests that come through a socket, and each answer takes
# some Python. The client is a task of the same shard, so no other process takes a share.


def answer(request: bytes) -> bytes:
    """Work for a tenth of a millisecond."""
    total = 0
    for number in range(2000):
        total = (total * 31 + number) & 0xFFFFFF
    return request


async def serve(stream: uringtrio.SocketStream) -> None:
    async for request in stream:
        await stream.send_all(answer(request))


async def work(start: float) -> float:
    """Count the answers of one second, which begins at the same time in all shards."""
    ours, theirs = map(uringtrio.SocketStream, uringtrio.socket.socketpair())
    answers = 0
    async with ours, theirs, uringtrio.open_nursery() as nursery:
        nursery.start_soon(serve, theirs)
        await uringtrio.sleep(max(0, start - time.time()))
        begin = time.perf_counter()
        while (seconds := time.perf_counter() - begin) < SECONDS:
            await ours.send_all(b"x" * 64)
            await ours.receive_some()
            answers += 1
        nursery.cancel_scope.cancel()
    return answers / seconds


def measure_work(kind: Any, shards: int) -> dict[str, float]:
    # Long enough for all processes to have started.
    rates = uringtrio.run_sharded(work, time.time() + 0.5 + 0.3 * shards, shards=shards, kind=kind)
    return {"per_second": sum(rates)}


# Objects from one shard, or thread, to another.


async def pass_on(send: Any, receive: Any) -> float:
    if uringtrio.current_shard().index == 0:
        receive.close()
        async with send:
            for number in range(OBJECTS):
                await send.send(number)
        return 0
    send.close()
    begin = 0.0
    async with receive:
        async for _ in receive:
            begin = begin or time.perf_counter()
    return OBJECTS / (time.perf_counter() - begin)


def produce(channel: Any) -> None:
    for number in range(OBJECTS):
        channel.put(number)


def measure_queue(channel: Any, other: Any) -> dict[str, float]:
    other.start()
    channel.get()
    begin = time.perf_counter()
    for _ in range(OBJECTS - 1):
        channel.get()
    seconds = time.perf_counter() - begin
    other.join()
    return {"per_second": OBJECTS / seconds}


def measure_channel(name: str) -> dict[str, float]:
    if name == "queue.Queue":
        plain: queue.Queue[int] = queue.Queue(BUFFER_SIZE)
        return measure_queue(plain, threading.Thread(target=produce, args=(plain,)))
    if name == "multiprocessing.Queue":
        context = multiprocessing.get_context("spawn")
        between = context.Queue(BUFFER_SIZE)
        return measure_queue(between, context.Process(target=produce, args=(between,)))
    kind: Any = name.split()[1]
    send, receive = uringtrio.open_shared_channel[int](BUFFER_SIZE, kind=kind)
    rates = uringtrio.run_sharded(pass_on, send, receive, shards=2, kind=kind)
    return {"per_second": rates[1]}


# There and back: both sides wait each time, so each object is a wake.


def percentiles(seconds: list[float]) -> dict[str, float]:
    seconds.sort()
    return {f"p{percent}_us": seconds[len(seconds) * percent // 100] * 1e6 for percent in (50, 99)}


async def play(there: Any, back: Any) -> dict[str, float]:
    seconds = []
    is_first = uringtrio.current_shard().index == 0
    (send, _), (_, receive) = (there, back) if is_first else (back, there)
    for number in range(ROUND_TRIPS):
        begin = time.perf_counter()
        if is_first:
            await send.send(number)
            await receive.receive()
        else:
            await send.send(await receive.receive())
        seconds.append(time.perf_counter() - begin)
    for channel in (*there, *back):
        channel.close()
    return percentiles(seconds)


def return_all(there: Any, back: Any) -> None:
    for _ in range(ROUND_TRIPS):
        back.put(there.get())


def play_queues(there: Any, back: Any, other: Any) -> dict[str, float]:
    other.start()
    seconds = []
    for number in range(ROUND_TRIPS):
        begin = time.perf_counter()
        there.put(number)
        back.get()
        seconds.append(time.perf_counter() - begin)
    other.join()
    return percentiles(seconds)


def measure_wake(name: str) -> dict[str, float]:
    if name == "queue.Queue":
        plain: tuple[queue.Queue[int], ...] = (queue.Queue(), queue.Queue())
        return play_queues(*plain, threading.Thread(target=return_all, args=plain))
    if name == "multiprocessing.Queue":
        context = multiprocessing.get_context("spawn")
        between = (context.Queue(), context.Queue())
        return play_queues(*between, context.Process(target=return_all, args=between))
    kind: Any = name.split()[1]
    channels = [uringtrio.open_shared_channel[int](1, kind=kind) for _ in range(2)]
    there, back = (list(pair) for pair in channels)
    return uringtrio.run_sharded(play, there, back, shards=2, kind=kind)[0]


def main() -> None:
    case, *arguments = sys.argv[1:]
    if case == "work":
        figures = measure_work(arguments[0], int(arguments[1]))
    elif case == "channel":
        figures = measure_channel(arguments[0])
    else:
        figures = measure_wake(arguments[0])
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
