"""BinaryFile: files of bytes, over Python's own buffers and a RawFile. See `raw.py`."""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING, Any, Final, final

from uringtrio._abc import Sealed
from uringtrio._errors import ClosedResourceError
from uringtrio._scheduler.cancel import CancelScope
from uringtrio._scheduler.traps import (
    SHIELDED_CHECKPOINT,
    checkpoint,
    checkpoint_if_cancelled,
)
from uringtrio._sync.event import Event
from uringtrio._threads.to_thread import run_sync

from .lines import collect_lines
from .positional import Positional
from .turn import Turn
from .wrapper import AsyncIOWrapper

if TYPE_CHECKING:
    import contextlib
    from collections.abc import Callable, Iterable

    from .raw import RawFile


# Kinds of seeks that may have to read the map of the file's blocks.
MAP_SEEKS = {getattr(os, name, None) for name in ("SEEK_DATA", "SEEK_HOLE")}
# It is empty, and stays so.
NO_LINES: Final = io.BytesIO()


class _Closing:
    """The interruption of an op on a file that another task closes."""

    def exception(self) -> BaseException:
        return ClosedResourceError("another task closed this file")

    def ended(self) -> None:
        pass


class BinaryFile(Positional, AsyncIOWrapper[Any]):
    """What files with and without a buffer have in common.

    Calls of several tasks are made one after the other, in no promised order.
    """

    def __init__(self, raw: RawFile, file: Any) -> None:
        super().__init__(file)
        self._raw = raw
        self._turn = Turn()
        # Whether the buffer of a file for both may hold what was written.
        self._is_dirty = False
        # What iterating returns next: whole lines that were in the buffer, as far as it has looked.
        self._lines = NO_LINES

    def _attempt(self, fn: Callable[..., Any], *args: Any) -> Any:
        """Call `fn`, which must not wait; if `_raw.missing` is set afterwards, it would have to.

        Returns:
            What `fn` returned: then it is what could be had without waiting. If it raised
            BlockingIOError, how many bytes it wrote.
        """
        raw = self._raw
        raw.begin()
        try:
            return fn(*args)
        except BlockingIOError as exc:
            if raw.missing is None:
                raise
            return exc.characters_written
        finally:
            raw.is_trying = False

    def _lacks(self) -> bool:
        """Return whether the last attempt would have had to wait."""
        return self._raw.missing is not None

    async def _begin(self) -> None:
        """Look for a cancellation, and wait until no other call is under way."""
        await checkpoint_if_cancelled()
        if self._turn.is_taken:
            await self._turn.wait()
        self._end_iteration()

    def _end_iteration(self) -> None:
        """Make the position that of the next line, and leave `_lines` empty."""

    async def _write_dirty(self) -> None:
        """Write what is in a buffer for both, before reading.

        Reading would do so itself, but in the middle: what it had taken by then would be lost
        when it cannot.
        """
        self._is_dirty = False
        with self._turn, self.shielded():
            await self._drain()

    def shielded(self) -> contextlib.AbstractContextManager[object]:
        """Return a scope for what must not be done by half, and does not take long."""
        return CancelScope(shield=self._raw.is_regular)

    async def _complete(self, fn: Callable[..., Any], *args: Any) -> Any:
        """Call `fn` until it had all it needs; what it did not get it has not taken."""
        await self._begin()
        result = self._attempt(fn, *args)
        if self._raw.missing is not None:
            with self._turn, self.shielded():
                while self._lacks():
                    await self._raw.supply()
                    result = self._attempt(fn, *args)
        elif self._raw.has_read:
            await SHIELDED_CHECKPOINT
        return result

    async def _collect(self, fn: Callable[[int], Any], size: int | None) -> Any:
        """Call `fn(size)` until it had all it needs, and join what it returns.

        A cancellation puts back what was read.
        """
        await self._begin()
        if self._is_dirty:
            await self._write_dirty()
        if size is None:
            size = -1
        data = self._attempt(fn, size)
        if self._raw.missing is not None:
            return await self._collect_on(fn, size, data)
        if self._raw.has_read:
            await SHIELDED_CHECKPOINT
        return data

    async def _collect_on(self, fn: Callable[[int], Any], size: int, data: Any) -> bytes:
        """Go on with `_collect`, after an attempt that returned `data` and lacked something."""
        parts: list[bytes] = []
        with self._turn:
            try:
                while self._lacks():
                    if data:
                        parts.append(data)
                        size = max(size - len(data), 0) if size >= 0 else size
                    await self._raw.supply()
                    data = self._attempt(fn, size)
            except BaseException:
                self._unread(b"".join(parts))
                raise
        parts.append(data or b"")
        return b"".join(parts)

    def _unread(self, data: bytes) -> None:
        """Put back what was read, when nothing is in the buffer."""
        if data and self._raw.is_regular:
            self._attempt(self._wrapped.seek, -len(data), os.SEEK_CUR)
        else:
            self._raw.give_back(data)

    async def read(self, size: int | None = -1, /) -> Any:
        """Read at most `size` bytes, or to the end of the file.

        Args:
            size: None or negative is all there is.

        Returns:
            As many bytes as were asked for, fewer only at the end of the file; without a buffer
            (`buffering=0`) what one read(2) brings. Empty at the end, or for a size of 0.

        Raises:
            ValueError: the file is closed.
            io.UnsupportedOperation: it is not open for reading.
            OSError: the read failed.
            ClosedResourceError: another task closed the file meanwhile.

        Checkpoint: always looks for a cancellation; lets others run when it goes to the file. If
        it is cancelled, the position is where it was.
        """
        return await self._collect(self._wrapped.read, size)

    async def readinto(self, buffer: Any, /) -> int:
        """Read into `buffer` until it is full, as `read`.

        Args:
            buffer: writable; the kernel may write to it until this returns or raises.

        Returns:
            How many bytes were read, fewer than it holds only at the end of the file.

        Checkpoint: as `read`.
        """
        return await self._fill(self._wrapped.readinto, buffer)

    async def _fill(self, fn: Callable[[Any], int | None], buffer: Any) -> int:
        """Call `fn` with what is left of `buffer` until it had all it needs, as `_collect`."""
        await self._begin()
        if self._is_dirty:
            await self._write_dirty()
        count: int = self._attempt(fn, buffer) or 0
        if self._raw.missing is None:
            if self._raw.has_read:
                await SHIELDED_CHECKPOINT
            return count
        view = memoryview(buffer).cast("B")
        done = 0
        with self._turn:
            try:
                while self._lacks():
                    done += count
                    await self._raw.supply()
                    count = self._attempt(fn, view[done:]) or 0
            except BaseException:
                self._unread(bytes(view[:done]))
                raise
        return done + count

    async def readline(self, size: int | None = -1, /) -> Any:
        """Read one line with its end, or at most `size` bytes of it; empty at the file's end.

        Checkpoint: as `read`.
        """
        return await self._collect(self._wrapped.readline, size)

    async def readlines(self, hint: int | None = -1, /) -> list[Any]:
        """Read lines to the end of the file, or until they make more than `hint` bytes.

        Checkpoint: as `read`, for each time that it fills the buffer.
        """
        return await collect_lines(self, hint)

    async def write(self, data: Any, /) -> int:
        """Write `data`, or put it into the buffer.

        Args:
            data: any bytes; read until this returns or raises.

        Returns:
            How many bytes, all of them; without a buffer (`buffering=0`) what one write(2) takes.

        Raises:
            ValueError: the file is closed.
            io.UnsupportedOperation: it is not open for writing.
            OSError: the write failed, perhaps that of earlier data, which stays in the buffer:
                ENOSPC, no room on the device; EIO.

        Checkpoint: always looks for a cancellation; lets others run when it goes to the file.
        From then on it cannot be cancelled, but on pipes and terminals: there, how much was
        written is unknown after a cancellation.
        """
        await self._begin()
        count: int = self._attempt(self._write_some, data) or 0
        if self._raw.missing is None:
            return count
        view = memoryview(data).cast("B")
        done = 0
        with self._turn, self.shielded():
            while self._lacks():
                done += count
                await self._raw.supply()
                count = self._attempt(self._write_some, view[done:]) or 0
        return done + count

    def _write_some(self, data: Any) -> int | None:
        count: int | None = self._wrapped.write(data)
        if count is not None:
            # A buffer that could not be written may have had room all the same.
            self._raw.missing = None
        return count

    async def writelines(self, lines: Iterable[Any], /) -> None:
        """Write each of `lines`; line ends are not added.

        Checkpoint: as `write`, for each line.
        """
        for line in lines:
            await self.write(line)
        await checkpoint_if_cancelled()

    async def flush(self) -> None:
        """Hand what is in the buffer to the kernel; for the disk see `fsync`.

        Raises:
            OSError: the write failed; the data stays in the buffer.

        Checkpoint: as `write`.
        """
        await self._complete(self._wrapped.flush)

    async def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Move the position, and return it; data in the buffer is written first.

        Args:
            offset: in bytes, relative to `whence`.
            whence: os.SEEK_SET, SEEK_CUR or SEEK_END; SEEK_DATA and SEEK_HOLE where the system
                has them.

        Checkpoint: as `write`.
        """
        if whence in MAP_SEEKS:
            return await self._in_thread(self._wrapped.seek, offset, whence)  # type: ignore[no-any-return]  # io's own
        return await self._complete(self._wrapped.seek, offset, whence)  # type: ignore[no-any-return]  # io's own

    async def tell(self) -> int:
        """Return the position.

        Checkpoint: always looks for a cancellation.
        """
        return await self._complete(self._wrapped.tell)  # type: ignore[no-any-return]  # io's own

    async def truncate(self, size: int | None = None, /) -> int:
        """Make the file `size` bytes long, by default up to the position, which stays.

        Returns:
            The size.

        Checkpoint: always.
        """
        return await self._in_thread(self._wrapped.truncate, size)  # type: ignore[no-any-return]  # io's own

    async def _in_thread(self, fn: Callable[..., Any], *args: Any) -> Any:
        """Call what the kernel has no op for, when the buffer has been written."""
        await self._begin()
        with self._turn:
            await self._drain()
            return await run_sync(fn, *args)

    async def _drain(self) -> None:
        """Write what is in the buffer, when it is this task's turn."""
        self._attempt(self._wrapped.flush)
        while self._lacks():
            await self._raw.supply()
            self._attempt(self._wrapped.flush)

    async def aclose(self) -> None:
        """Write what is in the buffer, and close the file; cancelled or not, it is closed then.

        A task that waits in a pipe or terminal for this file gets ClosedResourceError.

        Raises:
            OSError: data could not be written, and is lost.

        Checkpoint: always, after the file was closed.
        """
        self.interrupt()
        if self._turn.is_taken or self._raw.in_flight:
            with CancelScope(shield=True):
                await self._all_ended()
        if not self._wrapped.closed:
            self._end_iteration()
            self._attempt(self._flush_and_close)
            if self._raw.missing is not None:
                with self._turn, CancelScope(shield=True):
                    await self._close()
        await checkpoint()

    def _flush_and_close(self) -> None:
        self._wrapped.flush()
        self._wrapped.close()

    async def _all_ended(self) -> None:
        """Wait until no call is under way, in its turn or at an offset."""
        while self._turn.is_taken or self._raw.in_flight:
            if self._turn.is_taken:
                await self._turn.wait()
            else:
                if self._raw.all_ended is None:
                    self._raw.all_ended = Event()
                await self._raw.all_ended.wait()
                self._raw.all_ended = None

    def interrupt(self) -> None:
        """Let the task that waits in a pipe or terminal get ClosedResourceError."""
        if not self._raw.is_regular:
            for op in self._raw.in_flight:
                if op.waiter is not None:
                    op.abort(op.waiter, _Closing())

    async def _close(self) -> None:
        raw = self._raw
        try:
            while raw.missing is not None and not raw.closed:
                await raw.supply()
                self._attempt(self._flush_and_close)
        except BaseException:
            # What could not be written is given up.
            self._attempt(self._wrapped.close)
            raise
        finally:
            if raw.missing is not None:
                await raw.supply()


@final
class UnbufferedFile(Sealed, BinaryFile):
    """A file whose every call is one call of the system: `open_file(..., "rb", buffering=0)`."""

    async def readall(self) -> bytes:
        """Read to the end of the file.

        Checkpoint: as `read`.
        """
        return await self._collect(lambda _: self._wrapped.readall(), -1)  # type: ignore[no-any-return]  # io's own

    async def readline(self, size: int | None = -1, /) -> Any:
        """Read one line with its end, byte by byte; as `BinaryFile.readline`.

        Checkpoint: as `read`.
        """
        line = bytearray()
        while size is None or size < 0 or len(line) < size:
            byte = await self.read(1)
            line += byte
            if not byte or byte == b"\n":
                break
        return bytes(line)
