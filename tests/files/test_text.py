"""Files of text, where they differ from `open`'s: cancellation, and the objects below."""

import io
import os

import pytest

import uringtrio
from uringtrio._files.decoded import Cookie, Decoded


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_reads_that_are_cancelled_in_a_pipe_take_nothing(run, encoding):
    receive_fd, send_fd = os.pipe()
    text = "first\r\nsecond \u20ac\nthe rest"
    data = text.encode(encoding)

    async def main():
        async with await uringtrio.open_file(receive_fd, "r", encoding=encoding) as file:
            for i in range(len(data)):
                os.write(send_fd, data[i : i + 1])
                if i % 3 == 0:
                    with uringtrio.move_on_after(0.002):
                        await file.read(100)
                elif i == 8:
                    with uringtrio.move_on_after(0.002):
                        await file.read()
            os.close(send_fd)
            assert await file.readline() == "first\n"
            assert await file.read() == "second \u20ac\nthe rest"

    run(main)


@pytest.mark.parametrize("newline", [None, "", "\n", "\r", "\r\n"])
def test_lines_cut_by_chunks_are_whole(run, tmp_path, newline):
    path = tmp_path / "file"
    text = "".join(f"{'x' * (i % 97)}{end}" for i in range(2000) for end in ("\n", "\r", "\r\n"))
    path.write_bytes(text.encode())

    async def main():
        async with await uringtrio.open_file(path, newline=newline) as file:
            return [line async for line in file]

    with path.open(newline=newline) as file:
        assert run(main) == list(file)


def test_iterating_and_reading_go_on_from_one_another(run, tmp_path):
    path = tmp_path / "file"
    path.write_text("".join(f"line {i}\n" for i in range(5000)))

    async def main():
        async with await uringtrio.open_file(path) as file:
            async for line in file:
                if line == "line 1234\n":
                    break
            assert await file.read(9) == "line 1235"
            place = await file.tell()
            assert await file.readline() == "\n"
            assert await anext(file) == "line 1236\n"
            await file.seek(place)
            assert await file.read(2) == "\nl"

    run(main)


def test_wrapped_is_at_the_same_position(run, tmp_path):
    path = tmp_path / "file"
    path.write_text("one \u20ac\ntwo\nthree\n")

    async def main():
        async with await uringtrio.open_file(path, "r+") as file:
            assert await file.readline() == "one \u20ac\n"
            assert isinstance(file.wrapped, io.TextIOWrapper)
            assert file.wrapped.readline() == "two\n"
            await file.seek(0, os.SEEK_END)
            await file.write("four\n")
            file.wrapped.flush()
            assert path.read_text().endswith("four\n")

    run(main)


def test_detach_gives_the_file_of_bytes(run, tmp_path):
    path = tmp_path / "file"

    async def main():
        file = await uringtrio.open_file(path, "w")
        await file.write("text")
        binary = await file.detach()
        await binary.write(b" and bytes")
        await binary.aclose()
        with pytest.raises(ValueError, match="detached"):
            await file.write("more")

    run(main)
    assert path.read_text() == "text and bytes"


def test_attributes_are_those_of_the_builtin(run, tmp_path):
    path = tmp_path / "file"
    names = ("name", "mode", "encoding", "errors", "line_buffering", "closed", "newlines")

    async def main():
        async with await uringtrio.open_file(path, "w", encoding="latin-1") as file:
            found = {name: getattr(file, name) for name in names}
            found |= {"readable": file.readable(), "isatty": file.isatty()}
            assert not hasattr(file, "peek")
            assert "encoding" in dir(file)
        return found

    found = run(main)
    with path.open("w", encoding="latin-1") as file:
        expected = {name: getattr(file, name) for name in names}
        expected |= {"readable": file.readable(), "isatty": file.isatty()}
        assert found == expected | {"name": str(path)}


def test_lines_of_a_file_for_lines_are_written_at_once(run, tmp_path):
    path = tmp_path / "file"

    async def main():
        async with await uringtrio.open_file(path, "w", buffering=1) as file:
            await file.write("no line")
            assert path.read_text() == ""
            await file.write(" yet\n")
            assert path.read_text() == "no line yet\n"

    run(main)


def test_failed_write_of_text_is_reported_at_close(run):
    async def main():
        file = await uringtrio.open_file("/dev/full", "w")
        await file.write("x")
        with pytest.raises(OSError, match="/dev/full"):
            await file.aclose()
        assert file.closed

    run(main)


def test_cookie_is_packed_as_python_packs_it():
    cookie = Cookie(5, 6, 7, 8, 1)

    assert Cookie.unpack(cookie.pack()) == cookie
    assert Cookie(1234).pack() == 1234


def test_rewind_puts_back_what_several_chunks_gave():
    decoded = Decoded("utf-8", "strict", None)
    decoded.feed(b"one\ntw")
    assert decoded.text.readline() == "one\n"
    line = decoded.text.readline()
    decoded.mark(decoded.text.tell() - len(line))
    decoded.feed("o \u20ac".encode()[:-1])
    decoded.feed("\u20ac".encode()[-1:] + b"\r")
    decoded.rewind()
    decoded.unmark()

    assert decoded.text.read() == "two \u20ac"
    # After the 12 bytes that were fed; the decoder has a line end pending.
    assert decoded.cookie(12) == Cookie(12, 1)


@pytest.mark.parametrize("newline", [None, "\n"])
@pytest.mark.parametrize("encoding", ["iso2022_jp", "hz"])
def test_position_without_a_decoder_state_is_read_from(run, tmp_path, encoding, newline):
    """CPython's decoder crashed the process, as it does when `open` is asked for the same."""

    async def main():
        options = {"encoding": encoding, "newline": newline}
        async with await uringtrio.open_file(tmp_path / "file", "w+", **options) as file:
            await file.write("one\n")
            place = await file.tell()
            await file.write("two\n\u65e5\u672c\n")
            await file.seek(place)
            assert await file.read(2) == "tw"
            within = await file.tell()
            assert await file.readline() == "o\n"
            assert await file.readline() == "\u65e5\u672c\n"
            await file.seek(within)
            assert await file.read() == "o\n\u65e5\u672c\n"

    run(main)
