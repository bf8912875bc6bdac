"""OneTask: two tasks where only one may be."""

import pytest

import uringtrio
from uringtrio.testing._conflicts import OneTask, check_max_bytes


def test_second_entry_is_refused_until_the_first_has_left():
    one = OneTask("reading")
    with one:
        with pytest.raises(uringtrio.BusyResourceError, match="another task is already reading"):
            with one:
                pass
        with pytest.raises(uringtrio.BusyResourceError):
            with one:
                pass
    with one:
        pass


def test_max_bytes_is_none_or_a_positive_integer():
    check_max_bytes(None)
    check_max_bytes(1)
    for refused, error in ((0, ValueError), (-1, ValueError), (1.5, TypeError), ("1", TypeError)):
        with pytest.raises(error):
            check_max_bytes(refused)
