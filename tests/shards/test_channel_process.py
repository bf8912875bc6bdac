"""Shared channels between shards: given away, exact, and whole when a process is killed."""

import os
from math import inf

import pytest

import uringtrio
from uringtrio import ClosedResourceError, ShardError, open_shared_channel, run_sharded
from uringtrio._shards import shared_buffer

from . import mains
from .test_run import errors_of


@pytest.fixture(params=["in C", "without C"])
def locks(request, monkeypatch):
    """Open channels between processes with each kind of locks, which are then theirs for good."""
    if request.param == "without C":
        monkeypatch.setattr(shared_buffer, "HAS_QUEUE_IN_C", False)


@pytest.mark.parametrize("size", [0, 10])
def test_every_object_arrives_once(kind, size):
    send, receive = open_shared_channel(size, kind=kind)
    results = run_sharded(mains.pass_on, send, receive, 500, shards=4, kind=kind)

    sent = [value for values in results[0::2] for value in values]
    got = [value for values in results[1::2] for value in values]
    assert len(sent) == 1000
    assert sorted(got) == sorted(sent)
    # Each receiver has got each sender's objects in their order.
    for values in results[1::2]:
        for index in (0, 2):
            mine = [value for value in values if value[0] == index]
            assert mine == sorted(mine)


def test_channels_are_given_away(kind):
    send, receive = open_shared_channel(1, kind=kind)
    run_sharded(mains.close_all, send, receive, shards=2, kind=kind)

    with pytest.raises(ClosedResourceError):
        send.send_nowait(1)
    with pytest.raises(ClosedResourceError):
        receive.receive_nowait()


def test_channels_deep_in_arguments_of_processes_are_given_away():
    send, receive = open_shared_channel(1, kind="process")
    run_sharded(mains.close_values, {"send": send, "receive": receive}, shards=2, kind="process")

    for handle in (send, receive):
        with pytest.raises(ClosedResourceError):
            handle.clone()


def test_clone_that_was_kept_goes_on(kind):
    send, receive = open_shared_channel(10, kind=kind)
    with receive.clone() as kept:
        run_sharded(mains.pass_on, send, receive, 5, shards=1, kind=kind)

        assert [kept.receive_nowait() for _ in range(5)] == [(0, n) for n in range(5)]


@pytest.mark.usefixtures("locks")
def test_killed_process_loses_at_most_what_it_had_received(tmp_path):
    count = 4000
    send, receive = open_shared_channel(50, kind="process")
    errors = errors_of(
        run_sharded,
        mains.receive_until_killed,
        str(tmp_path),
        send,
        receive,
        count,
        shards=3,
        kind="process",
    )

    (error,) = errors
    assert isinstance(error, ShardError)
    assert error.index == 1
    # What the dead one had taken, it had also written down.
    sent, killed, other = ((tmp_path / f"log{index}").read_text().split() for index in range(3))
    assert len(sent) >= count
    assert killed
    assert sorted(killed + other) == sorted(sent)


@pytest.mark.parametrize(
    ("main", "got"),
    [
        (mains.outlive_senders, "['last words']"),
        (mains.outlive_receivers, "broken"),
        (mains.die_with_the_lock, "hello"),
    ],
)
@pytest.mark.usefixtures("locks")
def test_death_of_a_process_is_noticed_by_its_peers(tmp_path, main, got):
    send, receive = open_shared_channel(inf, kind="process")
    if main is mains.outlive_receivers:
        send.send_nowait("for shard 0")
    (error,) = errors_of(run_sharded, main, str(tmp_path), send, receive, shards=2, kind="process")

    assert isinstance(error, ShardError)
    assert (tmp_path / "got").read_text() == got


def test_channel_for_threads_cannot_go_to_processes():
    send, receive = open_shared_channel(1, kind="thread")
    with pytest.raises(TypeError, match=r"args\[0\] .*shared channel in it that is for threads"):
        run_sharded(mains.close_all, send, receive, shards=1, kind="process")


def test_closed_channel_cannot_go_to_processes():
    send, receive = open_shared_channel(1, kind="process")
    receive.close()
    with pytest.raises(TypeError, match=r"args\[1\] .*channel in it is closed"):
        run_sharded(mains.close_all, send, receive, shards=1, kind="process")
    send.close()


def test_object_that_cannot_be_pickled_is_refused_and_nothing_is_sent():
    send, receive = open_shared_channel(1, kind="process")
    with send, receive:
        with pytest.raises(TypeError, match="cannot send <function"):
            send.send_nowait(lambda: None)
        assert receive.statistics().current_buffer_used == 0


def test_handles_that_are_dropped_close_their_descriptors():
    # The fixture `leftovers` counts them.
    open_shared_channel(1, kind="process")


@pytest.mark.usefixtures("locks")
@pytest.mark.parametrize(
    ("size", "shards", "count"),
    [
        (10, 4, 300),
        *(
            pytest.param(size, 8, 1_000_000, marks=[pytest.mark.stress], id=f"{size}-stress")
            for size in (0, 10, 1000)
        ),
    ],
)
def test_cancellation_and_a_death_lose_and_double_nothing(tmp_path, size, shards, count):
    """Every object is received once, whatever is cancelled and whoever is killed."""
    send, receive = open_shared_channel(size, kind="process")
    (error,) = errors_of(
        run_sharded,
        mains.pass_on_with_cancellation,
        str(tmp_path),
        send,
        receive,
        count,
        shards=shards,
        kind="process",
        grace_seconds=inf,
    )

    assert error.index == shards - 1
    logs = [(tmp_path / f"log{index}").read_text().split() for index in range(1, shards, 2)]
    got = [int(number) for log in logs for number in log]
    expected = [index * count + n for index in range(0, shards, 2) for n in range(count)]
    assert sorted(got) == expected


def test_wakes_are_forgotten_before_the_bytes_that_bring_them(monkeypatch):
    """A process killed in between leaves others looking in vain, and not unwoken for ever."""
    send, receive = open_shared_channel(10, kind="process")
    signalled = []
    read = os.read

    def look(fd, size):
        signalled.append(receive._buffer.words[shared_buffer.ITEMS_SIGNALLED])
        return read(fd, size)

    with send, receive:
        monkeypatch.setattr(os, "read", look)
        with pytest.raises(uringtrio.TooSlowError):
            receive.receive_sync(timeout=0.01)
        monkeypatch.undo()
    assert signalled
    assert set(signalled) == {0}
