"""What files of text and of bytes do alike with their lines."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .binary import BinaryFile
    from .text import TextFile


async def collect_lines(file: BinaryFile | TextFile, hint: int | None) -> list[Any]:
    """Read lines to the end of `file`, or until they are longer than `hint`, as `readlines`.

    Checkpoint: as iterating over `file`.
    """
    lines: list[Any] = []
    size = 0
    limit = hint if hint is not None and hint > 0 else inf
    async for line in file:
        lines.append(line)
        if limit == inf:
            # Those that are there already, without an async step for each.
            lines.extend(file._lines)
        size += len(line)
        if size > limit:
            break
    return lines
