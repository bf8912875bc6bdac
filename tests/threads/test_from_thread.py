"""Worker threads, and others, call back into the run."""

import contextlib
import contextvars
import gc
import os
import signal
import threading
import weakref

import outcome
import pytest
import sniffio

import uringtrio
from uringtrio import from_thread, lowlevel, to_thread

LIMIT_SECONDS = 10.0


async def in_foreign_thread(fn):
    """Return or raise what `fn` does in a thread that the runtime knows nothing of."""
    done = uringtrio.Event()
    token = lowlevel.current_trio_token()
    results = []

    def call():
        results.append(outcome.capture(fn))
        token.run_sync_soon(done.set)

    thread = threading.Thread(target=call)
    thread.start()
    await done.wait()
    thread.join(LIMIT_SECONDS)
    return results[0].unwrap()


async def current_task():
    await lowlevel.checkpoint()
    return lowlevel.current_task()


# In the task that waits.


def test_result_comes_back_from_the_thread_of_the_run(run):
    async def async_double(x):
        await lowlevel.checkpoint()
        return 2 * x, threading.current_thread()

    def double(x):
        return 2 * x, threading.current_thread()

    def call():
        return from_thread.run(async_double, 1), from_thread.run_sync(double, 2)

    async def main():
        return await to_thread.run_sync(call)

    here = threading.current_thread()
    assert run(main) == ((2, here), (4, here))


@pytest.mark.parametrize("error", [ValueError(), StopIteration(), KeyboardInterrupt()])
def test_error_comes_out_unchanged(run, error):
    def fail():
        raise error

    def call():
        with pytest.raises(type(error)) as caught:
            from_thread.run_sync(fail)
        assert caught.value is error

    async def main():
        await to_thread.run_sync(call)

    run(main)


def test_error_of_async_function_comes_out_unchanged(run):
    error = KeyError()

    async def fail():
        await lowlevel.checkpoint()
        raise error

    def call():
        with pytest.raises(KeyError) as caught:
            from_thread.run(fail)
        assert caught.value is error

    async def main():
        await to_thread.run_sync(call)

    run(main)


@pytest.mark.parametrize("abandon_on_cancel", [False, True])
def test_error_leaves_no_cycle(run, abandon_on_cancel):
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

    async def async_fail():
        await lowlevel.checkpoint()
        fail()

    def call():
        with contextlib.suppress(MarkedError):
            from_thread.run_sync(fail)
        with contextlib.suppress(MarkedError):
            from_thread.run(async_fail)

    async def main():
        await to_thread.run_sync(call, abandon_on_cancel=abandon_on_cancel)

    gc.disable()
    try:
        run(main)
        assert [ref() for ref in refs] == [None, None]
    finally:
        gc.enable()


def test_functions_run_in_the_task_that_waits(run):
    def call():
        return from_thread.run(current_task), from_thread.run_sync(lowlevel.current_task)

    async def main():
        task = lowlevel.current_task()
        assert await to_thread.run_sync(call) == (task, task)

    run(main)


def test_functions_run_in_the_scopes_of_the_task(run):
    async def sleep():
        with pytest.raises(uringtrio.Cancelled):
            await uringtrio.sleep_forever()
        await lowlevel.checkpoint()

    def call():
        with pytest.raises(uringtrio.Cancelled):
            from_thread.run(sleep)
        return "the thread goes on"

    async def main():
        with uringtrio.CancelScope() as scope:
            scope.cancel()
            with uringtrio.CancelScope(shield=True) as shield:

                def cancel():
                    shield.shield = False

                def unshield_and_call():
                    from_thread.run_sync(cancel)
                    return call()

                result = await to_thread.run_sync(unshield_and_call)
        assert not scope.cancelled_caught
        return result

    assert run(main) == "the thread goes on"


def test_functions_see_the_workers_context_and_change_neither_side(run):
    variable = contextvars.ContextVar("variable")

    def get_and_set():
        seen = variable.get()
        variable.set("visit")
        return seen, sniffio.current_async_library()

    async def async_get_and_set():
        await lowlevel.checkpoint()
        result = get_and_set()
        await lowlevel.checkpoint()
        assert variable.get() == "visit"
        return result

    def call():
        variable.set("worker")
        seen = from_thread.run_sync(get_and_set), from_thread.run(async_get_and_set)
        with pytest.raises(sniffio.AsyncLibraryNotFoundError):
            sniffio.current_async_library()
        return *seen, variable.get()

    async def main():
        variable.set("task")
        context = lowlevel.current_task().context
        seen = await to_thread.run_sync(call)
        assert lowlevel.current_task().context is context
        return *seen, variable.get()

    visit = ("worker", "uringtrio")
    assert run(main) == (visit, visit, "worker", "task")


def test_ping_pong_to_any_depth(run):
    def down(depth):
        return depth if depth == 0 else 1 + from_thread.run(up, depth - 1)

    async def up(depth):
        return await to_thread.run_sync(down, depth)

    async def main():
        return await up(10)

    assert run(main) == 10


def test_many_threads_in_and_out_do_not_block_each_other(run):
    async def child():
        for _ in range(50):
            await to_thread.run_sync(from_thread.run, uringtrio.sleep, 0)

    async def main():
        async with uringtrio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(child)

    run(main)


def test_nurseries_of_the_visit_close_before_it_returns(run, record):
    async def child():
        await lowlevel.checkpoint()
        record("child")

    async def visit():
        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(child)

    def call():
        from_thread.run(visit)
        record("thread")

    async def main():
        await to_thread.run_sync(call)

    run(main)
    assert record.events == ["child", "thread"]


# Beside the task that waits.


def test_call_that_can_be_abandoned_runs_in_a_task_of_its_own(run):
    def call():
        return from_thread.run(current_task), from_thread.run_sync(threading.current_thread)

    async def main():
        task, thread = await to_thread.run_sync(call, abandon_on_cancel=True)
        assert task is not lowlevel.current_task()
        assert task.name.endswith("current_task")
        return thread

    assert run(main) is threading.current_thread()


def test_token_of_the_run_makes_a_task_of_its_own(run):
    async def main():
        token = lowlevel.current_trio_token()

        def call():
            return from_thread.run(current_task, trio_token=token)

        here = lowlevel.current_task()
        assert await to_thread.run_sync(call) is not here
        assert await in_foreign_thread(call) is not here

    run(main)


def test_foreign_thread_with_a_token_gets_results_and_errors(run):
    variable = contextvars.ContextVar("variable", default=None)

    async def main():
        token = lowlevel.current_trio_token()

        async def async_look():
            await lowlevel.checkpoint()
            return variable.get()

        def call():
            variable.set("foreign")
            with pytest.raises(ZeroDivisionError):
                from_thread.run_sync(divmod, 1, 0, trio_token=token)
            return (
                from_thread.run_sync(variable.get, trio_token=token),
                from_thread.run(async_look, trio_token=token),
            )

        return await in_foreign_thread(call)

    assert run(main) == ("foreign", "foreign")


def test_abandoned_thread_can_still_call_into_the_run(run):
    async def main():
        answers = []
        done = uringtrio.Event()
        gate = threading.Event()

        def call():
            from_thread.run_sync(scope.cancel)
            assert gate.wait(LIMIT_SECONDS)
            answers.append(from_thread.run_sync(int))
            answers.append(from_thread.run(answer))
            from_thread.run_sync(done.set)

        async def answer():
            await lowlevel.checkpoint()
            return 1

        with uringtrio.CancelScope() as scope:
            await to_thread.run_sync(call, abandon_on_cancel=True)
        assert scope.cancelled_caught
        gate.set()
        await done.wait()
        return answers

    assert run(main) == [0, 1]


# The end of a run.


def test_call_into_a_finished_run_is_refused(run):
    async def main():
        return lowlevel.current_trio_token()

    token = run(main)

    with pytest.raises(uringtrio.RunFinishedError):
        from_thread.run_sync(int, trio_token=token)
    with pytest.raises(uringtrio.RunFinishedError):
        from_thread.run(uringtrio.sleep, 0, trio_token=token)


def test_end_of_the_run_cancels_what_runs_for_a_foreign_thread(run, record):
    threads = []

    async def main():
        token = lowlevel.current_trio_token()
        started = uringtrio.Event()

        async def sleep():
            started.set()
            await uringtrio.sleep_forever()

        def call():
            try:
                from_thread.run(sleep, trio_token=token)
            except uringtrio.Cancelled:
                record("cancelled")

        threads.append(threading.Thread(target=call))
        threads[0].start()
        await started.wait()

    run(main)
    threads[0].join(LIMIT_SECONDS)
    assert record.events == ["cancelled"]


def test_run_that_is_ending_takes_no_new_tasks(run, record):
    async def last_words(token):
        try:
            await uringtrio.sleep_forever()
        finally:
            with uringtrio.CancelScope(shield=True):
                with pytest.raises(uringtrio.RunFinishedError):
                    await to_thread.run_sync(late_call, token)
                record("refused")
                # The task that waits is there, though.
                await to_thread.run_sync(from_thread.run, lowlevel.checkpoint)
                record("served")

    def late_call(token):
        while True:
            # Until the system nursery has been cancelled and its last task has ended.
            from_thread.run(lowlevel.checkpoint, trio_token=token)

    async def main():
        token = lowlevel.current_trio_token()
        async_generator = hold(token)
        await async_generator.asend(None)
        kept.append(async_generator)

    async def hold(token):
        try:
            yield
        finally:
            await last_words_now(token)

    async def last_words_now(token):
        with uringtrio.CancelScope() as scope:
            scope.cancel()
            await last_words(token)

    kept = []
    run(main)
    assert record.events == ["refused", "served"]


# Cancellation, seen from the thread.


@pytest.mark.parametrize("abandon_on_cancel", [False, True])
def test_check_cancelled_raises_once_the_task_was_cancelled(run, abandon_on_cancel):
    async def main():
        checked = uringtrio.Event()
        gate = threading.Event()
        seen = []

        def call():
            from_thread.check_cancelled()
            from_thread.run_sync(checked.set)
            assert gate.wait(LIMIT_SECONDS)
            try:
                from_thread.check_cancelled()
            except uringtrio.Cancelled as exc:
                seen.append(exc.reason)
                raise
            finally:
                token.run_sync_soon(ended.set)

        async def child():
            with scope:
                await to_thread.run_sync(call, abandon_on_cancel=abandon_on_cancel)

        token = lowlevel.current_trio_token()
        scope = uringtrio.CancelScope()
        ended = uringtrio.Event()
        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(child)
            await checked.wait()
            await lowlevel.checkpoint()
            scope.cancel(reason="enough")
            gate.set()
        await ended.wait()
        assert scope.cancelled_caught
        return seen

    assert run(main) == ["enough"]


def test_check_cancelled_tells_only_of_what_came_since_the_last_visit(run):
    async def main():
        gate = threading.Event()
        ready = uringtrio.Event()

        def shield():
            inner.shield = True

        def call():
            from_thread.run_sync(ready.set)
            assert gate.wait(LIMIT_SECONDS)
            with pytest.raises(uringtrio.Cancelled):
                from_thread.check_cancelled()
            from_thread.run_sync(shield)
            from_thread.check_cancelled()
            return "not cancelled any more"

        async def cancel():
            await ready.wait()
            await lowlevel.checkpoint()
            outer.cancel()
            gate.set()

        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(cancel)
            with uringtrio.CancelScope() as outer:
                with uringtrio.CancelScope() as inner:
                    return await to_thread.run_sync(call)

    assert run(main) == "not cancelled any more"


def test_check_cancelled_needs_a_worker_of_to_thread(run):
    with pytest.raises(RuntimeError, match=r"to_thread\.run_sync"):
        from_thread.check_cancelled()

    async def main():
        with pytest.raises(RuntimeError, match=r"to_thread\.run_sync"):
            await in_foreign_thread(from_thread.check_cancelled)

    run(main)


# KeyboardInterrupt.


@pytest.mark.parametrize("with_token", [False, True])
@pytest.mark.parametrize("is_async", [False, True])
def test_interrupt_is_raised_in_the_function_and_goes_to_the_thread(
    run, record, with_token, is_async
):
    def interrupt():
        os.kill(os.getpid(), signal.SIGINT)
        record("not reached")

    async def async_interrupt():
        interrupt()

    into_run = from_thread.run if is_async else from_thread.run_sync
    fn = async_interrupt if is_async else interrupt

    async def main():
        token = lowlevel.current_trio_token() if with_token else None

        def call():
            with pytest.raises(KeyboardInterrupt):
                into_run(fn, trio_token=token)
            record("thread has it")

        await to_thread.run_sync(call)

    run(main)
    assert record.events == ["thread has it"]


# Misuse.


def test_wrong_kind_of_function_is_refused_with_the_right_call(run):
    async def async_fn():
        pass

    def sync_fn():
        pass

    def call():
        with pytest.raises(TypeError, match=r"appears to be asynchronous.*from_thread\.run\("):
            from_thread.run_sync(async_fn)
        with pytest.raises(TypeError, match=r"appears to be synchronous.*from_thread\.run_sync\("):
            from_thread.run(sync_fn)
        with pytest.raises(TypeError, match="without the parentheses"):
            from_thread.run(async_fn())

    async def main():
        await to_thread.run_sync(call)

    run(main)


def test_own_thread_of_the_run_would_wait_for_itself(run):
    async def main():
        token = lowlevel.current_trio_token()
        for trio_token in (None, token):
            with pytest.raises(RuntimeError, match="blocking function"):
                from_thread.run_sync(int, trio_token=trio_token)
            with pytest.raises(RuntimeError, match="blocking function"):
                from_thread.run(uringtrio.sleep, 0, trio_token=trio_token)

    run(main)


def test_foreign_thread_needs_a_token(run):
    async def main():
        with pytest.raises(RuntimeError, match="trio_token"):
            await in_foreign_thread(lambda: from_thread.run_sync(int))
        with pytest.raises(RuntimeError, match="current_trio_token"):
            await in_foreign_thread(lambda: from_thread.run_sync(int, trio_token="no token"))

    run(main)
