"""Tasks: names, frames, context variables."""

import contextvars
import functools

import pytest
import sniffio

import uringtrio
from uringtrio import lowlevel
from uringtrio.testing import assert_checkpoints

variable = contextvars.ContextVar("variable", default="unset")


async def name_of_task():
    return lowlevel.current_task().name


class Callable:
    async def __call__(self):
        pass

    async def method(self):
        pass

    def __repr__(self):
        return "<a callable>"


async def nothing():
    pass


def name_given(async_fn, **options):
    async def main():
        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(async_fn, **options)
            (task,) = nursery.child_tasks
            return task.name

    return uringtrio.run(main)


def test_name_is_module_and_qualified_name():
    assert name_given(nothing) == f"{__name__}.nothing"
    assert name_given(Callable().method) == f"{__name__}.Callable.method"


def test_name_looks_through_partials():
    partial = functools.partial(functools.partial(functools.partial(nothing)))

    assert name_given(partial) == f"{__name__}.nothing"


def test_name_of_other_callables_is_their_repr():
    assert name_given(Callable()) == "<a callable>"


def test_name_may_be_given_as_text_or_as_a_function():
    assert name_given(nothing, name="given") == "given"
    assert name_given(nothing, name=Callable.method) == f"{__name__}.Callable.method"
    assert name_given(nothing, name=functools.partial(name_of_task)) == f"{__name__}.name_of_task"


def test_repr_has_the_name():
    async def main():
        return repr(lowlevel.current_task())

    assert "test_repr_has_the_name" in uringtrio.run(main)


def test_task_has_no_public_constructor():
    with pytest.raises(TypeError, match="no public constructor"):
        lowlevel.Task()


def test_await_frames_show_where_a_task_waits(settle):
    async def outer():
        await inner()

    async def inner():
        await uringtrio.sleep_forever()

    async def main():
        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(outer)
            await settle()
            (task,) = nursery.child_tasks
            names = [frame.f_code.co_name for frame, _ in task.iter_await_frames()]
            assert names[:3] == ["outer", "inner", "sleep_forever"]
            assert all(line > 0 for _, line in task.iter_await_frames())
            nursery.cancel_scope.cancel()
        assert list(task.iter_await_frames()) == []

    uringtrio.run(main)


def test_await_frames_go_through_async_generators(settle):
    async def generate():
        await uringtrio.sleep_forever()
        yield

    async def outer():
        async for _ in generate():
            pass

    async def main():
        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(outer)
            await settle()
            (task,) = nursery.child_tasks
            names = [frame.f_code.co_name for frame, _ in task.iter_await_frames()]
            assert names[0] == "outer"
            assert "generate" in names
            assert "sleep_forever" in names
            nursery.cancel_scope.cancel()

    uringtrio.run(main)


def test_coro_and_context_are_the_tasks_own():
    async def main():
        task = lowlevel.current_task()
        assert task.coro.cr_code is main.__code__
        variable.set("mine")
        return task.context[variable]

    assert uringtrio.run(main) == "mine"


def test_context_that_is_set_counts_from_the_next_step_on():
    """pytest-trio gives its tests a context so; the attribute used to change and nothing else."""

    async def main():
        context = contextvars.copy_context()
        context.run(variable.set, "of the new context")
        task = lowlevel.current_task()
        task.context = context
        assert variable.get() == "unset"
        await lowlevel.checkpoint()
        assert variable.get() == "of the new context"
        assert task.context is context

    uringtrio.run(main)


def test_context_set_in_a_watched_task_stays_when_the_watch_ends():
    async def main():
        context = contextvars.copy_context()
        context.run(variable.set, "of the new context")
        with assert_checkpoints():
            lowlevel.current_task().context = context
            await lowlevel.checkpoint()
            assert variable.get() == "of the new context"
        await lowlevel.checkpoint()
        assert variable.get() == "of the new context"

    uringtrio.run(main)


def test_child_has_a_copy_of_the_callers_context_at_start_soon(settle):
    async def child(seen):
        seen.append(variable.get())
        variable.set("of the child")

    async def main():
        seen = []
        variable.set("before")
        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(child, seen)
            variable.set("after")
            await settle()
        return seen, variable.get()

    assert uringtrio.run(main) == (["before"], "after")


def test_context_is_the_callers_and_not_the_nurserys(settle):
    async def child(seen):
        seen.append(variable.get())

    async def helper(nursery, seen):
        variable.set("of the helper")
        nursery.start_soon(child, seen)

    async def main():
        seen = []
        variable.set("of the nursery")
        async with uringtrio.open_nursery() as outer, uringtrio.open_nursery() as inner:
            inner.start_soon(helper, outer, seen)
            await settle()
        return seen

    assert uringtrio.run(main) == ["of the helper"]


def test_sync_part_of_the_call_runs_in_the_childs_context():
    def sync_part(seen):
        variable.set("changed in the call")
        return async_part(seen)

    async def async_part(seen):
        seen.append(variable.get())

    async def main():
        seen = []
        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(sync_part, seen)
            assert variable.get() == "unset"
        return seen

    assert uringtrio.run(main) == ["changed in the call"]


def test_library_name_in_a_context_does_not_mislead_sniffio():
    async def child(seen):
        seen.append(sniffio.current_async_library())

    async def main():
        seen = []
        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(child, seen)
        return seen

    context = contextvars.copy_context()
    context.run(sniffio.current_async_library_cvar.set, "nonesuch")

    assert context.run(uringtrio.run, main) == ["uringtrio"]


def test_task_that_never_ran_leaves_no_warning():
    async def fail():
        raise LookupError

    async def never(record):
        record.append("ran")
        await lowlevel.checkpoint()

    async def main():
        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(never, [])
            raise LookupError

    # Warnings are errors in this suite.
    with pytest.raises(ExceptionGroup):
        uringtrio.run(main)
