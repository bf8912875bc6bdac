"""The stand-in for kqueue keeps the rules of kevent(2) that it names."""

import errno
import os
import socket

import pytest

from . import fake_kqueue as fake
from .fake_kqueue import kevent

ONCE = fake.KQ_EV_ADD | fake.KQ_EV_ONESHOT


@pytest.fixture
def queue():
    made = fake.kqueue()
    yield made
    made.close()


@pytest.fixture
def pair():
    left, right = socket.socketpair()
    left.setblocking(False)
    with left, right:
        yield left, right


def look(queue):
    return [(event.ident, event.filter) for event in queue.control(None, 10, 0)]


def test_filter_stays_without_oneshot_and_goes_with_it(queue, pair):
    left, right = pair
    right.send(b"x")
    queue.control([kevent(left, fake.KQ_FILTER_READ)], 0)
    assert look(queue) == look(queue) == [(left.fileno(), fake.KQ_FILTER_READ)]

    queue.control([kevent(left, fake.KQ_FILTER_READ, ONCE)], 0)
    assert look(queue) == [(left.fileno(), fake.KQ_FILTER_READ)]
    assert look(queue) == []


def test_read_counts_the_bytes_and_says_the_end_with_data_left(queue, pair):
    left, right = pair
    right.send(b"hello")
    right.shutdown(socket.SHUT_WR)
    (event,) = queue.control([kevent(left, fake.KQ_FILTER_READ)], 10, 0) or queue.control(
        None, 10, 0
    )

    assert event.data == 5
    assert event.flags & fake.KQ_EV_EOF


def test_error_of_a_change_is_an_event_where_there_is_room(queue):
    (event,) = queue.control([kevent(10_000, fake.KQ_FILTER_READ)], 10, 0)
    assert event.flags & fake.KQ_EV_ERROR
    assert event.data == errno.EBADF

    with pytest.raises(OSError, match=os.strerror(errno.EBADF)):
        queue.control([kevent(10_000, fake.KQ_FILTER_READ)], 0)


def test_deleting_what_is_not_there_is_an_error(queue, pair):
    with pytest.raises(FileNotFoundError):
        queue.control([kevent(pair[0], fake.KQ_FILTER_WRITE, fake.KQ_EV_DELETE)], 0)
    with pytest.raises(OSError, match=os.strerror(errno.EINVAL)):
        queue.control([kevent(pair[0], 77)], 0)


def test_closing_takes_the_filters_away_also_from_the_next_file_of_that_number(queue, pair):
    left, right = pair
    copy = left.dup()
    fd = copy.fileno()
    queue.control([kevent(fd, fake.KQ_FILTER_READ)], 0)
    other, peer = socket.socketpair()
    with copy, other, peer:
        os.dup2(other.fileno(), fd)
        right.send(b"x")
        peer.send(b"x")
        assert look(queue) == []
        with pytest.raises(FileNotFoundError):
            queue.control([kevent(fd, fake.KQ_FILTER_READ, fake.KQ_EV_DELETE)], 0)


def test_disabled_filter_is_silent_until_it_is_enabled(queue, pair):
    left, right = pair
    right.send(b"x")
    queue.control([kevent(left, fake.KQ_FILTER_READ)], 0)
    queue.control([kevent(left, fake.KQ_FILTER_READ, fake.KQ_EV_DISABLE)], 0)
    assert look(queue) == []

    queue.control([kevent(left, fake.KQ_FILTER_READ, fake.KQ_EV_ENABLE)], 0)
    assert look(queue) == [(left.fileno(), fake.KQ_FILTER_READ)]


def test_user_event_is_triggered_in_the_change_that_adds_it(queue):
    change = kevent(1, fake.KQ_FILTER_USER, ONCE, fake.KQ_NOTE_TRIGGER)
    queue.control([change], 0)

    assert look(queue) == [(1, fake.KQ_FILTER_USER)]
    assert look(queue) == []


def test_file_is_readable_until_its_end_and_always_writable(queue, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"x")
    with path.open("r+b", buffering=0) as file:
        queue.control([kevent(file, fake.KQ_FILTER_READ), kevent(file, fake.KQ_FILTER_WRITE)], 0)
        assert len(look(queue)) == 2
        file.read(1)
        assert look(queue) == [(file.fileno(), fake.KQ_FILTER_WRITE)]


def test_wait_ends_at_its_timeout(queue, pair):
    queue.control([kevent(pair[0], fake.KQ_FILTER_READ)], 0)

    assert queue.control(None, 10, 0.01) == []
