"""TextFile: files of text, over a BufferedFile. What is decoded is in `decoded.py`.

It does what `io.TextIOWrapper` does, chunk by chunk; that one itself cannot wait in the middle of a
line. One is made all the same: it knows what encoding an argument means, and is what `wrapped` is.
"""

from __future__ import annotations

import codecs
import io
import os
from typing import TYPE_CHECKING, Any, Final, final

from uringtrio._abc import Sealed
from uringtrio._scheduler.cancel import CancelScope
from uringtrio._scheduler.traps import checkpoint_if_cancelled

from .decoded import NO_LINES, Cookie, Decoded
from .lines import collect_lines
from .turn import Turn
from .wrapper import AsyncIOWrapper

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from .buffered import BufferedFile

# What is read and decoded at once, and what is encoded before it is written: io's own figure.
CHUNK_BYTES: Final = 8192


@final
class TextFile(Sealed, AsyncIOWrapper[Any]):
    """A file of text: `open_file(...)`.

    Iterating over its lines is a checkpoint each time that it reads from the file, every 8 KiB, and
    not for each line.

    Calls of several tasks are made one after the other, in no promised order.
    """

    def __init__(self, binary: BufferedFile, file: io.TextIOWrapper, newline: str | None) -> None:
        super().__init__(file)
        self._binary = binary
        self._turn = Turn()
        self._is_seekable = file.seekable()
        self._decoded: Decoded | None = None
        # What iterating returns next: whole lines of what was decoded, as far as it has looked.
        self._lines: Iterator[str] = NO_LINES
        self._encoder: Any = None
        errors = file.errors or "strict"
        if file.readable():
            self._decoded = Decoded(file.encoding, errors, newline)
        if file.writable():
            self._encoder = codecs.getincrementalencoder(file.encoding)(errors)
            if self._is_seekable and binary.wrapped.tell():
                # In the middle of a file there is no byte order mark.
                self._encoder.setstate(0)
        self._newline = newline
        # Encoded and not written yet.
        self._pending: list[bytes] = []
        self._pending_bytes = 0

    def __del__(self) -> None:
        # What nobody closed is closed by Python; it gets what it does not know of.
        pending = getattr(self, "_pending", None)
        if pending and not self._wrapped.closed:
            self._wrapped.buffer.write(b"".join(pending))

    @property
    def wrapped(self) -> Any:
        """The synchronous `io.TextIOWrapper`, at this position. Using it blocks.

        What this object has encoded is written to its buffer, and what it has read ahead is
        dropped, which needs a file that can seek. After using it, `seek`.
        """
        file = self._wrapped
        self._end_iteration()
        if self._pending:
            file.buffer.write(self._take_pending())
        if self._decoded is not None and self._is_seekable:
            cookie = self._decoded.cookie(file.buffer.tell())
            file.seek(cookie.pack())
            file.buffer.seek(cookie.position)
            self._decoded.clear()
        return file

    @property
    def newlines(self) -> str | tuple[str, ...] | None:
        """The kinds of line ends read so far; None before the first, and with `newline` set."""
        return None if self._decoded is None else self._decoded.newlines

    async def _begin(self) -> None:
        """Look for a cancellation, wait until no other call is under way, and look if closed."""
        await checkpoint_if_cancelled()
        if self._turn.is_taken:
            await self._turn.wait()
        if self._wrapped.closed:
            raise ValueError("I/O operation on closed file.")
        self._end_iteration()

    def _end_iteration(self) -> None:
        """Put back what iterating has put aside."""
        self._lines = NO_LINES
        if self._decoded is not None:
            self._decoded.join()

    async def _begin_reading(self) -> Decoded:
        await self._begin()
        if self._decoded is None:
            raise io.UnsupportedOperation("not readable")
        if self._pending:
            with self._turn:
                await self._write_pending()
        return self._decoded

    async def read(self, size: int | None = -1, /) -> str:
        """Read `size` characters, or to the end of the file.

        Args:
            size: None or negative is all there is.

        Returns:
            As many characters as were asked for, fewer only at the end of the file.

        Raises:
            UnicodeDecodeError: what is there is no text of this encoding.
            ValueError: the file is closed.
            io.UnsupportedOperation: it is not open for reading.
            OSError: the read failed.

        Checkpoint: always looks for a cancellation; lets others run when it goes to the file. If
        it is cancelled, the position is where it was.
        """
        decoded = await self._begin_reading()
        if size is None or size < 0:
            with self._turn:
                return decoded.feed_all(await self._binary.read())
        text = decoded.text.read(size)
        if len(text) == size:
            return text
        parts = [text]
        left = size - len(text)
        with self._turn:
            decoded.mark(decoded.text.tell() - len(text))
            try:
                while left:
                    wanted_bytes = max(int(left * decoded.char_bytes), CHUNK_BYTES)
                    if not decoded.feed(await self._binary.read1(wanted_bytes)):
                        break
                    parts.append(decoded.text.read(left))
                    left -= len(parts[-1])
            except BaseException:
                decoded.rewind()
                raise
            finally:
                decoded.unmark()
        return "".join(parts)

    async def readline(self, size: int = -1, /) -> str:
        """Read one line with its end, or at most `size` characters; empty at the file's end.

        Checkpoint: as `read`.
        """
        if size < 0:
            size = -1
        return await self._read_line(await self._begin_reading(), size)

    async def _read_line(self, decoded: Decoded, size: int) -> str:
        line = decoded.text.readline(size)
        if _is_whole(line, size, decoded.newline):
            return line
        with self._turn:
            decoded.mark(decoded.text.tell() - len(line))
            try:
                while decoded.feed(await self._binary.read1(CHUNK_BYTES)):
                    if line.endswith("\r") and decoded.newline == "\r\n":
                        # The line's end may be cut in two.
                        line += decoded.text.read(1)
                        if line.endswith("\n"):
                            break
                        if _is_whole(line, size, decoded.newline):
                            break
                    line += decoded.text.readline(size - len(line) if size >= 0 else -1)
                    if _is_whole(line, size, decoded.newline):
                        break
                else:
                    decoded.clear()
            except BaseException:
                decoded.rewind()
                raise
            finally:
                decoded.unmark()
        return line

    async def __anext__(self) -> str:
        # In a `for`: `next`, or a call of `readline`, costs more (docs/design/files.md).
        for line in self._lines:
            return line
        return await self._next_line()

    async def _next_line(self) -> str:
        decoded = await self._begin_reading()
        line = await self._read_line(decoded, -1)
        if not line:
            raise StopAsyncIteration
        self._lines = decoded.cut()
        return line

    async def readlines(self, hint: int | None = -1, /) -> list[str]:
        """Read lines to the file's end, or until they make more than `hint` characters.

        Checkpoint: as `read`, for each chunk.
        """
        return await collect_lines(self, hint)

    async def write(self, text: str, /) -> int:
        """Write `text`, or put it into the buffer, with the line ends that the file was opened for.

        Returns:
            How many characters, which is all of them.

        Raises:
            UnicodeEncodeError: the encoding has not all of its characters; nothing was written.
            TypeError: it is no str.
            ValueError: the file is closed.
            io.UnsupportedOperation: it is not open for writing.
            OSError: the write failed, perhaps that of earlier text: ENOSPC, no room on the
                device; EIO.

        Checkpoint: always looks for a cancellation; lets others run when it goes to the file.
        """
        await self._begin()
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        if self._encoder is None:
            raise io.UnsupportedOperation("not writable")
        line_end = self._newline or "\n"
        is_line = self._wrapped.line_buffering and ("\n" in text or "\r" in text)
        encoded = text if line_end == "\n" else text.replace("\n", line_end)
        data = self._encoder.encode(encoded)
        if self._pending_bytes + len(data) > CHUNK_BYTES:
            with self._turn:
                await self._write_pending()
        self._pending.append(data)
        self._pending_bytes += len(data)
        if self._pending_bytes >= CHUNK_BYTES or is_line:
            with self._turn:
                await self._write_pending()
                if is_line:
                    await self._binary.flush()
        if self._decoded is not None:
            self._decoded.reset()
        return len(text)

    def _take_pending(self) -> bytes:
        data = b"".join(self._pending)
        self._pending.clear()
        self._pending_bytes = 0
        return data

    async def _write_pending(self) -> None:
        if self._pending:
            # Not cancelled before it has begun: it has been taken from here.
            with self._binary.shielded():
                await self._binary.write(self._take_pending())

    async def writelines(self, lines: Iterable[str], /) -> None:
        """Write each of `lines`; line ends are not added.

        Checkpoint: as `write`, for each line.
        """
        for line in lines:
            await self.write(line)
        await self._begin()

    async def flush(self) -> None:
        """Hand what is in the buffers to the kernel.

        Raises:
            OSError: the write failed.

        Checkpoint: as `write`.
        """
        await self._begin()
        with self._turn:
            await self._flush()

    async def _flush(self) -> None:
        await self._write_pending()
        await self._binary.flush()

    async def tell(self) -> int:
        """Return the position, as a number for `seek` that says nothing else.

        Checkpoint: as `write`.
        """
        await self._begin()
        if not self._is_seekable:
            raise io.UnsupportedOperation("underlying stream is not seekable")
        with self._turn:
            await self._flush()
            position = await self._binary.tell()
        return position if self._decoded is None else self._decoded.cookie(position).pack()

    async def seek(self, cookie: int, whence: int = os.SEEK_SET, /) -> int:
        """Move the position, and return it.

        Args:
            cookie: what `tell` returned, or 0.
            whence: os.SEEK_SET; with 0, os.SEEK_CUR for here or os.SEEK_END for the end.

        Raises:
            io.UnsupportedOperation: the file cannot seek, or not so.
            ValueError: `cookie` is negative, or `whence` none of these.

        Checkpoint: as `write`.
        """
        await self._begin()
        if not self._is_seekable:
            raise io.UnsupportedOperation("underlying stream is not seekable")
        if whence == os.SEEK_END:
            if cookie:
                raise io.UnsupportedOperation("can't do nonzero end-relative seeks")
            return await self._seek_end()
        if whence == os.SEEK_CUR:
            if cookie:
                raise io.UnsupportedOperation("can't do nonzero cur-relative seeks")
            cookie = await self.tell()
        elif whence != os.SEEK_SET:
            raise ValueError(f"invalid whence ({whence}, should be 0, 1 or 2)")
        if cookie < 0:
            raise ValueError(f"negative seek position {cookie!r}")
        target = Cookie.unpack(cookie)
        with self._turn:
            await self._flush()
            await self._binary.seek(target.position)
            if self._decoded is not None:
                data = b""
                if target.chars_to_skip:
                    data = await self._binary.read(target.bytes_to_feed)
                self._decoded.go_to(target, data)
        self._reset_encoder(is_start=not target.position and not target.decoder_flags)
        return cookie

    async def _seek_end(self) -> int:
        with self._turn:
            await self._flush()
            position = await self._binary.seek(0, os.SEEK_END)
        if self._decoded is not None:
            self._decoded.reset()
        self._reset_encoder(is_start=not position)
        return position

    def _reset_encoder(self, *, is_start: bool) -> None:
        if self._encoder is None:
            return
        if is_start:
            self._encoder.reset()
        else:
            self._encoder.setstate(0)

    async def truncate(self, size: int | None = None, /) -> int:
        """Make the file `size` bytes long, by default up to where the buffer is read or written.

        Returns:
            The size.

        Checkpoint: always.
        """
        await self.flush()
        return await self._binary.truncate(size)

    async def detach(self) -> BufferedFile:
        """Flush, and take the file of bytes below; this object can no longer be used.

        Checkpoint: always.
        """
        await self.flush()
        self._wrapped.detach()
        return self._binary

    async def aclose(self) -> None:
        """Write what is in the buffers, and close the file; cancelled or not, it is closed then.

        Raises:
            OSError: data could not be written, and is lost.

        Checkpoint: always, after the file was closed.
        """
        if self._turn.is_taken:
            # Who waits in a pipe or terminal gives up.
            self._binary.interrupt()
        with CancelScope(shield=True):
            if self._turn.is_taken:
                await self._turn.wait()
            if not self._wrapped.closed:
                with self._turn:
                    try:
                        await self._write_pending()
                    finally:
                        await self._binary.aclose()
            self._end_iteration()
            if self._decoded is not None:
                self._decoded.clear()
        await checkpoint_if_cancelled()


def _is_whole(line: str, size: int, newline: str | None) -> bool:
    """Say whether `line` ends a line, or has `size` characters."""
    if len(line) == size:
        return True
    if newline == "":
        return line.endswith(("\n", "\r"))
    return line.endswith(newline or "\n")
