"""What `run` promises: results, errors, one run in a thread, turns in which all get their share."""

import asyncio
import contextlib
import gc
import random
import threading
import types

import pytest
import sniffio

import uringtrio
from uringtrio import lowlevel
from uringtrio._scheduler import loop


def test_run_returns_what_the_function_returns():
    async def add(a, b):
        return a + b

    assert uringtrio.run(add, 2, 3) == 5


def test_run_raises_what_the_function_raises_unwrapped_and_unchanged():
    error = KeyError("mine")

    async def fail():
        raise error

    with pytest.raises(KeyError) as caught:
        uringtrio.run(fail)

    assert caught.value is error
    assert caught.value.__context__ is None
    assert caught.value.__cause__ is None


def test_run_raises_base_exceptions_unwrapped():
    async def leave():
        raise SystemExit(3)

    with pytest.raises(SystemExit) as caught:
        uringtrio.run(leave)

    assert caught.value.code == 3


def test_run_works_again_after_a_run_that_failed():
    async def fail():
        raise LookupError

    async def succeed():
        await lowlevel.checkpoint()
        return "fine"

    for _ in range(3):
        with pytest.raises(LookupError):
            uringtrio.run(fail)

    assert uringtrio.run(succeed) == "fine"


def test_run_works_again_after_an_internal_error():
    async def crash():
        async def fail():
            raise ValueError

        lowlevel.spawn_system_task(fail)
        await uringtrio.sleep_forever()

    async def succeed():
        return "fine"

    with pytest.raises(uringtrio.TrioInternalError):
        uringtrio.run(crash)

    assert uringtrio.run(succeed) == "fine"


def test_nested_run_is_refused_and_the_outer_run_goes_on():
    async def inner():
        pass

    async def outer():
        with pytest.raises(RuntimeError, match=r"Attempted to call run\(\) from inside a run\(\)"):
            uringtrio.run(inner)
        await lowlevel.checkpoint()
        return "unharmed"

    assert uringtrio.run(outer) == "unharmed"


def test_runs_in_threads_are_independent():
    barrier = threading.Barrier(4, timeout=10)
    results = {}

    async def main(number):
        barrier.wait()
        for _ in range(50):
            await lowlevel.checkpoint()
        return number, lowlevel.current_trio_token(), lowlevel.current_clock()

    def start(number):
        results[number] = uringtrio.run(main, number)

    threads = [threading.Thread(target=start, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)

    assert {number: result[0] for number, result in results.items()} == {n: n for n in range(4)}
    assert len({id(token) for _, token, _ in results.values()}) == 4
    assert len({id(clock) for _, _, clock in results.values()}) == 4


def test_a_run_waits_for_nothing_but_its_tasks(clock):
    async def main():
        with uringtrio.move_on_after(1000):
            pass

    uringtrio.run(main, clock=clock)

    # A deadline nobody waits for any more does not keep the run alive.
    assert clock.now == 1000.0


def test_order_of_runnable_tasks_is_not_fixed():
    async def trace():
        order = []

        async def note(number):
            order.append(number)
            await lowlevel.checkpoint()
            order.append(number)

        async with uringtrio.open_nursery() as nursery:
            for number in range(5):
                nursery.start_soon(note, number)
        return tuple(order)

    assert len({uringtrio.run(trace) for _ in range(30)}) > 1


def test_every_runnable_task_runs_once_per_turn():
    async def main():
        steps = dict.fromkeys("abc", 0)
        spread = []

        async def count(name):
            for _ in range(100):
                steps[name] += 1
                spread.append(max(steps.values()) - min(steps.values()))
                await lowlevel.checkpoint()

        async with uringtrio.open_nursery() as nursery:
            for name in steps:
                nursery.start_soon(count, name)
        # None is ever more than one step ahead of another.
        return max(spread)

    assert uringtrio.run(main) == 1


def test_busy_task_does_not_starve_deadlines():
    async def main():
        turns = 0
        with uringtrio.move_on_after(0.001) as scope:
            while turns < 10_000_000:
                turns += 1
                await lowlevel.checkpoint()
        return scope.cancelled_caught

    assert uringtrio.run(main)


def test_busy_task_does_not_starve_io():
    async def main():
        left, right = uringtrio.socket.socketpair()
        received = []

        async def receive():
            received.append(await left.recv(1))

        with left, right:
            async with uringtrio.open_nursery() as nursery:
                nursery.start_soon(receive)
                await lowlevel.checkpoint()
                await right.send(b"x")
                for _ in range(1000):
                    await lowlevel.checkpoint()
                    if received:
                        break
                assert received == [b"x"]

    uringtrio.run(main)


def test_foreign_awaitable_is_refused_in_the_task_that_awaits_it():
    @types.coroutine
    def foreign():
        yield "something else"

    async def main():
        with pytest.raises(TypeError, match=r"unrecognized yield message 'something else'"):
            await foreign()
        # The task is whole.
        await lowlevel.checkpoint()
        return "unharmed"

    assert uringtrio.run(main) == "unharmed"


def test_asyncio_sleep_and_future_are_refused_with_a_hint():
    loop = asyncio.new_event_loop()
    try:
        future = loop.create_future()

        async def main():
            with pytest.raises(TypeError, match="another async library"):
                await asyncio.sleep(0)
            with pytest.raises(TypeError, match="asyncio"):
                await future

        uringtrio.run(main)
    finally:
        loop.close()


def test_sniffio_knows_the_library_inside_and_only_inside():
    async def main():
        assert sniffio.current_async_library() == "uringtrio"
        await lowlevel.checkpoint()
        assert sniffio.current_async_library() == "uringtrio"

        def not_yet_a_coroutine():
            seen.append(sniffio.current_async_library())
            return lowlevel.checkpoint()

        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(not_yet_a_coroutine)

    seen = []
    uringtrio.run(main)

    assert seen == ["uringtrio"]
    with pytest.raises(sniffio.AsyncLibraryNotFoundError):
        sniffio.current_async_library()


def test_sniffio_name_of_a_surrounding_library_is_restored():
    async def main():
        return sniffio.current_async_library()

    sniffio.thread_local.name = "outer"
    try:
        assert uringtrio.run(main) == "uringtrio"
        assert sniffio.thread_local.name == "outer"
    finally:
        sniffio.thread_local.name = None


def test_sniffio_finds_nothing_in_worker_threads():
    async def main():
        def look():
            try:
                names.append(sniffio.current_async_library())
            except sniffio.AsyncLibraryNotFoundError:
                names.append(None)

        thread = threading.Thread(target=look)
        thread.start()
        thread.join(10)

    names = []
    uringtrio.run(main)

    assert names == [None]


def test_system_task_that_fails_ends_the_run_and_everything_else_is_cancelled_first():
    events = []

    async def fail():
        raise ValueError("the cause")

    async def child():
        try:
            await uringtrio.sleep_forever()
        except uringtrio.Cancelled:
            events.append("cancelled")
            raise

    async def main():
        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(child)
            await lowlevel.checkpoint()
            lowlevel.spawn_system_task(fail)

    with pytest.raises(uringtrio.TrioInternalError) as caught:
        uringtrio.run(main)

    assert events == ["cancelled"]
    cause = caught.value.__cause__
    while isinstance(cause, BaseExceptionGroup):
        (cause,) = cause.exceptions
    assert type(cause) is ValueError


# Nobody can unwind the tasks of a run that has crashed: their coroutines say so when they go.
crashes = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@crashes
def test_abort_function_that_raises_ends_the_run_with_the_cause(leftovers):
    leftovers.allowed = True

    async def main():
        def fail(_raise_cancel):
            raise ValueError("from the abort function")

        with uringtrio.CancelScope() as scope:
            scope.cancel()
            await lowlevel.wait_task_rescheduled(fail)

    with pytest.raises(uringtrio.TrioInternalError) as caught:
        uringtrio.run(main)

    assert isinstance(caught.value.__cause__, ValueError)


def test_clock_that_fails_ends_the_run_with_the_cause(leftovers):
    leftovers.allowed = True

    class Broken(uringtrio.abc.Clock):
        def start_clock(self):
            raise OSError("no time")

        def current_time(self):
            return 0

        def deadline_to_sleep_time(self, deadline):
            return deadline

    async def main():
        raise AssertionError("never started")

    with pytest.raises(uringtrio.TrioInternalError) as caught:
        uringtrio.run(main, clock=Broken())

    assert isinstance(caught.value.__cause__, OSError)


def cyclic_garbage_of(async_fn):
    """Return the exceptions and frames that only the cyclic collector frees after a run."""
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        uringtrio.run(async_fn)
        gc.collect()
        return [o for o in gc.garbage if isinstance(o, (BaseException, types.FrameType))]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


def test_failing_nursery_leaves_no_reference_cycles():
    async def fail():
        raise LookupError

    async def main():
        with contextlib.suppress(ExceptionGroup):
            async with uringtrio.open_nursery() as nursery:
                nursery.start_soon(fail)
                await uringtrio.sleep_forever()

    assert cyclic_garbage_of(main) == []


def test_cancelled_nursery_leaves_no_reference_cycles():
    async def main():
        with uringtrio.CancelScope() as scope:
            async with uringtrio.open_nursery() as nursery:
                nursery.start_soon(uringtrio.sleep_forever)
                scope.cancel()

    assert cyclic_garbage_of(main) == []


def test_scope_that_passes_an_error_on_leaves_no_reference_cycles():
    async def main():
        with contextlib.suppress(BaseExceptionGroup):
            with uringtrio.CancelScope() as scope:
                async with uringtrio.open_nursery() as nursery:
                    nursery.start_soon(uringtrio.sleep_forever)
                    scope.cancel()
                    raise LookupError

    assert cyclic_garbage_of(main) == []


async def _many_turns_with_a_choice():
    async with uringtrio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(uringtrio.sleep, 0)


def test_run_takes_nothing_from_the_generator_of_the_program():
    """A program that seeds `random` got other numbers, depending on how often its tasks waited."""
    random.seed(1)
    expected = [random.random() for _ in range(3)]
    random.seed(1)
    uringtrio.run(_many_turns_with_a_choice)

    assert [random.random() for _ in range(3)] == expected


def test_hypothesis_can_repeat_the_order_of_tasks():
    hypothesis = pytest.importorskip("hypothesis")
    orders = []

    @hypothesis.settings(max_examples=20, database=None, deadline=None)
    @hypothesis.given(hypothesis.strategies.integers())
    def example(_number):
        order = []

        async def child(index):
            await lowlevel.checkpoint()
            order.append(index)

        async def main():
            async with uringtrio.open_nursery() as nursery:
                for index in range(5):
                    nursery.start_soon(child, index)

        uringtrio.run(main)
        orders.append(order)

    # Hypothesis looks for somebody who refers to it, and does not see what conftest.py has frozen.
    referrer = [loop.ORDER]
    loop.register_with_hypothesis()
    example()

    assert referrer
    assert orders == [orders[0]] * len(orders)
    assert len(orders) > 1
