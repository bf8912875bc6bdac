"""RunVar: one value for each run."""

import gc
import threading
import weakref

import pytest

import uringtrio
from uringtrio import lowlevel


def test_every_run_starts_without_values():
    var = lowlevel.RunVar("var")

    async def set_value(value):
        with pytest.raises(LookupError):
            var.get()
        var.set(value)
        return var.get()

    assert uringtrio.run(set_value, 1) == 1
    assert uringtrio.run(set_value, 2) == 2


def test_all_tasks_of_a_run_share_the_value():
    var = lowlevel.RunVar("var")

    async def change():
        assert var.get() == "from main"
        var.set("from child")

    async def main():
        var.set("from main")
        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(change)
        return var.get()

    assert uringtrio.run(main) == "from child"


def test_runs_in_two_threads_do_not_meet():
    var = lowlevel.RunVar("var")
    barrier = threading.Barrier(2)
    seen = []

    async def main(value):
        var.set(value)
        barrier.wait(10)
        seen.append(var.get() == value)

    threads = [threading.Thread(target=uringtrio.run, args=(main, n)) for n in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert seen == [True, True]


def test_default_of_the_call_goes_before_that_of_the_variable():
    async def main():
        without = lowlevel.RunVar("without")
        var = lowlevel.RunVar("var", default="own")
        assert without.get(default=None) is None
        assert without.get("given") == "given"
        assert var.get() == "own"
        assert var.get("given") == "given"
        var.set("value")
        assert var.get() == "value"
        assert var.get("given") == "value"

    uringtrio.run(main)


def test_none_is_a_value():
    async def main():
        var = lowlevel.RunVar("var", default=1)
        token = var.set(None)
        assert var.get() is None
        assert var.get(2) is None
        var.reset(token)
        return var.get()

    assert uringtrio.run(main) == 1


def test_reset_brings_back_what_was_before():
    async def main():
        var = lowlevel.RunVar("var")
        first = var.set(1)
        second = var.set(2)
        var.reset(second)
        assert var.get() == 1
        var.reset(first)
        with pytest.raises(LookupError):
            var.get()

    uringtrio.run(main)


def test_token_is_good_for_one_use_of_its_own_variable():
    async def main():
        one, other = lowlevel.RunVar("one"), lowlevel.RunVar("other")
        token = one.set(1)
        with pytest.raises(ValueError, match="not for us"):
            other.reset(token)
        with pytest.raises(TypeError, match=r"RunVar\.set"):
            one.reset(None)
        assert one.get() == 1
        one.reset(token)
        with pytest.raises(ValueError, match="already been used"):
            one.reset(token)

    uringtrio.run(main)


def test_outside_of_a_run_there_are_no_values():
    var = lowlevel.RunVar("var", default=1)

    async def get_token():
        return var.set(2)

    with pytest.raises(RuntimeError, match="outside of a run"):
        var.get()
    with pytest.raises(RuntimeError, match="outside of a run"):
        var.set(1)
    token = uringtrio.run(get_token)
    with pytest.raises(RuntimeError, match="outside of a run"):
        var.reset(token)


def test_token_has_no_public_constructor():
    with pytest.raises(TypeError, match=r"RunVar\.set"):
        lowlevel.RunVarToken()


def test_repr_names_the_variable():
    assert repr(lowlevel.RunVar("limit")) == "<RunVar name='limit'>"


def test_values_go_with_their_run():
    class Value:
        def __init__(self):
            self.run = lowlevel.current_trio_token()

    var = lowlevel.RunVar("var")

    async def main():
        value = Value()
        var.set(value)
        return weakref.ref(value)

    gc.disable()
    try:
        reference = uringtrio.run(main)
        assert reference() is None
    finally:
        gc.enable()


def test_values_are_kept_for_callbacks_and_hosts_too():
    var = lowlevel.RunVar("var")

    async def main():
        var.set("value")
        seen = []
        done = uringtrio.Event()
        token = lowlevel.current_trio_token()
        token.run_sync_soon(lambda: seen.append(var.get()))
        token.run_sync_soon(done.set)
        await done.wait()
        return seen

    assert uringtrio.run(main) == ["value"]


def test_token_of_another_run_brings_back_what_that_run_had():
    var = lowlevel.RunVar("var", "default")
    tokens = []

    async def first():
        tokens.append(var.set("of the first run"))

    async def second():
        var.set("of the second run")
        var.reset(tokens[0])
        return var.get()

    uringtrio.run(first)

    assert uringtrio.run(second) == "default"
