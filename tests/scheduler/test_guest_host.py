"""Guest mode from the host's side: waking the run, and keeping what belongs to each side apart."""

import contextlib
import contextvars
import functools
import os
import signal
import sys
import threading
import warnings
from math import inf

import pytest
import sniffio

import uringtrio
from uringtrio import lowlevel
from uringtrio.testing import wait_all_tasks_blocked

from .interrupts import interrupt

variable = contextvars.ContextVar("variable", default="unset")


@pytest.fixture
def later(guest):
    """Calls a function in the host a moment later, when the run waits in its thread."""

    def call_later(fn, *args):
        return functools.partial(guest.host.after, 0.02, functools.partial(fn, *args))

    return call_later


# The host wakes a run that waits in its thread.


def test_cancel_by_the_host_wakes_the_run(guest, later):
    scope = uringtrio.CancelScope()

    async def main():
        with scope:
            with pytest.raises(uringtrio.Cancelled) as caught:
                await uringtrio.sleep_forever()
            raise caught.value
        return scope.cancelled_caught, caught.value

    was_caught, cancelled = guest.run(main, in_host=later(scope.cancel, "window closed"))

    assert was_caught
    assert cancelled.source == "explicit"
    assert cancelled.source_task is None
    assert cancelled.reason == "window closed"


def test_cancel_by_the_host_wakes_a_run_that_waits_for_io(guest, later):
    """Up to 0.1.0 the cancel was queued, and the thread went on waiting for the peer."""
    scope = uringtrio.CancelScope()

    async def main():
        left, right = uringtrio.socket.socketpair()
        with left, right, scope:
            await left.recv(1)
        return scope.cancelled_caught

    assert guest.run(main, in_host=later(scope.cancel))


@pytest.mark.parametrize("how", ["close", "notify_closing"])
def test_socket_closed_by_the_host_wakes_the_run(guest, later, how):
    """Until 0.1 the end of the wait was queued, and the thread went on waiting for the peer."""
    mine, peer = uringtrio.socket.socketpair()

    waits = {"close": lambda: mine.recv(1), "notify_closing": lambda: lowlevel.wait_readable(mine)}

    async def main():
        with pytest.raises(uringtrio.ClosedResourceError):
            await waits[how]()

    close = mine.close if how == "close" else functools.partial(lowlevel.notify_closing, mine)
    with mine, peer:
        guest.run(main, in_host=later(close))


def test_deadline_set_by_the_host_wakes_the_run(guest, later):
    scope = uringtrio.CancelScope()

    def in_host():
        scope.deadline = uringtrio.current_time() + 0.01

    async def main():
        with scope:
            await uringtrio.sleep_forever()
        return scope.cancelled_caught

    assert guest.run(main, in_host=later(in_host))


def test_deadline_taken_away_by_the_host_does_not_end_the_wait(guest, later, record):
    scope = uringtrio.CancelScope(deadline=inf)
    event = uringtrio.Event()

    def in_host():
        scope.deadline = inf
        guest.host.after(0.1, event.set)

    async def main():
        scope.deadline = uringtrio.current_time() + 0.06
        with scope:
            await event.wait()
            record("not cancelled")

    guest.run(main, in_host=later(in_host))

    assert record.events == ["not cancelled"]


def test_event_set_by_the_host_wakes_the_run(guest, later):
    event = uringtrio.Event()

    guest.run(event.wait, in_host=later(event.set))


def test_task_rescheduled_by_the_host_wakes_the_run(guest, later):
    tasks = []

    async def main():
        tasks.append(lowlevel.current_task())
        return await lowlevel.wait_task_rescheduled(lambda _: lowlevel.Abort.FAILED)

    guest.run(main, in_host=later(lambda: lowlevel.reschedule(tasks[0])))


def test_system_task_of_the_host_wakes_the_run(guest, later):
    event = uringtrio.Event()

    async def system():
        await lowlevel.checkpoint()
        event.set()

    guest.run(event.wait, in_host=later(lambda: lowlevel.spawn_system_task(system)))


def test_task_that_the_host_puts_into_a_nursery_wakes_the_run(guest, later):
    nurseries = []

    async def child(number):
        await lowlevel.checkpoint()
        nurseries[0].cancel_scope.cancel()
        return number

    async def main():
        async with uringtrio.open_nursery() as nursery:
            nurseries.append(nursery)
            await uringtrio.sleep_forever()

    guest.run(main, in_host=later(lambda: nurseries[0].start_soon(child, 1)))


def test_call_from_a_thread_wakes_the_run(guest):
    event = uringtrio.Event()

    def in_host():
        token = lowlevel.current_trio_token()
        threading.Timer(0.02, token.run_sync_soon, (event.set,)).start()

    guest.run(event.wait, in_host=in_host)


def test_threads_of_the_run_come_back_and_call_in(guest):
    def work(number):
        return uringtrio.from_thread.run_sync(lambda: number + 1)

    async def main():
        return await uringtrio.to_thread.run_sync(work, 41)

    assert guest.run(main) == 42


def test_host_that_changes_nothing_does_not_end_the_wait_of_wait_all_tasks_blocked(guest, record):
    async def main():
        event = uringtrio.Event()

        async def waiter():
            await wait_all_tasks_blocked(0.1)
            record("all blocked")
            event.set()

        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(waiter)
            await event.wait()

    def in_host():
        for number in range(5):
            guest.host.after(0.02 * number, functools.partial(record, "host"))

    guest.run(main, in_host=in_host)

    assert record.events == ["host"] * 5 + ["all blocked"]


# What belongs to which side.


def test_host_is_in_the_run_but_in_no_task(guest, record):
    def where():
        return lowlevel.in_trio_run(), lowlevel.in_trio_task()

    def in_host():
        record(where())
        with pytest.raises(RuntimeError, match="must be called from a task"):
            lowlevel.current_task()
        guest.host.after(0.02, lambda: record(where()))

    async def main():
        record(where())
        await uringtrio.sleep(0.05)

    assert where() == (False, False)
    guest.run(main, in_host=in_host)
    assert where() == (False, False)

    assert record.events == [(True, False), (True, True), (True, False)]


def test_sniffio_names_the_library_of_each_side(guest, record):
    def in_host():
        record(sniffio.thread_local.name)
        # In the midst of the run's life, after it has taken some turns.
        guest.host.after(0.02, lambda: record(sniffio.thread_local.name))

    async def main():
        assert sniffio.current_async_library() == "uringtrio"
        await uringtrio.sleep(0.05)
        assert sniffio.current_async_library() == "uringtrio"

    before, sniffio.thread_local.name = sniffio.thread_local.name, "host"
    try:
        guest.run(main, in_host=in_host)
        assert sniffio.thread_local.name == "host"
    finally:
        sniffio.thread_local.name = before

    assert record.events == ["host", "host"]


def test_context_variables_go_in_at_the_start_and_never_out(guest, record):
    async def main():
        assert variable.get() == "host"
        variable.set("guest")
        await uringtrio.sleep(0.04)
        assert variable.get() == "guest"

    def in_host():
        record(variable.get())
        guest.host.after(0.02, lambda: record(variable.get()))

    def run():
        variable.set("host")
        guest.run(main, in_host=in_host)
        record(variable.get())

    contextvars.copy_context().run(run)

    assert record.events == ["host"] * 3


def test_async_generators_of_the_host_keep_the_hosts_hooks(guest, record):
    async def generate(name):
        try:
            yield name
        finally:
            record(f"{name} closed")

    def first(agen):
        record(f"{agen.__qualname__.rpartition('.')[2]} of the host")

    def last(agen):
        record("finalized by the host")
        with contextlib.suppress(StopIteration):
            agen.aclose().send(None)

    def in_host():
        agen = generate("theirs")
        # One step of it, as the host's own tasks would do.
        try:
            agen.asend(None).send(None)
        except StopIteration as exc:
            record(exc.value)

    async def main():
        agen = generate("ours")
        record(await agen.asend(None))
        await agen.aclose()

    hooks = sys.get_asyncgen_hooks()

    def start_with_hooks():
        # Here rather than before: asyncio sets hooks of its own when it begins.
        sys.set_asyncgen_hooks(first, last)
        guest.start(main)
        in_host()

    try:
        guest.host.call_soon(start_with_hooks)
        guest.mainloop()
    finally:
        sys.set_asyncgen_hooks(*hooks)

    assert guest.outcomes[0].unwrap() is None
    assert record.events == [
        "generate of the host", "theirs", "finalized by the host", "theirs closed",
        "ours", "ours closed",
    ]  # fmt: skip


def test_instruments_hear_of_each_turn(guest):
    class Instrument(uringtrio.abc.Instrument):
        def __init__(self):
            self.events = []

        def before_run(self):
            self.events.append("before_run")

        def after_run(self):
            self.events.append("after_run")

        def before_io_wait(self, timeout):
            self.events.append(("before", timeout))

        def after_io_wait(self, timeout):
            self.events.append(("after", timeout))

    instrument = Instrument()

    async def main():
        await uringtrio.sleep(0.02)

    guest.run(main, instruments=[instrument])

    assert instrument.events[0] == "before_run"
    assert instrument.events[-1] == "after_run"
    waits = [event for event in instrument.events if isinstance(event, tuple)]
    before = [timeout for kind, timeout in waits if kind == "before"]
    assert max(before) > 0.01
    # Each wait begins and ends, in turn, with what it was told in the beginning.
    assert [timeout for kind, timeout in waits if kind == "after"][-len(before) :] == before


# Signals.


def test_interrupt_while_the_run_waits_goes_to_main(guest, record):
    def in_host():
        threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT)).start()

    async def main():
        try:
            await uringtrio.sleep_forever()
        except KeyboardInterrupt:
            record("main was interrupted")
            raise

    with pytest.raises(KeyboardInterrupt):
        guest.run(main, in_host=in_host)

    assert record.events == ["main was interrupted"]


def test_interrupt_in_main_is_raised_right_there(guest):
    async def main():
        with pytest.raises(KeyboardInterrupt):
            interrupt()
        await lowlevel.checkpoint()
        return "goes on"

    assert guest.run(main) == "goes on"


def test_interrupt_in_the_host_waits_for_mains_checkpoint(guest, record):
    async def main():
        try:
            await uringtrio.sleep_forever()
        finally:
            record("main was interrupted")

    def in_host():
        interrupt()
        record("host goes on")

    with pytest.raises(KeyboardInterrupt):
        guest.run(main, in_host=in_host)

    assert record.events == ["host goes on", "main was interrupted"]


def test_interrupt_restricted_to_checkpoints_waits_for_one(guest, record):
    async def main():
        interrupt()
        record("goes on")
        await lowlevel.checkpoint()

    with pytest.raises(KeyboardInterrupt):
        guest.run(main, restrict_keyboard_interrupt_to_checkpoints=True)

    assert record.events == ["goes on"]


@pytest.fixture
def wakeup_fd_now():
    """Returns the wakeup fd without changing it."""

    def look():
        fd = signal.set_wakeup_fd(-1)
        signal.set_wakeup_fd(fd, warn_on_full_buffer=False)
        return fd

    assert look() == -1
    yield look
    assert look() == -1


@pytest.mark.parametrize("host_uses_it", [False, True])
def test_wakeup_fd_is_taken_unless_the_host_uses_it(guest, wakeup_fd_now, host_uses_it):
    async def main():
        return wakeup_fd_now()

    fd = guest.run(main, host_uses_signal_set_wakeup_fd=host_uses_it)

    assert (fd == -1) is host_uses_it


def test_wakeup_fd_of_the_host_is_taken_with_a_warning_and_given_back(guest, wakeup_fd_now):
    left, right = uringtrio.socket.socketpair()

    async def main():
        return wakeup_fd_now()

    with left, right:
        signal.set_wakeup_fd(left.fileno())
        try:
            with pytest.warns(RuntimeWarning, match="set_wakeup_fd"):
                assert guest.run(main) not in (-1, left.fileno())
            assert wakeup_fd_now() == left.fileno()
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                fd = guest.run(main, host_uses_signal_set_wakeup_fd=True)
            assert fd == left.fileno()
        finally:
            signal.set_wakeup_fd(-1)
