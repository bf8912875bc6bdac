"""Async generators: who closes those that nobody has closed, when, and what is said about it."""

import gc
import logging
import sys
import weakref

import pytest

import uringtrio
from uringtrio import lowlevel
from uringtrio.testing import wait_all_tasks_blocked

pytestmark = pytest.mark.skipif(
    sys.implementation.name == "pypy", reason="PyPy collects when it likes"
)


@pytest.fixture
def hooks():
    """Hooks of somebody else: `firstiter` and `finalizer` as lists of the names they were given."""

    class Hooks:
        def __init__(self):
            self.first = []
            self.last = []

        def firstiter(self, agen):
            self.first.append(agen.__name__)

        def finalizer(self, agen):
            self.last.append(agen.__name__)

    before = sys.get_asyncgen_hooks()
    theirs = Hooks()
    sys.set_asyncgen_hooks(theirs.firstiter, theirs.finalizer)
    yield theirs
    now = sys.get_asyncgen_hooks()
    sys.set_asyncgen_hooks(*before)
    assert (now.firstiter, now.finalizer) == (theirs.firstiter, theirs.finalizer)


@pytest.fixture
def errors(caplog):
    """Returns what was logged about the closing of generators."""

    def look():
        records = [r for r in caplog.records if r.name == "uringtrio.async_generator_errors"]
        assert all(record.levelno == logging.ERROR for record in records)
        return [record.exc_info[1] for record in records]

    return look


def step(agen):
    """Iterate once outside of any task, as a foreign library would, and return the object."""
    try:
        agen.asend(None).send(None)
    except StopIteration as exc:
        return exc.value
    raise AssertionError("it waits")


async def generate(record, *, waits=False):
    try:
        yield 1
        yield 2
    finally:
        record("closing")
        if waits:
            try:
                await lowlevel.checkpoint()
            except uringtrio.Cancelled:
                record("cancelled")
                raise
        record("closed")


def test_exhausted_generator_needs_no_closing(record):
    async def main():
        async for _ in generate(record, waits=True):
            pass
        record("after")

    uringtrio.run(main)

    assert record.events == ["closing", "closed", "after"]


def test_generator_alive_at_the_end_is_closed_after_all_tasks(record):
    kept = []

    async def system():
        try:
            await uringtrio.sleep_forever()
        finally:
            record("system task ended")

    async def main():
        lowlevel.spawn_system_task(system)
        kept.append(generate(record))
        await kept[0].asend(None)
        await lowlevel.checkpoint()
        record("main ended")

    uringtrio.run(main)

    assert record.events == ["main ended", "system task ended", "closing", "closed"]


def test_cleanup_may_await_but_not_wait(record, errors):
    kept = []

    async def main():
        kept.append(generate(record, waits=True))
        await kept[0].asend(None)

    uringtrio.run(main)

    assert record.events == ["closing", "cancelled"]
    # The Cancelled that comes out is that of the closing itself, and no error.
    assert errors() == []


def test_abandoned_generator_warns_and_is_closed_in_a_system_task(record):
    tasks = []

    async def mine():
        try:
            yield 1
        finally:
            task = lowlevel.current_task()
            tasks.append((task.name, task.parent_nursery.parent_task.name))
            record(uringtrio.current_effective_deadline())

    async def main():
        kept = [mine()]
        await kept[0].asend(None)
        with pytest.warns(ResourceWarning, match="mine' was garbage collected before"):
            kept.clear()
        assert not tasks
        await wait_all_tasks_blocked()
        assert tasks

    uringtrio.run(main)

    (name, parent) = tasks[0]
    assert name.startswith("close asyncgen ")
    assert name.endswith("mine (abandoned)")
    assert parent == "<init>"
    assert record.events == [-float("inf")]


def test_abandoned_generator_is_closed_at_the_latest_at_the_end(record):
    async def main():
        kept = [generate(record)]
        await kept[0].asend(None)
        with pytest.warns(ResourceWarning, match="generate"):
            kept.clear()

    uringtrio.run(main)

    assert record.events == ["closing", "closed"]


def test_error_in_the_cleanup_is_logged_and_the_run_goes_on(record, errors):
    async def broken(name):
        try:
            yield name
        finally:
            raise LookupError(name)

    kept = []

    async def main():
        kept.append(broken("abandoned"))
        await kept[0].asend(None)
        with pytest.warns(ResourceWarning, match="broken"):
            kept.clear()
        await wait_all_tasks_blocked()
        record("main goes on")
        kept.append(broken("kept"))
        await kept[0].asend(None)
        return "result"

    assert uringtrio.run(main) == "result"

    assert record.events == ["main goes on"]
    assert [(type(error), error.args) for error in errors()] == [
        (LookupError, ("abandoned",)),
        (LookupError, ("kept",)),
    ]


def test_generator_that_goes_on_after_its_closing_is_logged(errors):
    async def stubborn():
        try:
            yield 1
        finally:
            yield 2

    kept = []

    async def main():
        kept.append(stubborn())
        await kept[0].asend(None)

    uringtrio.run(main)

    (error,) = errors()
    assert isinstance(error, RuntimeError)
    assert "ignored GeneratorExit" in str(error)


def test_generators_that_closing_begins_are_closed_too(record):
    kept = []

    async def outer(depth):
        try:
            yield depth
        finally:
            record(depth)
            if depth:
                kept.append(outer(depth - 1))
                await kept[-1].asend(None)

    async def main():
        kept.append(outer(3))
        await kept[0].asend(None)

    uringtrio.run(main)

    assert record.events == [3, 2, 1, 0]


def test_system_task_cannot_begin_while_generators_are_closed(record):
    kept = []

    async def mine():
        try:
            yield 1
        finally:
            with pytest.raises(RuntimeError, match="Nursery is closed to new arrivals"):
                lowlevel.spawn_system_task(uringtrio.sleep_forever)
            # But the run is still there.
            assert uringtrio.current_time() is not None
            record("closed")

    async def main():
        kept.append(mine())
        await kept[0].asend(None)

    uringtrio.run(main)

    assert record.events == ["closed"]


# Whether it is, before the end of the run holds it, depends on the order of the last tasks.
@pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning")
def test_generator_collected_in_the_last_moment_is_closed(record):

    async def main():
        token = lowlevel.current_trio_token()
        kept = [generate(record)]
        await kept[0].asend(None)

        async def system():
            try:
                await uringtrio.sleep_forever()
            finally:
                token.run_sync_soon(kept.clear)

        lowlevel.spawn_system_task(system)
        await lowlevel.checkpoint()

    uringtrio.run(main)

    assert record.events == ["closing", "closed"]


def test_closed_generator_is_not_kept_alive(record):
    async def main():
        agen = generate(record)
        await agen.asend(None)
        await agen.aclose()
        ref = weakref.ref(agen)
        del agen
        gc.collect()
        assert ref() is None

    uringtrio.run(main)


def test_generator_that_is_left_at_the_end_is_not_kept_alive(record):
    refs = []
    kept = []

    async def main():
        kept.append(generate(record))
        await kept[0].asend(None)
        refs.append(weakref.ref(kept[0]))

    uringtrio.run(main)
    kept.clear()
    gc.collect()

    assert refs[0]() is None


# Hooks of others.


def test_hooks_are_ours_during_the_run_and_given_back(hooks):
    async def main():
        now = sys.get_asyncgen_hooks()
        assert now.firstiter not in (None, hooks.firstiter)
        assert now.finalizer not in (None, hooks.finalizer)

    uringtrio.run(main)

    async def fail():
        raise LookupError

    with pytest.raises(LookupError):
        uringtrio.run(fail)

    now = sys.get_asyncgen_hooks()
    assert (now.firstiter, now.finalizer) == (hooks.firstiter, hooks.finalizer)


def test_generators_of_tasks_are_not_shown_to_other_hooks(hooks, record):
    async def main():
        agen = generate(record)
        await agen.asend(None)
        await agen.aclose()

    uringtrio.run(main)

    assert hooks.first == hooks.last == []


def test_generator_begun_in_a_callback_of_the_run_is_ours(hooks, record):
    async def main():
        def outside():
            agen = generate(record)
            assert step(agen) == 1
            del agen
            gc.collect()
            done.set()

        done = uringtrio.Event()
        lowlevel.current_trio_token().run_sync_soon(outside)
        # A task of the run's own makes the call.
        with pytest.warns(ResourceWarning, match="generate"):
            await done.wait()

    uringtrio.run(main)

    assert hooks.first == hooks.last == []
    assert record.events == ["closing", "closed"]


class Outside(uringtrio.abc.Instrument):
    """Runs a function in the run's thread, but in no task."""

    def __init__(self, fn):
        self._fn = fn

    def before_run(self):
        self._fn()


def test_generator_begun_outside_of_tasks_belongs_to_whoever_had_the_hooks(hooks, record):
    kept = []

    def outside():
        kept.append(generate(record))
        assert step(kept[0]) == 1

    async def main():
        assert hooks.first == ["generate"]
        kept.clear()
        gc.collect()
        assert hooks.last == ["generate"]
        record("main ended")

    uringtrio.run(main, instruments=[Outside(outside)])

    # Their finalizer has done nothing with it, and nor have we.
    assert record.events[0] == "main ended"


def test_foreign_generator_without_hooks_is_closed_as_python_would(record):
    kept = []

    def outside():
        kept.append(generate(record))
        step(kept[0])

    async def main():
        kept.clear()
        gc.collect()
        record("main ended")

    uringtrio.run(main, instruments=[Outside(outside)])

    assert record.events == ["closing", "closed", "main ended"]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_foreign_generator_without_hooks_that_awaits_is_an_error(record, monkeypatch):
    kept = []
    unraisable = []
    monkeypatch.setattr(sys, "unraisablehook", unraisable.append)

    def outside():
        kept.append(generate(record, waits=True))
        step(kept[0])

    async def main():
        kept.clear()
        gc.collect()

    uringtrio.run(main, instruments=[Outside(outside)])

    (seen,) = unraisable
    assert isinstance(seen.exc_value, RuntimeError)
    assert "awaited something during finalization" in str(seen.exc_value)
    assert "install a finalization hook" in str(seen.exc_value)
    unraisable.clear()
