"""The pairing of expected and raised exceptions, and its reports."""

import pytest

from uringtrio.testing._matcher import Matcher
from uringtrio.testing._pairing import GREEDY, Pairing
from uringtrio.testing._raises_group import RaisesGroup


@pytest.mark.parametrize(
    ("expected", "raised"),
    [
        ([ValueError, KeyError], [KeyError(), ValueError()]),
        ([KeyError, LookupError], [IndexError(), KeyError()]),
        ([ValueError] * 3, [ValueError()] * 3),
    ],
)
def test_no_problem_if_each_finds_a_partner(expected, raised):
    assert Pairing(expected, raised).problem() is None


@pytest.mark.parametrize(
    ("expected", "raised", "problem"),
    [
        ([KeyError], [OSError()], "'OSError' is not of type 'KeyError'"),
        ([KeyError], [OSError(), KeyError()],
         "1 matched exception. Unexpected exception(s): [OSError()]"),
        ([KeyError, OSError, TypeError], [KeyError()],
         ("1 matched exception. Too few exceptions raised, found no match for: "
          "['OSError', 'TypeError']")),
        ([KeyError, KeyError, OSError], [KeyError(), KeyError(), TypeError()],
         "2 matched exceptions. 'TypeError' is not of type 'OSError'"),
    ],
)  # fmt: skip
def test_problem_is_one_line_if_that_says_it(expected, raised, problem):
    assert Pairing(expected, raised).problem() == problem


def test_table_names_the_partner_of_what_would_match():
    # Both of the expected ones that are left match the same raised one; the last one does not.
    pairing = Pairing([LookupError, KeyError, OSError], [KeyError(1), TypeError(2)])

    assert pairing.problem() == (
        "\n1 matched exception. "
        "\nThe following expected exceptions did not find a match:"
        "\n  'KeyError'"
        "\n    It matches KeyError(1) which was paired with 'LookupError'"
        "\n  'OSError'"
        "\nThe following raised exceptions did not find a match"
        "\n  TypeError(2):"
        "\n    'TypeError' is not of type 'KeyError'"
        "\n    'TypeError' is not of type 'OSError'"
    )


def test_table_says_that_another_order_would_do():
    problem = Pairing([LookupError, KeyError], [KeyError(), IndexError()]).problem()

    assert problem.endswith("\n" + GREEDY)


def test_no_other_order_would_do_where_one_is_left_over():
    raised = [KeyError(), IndexError(), OSError()]

    assert GREEDY not in Pairing([LookupError, KeyError], raised).problem()


def test_check_that_the_report_shows_already_is_not_named_again():
    never = Matcher(check=lambda _exc: False)
    RaisesGroup(never)

    assert Pairing([never], [KeyError()]).problem() == f"{never!r}: check did not return True"


def test_other_order_is_looked_for_through_several_partners():
    expected = [Exception, LookupError, Matcher(KeyError, check=lambda exc: exc.args == (1,))]

    assert GREEDY in Pairing(expected, [KeyError(1), KeyError(2), OSError()]).problem()
    assert GREEDY not in Pairing(expected, [KeyError(1), OSError(), OSError()]).problem()


def test_no_pair_is_tried_twice():
    tried = []

    def check(exc):
        tried.append(exc)
        return False

    raised = [ValueError(), KeyError()]
    Pairing([Matcher(check=check), LookupError], raised).problem()

    assert tried == raised
