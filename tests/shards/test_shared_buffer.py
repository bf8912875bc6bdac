"""SharedBuffer: a queue of bytes that wraps around, grows, and is seen alike by all."""

import os
import random
import subprocess
import sys

import pytest

from uringtrio._shards import shared_buffer
from uringtrio._shards.shared_buffer import FIRST_CAPACITY_BYTES, PLACE_MASK, SharedBuffer, create


@pytest.fixture
def buffer():
    made = SharedBuffer(create(10), is_sender=True)
    yield made
    made.close()


@pytest.fixture
def other(buffer):
    """The same queue, as another process sees it."""
    made = SharedBuffer((os.dup(buffer.fds[0]), os.dup(buffer.fds[1])), is_sender=False)
    yield made
    made.close()


def pop_all(buffer):
    with buffer.whole:
        return [buffer.pop() for _ in range(buffer.count())]


def test_objects_come_out_as_they_went_in(buffer, other):
    with buffer.whole:
        for data in (b"first", b"", b"third"):
            buffer.append(data)
        assert buffer.count() == 3
    with other.whole:
        assert other.count() == 3
        assert other.words[shared_buffer.LIMIT] == 10

    assert pop_all(other) == [b"first", b"", b"third"]
    assert pop_all(buffer) == []


def test_queue_wraps_around_many_times(buffer, other):
    rng = random.Random(1)
    expected = []
    for _ in range(3000):
        data = rng.randbytes(rng.randrange(0, 3000))
        with buffer.whole:
            buffer.append(data)
        expected.append(data)
        if len(expected) > 12:
            with other.whole:
                assert other.pop() == expected.pop(0)

    with buffer.whole:
        assert buffer.words[shared_buffer.GENERATION] == 0, "it had no reason to grow"
    assert pop_all(other) == expected


def test_places_wrap_around_too(buffer, other):
    """After 64 GiB the place in the word begins again, and so does the number after 2**28."""
    start = ((1 << 28) - 2) << shared_buffer.PLACE_BITS | (PLACE_MASK - 10)
    buffer.words[shared_buffer.HEAD] = buffer.words[shared_buffer.TAIL] = start
    values = [bytes([index]) * 100 for index in range(5)]
    for value in values:
        with buffer.whole:
            buffer.append(value)

    with other.whole:
        assert other.count() == 5
    assert pop_all(other) == values
    with buffer.whole:
        assert buffer.count() == 0


@pytest.mark.parametrize("size", [FIRST_CAPACITY_BYTES - 4, FIRST_CAPACITY_BYTES, 5_000_000])
def test_queue_grows_for_what_does_not_fit(buffer, other, size):
    big = os.urandom(size)
    with buffer.whole:
        buffer.append(b"small")
        buffer.append(big)
        buffer.append(b"last")

    assert pop_all(other) == [b"small", big, b"last"]


def test_queue_grows_again_and_again(buffer, other):
    expected = []
    for index in range(2000):
        data = bytes([index % 256]) * 1000
        with (buffer if index % 2 else other).whole as mine:
            mine.append(data)
        expected.append(data)

    assert pop_all(other) == expected
    with buffer.whole:
        assert buffer.words[shared_buffer.GENERATION] > 3


def test_object_that_is_too_big_is_refused(buffer, monkeypatch):
    monkeypatch.setattr(shared_buffer, "OBJECT_BYTES_MAX", 10)
    with buffer.whole, pytest.raises(ValueError, match="too big"):
        buffer.append(bytes(11))
    monkeypatch.setattr(shared_buffer, "CAPACITY_BYTES_MAX", FIRST_CAPACITY_BYTES)
    monkeypatch.setattr(shared_buffer, "OBJECT_BYTES_MAX", 1 << 30)
    with buffer.whole, pytest.raises(MemoryError, match="cannot hold"):
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
    def release(self):
        self.words.release()

class Killed(SharedBuffer):
    __slots__ = ()
    def _remap(self):
        super()._remap()
        self.words = Killing(self.words, index)

index = {"append": TAIL, "grow": GENERATION}[sys.argv[2]]
buffer = Killed((int(sys.argv[1]), int(sys.argv[3])), is_sender=True)
with buffer.whole:
    buffer.append(bytes(100 if index == TAIL else 100_000))
"""


@pytest.mark.parametrize("moment", ["append", "grow"])
def test_process_that_is_killed_in_the_middle_has_changed_nothing(buffer, moment):
    with buffer.whole:
        buffer.append(b"before")
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(buffer.fds[0]), moment, str(buffer.fds[1])],
        pass_fds=buffer.fds,
        timeout=20,
        check=False,
    )
    assert done.returncode == -9
    with buffer.whole:
        assert buffer.count() == 1
        buffer.append(bytes(200_000))

    assert pop_all(buffer) == [b"before", bytes(200_000)]
