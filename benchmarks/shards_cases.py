"""Runs one case of shards.py, and prints one line of JSON.

shards_cases.py work KIND SHARDS | channel CHANNEL | there-and-back CHANNEL | ring CHANNEL

CHANNEL is "process" or "thread", a shared channel between tasks of two shards of that kind;
"process sync" or "thread sync", the same between threads without a run; or a queue of the standard
library. What passes objects is not pinned to a CPU, as those are not either.
"""

from __future__ import annotations

import json
import multiprocessing
import queue
import sys
import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import uringtrio

if TYPE_CHECKING:
    from collections.abc import Callable

SECONDS = 1.0
OBJECTS = 200_000
ROUND_TRIPS = 5000
BUFFER_SIZE = 1000

RING_THREADS = 32
RING_ROUNDS = 1000
RING_MESSAGES = 16


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


async def work(start: float) -> tuple[float, float]:
    """Return answers per second, and CPU seconds per second, of one second.

    It begins at the same time in all shards.
    """
    ours, theirs = map(uringtrio.SocketStream, uringtrio.socket.socketpair())
    answers = 0
    async with ours, theirs, uringtrio.open_nursery() as nursery:
        nursery.start_soon(serve, theirs)
        await uringtrio.sleep(max(0, start - time.time()))
        begin, cpu = time.perf_counter(), time.thread_time()
        while (seconds := time.perf_counter() - begin) < SECONDS:
            await ours.send_all(b"x" * 64)
            await ours.receive_some()
            answers += 1
        nursery.cancel_scope.cancel()
    return answers / seconds, (time.thread_time() - cpu) / seconds


def measure_work(kind: Any, shards: int) -> dict[str, float]:
    # Long enough for all processes to have started.
    start = time.time() + 0.5 + 0.3 * shards
    done = uringtrio.run_sharded(work, start, shards=shards, kind=kind)
    return {"per_second": sum(rate for rate, _ in done), "cpus": sum(cpu for _, cpu in done)}


# Objects from one to another. Each side returns its CPU seconds, and the receiver's second figure
# is its seconds from the first object to the last.


async def send_all(send: Any) -> list[float]:
    cpu = time.thread_time()
    async with send:
        for number in range(OBJECTS):
            await send.send(number)
    return [time.thread_time() - cpu]


async def receive_all(receive: Any) -> list[float]:
    async with receive:
        await receive.receive()
        begin, cpu = time.perf_counter(), time.thread_time()
        async for _ in receive:
            pass
    return [time.thread_time() - cpu, time.perf_counter() - begin]


async def pass_on(send: Any, receive: Any) -> list[float]:
    if uringtrio.current_shard().index == 0:
        receive.close()
        return await send_all(send)
    send.close()
    return await receive_all(receive)


def put_all(put: Callable[[int], object], clock: Callable[[], float]) -> list[float]:
    cpu = clock()
    for number in range(OBJECTS):
        put(number)
    return [clock() - cpu]


def get_all(get: Callable[[], object]) -> list[float]:
    get()
    begin, cpu = time.perf_counter(), time.thread_time()
    for _ in range(OBJECTS - 1):
        get()
    return [time.thread_time() - cpu, time.perf_counter() - begin]


async def pass_on_sync(send: Any, receive: Any) -> list[float]:
    """Do as `pass_on` in a thread without a run."""
    if uringtrio.current_shard().index == 0:
        sync_fn = partial(put_all, send.send_sync, time.thread_time)
    else:
        sync_fn = partial(get_all, receive.receive_sync)
    figures = await uringtrio.to_thread.run_sync(sync_fn)
    send.close()
    receive.close()
    return figures


def put_all_of_process(channel: Any, results: Any) -> None:
    begin = time.process_time()
    put_all(channel.put, time.thread_time)
    # What feeds the pipe is another thread, which takes its time afterwards too.
    channel.close()
    channel.join_thread()
    results.send([time.process_time() - begin])


def pass_on_between_processes() -> tuple[list[float], list[float]]:
    context = multiprocessing.get_context("spawn")
    channel = context.Queue(BUFFER_SIZE)
    results, theirs = context.Pipe(duplex=False)
    other = context.Process(target=put_all_of_process, args=(channel, theirs))
    other.start()
    got = get_all(channel.get)
    sent = results.recv()
    other.join()
    return sent, got


def pass_on_between_threads(put: Any, get: Any) -> tuple[list[float], list[float]]:
    sent: list[float] = []
    thread = threading.Thread(target=lambda: sent.extend(put_all(put, time.thread_time)))
    thread.start()
    got = get_all(get)
    thread.join()
    return sent, got


def measure_channel(name: str) -> dict[str, float]:
    kind, _, is_sync = name.partition(" ")
    if name == "queue.Queue":
        plain: queue.Queue[int] = queue.Queue(BUFFER_SIZE)
        sent, got = pass_on_between_threads(plain.put, plain.get)
    elif name == "multiprocessing.Queue":
        sent, got = pass_on_between_processes()
    else:
        send, receive = uringtrio.open_shared_channel[int](BUFFER_SIZE, kind=kind)  # type: ignore[arg-type]
        if name == "thread sync":
            sent, got = pass_on_between_threads(send.send_sync, receive.receive_sync)
        else:
            main = pass_on_sync if is_sync else pass_on
            sent, got = uringtrio.run_sharded(
                main,
                send,
                receive,
                shards=2,
                kind=kind,  # type: ignore[arg-type]
                placement="none",
            )
    return {"per_second": (OBJECTS - 1) / got[1], "cpu_us": (sent[0] + got[0]) / OBJECTS * 1e6}


# There and back: both sides wait each time, so each object is a wake.


def percentiles(seconds: list[float], cpu: float) -> dict[str, float]:
    seconds.sort()
    figures = {f"p{n}_us": seconds[len(seconds) * n // 100] * 1e6 for n in (50, 99)}
    return figures | {"cpu_us": cpu / len(seconds) * 1e6}


async def play(there: Any, back: Any) -> dict[str, float]:
    seconds = []
    is_first = uringtrio.current_shard().index == 0
    (send, _), (_, receive) = (there, back) if is_first else (back, there)
    cpu = time.thread_time()
    for number in range(ROUND_TRIPS):
        begin = time.perf_counter()
        if is_first:
            await send.send(number)
            await receive.receive()
        else:
            await send.send(await receive.receive())
        seconds.append(time.perf_counter() - begin)
    cpu = time.thread_time() - cpu
    for channel in (*there, *back):
        channel.close()
    return percentiles(seconds, cpu)


def play_sync(put: Any, get: Any, is_first: bool) -> dict[str, float]:
    seconds = []
    cpu = time.thread_time()
    for number in range(ROUND_TRIPS):
        begin = time.perf_counter()
        if is_first:
            put(number)
            get()
        else:
            put(get())
        seconds.append(time.perf_counter() - begin)
    return percentiles(seconds, time.thread_time() - cpu)


async def play_in_thread(there: Any, back: Any) -> dict[str, float]:
    is_first = uringtrio.current_shard().index == 0
    (send, _), (_, receive) = (there, back) if is_first else (back, there)
    figures = await uringtrio.to_thread.run_sync(
        play_sync, send.send_sync, receive.receive_sync, is_first
    )
    for channel in (*there, *back):
        channel.close()
    return figures


def play_second(there: Any, back: Any, results: Any) -> None:
    results.put(play_sync(back.put, there.get, is_first=False))


def play_between_processes() -> list[dict[str, float]]:
    context = multiprocessing.get_context("spawn")
    there, back, results = (context.Queue() for _ in range(3))
    other = context.Process(target=play_second, args=(there, back, results))
    other.start()
    # Of the whole process, for that of what feeds the pipe; the other one's is the same.
    cpu = time.process_time()
    figures = play_sync(there.put, back.get, is_first=True)
    figures["cpu_us"] = (time.process_time() - cpu) / ROUND_TRIPS * 1e6
    results.get()
    other.join()
    return [figures, figures]


def play_between_threads(first: Any, second: Any) -> list[dict[str, float]]:
    figures: list[dict[str, float]] = []
    thread = threading.Thread(target=lambda: figures.append(play_sync(*second, is_first=False)))
    thread.start()
    mine = play_sync(*first, is_first=True)
    thread.join()
    return [mine, *figures]


def measure_there_and_back(name: str) -> dict[str, float]:
    kind, _, is_sync = name.partition(" ")
    if name == "queue.Queue":
        there, back = queue.Queue[int](), queue.Queue[int]()
        both = play_between_threads((there.put, back.get), (back.put, there.get))
    elif name == "multiprocessing.Queue":
        both = play_between_processes()
    else:
        channels = [list(uringtrio.open_shared_channel[int](1, kind=kind)) for _ in range(2)]  # type: ignore[arg-type]
        if name == "thread sync":
            (a, b), (c, d) = channels
            both = play_between_threads(
                (a.send_sync, d.receive_sync),  # type: ignore[union-attr]
                (c.send_sync, b.receive_sync),  # type: ignore[union-attr]
            )
        else:
            both = uringtrio.run_sharded(
                play_in_thread if is_sync else play,
                *channels,
                shards=2,
                kind=kind,  # type: ignore[arg-type]
                placement="none",
            )
    return both[0] | {"cpu_us": sum(figures["cpu_us"] for figures in both)}


# Around a ring of threads: each receives from one neighbour and sends to the other.


def measure_ring(name: str) -> dict[str, float]:
    puts: list[Callable[[int], object]]
    gets: list[Callable[[], int]]
    if name == "queue.Queue":
        queues = [queue.Queue[int]() for _ in range(RING_THREADS)]
        puts, gets = [q.put for q in queues], [q.get for q in queues]
    else:
        channels = [
            uringtrio.open_shared_channel[int](float("inf"), kind="thread")
            for _ in range(RING_THREADS)
        ]
        puts = [send.send_sync for send, _ in channels]
        gets = [receive.receive_sync for _, receive in channels]

    def go_round(index: int) -> None:
        get, put = gets[index], puts[(index + 1) % RING_THREADS]
        for _ in range(RING_ROUNDS * RING_MESSAGES):
            put(get())

    for message in range(RING_MESSAGES):
        puts[0](message)
    threads = [threading.Thread(target=go_round, args=(index,)) for index in range(RING_THREADS)]
    begin, cpu = time.perf_counter(), time.process_time()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    hops = RING_THREADS * RING_ROUNDS * RING_MESSAGES
    seconds = time.perf_counter() - begin
    return {"per_second": hops / seconds, "cpu_us": (time.process_time() - cpu) / hops * 1e6}


def main() -> None:
    case, *arguments = sys.argv[1:]
    if case == "work":
        figures = measure_work(arguments[0], int(arguments[1]))
    else:
        measures = {
            "channel": measure_channel,
            "there-and-back": measure_there_and_back,
            "ring": measure_ring,
        }
        figures = measures[case](arguments[0])
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
