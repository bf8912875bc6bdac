"""BufferedFile: a BinaryFile with a buffer, of which it knows more. See `binary.py`."""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING, Any, final

from uringtrio._abc import Sealed
from uringtrio._ops.file import Write
from uringtrio._scheduler.traps import checkpoint_if_cancelled

from .binary import NO_LINES, BinaryFile, UnbufferedFile
from .raw import INLINE_BYTES_MAX

if TYPE_CHECKING:
    from .raw import RawFile


@final
class BufferedFile(Sealed, BinaryFile):
    """A file with a buffer: `open_file(..., "rb")`, and what is below a file of text.

    Iterating over its lines is a checkpoint each time that it fills the buffer, and not for each
    line.
    """

    def __init__(self, raw: RawFile, file: Any, size_bytes: int) -> None:
        super().__init__(raw, file)
        self._size_bytes = size_bytes
        self._is_for_both = raw.readable() and raw.writable()

    async def __anext__(self) -> Any:
        # In a `for`: `next`, or a call of `readline`, costs more (docs/design/files.md).
        for line in self._lines:
            return line
        return await self._next_line()

    async def _next_line(self) -> Any:
        line = await self.readline()
        if not line:
            raise StopAsyncIteration
        # Another task may have come in between, when the line had been read.
        if self._lines is NO_LINES and not (self._turn.is_taken or self._is_dirty):
            self._begin_iteration()
        return line

    def _begin_iteration(self) -> None:
        """Let iterating return the whole lines that are in the buffer.

        Those of a buffer that is only for reading stay in it, until `_end_iteration`: a pipe could
        not be given back what is not returned.
        """
        raw = self._raw
        raw.begin()
        # Nothing is read from the file: an empty buffer is left empty.
        raw.spent_bytes = INLINE_BYTES_MAX
        try:
            # A buffer for both shows nothing, and has to be given back what is not a whole line.
            take = self._wrapped.read1 if self._is_for_both else self._wrapped.peek
            data = take(self._size_bytes)
        finally:
            raw.is_trying = False
            raw.missing = None
        size = data.rfind(b"\n") + 1
        if self._is_for_both and data:
            self._wrapped.seek(size - len(data), os.SEEK_CUR)
        self._lines = io.BytesIO(data[:size])

    def _end_iteration(self) -> None:
        if self._lines is not NO_LINES:
            taken = self._lines.tell()
            if self._is_for_both:
                self._wrapped.seek(taken - self._lines.seek(0, os.SEEK_END), os.SEEK_CUR)
            else:
                self._wrapped.read(taken)
            self._lines = NO_LINES

    @property
    def wrapped(self) -> Any:
        self._end_iteration()
        return self._wrapped

    async def read1(self, size: int = -1, /) -> bytes:
        """Read up to `size` bytes with one read of the file at most; what is there already first.

        Checkpoint: as `read`.
        """
        return await self._complete(self._wrapped.read1, size)  # type: ignore[no-any-return]  # io's own

    async def readinto1(self, buffer: Any, /) -> int:
        """Read into `buffer` with one read of the file at most.

        Checkpoint: as `read`.
        """
        return await self._fill(self._wrapped.readinto1, buffer)

    async def peek(self, size: int = 0, /) -> bytes:
        """Return what is in the buffer, without taking it; reads once if there is nothing.

        Checkpoint: as `read`.
        """
        return await self._complete(self._wrapped.peek, size)  # type: ignore[no-any-return]  # io's own

    async def write(self, data: Any, /) -> int:
        self._is_dirty = self._is_for_both
        # More than the buffer holds would be cut into pieces of its size, an op for each.
        if not isinstance(data, str) and memoryview(data).nbytes > self._size_bytes:
            return await self._write_past_buffer(memoryview(data).cast("B"))
        return await super().write(data)

    async def _write_past_buffer(self, view: memoryview) -> int:
        await self._begin()
        # For its exceptions, if the file is not open for writing.
        self._attempt(self._wrapped.write, b"")
        raw = self._raw
        done = 0
        with self._turn, self.shielded():
            await self._drain()
            try:
                while done < len(view):
                    done += await raw.carry_out(Write(raw.fileno(), view[done:]))
            finally:
                if raw.seekable():
                    # The buffer keeps the position, and this makes it look.
                    self._wrapped.tell()
        return done

    async def detach(self) -> UnbufferedFile:
        """Flush, and take the file below the buffer; this object can no longer be used.

        Checkpoint: always.
        """
        await self.flush()
        raw: RawFile = self._wrapped.detach()
        await checkpoint_if_cancelled()
        return UnbufferedFile(raw, raw)
