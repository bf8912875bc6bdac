"""Worker threads are used again, end when idle, and outlive whatever happens to them."""

import contextvars
import functools
import os
import queue
import threading
import time
import weakref
from pathlib import Path

import pytest

from uringtrio import _thread_cache
from uringtrio._thread_cache import start_thread_soon

LIMIT_SECONDS = 10.0


@pytest.fixture(autouse=True)
def fresh_cache():
    """Begin without idle workers, and give those of other tests back."""
    idle = _thread_cache._idle_workers
    before = dict(idle)
    idle.clear()
    yield
    idle.update(before)


class Results:
    """Collects what `deliver` is given."""

    def __init__(self):
        self._queue = queue.Queue()

    def deliver(self, result):
        self._queue.put((result, threading.current_thread()))

    def get(self):
        return self._queue.get(timeout=LIMIT_SECONDS)


def test_result_is_delivered_in_the_worker():
    results = Results()
    threads = []

    def job():
        threads.append(threading.current_thread())
        return 5

    start_thread_soon(job, results.deliver)
    result, thread = results.get()

    assert result.unwrap() == 5
    assert threads == [thread]
    assert thread is not threading.main_thread()
    assert thread.daemon


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt(), SystemExit(3)])
def test_error_is_delivered(error):
    results = Results()

    def job():
        raise error

    start_thread_soon(job, results.deliver)
    result, _ = results.get()
    with pytest.raises(type(error)) as caught:
        result.unwrap()
    assert caught.value is error


def test_idle_worker_is_used_again():
    results = Results()
    start_thread_soon(lambda: None, results.deliver)
    _, first = results.get()
    start_thread_soon(lambda: None, results.deliver)
    _, second = results.get()

    assert first is second


def test_job_started_while_delivering_runs_in_the_same_thread():
    results = Results()

    def chain(result):
        start_thread_soon(lambda: None, results.deliver)
        results.deliver(result)

    start_thread_soon(lambda: None, chain)
    (_, first), (_, second) = results.get(), results.get()

    assert first is second


def test_last_worker_to_become_idle_is_used_first():
    results = Results()
    gates = [threading.Event() for _ in range(3)]
    for gate in gates:
        start_thread_soon(functools.partial(gate.wait, LIMIT_SECONDS), results.deliver)
    for gate in (gates[2], gates[0], gates[1]):
        gate.set()
        _, last = results.get()
    used = set()
    for _ in range(5):
        start_thread_soon(lambda: None, results.deliver)
        used.add(results.get()[1])

    assert used == {last}


def test_busy_workers_are_not_shared():
    results = Results()
    barrier = threading.Barrier(5)
    for _ in range(5):
        start_thread_soon(lambda: barrier.wait(LIMIT_SECONDS), results.deliver)
    threads = {results.get()[1] for _ in range(5)}

    assert len(threads) == 5


def test_name_is_the_jobs_while_it_runs():
    results = Results()
    start_thread_soon(lambda: threading.current_thread().name, results.deliver, "the job")
    result, thread = results.get()

    assert result.unwrap() == "the job"
    assert thread.name.startswith("Trio thread ")


@pytest.mark.skipif(_thread_cache._prctl is None, reason="the system has no prctl")
@pytest.mark.parametrize(
    ("name", "shown"),
    [("the job", "the job"), ("more than fifteen bytes", "more than fifte"), ("\xe9", "?")],
)
def test_system_shows_the_first_bytes_of_the_name_while_the_job_runs(name, shown):
    results = Results()

    def name_in_the_system():
        path = f"/proc/self/task/{threading.get_native_id()}/comm"
        return path, Path(path).read_text().rstrip("\n")

    start_thread_soon(name_in_the_system, results.deliver, name)
    result, thread = results.get()
    path, during = result.unwrap()

    assert during == shown
    assert Path(path).read_text().rstrip("\n") == thread.name[:15]


def test_job_sees_no_context_variables_of_the_caller():
    variable = contextvars.ContextVar("variable")
    results = Results()

    def start():
        variable.set("the caller's")
        start_thread_soon(lambda: list(contextvars.copy_context()), results.deliver)

    contextvars.copy_context().run(start)
    result, _ = results.get()

    assert result.unwrap() == []


def test_idle_worker_ends_after_a_while(monkeypatch):
    monkeypatch.setattr(_thread_cache, "IDLE_SECONDS", 0.01)
    results = Results()
    start_thread_soon(lambda: None, results.deliver)
    _, thread = results.get()
    thread.join(LIMIT_SECONDS)

    assert not thread.is_alive()
    assert _thread_cache._idle_workers == {}


def test_jobs_that_race_with_the_end_of_idle_workers_all_run(monkeypatch):
    monkeypatch.setattr(_thread_cache, "IDLE_SECONDS", 0.0001)
    results = Results()
    for i in range(500):
        start_thread_soon(lambda i=i: i, results.deliver)
        assert results.get()[0].unwrap() == i
        if i % 10 == 0:
            time.sleep(0.0001)  # So that the race goes either way.


@pytest.mark.parametrize("error", [ValueError, SystemExit, KeyboardInterrupt])
def test_error_in_deliver_loses_no_later_job(error, capsys, monkeypatch):
    """The worker died of it, but was idle already: the next job was given to the dead."""
    monkeypatch.setattr(threading, "excepthook", lambda _args: None)
    results = Results()
    delivered = threading.Event()

    def deliver(_result):
        delivered.set()
        raise error("deliver must not raise")

    start_thread_soon(lambda: None, deliver)
    assert delivered.wait(LIMIT_SECONDS)
    for _ in range(10):
        start_thread_soon(lambda: 5, results.deliver)
        assert results.get()[0].unwrap() == 5
    assert "deliver must not raise" in capsys.readouterr().err


def test_forked_child_has_workers_of_its_own():
    """Idle workers were still listed in a child, where their threads do not exist."""
    results = Results()
    start_thread_soon(lambda: None, results.deliver)
    results.get()
    pid = os.fork()
    if pid == 0:
        done = threading.Event()
        start_thread_soon(lambda: None, lambda _result: done.set())
        os._exit(0 if done.wait(LIMIT_SECONDS) else 1)

    assert os.waitpid(pid, 0)[1] == 0


def test_refused_thread_is_an_error_and_leaves_nothing(monkeypatch):
    def refuse(_self):
        raise RuntimeError("can't start new thread")

    results = Results()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError, match="can't start new thread"):
            start_thread_soon(lambda: None, results.deliver)

    assert _thread_cache._idle_workers == {}
    start_thread_soon(lambda: 5, results.deliver)
    assert results.get()[0].unwrap() == 5


def test_nothing_of_a_job_is_kept_alive_by_an_idle_worker():
    class Big:
        pass

    results = Results()
    big = Big()
    gone = weakref.ref(big)
    start_thread_soon(functools.partial(id, big), results.deliver)
    del big
    results.get()
    end = time.monotonic() + LIMIT_SECONDS
    while gone() is not None and time.monotonic() < end:
        time.sleep(0.001)

    assert gone() is None
