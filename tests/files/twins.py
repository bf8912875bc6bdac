"""Two files in step: `open`'s and `open_file`'s, given the same calls, must answer the same."""

import os

from hypothesis import strategies as st

from uringtrio import open_file

CONTENT = [
    b"", b"a", b"\n", b"one\ntwo\r\nthree\rfour", b"\r", b"\r\n\r\n",
    b"x" * 100 + b"\n" + b"y" * 50,
    "\u00e4\u00f6\u00fc\u20ac\U0001f600\nzeile\r\n".encode(), "\ufeffbom\nline\n".encode(),
    "wide\n\u20ac\r\nend".encode("utf-16"), "wide\r\nend\n".encode("utf-16-le"),
    b"\xff\xfe\xfd\n\x80",
    b"line of some length\n" * 500, "\u20ac\r\n".encode() * 3000, bytes(range(256)) * 40,
    "\u65e5\u672c\u8a9e\nabc\n".encode("iso2022_jp") * 3,
]  # fmt: skip
ENCODINGS = [
    "utf-8",
    "latin-1",
    "utf-16",
    "utf-16-le",
    "utf-8-sig",
    "ascii",
    "iso2022_jp",
    "utf-32",
]
ERRORS = [None, "strict", "replace", "ignore", "surrogateescape", "backslashreplace"]
NEWLINES = [None, "", "\n", "\r", "\r\n"]
MODES = ["r", "w", "a", "x", "r+", "w+", "a+", "x+"]
BUFFERING = [-1, -1, -1, 1, 2, 3, 7, 16, 100, 4096, 65536]

sizes = st.sampled_from([-1, None, 0, 1, 2, 3, 5, 10, 100, 1000, 8191, 8192, 20000])
counts = st.sampled_from([0, 1, 2, 3, 5, 10, 100, 5000, 20000])
offsets = st.sampled_from([-10, -1, 0, 0, 0, 1, 2, 5, 100, 5000, 100000])
blobs = st.sampled_from(
    [b"", b"z", b"\n", b"\r\n", b"written\nhere\n", b"q" * 10, b"w" * 200, b"v" * 9000, "text"]
)
texts = st.sampled_from(
    ["", "z", "\n", "\r\n", "written\nhere\n", "\u20ac\u00e4\n", "q" * 10, "w\n" * 100, "v" * 9000,
     "\U0001f600", b"bytes"]
)  # fmt: skip


def call(name, *args):
    return st.tuples(st.just(name), *args)


EITHER = [
    call("read", sizes), call("read", counts), call("readline"),
    call("readlines", sizes), call("line"), call("line"), call("tell"), call("tell"), call("flush"),
    call("truncate", st.sampled_from([None, None, -1, 0, 1, 10, 5000])), call("return", counts),
    call("return", counts), call("seek", st.just(0), st.just(2)), call("seek", st.just(0)),
]  # fmt: skip
BINARY = [
    *EITHER, call("readline", sizes), call("write", blobs), call("write", blobs),
    call("writelines", st.lists(blobs, max_size=3)),
    call("seek", offsets), call("seek", offsets, st.sampled_from([0, 1, 2, 9])),
    call("readinto", counts), call("readall"),
]  # fmt: skip
SINGLE_READS = [
    call("readinto1", counts), call("read1", sizes.filter(lambda n: n is not None)),
    call("peek", counts),
]  # fmt: skip
TEXT = [
    # A line of no characters makes `open` read ahead.
    *EITHER, call("readline", sizes.filter(lambda size: size != 0)), call("write", texts),
    call("write", texts), call("writelines", st.lists(texts, max_size=3)),
    call("seek", st.sampled_from([-1, 0, 1]), st.sampled_from([0, 1, 2, 9]) ).filter(
        lambda step: step[1:] != (1, 0)
    ),
]  # fmt: skip


@st.composite
def programs(draw):
    """Return (content or None, arguments of open, steps, whether the page cache helps)."""
    content = draw(st.sampled_from([None, *CONTENT, *CONTENT]))
    mode = draw(st.sampled_from([*MODES, "r", "r", "r+", "r+"]))
    if draw(st.booleans()):
        buffering = draw(st.sampled_from([*BUFFERING, 0, 0]))
        if buffering == 1:
            buffering = 2
        options = {"mode": mode + "b", "buffering": buffering}
        # With writes in the buffer, how much one read brings is chance.
        steps = BINARY if "+" in mode else BINARY + SINGLE_READS
    else:
        options = {
            "mode": mode,
            "buffering": draw(st.sampled_from(BUFFERING)),
            "encoding": draw(st.sampled_from(ENCODINGS)),
            "errors": draw(st.sampled_from(ERRORS)),
            "newline": draw(st.sampled_from(NEWLINES)),
        }
        steps = TEXT
    drawn = draw(st.lists(st.one_of(steps), max_size=12))
    if "+" in mode:
        # A seek that fails leaves `io.BufferedRandom` with a wrong idea of where it is: what `seek`
        # returns later may even be negative.
        drawn = [step for step in drawn if step[0] != "seek" or step[1] >= 0]
    if "+" in mode and options.get("encoding") == "iso2022_jp":
        # `open` starts its decoder in a state that none is in, and the decoder reads beyond its
        # own table.
        drawn = [s for s in drawn if s[0] != "return" and s != ("seek", 0, 1)]
    if options["mode"] == "a+b":
        # What is read right after a write that was not flushed, `open` leaves open.
        drawn = [s for step in drawn for s in (step, ("flush",))[: 1 + step[0].startswith("write")]]
    return content, options, drawn, draw(st.booleans())


def failure(exc):
    """Return what has to be the same of two exceptions."""
    return type(exc), getattr(exc, "errno", None)


class Twin:
    """One of the two: makes the steps and notes what comes of them."""

    def __init__(self):
        self.tells = [0]
        self.outcomes = []

    def arguments(self, step):
        name, *args = step
        if name == "return":
            return "seek", [self.tells[args[0] % len(self.tells)]]
        if name in {"readinto", "readinto1"}:
            return name, [bytearray(args[0])]
        return name, args

    def note(self, step, value, args):
        if step[0] == "tell":
            self.tells.append(value)
        if step[0] in {"readinto", "readinto1"}:
            value = (value, bytes(args[0]))
        self.outcomes.append(value)

    def note_failure(self, exc):
        """Note an exception; say whether it leaves the file as it was."""
        self.outcomes.append(failure(exc))
        return not isinstance(exc, UnicodeError)


def read_lines(file, hint):
    """Do what `readlines` does; that of text leaves `tell` disabled when it fails."""
    lines = []
    size = 0
    while line := file.readline():
        lines.append(line)
        size += len(line)
        if hint is not None and 0 < hint < size:
            break
    return lines


def moves(steps):
    """Say whether a step uses the decoder to find a place; then `open` forgets newlines seen."""
    return any(name in {"tell", "seek", "return"} for name, *_ in steps)


def run_sync_twin(path, options, steps):
    twin = Twin()
    try:
        file = open(path, **options)  # noqa: SIM115  # closed below
    except Exception as exc:  # noqa: BLE001  # both must raise it
        twin.note_failure(exc)
        return twin.outcomes
    try:
        for step in steps:
            name, args = twin.arguments(step)
            try:
                if name == "readlines" and "b" not in options["mode"]:
                    value = read_lines(file, *args)
                else:
                    value = (file.readline if name == "line" else getattr(file, name))(*args)
                twin.note(step, value, args)
            except Exception as exc:  # noqa: BLE001  # both must raise it
                if not twin.note_failure(exc):
                    break
        if not moves(steps):
            twin.outcomes.append(getattr(file, "newlines", "has none"))
    finally:
        try:
            file.close()
        except Exception as exc:  # noqa: BLE001  # both must raise it
            twin.note_failure(exc)
    twin.outcomes += [file.closed, os.fspath(file.name) == os.fspath(path), file.mode]
    return twin.outcomes


async def run_async_twin(path, options, steps, *, is_cached=True):
    twin = Twin()
    try:
        file = await open_file(path, **options)
    except Exception as exc:  # noqa: BLE001  # both must raise it
        twin.note_failure(exc)
        return twin.outcomes
    raw = getattr(file, "_binary", file)._raw
    raw._can_try &= is_cached
    try:
        for step in steps:
            name, args = twin.arguments(step)
            try:
                if name == "line":
                    value = await anext(file, b"" if "b" in options["mode"] else "")
                else:
                    value = await getattr(file, name)(*args)
                twin.note(step, value, args)
            except Exception as exc:  # noqa: BLE001  # both must raise it
                if not twin.note_failure(exc):
                    break
        if not moves(steps):
            twin.outcomes.append(getattr(file, "newlines", "has none"))
    finally:
        try:
            await file.aclose()
        except Exception as exc:  # noqa: BLE001  # both must raise it
            twin.note_failure(exc)
    twin.outcomes += [file.closed, os.fspath(file.name) == os.fspath(path), file.mode]
    return twin.outcomes
