"""A task waits for a blocking function in a worker thread."""

import contextlib
import contextvars
import functools
import gc
import os
import signal
import threading
import time
import weakref

import pytest
import sniffio

import uringtrio
from uringtrio import _thread_cache, from_thread, lowlevel, to_thread

LIMIT_SECONDS = 10.0


class RecordingLimiter:
    """A limiter that says what is asked of it, and may refuse to take a token back."""

    def __init__(self, record, error=None):
        self.record = record
        self.error = error
        self.borrowers = []
        self.released = threading.Event()

    async def acquire_on_behalf_of(self, borrower):
        self.record("acquire")
        self.borrowers.append(borrower)

    def release_on_behalf_of(self, borrower):
        self.record("release")
        assert borrower in self.borrowers
        self.released.set()
        if self.error is not None:
            raise self.error


def test_result_of_the_call_comes_back_from_another_thread(run):
    def call(*args):
        return args, threading.current_thread()

    async def main():
        return await to_thread.run_sync(call, 1, "two")

    args, thread = run(main)

    assert args == (1, "two")
    assert thread is not threading.current_thread()
    assert thread.daemon


def test_error_comes_out_unchanged(run):
    error = LookupError()

    def fail():
        raise error

    async def main():
        with pytest.raises(LookupError) as caught:
            await to_thread.run_sync(fail)
        assert caught.value is error
        assert error.__context__ is None
        return [entry.name for entry in caught.traceback]

    assert run(main)[-1] == "fail"


def test_stop_iteration_is_not_lost(run):
    async def main():
        with pytest.raises(RuntimeError) as caught:
            # No coroutine can raise a StopIteration; Python wraps it.
            await to_thread.run_sync(next, iter(()))
        return type(caught.value.__cause__)

    assert run(main) is StopIteration


def test_error_leaves_no_cycle(run):
    class MarkedError(Exception):
        pass

    refs = []

    def fail():
        error = MarkedError()
        refs.append(weakref.ref(error))
        try:
            raise error
        finally:
            del error

    async def main():
        with contextlib.suppress(MarkedError):
            await to_thread.run_sync(fail)
        # The worker may still be on its way from delivering to waiting.
        await to_thread.run_sync(int)

    gc.disable()
    try:
        run(main)
        assert refs[0]() is None
    finally:
        gc.enable()


def test_others_run_while_the_thread_works(run, record):
    async def main():
        gate = threading.Event()

        async def call():
            await to_thread.run_sync(gate.wait, LIMIT_SECONDS)
            record("thread")

        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(call)
            await lowlevel.checkpoint()
            record("task")
            gate.set()

    run(main)
    assert record.events == ["task", "thread"]


# Cancellation.


@pytest.mark.parametrize("abandon_on_cancel", [False, True])
def test_cancelled_before_starts_no_thread(run, record, abandon_on_cancel):
    async def main():
        with uringtrio.CancelScope() as scope:
            scope.cancel()
            await to_thread.run_sync(
                record,
                "called",
                abandon_on_cancel=abandon_on_cancel,
                limiter=RecordingLimiter(record),
            )
        assert scope.cancelled_caught

    run(main)
    assert record.events == []


def test_cancelled_while_waiting_for_a_token_starts_no_thread(run, record):
    async def main():
        limiter = uringtrio.CapacityLimiter(1)
        await limiter.acquire()
        with uringtrio.CancelScope() as scope:
            async with uringtrio.open_nursery() as nursery:
                nursery.start_soon(
                    functools.partial(to_thread.run_sync, record, "called", limiter=limiter)
                )
                await lowlevel.checkpoint()
                scope.cancel()
        assert limiter.statistics().tasks_waiting == 0
        limiter.release()

    run(main)
    assert record.events == []


def test_cancelled_call_goes_on_to_its_end(run):
    async def main():
        with uringtrio.CancelScope() as scope:

            def call():
                from_thread.run_sync(scope.cancel)
                return "result"

            result = await to_thread.run_sync(call)
            assert scope.cancel_called
        assert not scope.cancelled_caught
        return result

    assert run(main) == "result"


def test_abandoned_call_is_left_to_its_thread_and_keeps_its_token_until_then(run, record):
    async def main():
        gate, ended = threading.Event(), uringtrio.Event()
        token = lowlevel.current_trio_token()
        limiter = uringtrio.CapacityLimiter(1)
        with uringtrio.CancelScope() as scope:

            def call():
                from_thread.run_sync(scope.cancel)
                assert gate.wait(LIMIT_SECONDS)
                record("thread ends")
                token.run_sync_soon(ended.set)
                raise ValueError("nobody sees this")

            await to_thread.run_sync(call, abandon_on_cancel=True, limiter=limiter)
        assert scope.cancelled_caught
        record("task goes on")
        assert limiter.borrowed_tokens == 1
        gate.set()
        await ended.wait()
        while limiter.borrowed_tokens:
            await lowlevel.checkpoint()

    run(main)
    assert record.events == ["task goes on", "thread ends"]


def test_thread_that_outlives_its_run_disturbs_nobody(run, record, capfd):
    gate = threading.Event()
    limiter = RecordingLimiter(record)
    threads = []

    async def main():
        with uringtrio.CancelScope() as scope:

            def call():
                threads.append(threading.current_thread())
                from_thread.run_sync(scope.cancel)
                gate.wait(LIMIT_SECONDS)

            await to_thread.run_sync(call, abandon_on_cancel=True, limiter=limiter)

    run(main)
    gate.set()

    # The cache hands out the worker that became idle last. Once it does its next job, what it had
    # to do for the abandoned one is done.
    give_up = time.monotonic() + LIMIT_SECONDS
    while threads[0] not in {worker._thread for worker in list(_thread_cache._idle_workers)}:
        assert time.monotonic() < give_up
        time.sleep(0.001)
    assert run(to_thread.run_sync, threading.current_thread) is threads[0]

    assert record.events == ["acquire"]
    assert capfd.readouterr() == ("", "")


def test_truth_of_abandon_on_cancel_is_asked_before_the_call(run, record):
    class NoBool:
        def __bool__(self):
            raise NotImplementedError

    async def main():
        with pytest.raises(NotImplementedError):
            await to_thread.run_sync(record, "called", abandon_on_cancel=NoBool())

    run(main)
    assert record.events == []


def test_keyboard_interrupt_waits_for_the_thread(run):
    async def main():
        def call():
            from_thread.run_sync(os.kill, os.getpid(), signal.SIGINT)
            return "never seen"

        await to_thread.run_sync(call)

    with pytest.raises(KeyboardInterrupt):
        run(main)


# The limiter.


def test_default_limiter_belongs_to_the_run_and_has_40_tokens():
    async def main():
        limiter = to_thread.current_default_thread_limiter()
        assert limiter is to_thread.current_default_thread_limiter()
        assert limiter.total_tokens == 40
        assert await to_thread.run_sync(lambda: limiter.borrowed_tokens) == 1
        assert limiter.borrowed_tokens == 0
        return limiter

    assert uringtrio.run(main) is not uringtrio.run(main)
    with pytest.raises(RuntimeError, match="run"):
        to_thread.current_default_thread_limiter()


@pytest.mark.parametrize("is_default", [False, True])
def test_no_more_threads_than_tokens(run, is_default):
    async def main():
        if is_default:
            limiter = to_thread.current_default_thread_limiter()
            limiter.total_tokens = 3
        else:
            limiter = uringtrio.CapacityLimiter(3)
        barrier = threading.Barrier(3)
        lock = threading.Lock()
        running = []
        most = []

        def call():
            with lock:
                running.append(1)
                most.append(len(running))
            # Three do run at the same time.
            barrier.wait(LIMIT_SECONDS)
            with lock:
                running.pop()

        async with uringtrio.open_nursery() as nursery:
            for _ in range(9):
                nursery.start_soon(
                    functools.partial(
                        to_thread.run_sync, call, limiter=None if is_default else limiter
                    )
                )
        assert limiter.borrowed_tokens == 0
        return max(most)

    assert run(main) == 3


def test_anything_with_the_two_methods_is_a_limiter(run, record):
    limiter = RecordingLimiter(record)

    async def main():
        await to_thread.run_sync(record, "call", limiter=limiter)

    run(main)
    assert record.events == ["acquire", "call", "release"]


def test_each_call_is_a_borrower_of_its_own(run, record):
    limiter = RecordingLimiter(record)

    async def main():
        # The same task calls within its own call.
        await to_thread.run_sync(from_thread.run, call, limiter=limiter)
        return lowlevel.current_task()

    async def call():
        await to_thread.run_sync(int, limiter=limiter)

    task = run(main)

    assert len(set(limiter.borrowers)) == 2
    assert task not in limiter.borrowers
    assert "run_sync" in repr(limiter.borrowers[0])


@pytest.mark.parametrize("own_error", [None, KeyError("the function's")])
def test_error_of_release_goes_before_the_result(run, record, own_error):
    limiter = RecordingLimiter(record, error=ValueError("release"))

    def call():
        if own_error is not None:
            raise own_error
        return "result"

    async def main():
        with pytest.raises(ValueError, match="release") as caught:
            await to_thread.run_sync(call, limiter=limiter)
        assert caught.value.__context__ is own_error

    run(main)
    assert record.events == ["acquire", "release"]


def test_thread_that_cannot_start_gives_its_token_back(run, monkeypatch):
    def refuse(*_args):
        raise RuntimeError("can't start new thread")

    async def main():
        monkeypatch.setattr("uringtrio._threads.to_thread.start_thread_soon", refuse)
        with pytest.raises(RuntimeError, match="can't start new thread"):
            await to_thread.run_sync(int)
        return to_thread.current_default_thread_limiter().borrowed_tokens

    assert run(main) == 0


# What the thread looks like from inside.


def test_thread_is_named_for_function_and_task_during_the_call(run):
    def name_it():
        return threading.current_thread().name

    async def main():
        lowlevel.current_task().name = "the task"
        return (
            await to_thread.run_sync(name_it),
            await to_thread.run_sync(functools.partial(name_it)),
            await to_thread.run_sync(name_it, thread_name="its own"),
            (await to_thread.run_sync(threading.current_thread)).name,
        )

    of_function, of_partial, given, afterwards = run(main)

    assert of_function == "name_it from the task"
    assert of_partial == "None from the task"
    assert given == "its own"
    assert afterwards.startswith("Trio thread ")


def test_context_variables_go_in_and_not_out(run):
    variable = contextvars.ContextVar("variable")

    def call():
        seen = variable.get()
        variable.set("worker")
        return seen, variable.get()

    async def main():
        variable.set("task")
        return await to_thread.run_sync(call), variable.get()

    assert run(main) == (("task", "worker"), "task")


def test_worker_lets_go_of_function_arguments_and_context_before_the_result(run):
    class Marked:
        def __call__(self, _argument):
            pass

    variable = contextvars.ContextVar("variable")

    async def main():
        marked = [Marked(), Marked(), Marked()]
        refs = [weakref.ref(thing) for thing in marked]
        variable.set(marked[2])
        await to_thread.run_sync(marked[0], marked[1])
        variable.set(None)
        marked.clear()
        return [ref() for ref in refs]

    assert run(main) == [None, None, None]


def test_there_is_no_async_library_in_the_worker(run):
    def call():
        with pytest.raises(sniffio.AsyncLibraryNotFoundError):
            sniffio.current_async_library()

    async def main():
        library = sniffio.current_async_library()
        await to_thread.run_sync(call)
        # As another library's task would have set it.
        sniffio.current_async_library_cvar.set("asyncio")
        await to_thread.run_sync(call)
        assert sniffio.current_async_library_cvar.get() == "asyncio"
        return library

    assert run(main) == "uringtrio"


# Misuse.


def test_async_function_is_refused_with_the_right_call(run):
    async def async_fn():
        pass

    async def main():
        with pytest.raises(TypeError, match=r"expected a sync function.* `await .*async_fn"):
            await to_thread.run_sync(async_fn)

    run(main)


def test_what_cannot_be_called_is_refused_with_the_right_call(run):
    async def main():
        with pytest.raises(TypeError, match=r"to_thread\.run_sync\(fn, \*args\)"):
            await to_thread.run_sync(0)
        assert to_thread.current_default_thread_limiter().borrowed_tokens == 0

    run(main)
