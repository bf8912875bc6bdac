"""Random programs do the same on uringtrio as on Trio: the same steps, in the same order.

A program is a tree of statements (`statements`), drawn at random (`programs`), and run on both
runtimes with a clock that jumps (`interpreter`). Every task notes what came of each of its
statements, with the virtual time: values, statistics, exceptions with their groups, contexts, and
with the source and the reason of a `Cancelled` (`world`). The two notebooks must be equal, line by
line, and so must the outcomes of the runs. That is as strong as it can be: the order of steps of
different tasks is compared too, because both runtimes are made to keep one (`schedule`).

Trio leaves open, and so the programs do not look at: the words of the library's own errors; the
context of a `Cancelled`, and of the library's errors; the source of the `Cancelled` from a sleep
that was over as well; when a deadline that is set to a time in the past is seen before the next
checkpoint; and whether a shield that comes in the middle of a cancelled checkpoint still helps.

`tests/stress/random_programs.py` runs as many programs as one likes, and reduces what it finds.
"""

from collections import Counter
from random import Random

import trio
from hypothesis import HealthCheck, given, note, settings, strategies as st

import uringtrio
from differential.features import IN_TRACE, features_of
from differential.interpreter import compare, run_program
from differential.programs import Program, draw_program
from differential.reduction import reduced
from differential.statements import Raise, Scope, SetDeadline, Sleep, StartSoon
from differential.world import Settings

PROGRAMS = 300
SEEDED_PROGRAMS = 700


@settings(
    max_examples=PROGRAMS,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(st.randoms(use_true_random=False).map(draw_program))
def test_random_programs_leave_the_same_trace(program):
    found = compare(run_program(program, trio).trace, run_program(program, uringtrio).trace)
    note(str(found))
    assert found is None


def test_seeded_programs_leave_the_same_trace_and_meet_with_everything():
    met = Counter()
    for seed in range(SEEDED_PROGRAMS):
        program = draw_program(Random(seed))
        theirs = run_program(program, trio)
        found = compare(theirs.trace, run_program(program, uringtrio).trace)
        assert found is None, f"{reduced(program)}\n{found}"
        met.update(features_of(theirs))
    rare = {feature: met[feature] for feature in IN_TRACE if met[feature] < SEEDED_PROGRAMS // 100}
    assert not rare, "too few programs meet with this to test it"


def test_a_run_is_repeatable():
    for seed in range(20):
        program = draw_program(Random(seed))
        for library in (trio, uringtrio):
            again = run_program(program, library).trace
            assert run_program(program, library).trace == again


def test_a_difference_is_found_and_reduced(monkeypatch):
    """The test can fail: with a sleep that takes too long, and with few statements left of it."""
    sleep = uringtrio.sleep
    monkeypatch.setattr(uringtrio, "sleep", lambda seconds: sleep(seconds + 1))
    body = (Sleep(1), Scope(1, "plain", 0, False, (SetDeadline(1, 9), Raise(1))), Sleep(2))
    program = Program(0, Settings(), (StartSoon(0, ()), *body))
    assert reduced(program).main == (Sleep(2),)
