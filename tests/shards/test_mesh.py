"""The mesh: objects, sockets and calls from every shard to every other one."""

import os
import threading

import pytest

import uringtrio
from uringtrio import run_sharded

from . import mains
from .test_run import errors_of, names


@pytest.mark.parametrize("value", ["small", b"big" * 100_000], ids=["small", "big"])
def test_objects_come_from_all_shards_in_order(kind, value):
    values = [(number, value) for number in range(30)]
    results = run_sharded(mains.send_to_all, values, shards=3, kind=kind)

    assert results == [dict.fromkeys(range(3), values)] * 3


def test_one_shard_accepts_and_hands_over(kind, run):
    async def open_one():
        return await uringtrio.open_tcp_listeners(0, host="127.0.0.1")

    (listener,) = run(open_one)
    address = listener.socket.getsockname()
    results = []
    server = threading.Thread(
        target=lambda: results.append(
            run_sharded(mains.accept_for_others, listener, 10, shards=3, kind=kind)
        )
    )
    server.start()

    async def ask():
        async with await uringtrio.open_tcp_stream(*address) as stream:
            return await stream.receive_some()

    async def ask_all():
        return [await ask() for _ in range(10)]

    assert sorted(run(ask_all)) == [b"1"] * 5 + [b"2"] * 5
    server.join()
    assert results == [[0, 5, 5]]
    listener.socket.close()


def test_tasks_are_started_where_they_should_be(kind, tmp_path):
    run_sharded(mains.wait_for_calls, str(tmp_path), shards=3, kind=kind)

    assert names(tmp_path, "called") == [
        f"called-by-{caller}-in-{(caller + 1) % 3}" for caller in range(3)
    ]
    pids = {int((tmp_path / name).read_text()) for name in names(tmp_path, "called")}
    assert (pids == {os.getpid()}) == (kind == "thread")


def test_task_that_fails_is_a_failure_of_its_shard(run_two):
    (error,) = errors_of(run_two, mains.call_a_failure)

    assert isinstance(error, mains.MainError)
    assert str(error) == "of shard 1"


def test_task_ends_with_the_main_function(run_two, tmp_path):
    run_two(mains.leave_a_task, str(tmp_path))

    assert names(tmp_path, "cleaned") == ["cleaned1"]


def test_shard_that_has_ended_breaks_sending(run_two):
    assert run_two(mains.send_to_one_that_has_ended) == ["shard 1 has ended", None]


def test_cancelled_send_has_sent_nothing(run_two):
    sent, got = run_two(mains.cancel_sends)

    assert got == sent
    assert 0 < len(sent) < 400


def test_misuse_says_what_is_wrong(run_two, kind):
    for messages in run_two(mains.misuse):
        assert messages[:2] == [
            "there is no shard 2: they are 0 to 1",
            "there is no shard -1: they are 0 to 1",
        ]
        assert messages[2].startswith("shard.start_soon_on was expecting an async function")
        assert ("cannot send" in messages[3]) == (kind == "process")
