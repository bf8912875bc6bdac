"""One blocking call in a worker thread, awaited by a task."""

import threading
import time

import pytest

import uringtrio
from uringtrio._threads.hop import hop


def test_call_runs_in_another_thread_of_the_given_name():
    async def main():
        return await hop(threading.current_thread, name="the name"), threading.current_thread()

    there, here = uringtrio.run(main)

    assert there is not here
    assert there.daemon


def test_thread_bears_the_name_during_the_call_only():
    async def main():
        during = await hop(lambda: threading.current_thread().name, name="the name")
        thread = await hop(threading.current_thread, name="another")
        return during, thread

    during, thread = uringtrio.run(main)

    assert during == "the name"
    assert thread.name.startswith("Trio thread")


def test_error_comes_out_unchanged():
    error = LookupError()

    def fail():
        raise error

    async def main():
        with pytest.raises(LookupError) as caught:
            await hop(fail, name="fail")
        return caught.value

    assert uringtrio.run(main) is error


def test_others_run_while_the_thread_works():
    async def main():
        release = threading.Event()
        done = []

        async def wait_in_thread():
            await hop(lambda: release.wait(10), name="wait")
            done.append("thread")

        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(wait_in_thread)
            await uringtrio.sleep(0.01)
            done.append("task")
            release.set()
        return done

    assert uringtrio.run(main) == ["task", "thread"]


def test_cancelled_wait_leaves_the_thread_to_itself_and_drops_its_result():
    async def main():
        release = threading.Event()
        with uringtrio.move_on_after(0.01) as scope:
            await hop(lambda: release.wait(10), name="wait")
        assert scope.cancelled_caught
        release.set()
        # Its answer comes to nobody, and disturbs nobody.
        await uringtrio.sleep(0.02)

    uringtrio.run(main)


def test_thread_that_outlives_its_run_disturbs_nobody():
    release = threading.Event()

    async def main():
        with uringtrio.move_on_after(0.01):
            await hop(lambda: release.wait(10), name="wait")

    uringtrio.run(main)
    release.set()
    time.sleep(0.01)

    async def again():
        return await hop(lambda: "fine", name="again")

    assert uringtrio.run(again) == "fine"


def test_cancelled_before_the_call_starts_no_thread():
    calls = []

    async def main():
        with uringtrio.CancelScope() as scope:
            scope.cancel()
            await hop(lambda: calls.append(1), name="never")
        assert scope.cancelled_caught

    uringtrio.run(main)

    assert calls == []
