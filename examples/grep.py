"""Search files for a pattern, many at once, as `grep -rn` does.

    python examples/grep.py 'def main' src

Prints FILE:LINE:TEXT for each line that matches, the files in no order, and exits with 0 if there
was one, as grep does. Files that are no UTF-8 are left out.
"""

from __future__ import annotations

import argparse
import re
import sys

import uringtrio

# How many files are open at once.
FILES_MAX = 64


class Search:
    """One search, and how many lines it has found."""

    def __init__(self, pattern: re.Pattern[str]) -> None:
        self._pattern = pattern
        self._limiter = uringtrio.CapacityLimiter(FILES_MAX)
        self.found_count = 0

    async def search_file(self, path: uringtrio.Path) -> None:
        """Print the lines of one file that match."""
        async with self._limiter:
            try:
                async with await uringtrio.open_file(path, encoding="utf-8") as file:
                    number = 0
                    async for line in file:
                        number += 1
                        if self._pattern.search(line):
                            self.found_count += 1
                            print(f"{path}:{number}:{line.rstrip()}")
            except (UnicodeDecodeError, OSError) as exc:
                if not isinstance(exc, UnicodeDecodeError):
                    print(f"{path}: {exc.strerror}", file=sys.stderr)

    async def search_tree(self, path: uringtrio.Path, nursery: uringtrio.Nursery) -> None:
        """Search a file, or all files below a directory."""
        if not await path.is_dir():
            nursery.start_soon(self.search_file, path)
            return
        for entry in await path.iterdir():
            if not await entry.is_symlink():
                await self.search_tree(entry, nursery)


async def main(pattern: str, paths: list[str]) -> int:
    """Search all paths; return how many lines matched."""
    search = Search(re.compile(pattern))
    async with uringtrio.open_nursery() as nursery:
        for path in paths:
            await search.search_tree(uringtrio.Path(path), nursery)
    return search.found_count


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("pattern", help="a regular expression")
    parser.add_argument("paths", nargs="*", default=["."])
    options = parser.parse_args()
    sys.exit(0 if uringtrio.run(main, options.pattern, options.paths) else 1)
