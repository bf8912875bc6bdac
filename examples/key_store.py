"""A key-value server in which each shard owns a part of the keys.

    python examples/key_store.py --port 7000

Lines `set KEY VALUE` and `get KEY` are answered with the value, or an empty line. Any shard may
accept a connection. A key belongs to one shard, chosen by its hash, which alone reads and writes
it, so there are no locks: the others ask it.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import zlib
from functools import partial

import uringtrio
from uringtrio import BufferedStream, Shard, SocketStream

# A question: its number, the key, and the new value if there is one. An answer: the number, and
# the value.
Question = tuple[int, bytes, bytes | None]


class Store:
    """One shard's part of the keys, and the questions to others that have no answer yet."""

    def __init__(self, shard: Shard) -> None:
        self._shard = shard
        self._values: dict[bytes, bytes] = {}
        self._numbers = itertools.count()
        self._asked: dict[int, uringtrio.MemorySendChannel[bytes]] = {}

    async def ask(self, key: bytes, value: bytes | None) -> bytes:
        """Get a key, or set it, wherever it is."""
        # Not `hash`, which differs from process to process.
        owner = zlib.crc32(key) % self._shard.count
        if owner == self._shard.index:
            return self._answer(key, value)
        number = next(self._numbers)
        self._asked[number], answer = uringtrio.open_memory_channel[bytes](1)
        try:
            await self._shard.send(owner, ("question", (number, key, value)))
            return await answer.receive()
        finally:
            del self._asked[number]

    def _answer(self, key: bytes, value: bytes | None) -> bytes:
        if value is not None:
            self._values[key] = value
        return self._values.get(key, b"")

    async def talk_to_others(self) -> None:
        """Answer the questions of other shards, and pass on their answers."""
        async with uringtrio.open_nursery() as nursery:
            async for source, (kind, message) in self._shard:
                if kind == "question":
                    number, key, value = message
                    answer = ("answer", (number, self._answer(key, value)))
                    # In a task, for two shards that wait for each other would wait for ever.
                    nursery.start_soon(self._shard.send, source, answer)
                elif message[0] in self._asked:
                    # Unless who has asked went away.
                    self._asked[message[0]].send_nowait(message[1])


async def serve_client(store: Store, stream: SocketStream) -> None:
    """Answer the lines of one client."""
    with contextlib.suppress(uringtrio.BrokenResourceError):
        async for line in BufferedStream(stream).lines(max_bytes=10_000):
            match line.split(maxsplit=2):
                case [b"get", key]:
                    answer = await store.ask(key, None)
                case [b"set", key, value]:
                    answer = await store.ask(key, value.rstrip())
                case _:
                    answer = b"ERROR: get KEY, or set KEY VALUE"
            await stream.send_all(answer + b"\n")


async def serve(host: str, port: int) -> None:
    """Be one shard."""
    shard = uringtrio.current_shard()
    store = Store(shard)
    async with uringtrio.open_nursery() as nursery:
        nursery.start_soon(store.talk_to_others)
        await nursery.start(
            partial(uringtrio.serve_tcp, partial(serve_client, store), port, host=host)
        )
        # With the end of the line in it, so that what threads print is not mixed.
        print(f"shard {shard.index} of {shard.count}: port {port}\n", end="", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=7000)
    parser.add_argument("--shards", type=int, help="default: one for each CPU")
    parser.add_argument("--kind", choices=("auto", "thread", "process"), default="auto")
    options = parser.parse_args()
    with contextlib.suppress(KeyboardInterrupt):
        uringtrio.run_sharded(
            serve, options.host, options.port, shards=options.shards, kind=options.kind
        )


if __name__ == "__main__":
    main()
