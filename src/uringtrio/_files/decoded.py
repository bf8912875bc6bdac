"""Decoded: text that was decoded and not yet read, and which bytes it came from.

No I/O here. A file of text reads its bytes in chunks, and decodes each as a whole. What is left of
a chunk is kept as text; for `tell`, which answers in bytes, so are the chunk's bytes and the state
of the decoder before them.
"""

from __future__ import annotations

import codecs
import io
from _multibytecodec import MultibyteIncrementalDecoder
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

# How `io.TextIOWrapper` packs a position into one int: the bits of each of the five parts.
COOKIE_BITS: Final = (64, 32, 32, 32, 8)

NO_LINES: Final[Iterator[str]] = iter(())


class Cookie(NamedTuple):
    """A position in text: where to start decoding, in which state, and how far to go.

    Attributes:
        position: of a byte at which a decoder in state `decoder_flags` can start.
        decoder_flags: the second half of that state; the first is empty.
        bytes_to_feed: how many bytes to decode from there.
        chars_to_skip: how many of the characters that this gives come before the position.
        needs_eof: whether to tell the decoder then that this was the end.
    """

    position: int
    decoder_flags: int = 0
    bytes_to_feed: int = 0
    chars_to_skip: int = 0
    needs_eof: int = 0

    def pack(self) -> int:
        """Return it as the int that `tell` returns."""
        cookie = shift = 0
        for part, bits in zip(self, COOKIE_BITS, strict=True):
            cookie |= part << shift
            shift += bits
        return cookie

    @classmethod
    def unpack(cls, cookie: int) -> Cookie:
        """Return the parts of the int."""
        parts = []
        for bits in COOKIE_BITS:
            parts.append(cookie & (1 << bits) - 1)
            cookie >>= bits
        return cls(*parts)


class Lines:
    """A text that is read in pieces, whose lines end with one given string.

    What `io.StringIO` does for the other kinds of line ends; it has the methods used of that.
    """

    __slots__ = ("_end", "_text", "_used")

    def __init__(self, text: str, end: str) -> None:
        self._text = text
        self._end = end
        self._used = 0

    def read(self, size: int = -1) -> str:
        """Take `size` characters, or all."""
        stop = len(self._text) if size < 0 else self._used + size
        taken = self._text[self._used : stop]
        self._used += len(taken)
        return taken

    def readline(self, size: int = -1) -> str:
        """Take a line with its end, or what there is of one, or `size` characters of it."""
        index = self._text.find(self._end, self._used)
        rest = len(self._text) - self._used
        length = rest if index < 0 else index + len(self._end) - self._used
        return self.read(length if size < 0 else min(length, size))

    def tell(self) -> int:
        """Return how many characters have been taken."""
        return self._used

    def seek(self, used: int) -> int:
        """Go to where `used` characters have been taken."""
        self._used = used
        return used


class Decoded:
    r"""Decodes chunks of bytes, and keeps what has not been read of the last one.

    Args:
        encoding: the codec's name.
        errors: how it handles what it cannot decode.
        newline: as `open` takes it.

    Attributes:
        text: what is left of the last chunk: it has `read`, `readline`, `tell` and `seek`.
        newline: as above.
        char_bytes: how many bytes a character of the last chunk had on average; at least 1.
    """

    __slots__ = (
        "_bytes_codec", "_chunk", "_codec", "_cut_off", "_fed", "_flags", "_marked", "_string",
        "char_bytes", "newline", "text",
    )  # fmt: skip

    def __init__(self, encoding: str, errors: str, newline: str | None) -> None:
        self._bytes_codec: Any = codecs.getincrementaldecoder(encoding)(errors)
        self._codec: Any = self._bytes_codec
        if not newline:
            self._codec = io.IncrementalNewlineDecoder(self._codec, translate=newline is None)
        self.newline = newline
        self.char_bytes = 1.0
        # The bytes of the last chunk, with what the decoder still had of the one before, and its
        # flags by then: decoding them gives all of `text`. None when there is no `text`.
        self._chunk: bytes | None = None
        self._flags = 0
        # What `rewind` goes back to, and what was fed since; see `mark`.
        self._marked: _Marked | None = None
        self._fed: list[tuple[bytes, str]] = []
        self._set_text("")

    def _set_text(self, string: str) -> None:
        # All of the text, of which some may have been read, and how much `cut` has taken off it.
        self._string = string
        self._cut_off = ""
        self.text = self._as_text(string)

    def _as_text(self, string: str) -> io.StringIO | Lines:
        if self.newline in {"\r", "\r\n"}:
            return Lines(string, self.newline)
        return io.StringIO(string, "" if self.newline == "" else "\n")

    def cut(self) -> Iterator[str]:
        r"""Return an iterator over the lines in `text` that end in "\n", which takes them.

        What comes after the last of them is cut off `text`, until `join`.
        """
        text = self.text
        if isinstance(text, Lines):
            return NO_LINES
        end = max(self._string.rfind("\n") + 1, text.tell())
        self._cut_off = self._string[end:]
        text.truncate(end)
        return text

    def join(self) -> None:
        """Put back what was cut off."""
        if self._cut_off:
            assert isinstance(self.text, io.StringIO)
            used = self.text.tell()
            self.text.seek(len(self._string) - len(self._cut_off))
            self.text.write(self._cut_off)
            self.text.seek(used)
            self._cut_off = ""

    @property
    def newlines(self) -> str | tuple[str, ...] | None:
        """The kinds of line ends seen so far, if they are translated or looked for."""
        return getattr(self._codec, "newlines", None)

    def feed(self, data: bytes) -> bool:
        """Decode a chunk into `text`, which must have been read; empty is the end of the file.

        Returns:
            Whether this was not the end.
        """
        rest, flags = self._codec.getstate()
        text = self._codec.decode(data, not data)
        if self._marked is not None:
            self._fed.append((data, text))
        self._chunk = rest + data
        self._flags = flags
        self._set_text(text)
        self.char_bytes = max(len(data) / len(text), 1.0) if text else 1.0
        return bool(data or text)

    def feed_all(self, data: bytes) -> str:
        """Decode the rest of the file, and return it with what was left."""
        text: str = self._codec.decode(data, True)
        text = self.text.read() + text
        self.clear()
        return text

    def _set_state(self, flags: int) -> None:
        self._codec.setstate((b"", flags))
        if isinstance(self._bytes_codec, MultibyteIncrementalDecoder):
            _, flags = self._bytes_codec.getstate()
            if not flags:
                # Of a position that says no state. Those of ISO 2022 are never in this one, and
                # crash the process if they are put into it.
                self._bytes_codec.reset()

    def clear(self) -> None:
        """Drop what is left."""
        self._set_text("")
        self._chunk = None

    def reset(self) -> None:
        """Drop what is left, and make the decoder as new."""
        self.clear()
        self._codec.reset()

    def mark(self, used: int) -> None:
        """Remember the text as it is, of which `used` characters had been read."""
        self._marked = _Marked(self.text, used, self._chunk, self._flags, self._codec.getstate())

    def unmark(self) -> None:
        """Forget it: there will be no `rewind`."""
        self._marked = None
        self._fed.clear()

    def rewind(self) -> None:
        """Put back all that was read since the mark."""
        marked = self._marked
        assert marked is not None
        if not self._fed:
            marked.text.seek(marked.used)
            return
        marked.text.seek(0)
        texts = [marked.text.read(), *(text for _, text in self._fed)]
        chunk, flags = marked.chunk, marked.flags
        if chunk is None:
            chunk, flags = marked.state
            texts[0] = ""
            used = 0
        else:
            used = marked.used
        self._chunk = chunk + b"".join(data for data, _ in self._fed)
        self._flags = flags
        self._set_text("".join(texts))
        self.text.seek(used)

    def cookie(self, position: int) -> Cookie:
        """Return the position in the text, if that of the bytes after the chunk is `position`.

        Raises:
            OSError: the decoder does not say where a character begins.
        """
        if self._chunk is None:
            return Cookie(position)
        state = self._codec.getstate()
        try:
            return self._locate(position - len(self._chunk), self._chunk, self.text.tell())
        finally:
            self._codec.setstate(state)

    def _locate(self, position: int, chunk: bytes, used: int) -> Cookie:
        """Find the bytes of the chunk, which is at `position`, that give `used` characters."""
        if not used:
            return Cookie(position, self._flags)
        index, flags, count = self._safe_start(chunk, used)
        start, decoded = index, 0
        while count + decoded < used and index < len(chunk):
            decoded += len(self._codec.decode(chunk[index : index + 1]))
            index += 1
            rest, now = self._codec.getstate()
            if not rest and count + decoded <= used:
                # One could start here as well, with less to do.
                start, flags, count, decoded = index, now, count + decoded, 0
        if count == used:
            return Cookie(position + start, flags)
        needs_eof = count + decoded < used
        if needs_eof:
            decoded += len(self._codec.decode(b"", True))
            if count + decoded < used:
                raise OSError("can't reconstruct logical file position")
        return Cookie(position + start, flags, index - start, used - count, int(needs_eof))

    def _safe_start(self, chunk: bytes, used: int) -> tuple[int, int, int]:
        """Find where in the chunk decoding can start, close before character `used`.

        Returns:
            The index there, the decoder's flags, which it has now, and how many characters come
            before.
        """
        # As if all characters had the same length, then further and further back.
        back = 1
        index = min(len(chunk), used * len(chunk) // max(len(self._string), 1))
        while index > 0:
            self._set_state(self._flags)
            count = len(self._codec.decode(chunk[:index]))
            rest, flags = self._codec.getstate()
            if count <= used and not rest:
                return index, flags, count
            index -= len(rest) if rest and count <= used else back
            back *= 2
        self._set_state(self._flags)
        return 0, self._flags, 0

    def go_to(self, cookie: Cookie, data: bytes) -> None:
        """Make the decoder ready to go on at a position.

        Args:
            cookie: the position.
            data: the `bytes_to_feed` bytes there; if there are no `chars_to_skip`, empty.

        Raises:
            OSError: they do not decode to what the cookie says.
        """
        self.clear()
        self._chunk = b""
        self._flags = cookie.decoder_flags
        if cookie.position or cookie.decoder_flags:
            self._set_state(cookie.decoder_flags)
        else:
            self._codec.reset()
        if not cookie.chars_to_skip:
            return
        text = self._codec.decode(data, bool(cookie.needs_eof))
        if len(text) < cookie.chars_to_skip:
            raise OSError("can't restore logical file position")
        self._chunk = data
        self._set_text(text)
        self.text.seek(cookie.chars_to_skip)


class _Marked(NamedTuple):
    """How `Decoded` was at a mark."""

    text: io.StringIO | Lines
    used: int
    chunk: bytes | None
    flags: int
    state: tuple[bytes, int]
