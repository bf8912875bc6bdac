"""Guest mode: a whole run in the callbacks of another event loop, and what the host may do."""

import functools
import signal
import socket as stdlib_socket
import threading
import time
from math import inf

import outcome
import pytest

import uringtrio
from uringtrio import lowlevel, socket
from uringtrio.testing import MockClock, wait_all_tasks_blocked


class BrokenClock(uringtrio.abc.Clock):
    """A clock that fails in what the test says."""

    def __init__(self, fails_in):
        self._fails_in = fails_in

    def start_clock(self):
        if self._fails_in == "start_clock":
            raise OSError("no clock")

    def current_time(self):
        return 0.0

    def deadline_to_sleep_time(self, deadline):
        if self._fails_in == "deadline_to_sleep_time":
            raise OSError("no clock")
        return inf if deadline == inf else max(deadline, 0)


# The beginning and the end.


def test_result_is_handed_to_the_callback(guest):
    async def main(number):
        await lowlevel.checkpoint()
        return number + 1

    assert guest.run(main, 41) == 42
    assert isinstance(guest.outcomes[0], outcome.Value)
    assert not lowlevel.in_trio_run()


def test_error_is_handed_to_the_callback_unwrapped_and_unchanged(guest):
    error = LookupError("mine")

    async def main():
        await uringtrio.sleep(0)
        raise error

    with pytest.raises(LookupError) as caught:
        guest.run(main)

    assert caught.value is error
    assert error.__cause__ is None
    assert error.__context__ is None


def test_nothing_of_the_users_runs_before_the_start_returns(guest, record):
    async def main():
        record("main")

    guest.run(main, in_host=lambda: record("started"))

    assert record.events == ["started", "main"]


def test_run_can_be_used_when_the_start_returns(guest, record):
    async def system():
        record("system task")
        await uringtrio.sleep_forever()

    async def main():
        await wait_all_tasks_blocked()

    def in_host():
        assert uringtrio.current_time() is not None
        assert lowlevel.current_clock() is not None
        assert lowlevel.current_root_task().name == "<init>"
        assert lowlevel.current_statistics().tasks_living == 3
        task = lowlevel.spawn_system_task(system, name="mine")
        assert task.name == "mine"
        lowlevel.current_trio_token().run_sync_soon(record, "call")

    guest.run(main, in_host=in_host)

    assert sorted(record.events) == ["call", "system task"]


def test_wrong_function_is_refused_at_the_start(guest):
    async def main():
        raise AssertionError("never started")

    with pytest.raises(TypeError, match="without the parentheses"):
        guest.start(main())
    with pytest.raises(TypeError, match="expecting an async function"):
        guest.start(None)

    assert guest.outcomes == []
    assert not lowlevel.in_trio_run()


def test_function_that_cannot_be_called_so_is_the_result(guest):
    async def main(argument):
        raise AssertionError(argument)

    with pytest.raises(TypeError, match="argument"):
        guest.run(main)


def test_failed_setup_is_raised_at_the_start_and_everything_is_given_back(guest):
    async def main():
        raise AssertionError("never started")

    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(uringtrio.TrioInternalError) as caught:
        guest.start(main, clock=BrokenClock("start_clock"))

    assert isinstance(caught.value.__cause__, OSError)
    assert guest.outcomes == []
    assert not lowlevel.in_trio_run()
    assert signal.getsignal(signal.SIGINT) is handler

    async def well():
        return "well"

    assert guest.run(well) == "well"


def test_later_failure_of_the_machinery_goes_to_the_callback(guest, leftovers):
    leftovers.allowed = True

    async def main():
        await uringtrio.sleep(5)

    with pytest.raises(uringtrio.TrioInternalError) as caught:
        guest.run(main, clock=BrokenClock("deadline_to_sleep_time"))

    assert isinstance(caught.value.__cause__, OSError)
    assert not lowlevel.in_trio_run()


def test_system_task_that_fails_goes_to_the_callback(guest, record):
    async def fail():
        raise LookupError

    async def main():
        try:
            await uringtrio.sleep_forever()
        finally:
            record("main was cancelled")

    with pytest.raises(uringtrio.TrioInternalError):
        guest.run(main, in_host=functools.partial(lowlevel.spawn_system_task, fail))

    assert record.events == ["main was cancelled"]


def test_second_run_in_the_thread_is_refused_and_the_first_goes_on(guest):
    async def main():
        await uringtrio.sleep(0.01)
        return "the first"

    def in_host():
        with pytest.raises(RuntimeError, match="from inside"):
            uringtrio.run(main)
        with pytest.raises(RuntimeError, match="from inside"):
            guest.start(main)

    assert guest.run(main, in_host=in_host) == "the first"


def test_host_may_have_one_guest_after_the_other(guest):
    async def main(number):
        await uringtrio.sleep(0)
        return number

    assert [guest.run(main, number) for number in range(3)] == [0, 1, 2]


def test_not_strict_run_warns_and_lets_single_errors_out_bare(guest):
    async def main():
        async with uringtrio.open_nursery():
            raise LookupError

    with pytest.warns(uringtrio.TrioDeprecationWarning), pytest.raises(LookupError):
        guest.run(main, strict_exception_groups=False)


def test_run_abandoned_by_its_host_warns_and_the_thread_is_free_again(guest, leftovers):
    leftovers.allowed = True

    async def main():
        await uringtrio.sleep_forever()

    turns = []
    lowlevel.start_guest_run(
        main, run_sync_soon_threadsafe=turns.append, done_callback=guest.outcomes.append
    )
    assert lowlevel.in_trio_run()
    with pytest.warns(RuntimeWarning, match="guest run got abandoned"):
        turns.clear()

    assert guest.outcomes == []
    assert not lowlevel.in_trio_run()

    async def well():
        return "well"

    assert uringtrio.run(well) == "well"


# Turns and waits.


def test_busy_run_takes_turns_without_threads(guest):
    async def main():
        for _ in range(50):
            await lowlevel.checkpoint()

    guest.run(main)

    assert guest.asked_from_here >= 50
    assert guest.asked_from_threads == 0


def test_idle_run_waits_in_a_thread_and_the_host_goes_on(guest, record):
    async def main():
        await uringtrio.sleep(0.1)
        record("guest")

    def in_host():
        guest.host.after(0.02, functools.partial(record, "host"))

    guest.run(main, in_host=in_host)

    assert record.events == ["host", "guest"]
    assert guest.asked_from_threads >= 1


def test_host_without_a_call_of_its_own_thread_is_always_asked_the_safe_way(guest):
    asked = []

    def soon(fn):
        asked.append(threading.current_thread())
        guest.host.call_soon_threadsafe(fn)

    def done(result):
        guest.outcomes.append(result)
        guest.host.quit()

    async def main():
        await uringtrio.sleep(0.01)

    lowlevel.start_guest_run(main, run_sync_soon_threadsafe=soon, done_callback=done)
    guest.mainloop()

    assert guest.outcomes == [outcome.Value(None)]
    assert len(asked) > len(set(asked)) == 2


def test_real_io_wakes_the_run(guest):
    async def echo(sock):
        while data := await sock.recv(100):
            await sock.send(data)

    async def main():
        left, right = socket.socketpair()
        with left, right:
            async with uringtrio.open_nursery() as nursery:
                nursery.start_soon(echo, right)
                for number in range(20):
                    # Long enough for the other side to be parked in its receive.
                    await uringtrio.sleep(0.001 if number % 2 else 0)
                    await left.send(b"%d" % number)
                    assert await left.recv(100) == b"%d" % number
                left.shutdown(socket.SHUT_WR)

    guest.run(main)


def test_data_that_the_host_sends_wakes_the_run(guest):
    left, right = stdlib_socket.socketpair()

    async def main():
        with socket.from_stdlib_socket(right) as sock:
            return await sock.recv(100)

    with left:
        assert (
            guest.run(main, in_host=lambda: guest.host.after(0.02, lambda: left.send(b"x"))) == b"x"
        )


def test_mock_clock_jumps_in_guest_mode(guest):
    async def main():
        before = time.monotonic()
        for _ in range(3):
            await uringtrio.sleep(1000)
        lowlevel.current_clock().autojump_threshold = inf
        with uringtrio.CancelScope() as scope:
            async with uringtrio.open_nursery() as nursery:
                nursery.start_soon(uringtrio.sleep, 1000)
                await wait_all_tasks_blocked(0.01)
                scope.cancel()
        assert scope.cancelled_caught
        return uringtrio.current_time(), time.monotonic() - before

    now, real_seconds = guest.run(main, clock=MockClock(autojump_threshold=0))

    assert now == 3000
    assert real_seconds < 10
