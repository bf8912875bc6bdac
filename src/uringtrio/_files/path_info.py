"""PathInfo: what kind of file a path names, asked for once."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING, final

from uringtrio._abc import Sealed
from uringtrio._scheduler.traps import checkpoint

if TYPE_CHECKING:
    from .path import Path


@final
class PathInfo(Sealed):
    """What kind of file a path names, as it was when first asked for: `Path.info`.

    Its methods are those of `pathlib.types.PathInfo`, async: each may ask the file system once,
    and remembers the answer. What cannot be looked at does not exist.

    Source: Python's documentation of `pathlib.Path.info`, which is new in Python 3.14; this one is
    there with all versions.
    """

    __slots__ = ("_modes", "_path")

    def __init__(self, path: Path) -> None:
        self._path = path
        # By whether symlinks were followed.
        self._modes: dict[bool, int] = {}

    def __repr__(self) -> str:
        return f"<uringtrio.PathInfo of {str(self._path)!r}>"

    async def _mode(self, *, follow_symlinks: bool) -> int:
        mode = self._modes.get(follow_symlinks)
        if mode is not None:
            await checkpoint()
            return mode
        try:
            mode = await self._path._mode(follow_symlinks=follow_symlinks)
        except OSError:
            mode = 0
        self._modes[follow_symlinks] = mode
        return mode

    async def exists(self, *, follow_symlinks: bool = True) -> bool:
        """Return whether there is a file or directory.

        Checkpoint: always.
        """
        return bool(await self._mode(follow_symlinks=follow_symlinks))

    async def is_dir(self, *, follow_symlinks: bool = True) -> bool:
        """Return whether this is a directory.

        Checkpoint: always.
        """
        return stat.S_ISDIR(await self._mode(follow_symlinks=follow_symlinks))

    async def is_file(self, *, follow_symlinks: bool = True) -> bool:
        """Return whether this is a regular file.

        Checkpoint: always.
        """
        return stat.S_ISREG(await self._mode(follow_symlinks=follow_symlinks))

    async def is_symlink(self) -> bool:
        """Return whether this is a symlink.

        Checkpoint: always.
        """
        return stat.S_ISLNK(await self._mode(follow_symlinks=False))
