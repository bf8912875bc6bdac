"""Programs in the ways people write them for Trio: each does here what it does there.

Each takes the library it is to use, and its result is known beforehand.
"""

import importlib
import math
import random
from collections import defaultdict
from contextlib import aclosing

import pytest


@pytest.fixture(params=["uringtrio", "trio"])
def lib(request):
    library = pytest.importorskip(request.param)
    importlib.import_module(f"{request.param}.testing")
    return library


async def lines(stream):
    """Yield the lines that arrive, without their ends."""
    buffer = bytearray()
    async for chunk in stream:
        buffer += chunk
        *whole, buffer = buffer.split(b"\n")
        for line in whole:
            yield bytes(line).decode()


async def serve(lib, handler, task_status):
    await lib.serve_tcp(handler, 0, host="127.0.0.1", task_status=task_status)


class ChatRoom:
    """Sends each line that a member says to all others, through a mailbox each."""

    def __init__(self, lib):
        self.lib = lib
        self.mailboxes = {}

    async def handle(self, stream):
        send, receive = self.lib.open_memory_channel(10)
        async with self.lib.open_nursery() as nursery, send:
            nursery.start_soon(self.deliver, stream, receive)
            said = lines(stream)
            name = await anext(said)
            self.mailboxes[name] = send
            await send.send("welcome")
            async for line in said:
                for other, mailbox in list(self.mailboxes.items()):
                    if other != name:
                        await mailbox.send(f"{name}: {line}")
            await send.aclose()
            del self.mailboxes[name]

    async def deliver(self, stream, receive):
        async with receive:
            async for line in receive:
                await stream.send_all(f"{line}\n".encode())


def test_chat_room_passes_on_every_line_in_its_speakers_order(lib):
    members, count = 6, 40
    heard = defaultdict(lambda: defaultdict(list))

    async def member(name, port, everybody_is_in):
        async with await lib.open_tcp_stream("127.0.0.1", port) as stream:
            await stream.send_all(f"{name}\n".encode())
            said = lines(stream)
            assert await anext(said) == "welcome"
            everybody_is_in.append(name)
            while len(everybody_is_in) < members:
                await lib.sleep(0.001)
            async with lib.open_nursery() as nursery:
                nursery.start_soon(talk, stream)
                for _ in range((members - 1) * count):
                    speaker, _, line = (await anext(said)).partition(": ")
                    heard[name][speaker].append(line)
            await said.aclose()

    async def talk(stream):
        for number in range(count):
            await stream.send_all(f"line {number}\n".encode())

    async def main():
        async with lib.open_nursery() as server:
            (listener,) = await server.start(serve, lib, ChatRoom(lib).handle)
            port = listener.socket.getsockname()[1]
            async with lib.open_nursery() as nursery:
                everybody_is_in = []
                for index in range(members):
                    nursery.start_soon(member, f"m{index}", port, everybody_is_in)
            server.cancel_scope.cancel()

    lib.run(main)

    names = {f"m{index}" for index in range(members)}
    assert set(heard) == names
    for name in names:
        expected = [f"line {number}" for number in range(count)]
        assert heard[name] == dict.fromkeys(names - {name}, expected)


def test_crawler_fetches_every_page_once_and_a_few_at_a_time(lib):
    pages, at_once = 60, 4
    links = {n: {(n + 1) % pages, (3 * n + 2) % pages, (7 * n + 1) % pages} for n in range(pages)}
    fetched, fetching, most = [], 0, 0

    async def handle(stream):
        async with aclosing(lines(stream)) as request:
            page = int((await anext(request)).split()[1].removeprefix("/"))
            body = " ".join(map(str, sorted(links[page])))
            await stream.send_all(f"HTTP/1.0 200 OK\r\n\r\n{body}\n".encode())

    async def fetch(page, port, limiter, nursery, seen):
        nonlocal fetching, most
        async with limiter, await lib.open_tcp_stream("127.0.0.1", port) as stream:
            fetching += 1
            most = max(most, fetching)
            await stream.send_all(f"GET /{page} HTTP/1.0\r\n\r\n".encode())
            body = [line async for line in lines(stream)][-1]
            fetching -= 1
        fetched.append(page)
        for link in map(int, body.split()):
            if link not in seen:
                seen.add(link)
                nursery.start_soon(fetch, link, port, limiter, nursery, seen)

    async def main():
        async with lib.open_nursery() as server:
            (listener,) = await server.start(serve, lib, handle)
            port = listener.socket.getsockname()[1]
            limiter = lib.CapacityLimiter(at_once)
            async with lib.open_nursery() as nursery:
                nursery.start_soon(fetch, 0, port, limiter, nursery, {0})
            server.cancel_scope.cancel()

    lib.run(main)

    assert sorted(fetched) == list(range(pages))
    assert most == at_once


class Account:
    """An actor: does what its mailbox asks of it, one thing at a time, and answers."""

    def __init__(self, lib, nursery, balance):
        self.lib = lib
        self.balance = balance
        self.mailbox, self._requests = lib.open_memory_channel(math.inf)
        nursery.start_soon(self._work)

    async def change(self, amount):
        """Return whether the account had enough."""
        answer, answers = self.lib.open_memory_channel(1)
        await self.mailbox.send((amount, answer))
        return await answers.receive()

    async def _work(self):
        async with self._requests:
            async for amount, answer in self._requests:
                before = self.balance
                await self.lib.sleep(0)
                if before + amount >= 0:
                    self.balance = before + amount
                await answer.send(before + amount >= 0)


def test_bank_of_actors_neither_loses_nor_makes_money(lib):
    async def transfers(accounts, seed):
        draw = random.Random(seed)
        for _ in range(50):
            source, target = draw.sample(accounts, 2)
            if await source.change(-60):
                assert await target.change(60)

    async def main():
        async with lib.open_nursery() as nursery:
            accounts = [Account(lib, nursery, 100) for _ in range(10)]
            async with lib.open_nursery() as clients:
                for seed in range(10):
                    clients.start_soon(transfers, accounts, seed)
            for account in accounts:
                await account.mailbox.aclose()
        return [account.balance for account in accounts]

    balances = lib.run(main)
    assert sum(balances) == 1000
    assert min(balances) >= 0


def test_timeouts_inside_timeouts_end_when_they_should(lib):
    """Each worker has a limit around a nursery, in it a shorter patience, and cleans up."""
    workers, clean_up = 300, 0.5
    ended = {}

    def times_of(number):
        draw = random.Random(number)
        limit, patience, nap = (draw.uniform(1, 60) for _ in range(3))
        return limit, patience, nap, [draw.uniform(1, 60) for _ in range(3)]

    async def worker(number):
        limit, patience, nap, naps = times_of(number)
        how = "whole"
        with lib.move_on_after(limit) as scope:
            try:
                async with lib.open_nursery() as nursery:
                    for seconds in naps:
                        nursery.start_soon(lib.sleep, seconds)
                    with lib.fail_after(patience):
                        await lib.sleep(nap)
            except* lib.TooSlowError:
                how = "too slow"
            finally:
                with lib.CancelScope(shield=True):
                    await lib.sleep(clean_up)
        ended[number] = ("cut" if scope.cancelled_caught else how, lib.current_time())

    async def main():
        start = lib.current_time()
        async with lib.open_nursery() as nursery:
            for number in range(workers):
                nursery.start_soon(worker, number)
        return start

    start = lib.run(main, clock=lib.testing.MockClock(autojump_threshold=0))

    for number in range(workers):
        limit, patience, nap, naps = times_of(number)
        how, end = ("too slow", patience) if patience < nap else ("whole", max(nap, *naps))
        if limit < end:
            how, end = "cut", limit
        assert ended[number] == (how, pytest.approx(start + end + clean_up, abs=1e-6)), number
