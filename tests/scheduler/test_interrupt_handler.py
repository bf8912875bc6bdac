"""KeyboardInterrupt: protection by hand, what is installed for it, and that it is taken back."""

import contextlib
import os
import signal
import socket
import threading

import pytest

import uringtrio
from uringtrio import lowlevel

pytestmark = pytest.mark.usefixtures("_default_handler")


@pytest.fixture
def _default_handler():
    """Python's own SIGINT handler before and after, whatever the suite was started with."""
    old = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    signal.signal(signal.SIGINT, old)


def interrupt():
    """Send ourselves what Ctrl-C sends; Python's handler has run when this returns."""
    signal.raise_signal(signal.SIGINT)


@contextlib.contextmanager
def interrupt_from_outside(seconds=0.02):
    """Send SIGINT from another thread, a moment later, while the run waits."""
    timer = threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    yield
    timer.join()


def run_whole(async_fn, **options):
    """Run what is not to be ended by the interrupt; one that gets out must not end the suite."""
    try:
        return uringtrio.run(async_fn, **options)
    except KeyboardInterrupt:
        raise AssertionError("the interrupt came out of run()") from None


def test_protection_can_be_put_on_and_taken_off_any_kind_of_function():
    @lowlevel.enable_ki_protection
    def protected(fn):
        return fn()

    @lowlevel.disable_ki_protection
    def unprotected(fn):
        return fn()

    @lowlevel.enable_ki_protection
    async def protected_coroutine():
        interrupt()
        return "whole"

    @lowlevel.enable_ki_protection
    def protected_generator():
        interrupt()
        yield "whole"

    @lowlevel.enable_ki_protection
    async def protected_async_generator():
        interrupt()
        yield "whole"

    async def main():
        assert protected(lambda: interrupt() or "whole") == "whole"
        with pytest.raises(KeyboardInterrupt):
            await lowlevel.checkpoint()
        with pytest.raises(KeyboardInterrupt):
            protected(lambda: unprotected(interrupt))
        assert await protected_coroutine() == "whole"
        with pytest.raises(KeyboardInterrupt):
            await lowlevel.checkpoint()
        assert list(protected_generator()) == ["whole"]
        with pytest.raises(KeyboardInterrupt):
            await lowlevel.checkpoint()
        assert [item async for item in protected_async_generator()] == ["whole"]
        with pytest.raises(KeyboardInterrupt):
            await lowlevel.checkpoint()

    run_whole(main)


def test_protecting_one_closure_does_not_protect_its_twins():
    def make():
        def fn():
            interrupt()

        return fn

    protected, plain = lowlevel.enable_ki_protection(make()), make()

    async def main():
        protected()
        with pytest.raises(KeyboardInterrupt):
            await lowlevel.checkpoint()
        with pytest.raises(KeyboardInterrupt):
            plain()

    run_whole(main)


# What is installed, and that it is taken back.


def test_handler_and_wakeup_fd_are_there_during_the_run_only():
    async def main():
        assert signal.getsignal(signal.SIGINT) is not signal.default_int_handler
        fd = signal.set_wakeup_fd(-1)
        signal.set_wakeup_fd(fd)
        return fd

    assert uringtrio.run(main) != -1
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.set_wakeup_fd(-1) == -1


def test_both_are_taken_back_after_a_failed_run():
    async def main():
        raise LookupError

    with pytest.raises(LookupError):
        uringtrio.run(main)

    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.set_wakeup_fd(-1) == -1


def test_handler_of_the_users_own_is_left_alone(record):
    def own(_signum, _frame):
        record("own handler")

    async def main():
        assert signal.getsignal(signal.SIGINT) is own
        interrupt()
        await lowlevel.checkpoint()

    signal.signal(signal.SIGINT, own)
    try:
        run_whole(main)
        assert signal.getsignal(signal.SIGINT) is own
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)

    assert record.events == ["own handler"]


def test_wakeup_fd_of_another_library_is_taken_over_with_a_warning_and_given_back():
    left, right = socket.socketpair()
    with left, right:
        right.setblocking(False)
        signal.set_wakeup_fd(right.fileno())
        try:
            with pytest.warns(RuntimeWarning, match="set_wakeup_fd"):
                uringtrio.run(lowlevel.checkpoint)
            assert signal.set_wakeup_fd(-1) == right.fileno()
        finally:
            signal.set_wakeup_fd(-1)


def test_run_in_another_thread_installs_nothing():
    handlers = []

    async def main():
        handlers.append(signal.getsignal(signal.SIGINT))
        await lowlevel.checkpoint()

    thread = threading.Thread(target=uringtrio.run, args=(main,))
    thread.start()
    thread.join(10)

    assert handlers == [signal.default_int_handler]


def test_interrupt_of_the_main_thread_does_not_touch_a_run_in_another_thread():
    finished = []
    tokens = []
    ready = threading.Event()

    async def main():
        event = uringtrio.Event()
        tokens.append((lowlevel.current_trio_token(), event))
        ready.set()
        await event.wait()
        finished.append("whole")

    thread = threading.Thread(target=uringtrio.run, args=(main,))
    thread.start()
    assert ready.wait(10)
    with pytest.raises(KeyboardInterrupt), interrupt_from_outside():
        threading.Event().wait(10)
    token, event = tokens[0]
    token.run_sync_soon(event.set)
    thread.join(10)

    assert finished == ["whole"]
