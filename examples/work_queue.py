"""Count words in files on every CPU, and write the result once.

    python examples/work_queue.py README.md docs/*.md

The names of the files are in a shared channel, from which each shard takes the next one when it is
free: big files hold nobody up. All send what they have counted to shard 0, which alone adds it up.
"""

from __future__ import annotations

import argparse
import collections
from pathlib import Path
from typing import TYPE_CHECKING

import uringtrio

if TYPE_CHECKING:
    from uringtrio import SharedReceiveChannel, SharedSendChannel

Counts = collections.Counter[str]


async def count_files(names: SharedReceiveChannel[str], counts: SharedSendChannel[Counts]) -> None:
    """Count files as long as there are any."""
    async with names, counts:
        async for name in names:
            await counts.send(Counts(Path(name).read_text(errors="replace").lower().split()))


async def work(
    names: SharedReceiveChannel[str],
    counts: SharedSendChannel[Counts],
    counted: SharedReceiveChannel[Counts],
) -> Counts:
    """Be one shard; the first one returns the sum."""
    total = Counts()
    async with uringtrio.open_nursery() as nursery:
        nursery.start_soon(count_files, names, counts)
        async with counted:
            if uringtrio.current_shard().index == 0:
                async for part in counted:
                    total += part
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("files", nargs="+")
    parser.add_argument("--shards", type=int, help="default: one for each CPU")
    parser.add_argument("--kind", choices=("auto", "thread", "process"), default="auto")
    options = parser.parse_args()
    send_names, names = uringtrio.open_shared_channel[str](float("inf"), kind=options.kind)
    counts, counted = uringtrio.open_shared_channel[Counts](100, kind=options.kind)
    with send_names:
        for name in options.files:
            send_names.send_nowait(name)
    total, *_ = uringtrio.run_sharded(
        work, names, counts, counted, shards=options.shards, kind=options.kind
    )
    for word, count in total.most_common(10):
        print(f"{count:7} {word}")


if __name__ == "__main__":
    main()
