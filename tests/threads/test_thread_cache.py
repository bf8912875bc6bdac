"""Reusable worker threads; mirrors `_thread_cache.py`."""

import queue
import threading

import pytest

from uringtrio import _thread_cache
from uringtrio._thread_cache import start_thread_soon


def call(fn, name=None):
    answers = queue.SimpleQueue()
    start_thread_soon(fn, answers.put, name)
    return answers.get(timeout=10)


def test_result_and_error_are_delivered():
    assert call(lambda: 5).unwrap() == 5
    with pytest.raises(LookupError):
        call(lambda: {}["nothing"]).unwrap()


def test_result_is_delivered_in_the_worker_itself():
    threads = queue.SimpleQueue()
    start_thread_soon(threading.current_thread, lambda result: threads.put(result.unwrap()))
    worker = threads.get(timeout=10)

    assert worker is not threading.current_thread()
    assert worker.daemon


def test_chain_of_jobs_runs_in_one_thread():
    done = queue.SimpleQueue()

    def deliver(result, left=5, seen=()):
        seen = (*seen, result.unwrap())
        if left:
            start_thread_soon(
                threading.current_thread, lambda result: deliver(result, left - 1, seen)
            )
        else:
            done.put(seen)

    start_thread_soon(threading.current_thread, deliver)

    assert len(set(done.get(timeout=10))) == 1


def test_jobs_that_block_get_threads_of_their_own():
    barrier = threading.Barrier(5, timeout=10)
    done = queue.SimpleQueue()
    for _ in range(5):
        start_thread_soon(barrier.wait, done.put)

    # Each waits for all others, so five run at once.
    assert sorted(done.get(timeout=10).unwrap() for _ in range(5)) == list(range(5))


def test_thread_bears_the_name_during_the_job_only():
    names = queue.SimpleQueue()

    def look():
        names.put(threading.current_thread().name)
        return threading.current_thread()

    thread = call(look, "the name").unwrap()

    assert names.get() == "the name"
    assert thread.name.startswith("Trio thread")


def test_idle_thread_ends_after_a_while():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_thread_cache, "IDLE_SECONDS", 0.001)
        patch.setattr(_thread_cache, "_idle_workers", {})
        thread = call(threading.current_thread).unwrap()
        thread.join(10)

        assert not thread.is_alive()
        assert _thread_cache._idle_workers == {}


def test_worker_keeps_nothing_of_the_last_job():
    class Marked:
        alive = 0

        def __init__(self):
            Marked.alive += 1

        def __del__(self):
            Marked.alive -= 1

        def __call__(self):
            return None

    call(Marked())
    # The worker may still be on its way from delivering to waiting.
    for _ in range(1000):
        if not Marked.alive:
            break
        call(int)

    assert Marked.alive == 0
