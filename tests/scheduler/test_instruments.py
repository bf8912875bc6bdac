"""Instruments: what they are told, in which order, and what happens to one that fails."""

import logging
from collections import Counter
from itertools import pairwise

import pytest

import uringtrio
from uringtrio import lowlevel
from uringtrio._scheduler.instruments import HOOKS


class Listener:
    """An instrument of no particular class that writes down what it is told."""

    def __init__(self, *hooks):
        self.events = []
        for hook in hooks or HOOKS:
            setattr(self, hook, self._hook(hook))

    def _hook(self, name):
        def told(*args):
            self.events.append((name, *args))

        return told

    def names(self):
        return [name for name, *_ in self.events]

    def of(self, task):
        return [name for name, *args in self.events if args == [task]]


@pytest.fixture
def log(caplog):
    """Returns the exceptions that were logged because of instruments."""

    def look():
        records = [r for r in caplog.records if r.name == "uringtrio.abc.Instrument"]
        assert all(record.levelno == logging.ERROR for record in records)
        return [record.exc_info[1] for record in records]

    return look


def test_hooks_are_those_of_the_contract():
    contract = {name for name in vars(uringtrio.abc.Instrument) if not name.startswith("_")}

    assert set(HOOKS) == contract


def test_life_of_a_task_in_order():
    listener = Listener()

    async def child():
        await lowlevel.checkpoint()
        await uringtrio.sleep(0.01)
        return lowlevel.current_task()

    async def main():
        tasks = []
        async with uringtrio.open_nursery() as nursery:

            async def note():
                tasks.append(await child())

            nursery.start_soon(note)
        return tasks[0]

    task = uringtrio.run(main, instruments=[listener])

    assert listener.of(task) == [
        "task_spawned", "task_scheduled",
        # The checkpoint makes it runnable again before its step has ended.
        "before_task_step", "task_scheduled", "after_task_step",
        "before_task_step", "after_task_step",
        "task_scheduled",
        "before_task_step", "task_exited", "after_task_step",
    ]  # fmt: skip


def test_run_begins_and_ends_once_and_everything_is_between():
    listener = Listener()

    async def main():
        await uringtrio.sleep(0.01)

    uringtrio.run(main, instruments=[listener])

    names = listener.names()
    assert names[0] == "before_run"
    assert names[-1] == "after_run"
    assert Counter(names)["before_run"] == Counter(names)["after_run"] == 1
    # Every task that was told of has ended: init, main and the one for calls of threads.
    assert Counter(names)["task_spawned"] == Counter(names)["task_exited"] == 3


def test_waits_are_told_before_and_after_with_their_timeout():
    listener = Listener("before_io_wait", "after_io_wait")

    async def main():
        await uringtrio.sleep(0.05)

    uringtrio.run(main, instruments=[listener])

    assert listener.names() == ["before_io_wait", "after_io_wait"] * (len(listener.events) // 2)
    timeouts = [timeout for _, timeout in listener.events]
    assert timeouts[::2] == timeouts[1::2]
    assert 0 < max(timeouts) <= 0.05


def test_wait_of_a_busy_run_is_zero():
    listener = Listener("before_io_wait")

    async def main():
        for _ in range(10):
            await lowlevel.checkpoint()

    uringtrio.run(main, instruments=[listener])

    assert {timeout for _, timeout in listener.events} == {0}
    # Without instruments several turns share a look at the driver.
    assert len(listener.events) > 10


def test_one_task_at_a_time_takes_its_step():
    listener = Listener("before_task_step", "after_task_step")

    async def child():
        for _ in range(3):
            await lowlevel.checkpoint()

    async def main():
        async with uringtrio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(child)

    uringtrio.run(main, instruments=[listener])

    for (name, task), (next_name, next_task) in pairwise(listener.events):
        assert name != next_name
        if name == "before_task_step":
            assert task is next_task


def test_task_is_scheduled_only_once_for_each_step():
    listener = Listener("task_scheduled", "before_task_step")

    async def main():
        event = uringtrio.Event()
        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(event.wait)
            nursery.start_soon(uringtrio.sleep, 0.01)
            await lowlevel.checkpoint()
            event.set()
        with uringtrio.move_on_after(0):
            await uringtrio.sleep_forever()

    uringtrio.run(main, instruments=[listener])

    scheduled = Counter(task for name, task in listener.events if name == "task_scheduled")
    steps = Counter(task for name, task in listener.events if name == "before_task_step")
    assert scheduled == steps


def test_methods_of_the_contract_that_are_not_overridden_are_not_called():
    calls = []

    class Mine(uringtrio.abc.Instrument):
        def task_exited(self, task):
            calls.append(task.name)

    async def main():
        pass

    uringtrio.run(main, instruments=[Mine()])

    assert len(calls) == 3


def test_instrument_may_be_an_object_without_any_hook():
    async def main():
        await lowlevel.checkpoint()
        return "fine"

    assert uringtrio.run(main, instruments=[object()]) == "fine"


def test_several_instruments_are_told_in_the_order_they_were_added(record):
    class Mine(uringtrio.abc.Instrument):
        def __init__(self, name):
            self._name = name

        def before_run(self):
            record(self._name)

    async def main():
        pass

    uringtrio.run(main, instruments=[Mine("first"), Mine("second"), Mine("third")])

    assert record.events == ["first", "second", "third"]


def test_instrument_may_come_and_go():
    listener = Listener("before_task_step")

    async def main():
        for _ in range(3):
            await lowlevel.checkpoint()
        assert listener.events == []
        lowlevel.add_instrument(listener)
        lowlevel.add_instrument(listener)
        for _ in range(3):
            await lowlevel.checkpoint()
        assert len(listener.events) == 3
        lowlevel.remove_instrument(listener)
        await lowlevel.checkpoint()
        assert len(listener.events) == 3
        with pytest.raises(KeyError):
            lowlevel.remove_instrument(listener)

    uringtrio.run(main)


def test_removing_what_was_never_added_is_a_key_error():
    async def main():
        with pytest.raises(KeyError):
            lowlevel.remove_instrument(Listener())

    uringtrio.run(main)


def test_one_may_remove_another_that_is_then_not_called_any_more():
    victim = Listener("after_task_step")

    class Remover(uringtrio.abc.Instrument):
        def after_task_step(self, _task):
            lowlevel.remove_instrument(victim)
            lowlevel.remove_instrument(self)

    async def main():
        # The remover is told first, and the victim not even of the same step.
        lowlevel.add_instrument(Remover())
        lowlevel.add_instrument(victim)
        for _ in range(3):
            await lowlevel.checkpoint()

    uringtrio.run(main)

    assert victim.events == []


def test_one_may_add_another_while_it_is_told():
    late = Listener("after_task_step")

    class Adder(uringtrio.abc.Instrument):
        def before_task_step(self, _task):
            lowlevel.add_instrument(late)

    async def main():
        await lowlevel.checkpoint()

    uringtrio.run(main, instruments=[Adder()])

    assert late.events


def test_instrument_that_raises_is_logged_and_removed_and_the_run_goes_on(log):
    steps = []

    class Broken(uringtrio.abc.Instrument):
        def before_task_step(self, task):
            steps.append(task)
            raise LookupError("mine")

    other = Listener("before_task_step")

    async def main():
        await lowlevel.checkpoint()
        with pytest.raises(KeyError):
            lowlevel.remove_instrument(broken)
        return "result"

    broken = Broken()
    assert uringtrio.run(main, instruments=[broken, other]) == "result"

    assert len(steps) == 1
    assert len(other.events) > 1
    (error,) = log()
    assert isinstance(error, LookupError)


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_may_fail(hook, log):
    async def main():
        await uringtrio.sleep(0.001)
        return "result"

    def fail(*_args):
        raise KeyboardInterrupt

    listener = Listener(hook)
    setattr(listener, hook, fail)

    assert uringtrio.run(main, instruments=[listener]) == "result"
    assert [type(error) for error in log()] == [KeyboardInterrupt]


def test_instrument_that_has_been_removed_for_an_error_may_be_added_again(log):
    class Moody(uringtrio.abc.Instrument):
        is_broken = True

        def before_task_step(self, task):
            if self.is_broken:
                raise LookupError
            steps.append(task)

    steps = []
    moody = Moody()

    async def main():
        moody.is_broken = False
        lowlevel.add_instrument(moody)
        await lowlevel.checkpoint()

    uringtrio.run(main, instruments=[moody])

    assert len(log()) == 1
    assert steps


def test_instrument_whose_attributes_cannot_be_read_is_refused_and_not_added():
    class Broken:
        @property
        def before_task_step(self):
            raise LookupError("no attribute")

    async def main():
        broken = Broken()
        with pytest.raises(LookupError, match="no attribute"):
            lowlevel.add_instrument(broken)
        with pytest.raises(KeyError):
            lowlevel.remove_instrument(broken)
        await lowlevel.checkpoint()

    uringtrio.run(main)


def test_hooks_are_looked_up_when_it_is_added_and_not_again():
    listener = Listener("before_task_step")
    late = []

    async def main():
        listener.after_task_step = late.append
        listener.before_task_step = late.append
        await lowlevel.checkpoint()

    uringtrio.run(main, instruments=[listener])

    assert late == []
    assert len(listener.events) > 3


def test_instruments_are_in_the_run_but_not_interrupted():
    seen = {}

    class Mine(uringtrio.abc.Instrument):
        def task_spawned(self, _task):
            self.look("task_spawned")

        def before_io_wait(self, _timeout):
            self.look("before_io_wait")

        def before_run(self):
            self.look("before_run")

        def after_run(self):
            self.look("after_run")

        def look(self, name):
            seen[name] = (lowlevel.in_trio_run(), lowlevel.currently_ki_protected())

    async def main():
        await uringtrio.sleep(0.001)

    uringtrio.run(main, instruments=[Mine()])

    assert seen == dict.fromkeys(
        ("before_run", "task_spawned", "before_io_wait", "after_run"), (True, True)
    )


def test_instruments_belong_to_one_run():
    listener = Listener("before_run")

    async def main():
        await lowlevel.checkpoint()

    uringtrio.run(main, instruments=[listener])
    uringtrio.run(main)

    assert listener.names() == ["before_run"]


def test_before_run_can_use_the_run():
    times = []

    class Mine(uringtrio.abc.Instrument):
        def before_run(self):
            times.append(uringtrio.current_time())
            assert lowlevel.current_clock() is not None

    async def main():
        times.append(uringtrio.current_time())

    uringtrio.run(main, instruments=[Mine()])

    assert times == sorted(times)
