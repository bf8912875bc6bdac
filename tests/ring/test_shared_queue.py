"""SharedQueue: what is done in C for each object, and what is left to others."""

import array
import mmap

import pytest

from uringtrio._shards import shared_buffer as shared

pytest.importorskip("uringtrio._ring._shim", reason="the C module was not built")

from uringtrio._ring import shared_queue
from uringtrio._ring._shim import lib
from uringtrio._ring.shared_queue import TAKE_BYTES_MAX, SharedLocks, SharedQueue

LIMIT = 10


@pytest.fixture
def header():
    """A new queue, in memory that needs no descriptor."""
    made = mmap.mmap(-1, shared.HEADER_BYTES + shared.FIRST_CAPACITY_BYTES)
    shared_queue.init_locks(made)
    return made


@pytest.fixture
def words(header):
    """Its header, with a receiver, and past the first look for it."""
    made = memoryview(header)[: shared.HEADER_BYTES].cast("Q")
    made[shared.AREAS : shared.AREAS + 2] = array.array(
        "Q", [shared.HEADER_BYTES, shared.FIRST_CAPACITY_BYTES]
    )
    made[shared.LIMIT] = LIMIT
    made[shared.RECEIVERS_OPEN] = 1
    made[shared.HEAD] = made[shared.TAIL] = 1 << shared.PLACE_BITS
    return made


@pytest.fixture
def queue(header, words):  # noqa: ARG001  # it prepares the header
    return SharedQueue(header, header, 0)


def put(queue, data):
    return queue.put(data, len(data))


def test_layout_is_the_same_in_c_and_in_python():
    names = [name.removeprefix("UT_") for name in dir(lib) if name.startswith("UT_")]
    assert len(names) > 10
    for name in names:
        if not name.endswith(("LOCK", "WORDS")):
            assert getattr(lib, f"UT_{name}") == getattr(shared, name), name
    assert lib.UT_HEADER_WORDS * 8 <= shared.HEADER_BYTES


def test_objects_come_out_as_they_went_in(queue):
    objects = [b"first", b"second", bytes(TAKE_BYTES_MAX)]
    for data in objects:
        assert put(queue, data) == 1

    assert [queue.take() for _ in objects] == objects
    assert queue.take() is None


def test_empty_object_is_not_nothing(queue):
    put(queue, b"")
    assert queue.take() == b""
    assert queue.take() is None


@pytest.mark.parametrize("before_end", [0, 2, 4, 7, 9, 100])
def test_objects_wrap_around_and_both_sides_see_the_same(queue, header, words, before_end):
    place = 5 * shared.FIRST_CAPACITY_BYTES - before_end
    words[shared.HEAD] = words[shared.TAIL] = 1 << shared.PLACE_BITS | place
    put(queue, b"first")
    put(queue, b"second")
    other = SharedQueue(header, header, 0)
    assert [other.take(), other.take(), other.take()] == [b"first", b"second", None]


def test_receivers_are_looked_for_now_and_then(queue):
    refused = 0
    for _ in range(100):
        if put(queue, b"x"):
            queue.take()
        else:
            refused += 1
    assert refused == 100 - 63


def test_full_queue_takes_no_more(queue):
    assert [put(queue, b"x") for _ in range(LIMIT + 1)] == [1] * LIMIT + [0]
    queue.take()
    assert put(queue, b"x") == 1


def test_queue_without_a_buffer_takes_what_somebody_waits_for(queue, words):
    words[shared.LIMIT] = 0
    assert put(queue, b"x") == 0
    words[shared.RECEIVERS_WAITING] = words[shared.ITEMS_SIGNALLED] = 1
    assert [put(queue, b"x"), put(queue, b"x")] == [1, 0]


def test_object_that_does_not_fit_is_left_to_others(queue):
    assert put(queue, bytes(shared.FIRST_CAPACITY_BYTES)) == 0
    assert put(queue, bytes(shared.FIRST_CAPACITY_BYTES - shared.PREFIX_BYTES)) == 1
    assert put(queue, b"") == 0
    # And so is one that is long, to take.
    assert queue.take() is None


@pytest.mark.parametrize(
    ("word", "value"),
    [(shared.RECEIVERS_OPEN, 0), (shared.RECEIVERS_WAITING, 1), (shared.GENERATION, 1)],
    ids=["nobody is there", "somebody must be woken", "the queue has moved"],
)
def test_put_leaves_what_it_cannot_do_to_others(queue, words, word, value):
    before, words[word] = words[word], value
    assert put(queue, b"x") == 0
    assert words[shared.TAIL] == words[shared.HEAD]
    words[word] = before
    assert put(queue, b"x") == 1


@pytest.mark.parametrize(
    ("word", "value"),
    [(shared.SENDERS_WAITING, 1), (shared.GENERATION, 1)],
    ids=["somebody must be woken", "the queue has moved"],
)
def test_take_leaves_what_it_cannot_do_to_others(queue, words, word, value):
    put(queue, b"x")
    before, words[word] = words[word], value
    assert queue.take() is None
    words[word] = before
    assert queue.take() == b"x"


def test_those_who_are_woken_already_are_not_woken_again(queue, words):
    words[shared.RECEIVERS_WAITING] = words[shared.ITEMS_SIGNALLED] = 1
    assert put(queue, b"x") == 1
    words[shared.SENDERS_WAITING] = words[shared.ROOM_SIGNALLED] = 1
    assert queue.take() == b"x"


def test_retired_queue_does_nothing_and_others_go_on(queue, header):
    other = SharedQueue(header, header, 0)
    put(queue, b"first")
    queue.retire()
    assert put(queue, b"second") == 0
    assert queue.take() is None
    assert put(other, b"third") == 1
    assert [other.take(), other.take()] == [b"first", b"third"]


def test_locks_belong_to_who_holds_them(header):
    locks = SharedLocks(header)
    locks.lock()
    locks.unlock()
    with pytest.raises(PermissionError, match="cannot give up a shared channel's locks"):
        locks.unlock()


def test_locks_that_cannot_be_had_say_so(header, monkeypatch):
    class NoLocks:
        ut_queue_init = staticmethod(lambda _words: -12)

    monkeypatch.setattr(shared_queue, "lib", NoLocks)
    with pytest.raises(OSError, match="cannot make a shared channel's locks: Cannot allocate"):
        shared_queue.init_locks(header)
