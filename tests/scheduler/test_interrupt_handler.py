"""KeyboardInterrupt: protection by hand, what is installed for it, and that it is taken back."""

import inspect
import signal
import socket
import threading

import pytest

import uringtrio
from uringtrio import lowlevel

from .interrupts import interrupt, run_whole


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


def test_protection_reaches_the_function_inside_of_what_is_decorated():
    class Methods:
        @lowlevel.enable_ki_protection
        @classmethod
        def of_class(cls):
            return lowlevel.currently_ki_protected()

        @lowlevel.enable_ki_protection
        @staticmethod
        def static():
            return lowlevel.currently_ki_protected()

        def method(self):
            return lowlevel.currently_ki_protected()

    methods = Methods()

    async def main():
        assert not methods.method()
        lowlevel.enable_ki_protection(methods.method)
        return methods.of_class(), methods.static(), methods.method()

    assert uringtrio.run(main) == (True, True, True)


@pytest.mark.parametrize("what", [len, 42, None, object()])
def test_what_is_no_python_function_cannot_be_protected(what):
    with pytest.raises(TypeError, match="cannot protect"):
        lowlevel.enable_ki_protection(what)


def test_decorated_functions_keep_their_kind():
    @lowlevel.enable_ki_protection
    def plain():
        """Documented."""

    @lowlevel.disable_ki_protection
    async def coroutine():
        pass

    @lowlevel.enable_ki_protection
    def generator():
        yield

    @lowlevel.enable_ki_protection
    async def async_generator():
        yield

    assert plain.__doc__ == "Documented."
    assert inspect.iscoroutinefunction(coroutine)
    assert inspect.isgeneratorfunction(generator)
    assert inspect.isasyncgenfunction(async_generator)


def test_generator_that_is_not_marked_inherits_from_who_resumes_it():
    def generate():
        while True:
            yield lowlevel.currently_ki_protected()

    @lowlevel.enable_ki_protection
    def protected(generator):
        return next(generator)

    async def main():
        generator = generate()
        return next(generator), protected(generator), next(generator)

    assert uringtrio.run(main) == (False, True, False)


def test_interrupt_in_a_finalizer_waits_for_the_next_checkpoint(record):
    class Finalized:
        def __del__(self):
            interrupt()
            record("finalized in full")

    async def main():
        Finalized()
        record("goes on")
        with pytest.raises(KeyboardInterrupt):
            await lowlevel.checkpoint()

    run_whole(main)

    assert record.events == ["finalized in full", "goes on"]


def test_everything_is_protected_outside_of_a_run_and_in_its_own_tasks():
    assert lowlevel.currently_ki_protected()

    async def system(seen):
        seen.append(lowlevel.currently_ki_protected())

    async def main():
        seen = []
        lowlevel.spawn_system_task(system, seen)
        token = lowlevel.current_trio_token()
        token.run_sync_soon(lambda: seen.append(lowlevel.currently_ki_protected()))
        await lowlevel.checkpoint()
        await lowlevel.checkpoint()
        return seen, lowlevel.currently_ki_protected()

    assert uringtrio.run(main) == ([True, True], False)


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
    with pytest.raises(KeyboardInterrupt):
        interrupt()
    token, event = tokens[0]
    token.run_sync_soon(event.set)
    thread.join(10)

    assert finished == ["whole"]
