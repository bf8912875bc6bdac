"""SharedBuffer: a queue of bytes that wraps around, grows, and is seen alike by all."""

import os
import random
import subprocess
import sys
import time

import pytest

from uringtrio._shards import shared_buffer
from uringtrio._shards.shared_buffer import FIRST_CAPACITY_BYTES, PLACE_MASK, SharedBuffer, create


@pytest.fixture(params=["in C", "without C"])
def buffer(request, monkeypatch):
    if request.param == "without C":
        monkeypatch.setattr(shared_buffer, "HAS_QUEUE_IN_C", False)
    elif not shared_buffer.HAS_QUEUE_IN_C:
        pytest.skip("the C module was not built")
    made = SharedBuffer(create(10))
    yield made
    made.close()


@pytest.fixture
def other(buffer):
    """The same queue, as another process sees it."""
    made = SharedBuffer(os.dup(buffer.fd))
    yield made
    made.close()


def pop_all(buffer):
    with buffer:
        return [buffer.pop() for _ in range(buffer.count())]


def test_objects_come_out_as_they_went_in(buffer, other):
    with buffer:
        for data in (b"first", b"", b"third"):
            buffer.append(data)
        assert buffer.count() == 3
    with other:
        assert other.count() == 3
        assert other.words[shared_buffer.LIMIT] == 10

    assert pop_all(other) == [b"first", b"", b"third"]
    assert pop_all(buffer) == []


def test_queue_wraps_around_many_times(buffer, other):
    rng = random.Random(1)
    expected = []
    for _ in range(3000):
        data = rng.randbytes(rng.randrange(0, 3000))
        with buffer:
            buffer.append(data)
        expected.append(data)
        if len(expected) > 12:
            with other:
                assert other.pop() == expected.pop(0)

    with buffer:
        assert buffer.words[shared_buffer.GENERATION] == 0, "it had no reason to grow"
    assert pop_all(other) == expected


def test_places_wrap_around_too(buffer, other):
    """After 64 GiB the place in the word begins again, and so does the number after 2**28."""
    start = ((1 << 28) - 2) << shared_buffer.PLACE_BITS | (PLACE_MASK - 10)
    buffer.words[shared_buffer.HEAD] = buffer.words[shared_buffer.TAIL] = start
    values = [bytes([index]) * 100 for index in range(5)]
    for value in values:
        with buffer:
            buffer.append(value)

    with other:
        assert other.count() == 5
    assert pop_all(other) == values
    with buffer:
        assert buffer.count() == 0


@pytest.mark.parametrize("size", [FIRST_CAPACITY_BYTES - 4, FIRST_CAPACITY_BYTES, 5_000_000])
def test_queue_grows_for_what_does_not_fit(buffer, other, size):
    big = os.urandom(size)
    with buffer:
        buffer.append(b"small")
        buffer.append(big)
        buffer.append(b"last")

    assert pop_all(other) == [b"small", big, b"last"]


def test_queue_grows_again_and_again(buffer, other):
    expected = []
    for index in range(2000):
        data = bytes([index % 256]) * 1000
        mine = buffer if index % 2 else other
        with mine:
            mine.append(data)
        expected.append(data)

    assert pop_all(other) == expected
    with buffer:
        assert buffer.words[shared_buffer.GENERATION] > 3


def test_object_that_is_too_big_is_refused(buffer, monkeypatch):
    monkeypatch.setattr(shared_buffer, "OBJECT_BYTES_MAX", 10)
    with buffer, pytest.raises(ValueError, match="too big"):
        buffer.append(bytes(11))
    monkeypatch.setattr(shared_buffer, "CAPACITY_BYTES_MAX", FIRST_CAPACITY_BYTES)
    monkeypatch.setattr(shared_buffer, "OBJECT_BYTES_MAX", 1 << 30)
    with buffer, pytest.raises(MemoryError, match="cannot hold"):
        buffer.append(bytes(FIRST_CAPACITY_BYTES))

    assert pop_all(buffer) == []


KILLED = """
import os, signal, sys
from uringtrio._shards.shared_buffer import GENERATION, SharedBuffer, TAIL

class Killing:
    def __init__(self, words, index):
        self.words, self.index = words, index
    def __getitem__(self, index):
        return self.words[index]
    def __setitem__(self, index, value):
        if index == self.index:
            os.kill(os.getpid(), signal.SIGKILL)
        self.words[index] = value

fd, moment = int(sys.argv[1]), sys.argv[2]
buffer = SharedBuffer(fd)
buffer.words = Killing(buffer.words, {"append": TAIL, "grow": GENERATION}[moment])
with buffer:
    buffer.append(bytes(100 if moment == "append" else 100_000))
"""


@pytest.mark.parametrize("moment", ["append", "grow"])
def test_process_that_is_killed_in_the_middle_has_changed_nothing(buffer, moment):
    with buffer:
        buffer.append(b"before")
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(buffer.fd), moment],
        pass_fds=[buffer.fd],
        timeout=20,
        check=False,
    )
    assert done.returncode == -9
    with buffer:
        assert buffer.count() == 1
        buffer.append(bytes(200_000))

    assert pop_all(buffer) == [b"before", bytes(200_000)]


HURRYING = """
import itertools, os, sys
from uringtrio._shards.shared_buffer import RECEIVERS_OPEN, SharedBuffer

buffer = SharedBuffer(int(sys.argv[1]))
os.write(1, b"begin")
for number in itertools.count():
    if sys.argv[2] == "puts":
        data = b"%d" % number
        while not buffer.put(data, len(data)):
            with buffer:
                if buffer.count() < 1000:
                    buffer.append(data)
                    break
    elif not buffer.take():
        with buffer:
            if buffer.count():
                buffer.pop()
"""


@pytest.mark.parametrize("what", ["puts", "takes"])
@pytest.mark.parametrize("times", [2, pytest.param(100, marks=[pytest.mark.stress], id="stress")])
def test_process_that_is_killed_at_any_moment_has_done_all_or_nothing(buffer, other, what, times):
    """What it has put is there without a gap; what it has not taken too."""
    with buffer:
        buffer.words[shared_buffer.LIMIT] = 1000
        buffer.words[shared_buffer.RECEIVERS_OPEN] = 1
    for _ in range(times):
        hurrying = subprocess.Popen(
            [sys.executable, "-c", HURRYING, str(buffer.fd), what],
            pass_fds=[buffer.fd],
            stdout=subprocess.PIPE,
        )
        with hurrying:
            hurrying.stdout.read(5)
            got = take_for_a_while(other) if what == "puts" else put_for_a_while(buffer)
            hurrying.kill()
        got += pop_all(other)
        first = int(got[0]) if got else 0
        assert got == [b"%d" % number for number in range(first, first + len(got))]
        assert first == 0 or what == "takes"


def moments():
    """Go on for some milliseconds."""
    end = time.monotonic() + random.uniform(0.001, 0.02)
    while time.monotonic() < end:
        yield


def take_for_a_while(buffer):
    return [data for _ in moments() if (data := buffer.take())]


def put_for_a_while(buffer):
    """Put numbers while another process takes; return none of them."""
    for number, _ in enumerate(moments()):
        data = b"%d" % number
        if not buffer.put(data, len(data)):
            with buffer:
                buffer.append(data)
    return []
