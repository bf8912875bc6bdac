"""run_sharded: results, errors, cancellation, and what it refuses; in threads and processes."""

import os
import signal
import threading
import time
from functools import partial

import pytest

import uringtrio
from uringtrio import Shard, ShardError, current_shard, run_sharded
from uringtrio._drivers.scripted import ScriptedDriver
from uringtrio._shards import plan

from . import mains

CPUS = sorted(os.sched_getaffinity(0))


def errors_of(call, *args, **options):
    """Return the exceptions of the group that the call raises, in order."""
    with pytest.raises(ExceptionGroup) as caught:
        call(*args, **options)
    group = caught.value
    assert "shards failed" in str(group)
    return group.exceptions


def names(directory, what):
    return sorted(path.name for path in directory.glob(f"{what}*"))


# Results.


def test_each_shard_runs_main_once_and_results_are_in_order(kind):
    found = run_sharded(mains.describe, 1, "two", shards=3, kind=kind)

    assert [entry["index"] for entry in found] == [0, 1, 2]
    assert {entry["count"] for entry in found} == {3}
    assert {entry["kind"] for entry in found} == {kind}
    assert {entry["args"] for entry in found} == {(1, "two")}
    assert {entry["grace_seconds"] for entry in found} == {10}
    assert len({entry["thread" if kind == "thread" else "pid"] for entry in found}) == 3
    assert (os.getpid() in {entry["pid"] for entry in found}) == (kind == "thread")


def test_shards_are_pinned_to_their_cpus(run_two):
    found = run_two(mains.describe)

    assert [entry["affinity"] for entry in found] == [entry["cpus"] for entry in found]
    assert {len(entry["cpus"]) for entry in found} == {1}
    assert sorted(os.sched_getaffinity(0)) == CPUS


def test_placement_none_does_not_pin(run_two):
    assert {entry["affinity"] == set(CPUS) for entry in run_two(mains.describe, placement="none")}


def test_placement_lists_the_shards(kind):
    found = run_sharded(mains.describe, kind=kind, placement=[CPUS[:1], CPUS])

    assert [entry["affinity"] for entry in found] == [set(CPUS[:1]), set(CPUS)]


@pytest.mark.parametrize("driver", ["io_uring", "epoll"])
def test_shards_use_the_driver_that_is_named(run_two, driver):
    if driver == "io_uring" and not uringtrio.probe().available:
        pytest.skip("there is no io_uring here")
    found = run_two(mains.describe, driver=driver, ring=uringtrio.RingOptions(entries=64))

    assert {entry["driver"] for entry in found} == {driver}


def test_one_shard_for_each_cpu_unless_told_otherwise(kind):
    assert run_sharded(mains.return_index, kind=kind) == list(range(len(CPUS)))


def test_more_shards_than_cpus(kind):
    count = len(CPUS) + 3

    assert run_sharded(mains.return_index, shards=count, kind=kind) == list(range(count))


def test_big_results_come_whole(run_two):
    assert run_two(mains.return_big, 3_000_000) == [bytes(3_000_000)] * 2


def test_big_arguments_go_whole(run_two):
    big = os.urandom(3_000_000)

    assert [entry["args"] for entry in run_two(mains.describe, big)] == [(big,)] * 2


def test_keyword_arguments_by_partial(run_two):
    assert run_two(partial(mains.return_big, size=3)) == [bytes(3)] * 2


def test_shards_can_be_started_from_any_thread(run_two):
    results = []
    thread = threading.Thread(target=lambda: results.append(run_two(mains.return_index)))
    thread.start()
    thread.join()

    assert results == [[0, 1]]


def test_auto_is_threads_only_without_a_gil(monkeypatch):
    monkeypatch.setattr(plan.sys, "_is_gil_enabled", lambda: False, raising=False)
    assert plan.resolve_kind("auto") == "thread"
    monkeypatch.setattr(plan.sys, "_is_gil_enabled", lambda: True)
    assert plan.resolve_kind("auto") == "process"
    monkeypatch.delattr(plan.sys, "_is_gil_enabled")
    assert plan.resolve_kind("auto") == "process"


# Errors.


def test_first_failure_cancels_the_others_which_clean_up(kind, tmp_path):
    errors = errors_of(
        run_sharded, mains.fail_in_last, str(tmp_path), shards=3, kind=kind, placement="none"
    )

    (error,) = errors
    assert type(error) is mains.MainError
    assert str(error) == "of shard 2"
    assert any(note.startswith("This was shard 2 of 3 (") for note in error.__notes__)
    assert names(tmp_path, "cleaned") == ["cleaned0", "cleaned1"]


def test_all_errors_come_out_together(run_two):
    errors = errors_of(run_two, mains.fail_everywhere)

    # The second may have been cancelled before it could fail.
    assert {str(error) for error in errors} <= {"of shard 0", "of shard 1"}
    for error in errors:
        assert f"This was {error}".replace(" of ", " ") + " of 2" in error.__notes__[-1]


def test_group_raised_by_a_shard_stays_whole(run_two):
    first = errors_of(run_two, mains.fail_with_group)[0]

    assert isinstance(first, ExceptionGroup)
    assert str(first.exceptions[0]) == "inner"


def test_exception_that_is_no_error_is_one_of_a_shard(run_two):
    with pytest.raises(BaseExceptionGroup) as caught:
        run_two(mains.exit_program)

    assert not isinstance(caught.value, ExceptionGroup)
    assert caught.value.exceptions[0].code == 3


# Cancellation.


def test_shard_that_ignores_cancellation_is_given_up(kind):
    start = time.monotonic()
    errors = errors_of(run_sharded, mains.ignore_cancel, 2, shards=2, kind=kind, grace_seconds=0.2)
    seconds = time.monotonic() - start

    given_up = next(error for error in errors if isinstance(error, ShardError))
    assert (given_up.index, given_up.exitcode) == (0, None)
    assert "did not end within 0.2 s" in str(given_up)
    assert ("was killed" in str(given_up)) == (kind == "process")
    assert seconds < 1.8
    for thread in threading.enumerate():
        if thread.name == "shard 0":
            thread.join()


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_signal_goes_to_its_handler_when_all_shards_have_ended(run_two, tmp_path, signum):
    seen = []

    def handle(signum, _frame):
        seen.append((signum, names(tmp_path, "cleaned")))

    old = signal.signal(signum, handle)
    try:
        errors = errors_of(run_two, mains.signal_program, signum, str(tmp_path))
    finally:
        signal.signal(signum, old)

    assert seen == [(signum, ["cleaned0", "cleaned1"])]
    assert [str(error) for error in errors] == [
        f"shard {index} was cancelled by a signal, whose handler has returned" for index in (0, 1)
    ]


def test_signal_that_is_ignored_stays_ignored(run_two):
    old = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        assert run_two(mains.signal_and_return, signal.SIGTERM) == [0, 1]
    finally:
        signal.signal(signal.SIGTERM, old)


def test_errors_of_shards_are_the_context_of_an_interrupt(run_two, tmp_path):
    with pytest.raises(KeyboardInterrupt) as caught:
        run_two(mains.fail_when_interrupted, str(tmp_path))

    assert [str(error) for error in caught.value.__context__.exceptions] == ["while cleaning"]


def test_shard_may_take_its_grace(run_two):
    (error,) = errors_of(run_two, mains.ignore_cancel, 0.3)

    assert isinstance(error, mains.MainError)


# Where and how it may be called.


def test_shards_do_not_nest(run_two):
    for message in run_two(mains.call_run_sharded):
        assert "shards do not nest" in message


def test_run_sharded_inside_a_run_is_refused(run):
    async def main():
        with pytest.raises(RuntimeError, match="called inside a run"):
            run_sharded(mains.return_index)

    run(main)


def test_current_shard_needs_a_shard():
    with pytest.raises(RuntimeError, match=r"code that uringtrio.run_sharded\(\) runs"):
        current_shard()


def test_shard_has_no_public_constructor():
    with pytest.raises(TypeError, match="no public constructor"):
        Shard()


def test_shard_describes_itself():
    async def main():
        return repr(current_shard())

    assert run_sharded(main, shards=2, kind="thread") == [
        "<uringtrio.Shard 0 of 2: thread>",
        "<uringtrio.Shard 1 of 2: thread>",
    ]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"shards": 0}, ValueError, "shards must be at least 1, not 0"),
        ({"shards": 1.0}, TypeError, "shards must be an int or None, not 1.0"),
        ({"kind": "fiber"}, ValueError, "kind must be"),
        ({"grace_seconds": -1}, ValueError, "grace_seconds must be at least 0"),
        ({"grace_seconds": float("nan")}, ValueError, "grace_seconds must be at least 0"),
        ({"placement": "dense"}, ValueError, "placement must be"),
        ({"driver": "poll"}, ValueError, "unknown driver 'poll'"),
    ],
)
def test_impossible_options_are_refused(options, error, message):
    with pytest.raises(error, match=message):
        run_sharded(mains.return_index, **options)


def test_driver_object_is_refused():
    driver = ScriptedDriver()
    with pytest.raises(TypeError, match="each shard opens its own"):
        run_sharded(mains.return_index, driver=driver)
    driver.close()


def test_coroutine_object_is_refused():
    with pytest.raises(TypeError, match="without the parentheses"):
        run_sharded(mains.return_index())


# What shards are given.


def test_listener_given_to_all_shards_is_shared(kind, run):
    async def open_one():
        return await uringtrio.open_tcp_listeners(0, host="127.0.0.1")

    listeners = run(open_one)
    address = listeners[0].socket.getsockname()
    results = []
    server = threading.Thread(
        target=lambda: results.append(run_sharded(mains.echo_once, listeners, shards=2, kind=kind))
    )
    server.start()

    async def ask(nursery_size):
        async def one():
            async with await uringtrio.open_tcp_stream(*address) as stream:
                await stream.send_all(b"hello")
                assert await stream.receive_some() == b"hello"

        # Each shard ends after one connection; the queue is common to both.
        for _ in range(nursery_size):
            await one()

    run(ask, 2)
    server.join()
    assert results == [[0, 1]]
    listeners[0].socket.close()


def test_port_is_shared_by_default_in_shards_and_not_elsewhere(run_two, run):
    async def find_port():
        (listener,) = await uringtrio.open_tcp_listeners(0, host="127.0.0.1")
        async with listener:
            with pytest.raises(OSError, match="cannot listen"):
                await uringtrio.open_tcp_listeners(
                    listener.socket.getsockname()[1], host="127.0.0.1"
                )
            return listener.socket.getsockname()[1]

    assert run_two(mains.listen_on, run(find_port)) == [1, 1]


def test_accepted_connection_is_given_to_a_shard(kind):
    """What one process accepts, another one can answer."""
    ours, theirs = uringtrio.socket.socketpair()
    with ours:
        stream = uringtrio.SocketStream(theirs)
        run_sharded(mains.say, stream, b"hello", shards=1, kind=kind)
        theirs.close()

        async def hear():
            return await uringtrio.SocketStream(ours).receive_some()

        assert uringtrio.run(hear) == b"0:hello"


def test_requests_in_flight_are_answered_within_the_grace(kind, tmp_path, run):
    """A graceful end: no new clients, idle ones are left, and answers that were begun come."""
    address_file = tmp_path / "address"
    failures = []

    def serve():
        try:
            run_sharded(
                mains.fail_after_drain, str(tmp_path), str(address_file), shards=2, kind=kind
            )
        except ExceptionGroup as group:
            failures.append(group)

    thread = threading.Thread(target=serve)
    thread.start()

    async def ask():
        while not address_file.exists() or not address_file.read_text():
            await uringtrio.sleep(0.01)
        port = int(address_file.read_text())
        async with await uringtrio.open_tcp_stream("127.0.0.1", port) as idle:
            async with await uringtrio.open_tcp_stream("127.0.0.1", port) as stream:
                await stream.send_all(b"question")
                assert await stream.receive_some() == b"answer"
                assert await stream.receive_some() == b""
            assert await idle.receive_some() == b""

    run(ask)
    thread.join()
    assert names(tmp_path, "drained") == ["drained0"]
    assert [str(error) for error in failures[0].exceptions] == ["stop"]
