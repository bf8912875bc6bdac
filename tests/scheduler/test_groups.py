"""Collapsing: a group of one that a non-strict nursery made becomes the one."""

import contextlib
import traceback

from uringtrio._scheduler.groups import NONSTRICT_NOTE, collapse_exception_group


def loose(*errors):
    group = ExceptionGroup("loose", errors)
    group.add_note(NONSTRICT_NOTE)
    return group


def test_loose_group_of_one_becomes_the_one():
    error = LookupError()

    assert collapse_exception_group(loose(error)) is error


def test_loose_group_of_two_stays():
    group = loose(LookupError(), KeyError())

    assert collapse_exception_group(group) is group


def test_strict_group_of_one_stays():
    group = ExceptionGroup("strict", [LookupError()])

    assert collapse_exception_group(group) is group


def test_collapsing_goes_through_every_depth():
    error = LookupError()

    assert collapse_exception_group(loose(loose(loose(error)))) is error


def test_loose_group_inside_a_strict_one_is_replaced_and_the_rest_kept():
    one, two = LookupError(), KeyError()
    group = ExceptionGroup("strict", [loose(one), two])
    group.__cause__ = cause = OSError()

    collapsed = collapse_exception_group(group)

    assert collapsed is not group
    assert type(collapsed) is ExceptionGroup
    assert collapsed.message == "strict"
    assert collapsed.exceptions == (one, two)
    assert group.__cause__ is cause


def test_subclass_of_group_stays_what_it_is():
    class Mine(ExceptionGroup):
        def derive(self, excs):
            return Mine(self.message, excs)

    collapsed = collapse_exception_group(Mine("mine", [loose(LookupError())]))

    assert type(collapsed) is Mine


def test_traceback_of_the_group_leads_to_that_of_the_one():
    def inner(error):
        raise error

    def outer(error):
        raise error

    error = LookupError()
    group = loose(error)
    for raise_error, exc in ((inner, error), (outer, group)):
        with contextlib.suppress(LookupError, ExceptionGroup):
            raise_error(exc)

    collapsed = collapse_exception_group(group)

    names = [frame.name for frame in traceback.extract_tb(collapsed.__traceback__)]
    test = "test_traceback_of_the_group_leads_to_that_of_the_one"
    assert names == [test, "outer", test, "inner"]
