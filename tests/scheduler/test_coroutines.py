"""What is accepted as an async function, and what is said of the rest, and of a missing await."""

import collections.abc
import functools
import gc
import types
import warnings

import pytest

import uringtrio
from uringtrio import lowlevel
from uringtrio._scheduler.coroutines import check_async_fn

# Warnings are errors here: a test in which a coroutine is never awaited fails for that alone.


async def answer():
    await lowlevel.checkpoint()
    return 42


class Compiled(collections.abc.Coroutine):
    """A coroutine that is none of Python's own, as compilers make them."""

    def __init__(self, coro):
        self._coro = coro

    def send(self, value):
        return self._coro.send(value)

    def throw(self, *args):
        return self._coro.throw(*args)

    def close(self):
        self._coro.close()

    def __await__(self):
        return self._coro.__await__()


class Awaitable:
    """Something with `__await__` and nothing else."""

    def __await__(self):
        return answer().__await__()


@types.coroutine
def generator_based():
    yield from answer().__await__()
    return 42


async def async_method_of(obj):
    return await obj.method()


class Methods:
    async def method(self):
        return await answer()

    @classmethod
    async def class_method(cls):
        return await answer()

    @staticmethod
    async def static_method():
        return await answer()

    async def __call__(self):
        return await answer()


@pytest.mark.parametrize(
    "async_fn",
    [
        answer,
        functools.partial(answer),
        functools.partial(functools.partial(async_method_of), Methods()),
        lambda: Compiled(answer()),
        generator_based,
        Methods().method,
        Methods.class_method,
        Methods.static_method,
        Methods(),
        # A class whose instances can be awaited is called like any other function.
        Awaitable,
    ],
    ids=[
        "function", "partial", "partial-of-partial", "compiled",
        "generator-based", "method", "class-method", "static-method", "callable", "class",
    ],
)  # fmt: skip
def test_everything_that_returns_an_awaitable_is_an_async_function(async_fn):
    async def main():
        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(async_fn)
        return "both"

    assert uringtrio.run(async_fn) == 42
    assert uringtrio.run(main) == "both"


def in_run(argument):
    uringtrio.run(argument)


def in_start_soon(argument):
    async def main():
        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(argument)

    with pytest.raises(ExceptionGroup) as caught:
        uringtrio.run(main)
    (error,) = caught.value.exceptions
    raise error


def in_start(argument):
    async def main():
        async with uringtrio.open_nursery() as nursery:
            await nursery.start(argument)

    with pytest.raises(ExceptionGroup) as caught:
        uringtrio.run(main)
    (error,) = caught.value.exceptions
    raise error


def in_spawn_system_task(argument):
    async def main():
        lowlevel.spawn_system_task(argument)

    uringtrio.run(main)


def in_start_guest_run(argument):
    turns = []
    lowlevel.start_guest_run(
        argument, run_sync_soon_threadsafe=turns.append, done_callback=turns.append
    )


every_way = pytest.mark.parametrize(
    ("start", "call"),
    [
        (in_run, "uringtrio.run"),
        (in_start_soon, "nursery.start_soon"),
        (in_start, "nursery.start"),
        (in_spawn_system_task, "spawn_system_task"),
        (in_start_guest_run, "start_guest_run"),
    ],
    ids=["run", "start_soon", "start", "spawn_system_task", "start_guest_run"],
)


@every_way
def test_coroutine_object_is_refused_with_the_right_call_and_no_second_message(start, call):
    with pytest.raises(TypeError) as caught:
        start(answer())
    gc.collect()

    message = str(caught.value)
    assert "got a coroutine object <answer>" in message
    assert f"{call}(answer(...))" in message
    assert f"{call}(answer, ...)" in message


@every_way
def test_async_generator_object_is_refused(start, call):
    async def generate():
        yield 1

    with pytest.raises(TypeError) as caught:
        start(generate())

    assert call in str(caught.value)
    assert "async generator" in str(caught.value)


@every_way
def test_what_cannot_be_called_is_refused(start, call):
    with pytest.raises(TypeError) as caught:
        start(42)

    assert call in str(caught.value)
    assert "not 42" in str(caught.value)


@pytest.mark.parametrize("start", [in_run, in_start_soon, in_spawn_system_task])
def test_sync_function_is_named_with_what_it_returned(start):
    def plain():
        return "no coroutine"

    with pytest.raises(TypeError) as caught:
        start(plain)

    assert "plain is a sync function that returned 'no coroutine'" in str(caught.value)


@pytest.mark.parametrize("start", [in_run, in_start_soon, in_spawn_system_task])
def test_async_generator_function_is_explained(start):
    async def generate():
        yield 1

    with pytest.raises(TypeError, match="generate contains `yield`"):
        start(generate)


def test_check_leaves_a_function_alone():
    check_async_fn(answer, "call")
    check_async_fn(functools.partial(answer), "call")


# A missing `await`.


def forgotten(async_fn):
    """Run `async_fn` and return what Python has warned of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        uringtrio.run(async_fn)
        gc.collect()
    return [str(warning.message) for warning in caught if warning.category is RuntimeWarning]


def test_missing_await_of_a_call_is_named_by_python():
    async def main():
        uringtrio.sleep(1)

    assert forgotten(main) == ["coroutine 'sleep' was never awaited"]


def test_missing_await_of_a_method_is_named_by_python():
    async def main():
        event = uringtrio.Event()
        event.wait()
        semaphore = uringtrio.Semaphore(1)
        semaphore.acquire()
        assert semaphore.value == 1

    assert forgotten(main) == [
        "coroutine 'Event.wait' was never awaited",
        "coroutine 'Semaphore.acquire' was never awaited",
    ]


def test_nursery_without_async_is_refused_with_the_right_statement():
    async def main():
        with pytest.raises(RuntimeError, match="use 'async with open_nursery"):
            with uringtrio.open_nursery():
                raise AssertionError("never entered")

    uringtrio.run(main)


def test_event_as_a_condition_is_refused():
    async def main():
        with pytest.raises(NotImplementedError):
            bool(uringtrio.Event())

    uringtrio.run(main)


def test_open_nursery_that_is_not_entered_leaves_nothing():
    async def main():
        uringtrio.open_nursery()

    assert forgotten(main) == []
