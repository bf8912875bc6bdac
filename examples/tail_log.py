"""Follow log files: print the lines that are added to them, as `tail -F` does.

    python examples/tail_log.py /var/log/one.log /var/log/other.log

A file that is not there yet is waited for. One that is replaced, as when logs are rotated, is read
to its end, and then the new one from its start; one that was truncated is read from its start.
"""

from __future__ import annotations

import argparse
import os
import signal

import uringtrio

# How often a file is looked at when nothing was added to it.
POLL_SECONDS = 0.1


class Follower:
    """One path, and the lines of whichever file it names."""

    def __init__(self, path: str, *, shows_name: bool) -> None:
        self._path = uringtrio.Path(path)
        self._prefix = f"{path}: " if shows_name else ""

    async def follow(self) -> None:
        """Print lines for ever: of the file that is there from its end, of later ones all."""
        from_end = await self._path.exists()
        while True:
            try:
                file = await uringtrio.open_file(self._path, "rb")
            except FileNotFoundError:
                await uringtrio.sleep(POLL_SECONDS)
            else:
                async with file:
                    if from_end:
                        await file.seek(0, os.SEEK_END)
                    await self._print_lines(file)
            from_end = False

    async def _print_lines(self, file: uringtrio.AsyncIOWrapper[object]) -> None:
        """Print what is added to one file, until the path names another and this one is read."""
        rest = b""
        is_replaced = False
        while True:
            async for piece in file:
                rest += piece
                if rest.endswith(b"\n"):
                    print(self._prefix + rest.decode(errors="replace"), end="", flush=True)
                    rest = b""
            if is_replaced:
                return
            await uringtrio.sleep(POLL_SECONDS)
            size = os.fstat(file.fileno()).st_size
            if size < await file.tell():
                await file.seek(0)
                rest = b""
            # Seen to be replaced first and read to the end then: nothing is missed in between.
            is_replaced = not await self._is_still(file)

    async def _is_still(self, file: uringtrio.AsyncIOWrapper[object]) -> bool:
        try:
            status = await self._path.stat()
        except FileNotFoundError:
            return False
        return os.path.samestat(status, os.fstat(file.fileno()))


async def main(paths: list[str]) -> None:
    """Follow all paths until SIGINT or SIGTERM."""
    with uringtrio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with uringtrio.open_nursery() as nursery:
            for path in paths:
                nursery.start_soon(Follower(path, shows_name=len(paths) > 1).follow)
            print("following", flush=True)
            async for _ in signals:
                nursery.cancel_scope.cancel()
                break


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("paths", nargs="+")
    uringtrio.run(main, parser.parse_args().paths)
