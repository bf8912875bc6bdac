"""trio_test: async test functions for runners that know none."""

import inspect

import pytest

import uringtrio
from uringtrio.testing import MockClock, trio_test


def test_function_runs_and_returns():
    @trio_test
    async def double(number, *, plus=0):
        await uringtrio.sleep(0)
        return number * 2 + plus

    assert double(2, plus=1) == 5


def test_signature_stays_for_fixtures():
    @trio_test
    async def with_fixtures(tmp_path, clock):
        """It says."""

    assert list(inspect.signature(with_fixtures).parameters) == ["tmp_path", "clock"]
    assert with_fixtures.__doc__ == "It says."
    assert not inspect.iscoroutinefunction(with_fixtures)


def test_clock_among_the_arguments_is_the_clock_of_the_run():
    @trio_test
    async def runs_on(clock):
        return uringtrio.lowlevel.current_clock() is clock

    assert runs_on(clock=MockClock())


def test_two_clocks_are_refused():
    @trio_test
    async def two(one, other):
        raise AssertionError(f"reached with {one} and {other}")

    with pytest.raises(ValueError, match="too many clocks"):
        two(one=MockClock(), other=MockClock())


def test_instruments_among_the_arguments_are_told(record):
    class Steps(uringtrio.abc.Instrument):
        def before_run(self):
            record("begun")

    @trio_test
    async def instrumented(one, other):
        pass

    instrumented(one=Steps(), other=Steps())

    assert record.events == ["begun", "begun"]
