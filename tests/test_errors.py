"""The exceptions: what they are, what they carry, what cannot be done with them."""

import copy
import errno
import pickle

import pytest

import uringtrio
from uringtrio import lowlevel


def caught_cancelled(reason=None):
    async def main():
        with uringtrio.CancelScope() as scope:
            scope.cancel(reason)
            with pytest.raises(uringtrio.Cancelled) as caught:
                await lowlevel.checkpoint()
        return caught.value

    return uringtrio.run(main)


def test_cancelled_is_no_exception_so_that_except_exception_lets_it_pass():
    assert issubclass(uringtrio.Cancelled, BaseException)
    assert not issubclass(uringtrio.Cancelled, Exception)


def test_cancelled_cannot_be_constructed_and_says_what_to_do():
    with pytest.raises(TypeError, match=r"no public constructor.*CancelScope\.cancel"):
        uringtrio.Cancelled()


def test_cancelled_cannot_be_raised_by_its_class():
    with pytest.raises(TypeError, match="no public constructor"):
        raise uringtrio.Cancelled


def test_cancelled_cannot_be_subclassed():
    with pytest.raises(TypeError, match="cannot be subclassed"):
        type("Mine", (uringtrio.Cancelled,), {})


@pytest.mark.parametrize("duplicate", [lambda e: pickle.loads(pickle.dumps(e)), copy.copy])
def test_cancelled_survives_pickling_and_copying(duplicate):
    error = caught_cancelled("why")
    again = duplicate(error)

    assert type(again) is uringtrio.Cancelled
    assert (again.source, again.reason) == ("explicit", "why")
    assert again.source_task == error.source_task
    assert str(again) == str(error)


def test_cancelled_says_why():
    error = caught_cancelled()

    assert str(error) == f"cancelled due to explicit from task {error.source_task}"


def test_other_exceptions_are_what_their_users_expect():
    for name in ("BrokenResourceError", "BusyResourceError", "ClosedResourceError"):
        assert issubclass(getattr(uringtrio, name), Exception)
    assert issubclass(uringtrio.RunFinishedError, RuntimeError)
    assert issubclass(uringtrio.DriverUnavailableError, RuntimeError)
    assert issubclass(uringtrio.TrioDeprecationWarning, FutureWarning)
    assert not issubclass(uringtrio.TooSlowError, TimeoutError)


def test_driver_unavailable_carries_name_reason_and_errno():
    error = uringtrio.DriverUnavailableError("io_uring", "it rained", 5)

    assert str(error) == "driver 'io_uring' is not available: it rained"
    assert (error.driver, error.reason, error.errno) == ("io_uring", "it rained", 5)


def test_unavailable_driver_survives_pickling():
    """It could not be unpickled, because it is not made from its message."""
    error = uringtrio.DriverUnavailableError("io_uring", "denied", errno.EPERM)
    again = pickle.loads(pickle.dumps(error))

    assert (again.driver, again.reason, again.errno) == ("io_uring", "denied", errno.EPERM)
    assert str(again) == str(error)
