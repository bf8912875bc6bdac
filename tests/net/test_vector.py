"""Several buffers sent as one."""

import array

import pytest
from hypothesis import given, strategies

from uringtrio._net.vector import IOV_MAX, Vector


def test_head_is_what_is_left_of_the_buffers():
    vector = Vector([b"abc", bytearray(b"defg"), memoryview(b"hi")])

    assert vector.head() == [b"abc", b"defg", b"hi"]
    vector.advance(2)
    assert vector.head() == [b"c", b"defg", b"hi"]
    vector.advance(1)
    assert vector.head() == [b"defg", b"hi"]
    vector.advance(5)
    assert vector.head() == [b"i"]
    vector.advance(1)
    assert vector.head() == []
    assert vector.sent_bytes == 9


def test_empty_buffers_are_left_out():
    vector = Vector([b"", b"a", b"", bytearray(), b"b", b""])

    assert vector.head() == [b"a", b"b"]
    assert Vector([]).head() == []
    assert Vector([b"", b""]).head() == []


def test_head_has_no_more_than_one_call_takes():
    vector = Vector([b"x"] * (2 * IOV_MAX + 1))

    assert len(vector.head()) == IOV_MAX
    vector.advance(IOV_MAX)
    vector.advance(IOV_MAX)
    assert vector.head() == [b"x"]


def test_sizes_are_in_bytes():
    vector = Vector([array.array("I", [1, 2])])
    vector.advance(3)

    assert len(vector.head()[0]) == 5


@pytest.mark.parametrize("wrong", [["text"], [5], [None], [b"good", "bad"]])
def test_what_is_no_buffer_is_refused(wrong):
    with pytest.raises(TypeError, match="bytes-like"):
        Vector(wrong)


@given(
    buffers=strategies.lists(strategies.binary(max_size=5), max_size=20),
    steps=strategies.lists(strategies.integers(1, 7)),
)
def test_everything_is_sent_once_and_in_order(buffers, steps):
    vector = Vector(buffers)
    sent = b""
    for step in [*steps, 1000]:
        rest = b"".join(vector.head())
        sent += rest[:step]
        vector.advance(min(step, len(rest)))

    assert sent == b"".join(buffers)
    assert vector.sent_bytes == len(sent)
    assert vector.head() == []
