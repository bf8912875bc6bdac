"""Signals to iterate over: each kind once while it waits, in order, and none is lost."""

import contextlib
import itertools
import os
import signal
import threading
import time

import pytest

import uringtrio
from uringtrio import lowlevel
from uringtrio.testing import assert_checkpoints

# None of them kills the process if a test of these is wrong, once `_quiet` has seen to it.
KINDS = (signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP)


class Noted:
    """A handler that notes what it gets."""

    def __init__(self):
        self.signums = []

    def __call__(self, signum, _frame):
        self.signums.append(signum)


@pytest.fixture(autouse=True)
def outside():
    """The handler in place outside of any receiver; in place again afterwards."""
    noted = Noted()
    old = {signum: signal.signal(signum, noted) for signum in KINDS}
    yield noted
    for signum, handler in old.items():
        assert signal.signal(signum, handler) is noted


async def receive(receiver, count):
    """Return the next `count` signals."""
    return [await anext(receiver) for _ in range(count)]


# What arrives.


def test_signal_of_another_thread_ends_the_wait(run):
    async def main():
        with uringtrio.open_signal_receiver(signal.SIGUSR1) as receiver:
            timer = threading.Timer(0.02, os.kill, (os.getpid(), signal.SIGUSR1))
            timer.start()
            signum = await anext(receiver)
            timer.join()
            return signum

    assert run(main) == signal.SIGUSR1


def test_signal_to_another_thread_ends_the_wait(run):
    """The kernel may choose any thread, so that the wait of the main thread is not interrupted."""

    async def main():
        with uringtrio.open_signal_receiver(signal.SIGUSR1) as receiver:
            thread = threading.Thread(
                target=lambda: signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)
            )
            async with uringtrio.open_nursery() as nursery:

                @nursery.start_soon
                async def start():
                    thread.start()

                signum = await anext(receiver)
            thread.join()
            return signum

    assert run(main) == signal.SIGUSR1


def test_signal_in_a_busy_task_waits_for_its_end(run):
    async def main():
        with uringtrio.open_signal_receiver(signal.SIGUSR1) as receiver:
            os.kill(os.getpid(), signal.SIGUSR1)
            give_up = time.monotonic() + 0.05
            while time.monotonic() < give_up:
                pass
            return await anext(receiver)

    assert run(main) == signal.SIGUSR1


def test_different_signals_come_in_order_of_arrival(run, settle):
    async def main():
        with uringtrio.open_signal_receiver(*KINDS) as receiver:
            for signum in (signal.SIGHUP, signal.SIGUSR2, signal.SIGUSR1):
                signal.raise_signal(signum)
            await settle()
            return await receive(receiver, 3)

    assert run(main) == [signal.SIGHUP, signal.SIGUSR2, signal.SIGUSR1]


def test_repeated_signal_counts_once_and_keeps_its_place(run, outside):
    async def main():
        with uringtrio.open_signal_receiver(*KINDS) as receiver:
            for signum in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGUSR1, signal.SIGUSR1):
                signal.raise_signal(signum)
            seen = await receive(receiver, 2)
            with uringtrio.move_on_after(0.01) as scope:
                await anext(receiver)
            assert scope.cancelled_caught
            # It is delivered, so the next one counts again.
            signal.raise_signal(signal.SIGUSR1)
            return [*seen, await anext(receiver)]

    assert run(main) == [signal.SIGUSR1, signal.SIGUSR2, signal.SIGUSR1]
    assert outside.signums == []


def test_no_signal_starves_another(run):
    async def main():
        with uringtrio.open_signal_receiver(signal.SIGUSR1, signal.SIGUSR2) as receiver:
            seen = []
            signal.raise_signal(signal.SIGUSR1)
            for _ in range(10):
                signal.raise_signal(signal.SIGUSR2)
                signal.raise_signal(signal.SIGUSR1)
                seen.append(await anext(receiver))
            await anext(receiver)
            return seen

    seen = run(main)
    assert all(one != other for one, other in itertools.pairwise(seen))


def test_interrupt_may_be_received(run):
    async def main():
        with uringtrio.open_signal_receiver(signal.SIGINT) as receiver:
            signal.raise_signal(signal.SIGINT)
            assert await anext(receiver) == signal.SIGINT
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)

    run(main)


def test_two_receivers_of_different_signals(run):
    async def main():
        with (
            uringtrio.open_signal_receiver(signal.SIGUSR1) as one,
            uringtrio.open_signal_receiver(signal.SIGUSR2) as two,
        ):
            signal.raise_signal(signal.SIGUSR2)
            signal.raise_signal(signal.SIGUSR1)
            return await anext(one), await anext(two)

    assert run(main) == (signal.SIGUSR1, signal.SIGUSR2)


def test_wake_for_a_signal_that_was_taken_already_ends_no_wait(run):
    """In one of the two orders the iteration that does not wait comes before the wake."""

    async def main():
        with uringtrio.open_signal_receiver(signal.SIGUSR1) as receiver:
            for _ in range(20):
                signal.raise_signal(signal.SIGUSR1)
                assert await anext(receiver) == signal.SIGUSR1
                with uringtrio.move_on_after(0.005) as scope:
                    await anext(receiver)
                assert scope.cancelled_caught

    run(main)


def test_inner_receiver_hands_back_to_the_outer_one(run, outside):
    async def main():
        with uringtrio.open_signal_receiver(signal.SIGUSR1) as outer:
            with uringtrio.open_signal_receiver(signal.SIGUSR1):
                signal.raise_signal(signal.SIGUSR1)
            return await anext(outer)

    assert run(main) == signal.SIGUSR1
    assert outside.signums == []


def test_many_signals_while_iterating_lose_none(run):
    """The handler runs between any two bytecodes of the iteration itself."""
    count = 2000

    async def main():
        sent = received = 0
        with uringtrio.open_signal_receiver(signal.SIGUSR1, signal.SIGUSR2) as receiver:

            def send():
                nonlocal sent
                for _ in range(count):
                    os.kill(os.getpid(), signal.SIGUSR1)
                    sent += 1
                os.kill(os.getpid(), signal.SIGUSR2)

            thread = threading.Thread(target=send)
            thread.start()
            async for signum in receiver:
                if signum == signal.SIGUSR2:
                    break
                received += 1
            thread.join()
            # The last ones may come together with, or after, the one that ends the loop.
            with uringtrio.move_on_after(0.05):
                await anext(receiver)
                received += 1
        return sent, received

    sent, received = run(main)
    assert sent == count
    assert 1 <= received <= count


# Waiting.


def test_each_iteration_is_a_checkpoint(run):
    async def main():
        with uringtrio.open_signal_receiver(signal.SIGUSR1) as receiver:
            signal.raise_signal(signal.SIGUSR1)
            with assert_checkpoints():
                await anext(receiver)
            lowlevel.current_trio_token().run_sync_soon(signal.raise_signal, signal.SIGUSR1)
            with assert_checkpoints():
                await anext(receiver)

    run(main)


def test_cancelled_iteration_takes_nothing(run):
    async def main():
        with uringtrio.open_signal_receiver(signal.SIGUSR1) as receiver:
            signal.raise_signal(signal.SIGUSR1)
            with uringtrio.CancelScope() as scope:
                scope.cancel()
                await anext(receiver)
            assert scope.cancelled_caught
            return await anext(receiver)

    assert run(main) == signal.SIGUSR1


@pytest.mark.parametrize("order", ["signal first", "cancel first"])
def test_signal_and_cancel_in_one_turn_lose_nothing(run, settle, order, outside):
    async def main():
        seen = []

        async def iterate():
            with scope:
                seen.append(await anext(receiver))

        scope = uringtrio.CancelScope()
        with uringtrio.open_signal_receiver(signal.SIGUSR1) as receiver:
            async with uringtrio.open_nursery() as nursery:
                nursery.start_soon(iterate)
                await settle()
                actions = [lambda: signal.raise_signal(signal.SIGUSR1), scope.cancel]
                for action in actions if order == "signal first" else reversed(actions):
                    lowlevel.current_trio_token().run_sync_soon(action)
        return seen

    assert run(main) + outside.signums == [signal.SIGUSR1]


def test_two_tasks_cannot_iterate_at_once(run, settle):
    async def main():
        with uringtrio.open_signal_receiver(signal.SIGUSR1) as receiver:
            async with uringtrio.open_nursery() as nursery:
                nursery.start_soon(anext, receiver)
                await settle()
                with pytest.raises(uringtrio.BusyResourceError, match="another task"):
                    await anext(receiver)
                signal.raise_signal(signal.SIGUSR1)
            signal.raise_signal(signal.SIGUSR1)
            return await anext(receiver)

    assert run(main) == signal.SIGUSR1


# The end of the block.


def test_handlers_are_restored_even_after_an_error(run, outside):
    async def main():
        with contextlib.suppress(ZeroDivisionError):
            with uringtrio.open_signal_receiver(signal.SIGUSR1, signal.SIGUSR1, signal.SIGUSR2):
                assert signal.getsignal(signal.SIGUSR1) is not outside
                raise ZeroDivisionError
        assert signal.getsignal(signal.SIGUSR1) is outside
        assert signal.getsignal(signal.SIGUSR2) is outside

    run(main)


@pytest.mark.parametrize("settled", [True, False])
def test_what_was_not_delivered_is_raised_again_in_order(run, settle, outside, settled):
    async def main():
        with uringtrio.open_signal_receiver(*KINDS) as receiver:
            for signum in (signal.SIGUSR2, signal.SIGUSR1, signal.SIGHUP):
                signal.raise_signal(signum)
            if settled:
                await settle()
            assert await anext(receiver) == signal.SIGUSR2
            assert outside.signums == []
        assert outside.signums == [signal.SIGUSR1, signal.SIGHUP]

    run(main)


def test_all_are_raised_again_though_handlers_raise(run):
    handled = []

    def refuse(signum, _frame):
        handled.append(signum)
        raise ValueError(signum)

    async def main():
        with uringtrio.open_signal_receiver(*KINDS):
            for signum in KINDS:
                signal.raise_signal(signum)
            raise KeyError("body")

    old = {signum: signal.signal(signum, refuse) for signum in KINDS}
    try:
        with pytest.raises(ValueError, match=str(int(KINDS[-1]))) as caught:
            run(main)
    finally:
        for signum, handler in old.items():
            signal.signal(signum, handler)

    assert handled == list(KINDS)
    chain = []
    error = caught.value
    while error is not None:
        chain.append(error.args)
        error = error.__context__
    assert chain == [*((int(signum),) for signum in reversed(KINDS)), ("body",)]


def test_iterating_after_the_block_is_refused(run):
    async def main():
        with uringtrio.open_signal_receiver(signal.SIGUSR1) as receiver:
            pass
        with pytest.raises(RuntimeError, match="inside its `with"):
            await anext(receiver)

    run(main)


@pytest.mark.parametrize("with_signal", [True, False])
def test_task_that_iterates_at_the_end_is_told(run, settle, outside, with_signal):
    async def main():
        async with uringtrio.open_nursery() as nursery:
            with uringtrio.open_signal_receiver(signal.SIGUSR1) as receiver:

                @nursery.start_soon
                async def iterate():
                    with pytest.raises(RuntimeError, match="closed"):
                        await anext(receiver)

                await settle()
                if with_signal:
                    signal.raise_signal(signal.SIGUSR1)

    run(main)
    assert outside.signums == ([signal.SIGUSR1] if with_signal else [])


def test_block_that_outlives_the_run_gives_the_signals_back(run, outside):
    stack = contextlib.ExitStack()

    async def main():
        return stack.enter_context(uringtrio.open_signal_receiver(signal.SIGUSR1))

    run(main)
    signal.raise_signal(signal.SIGUSR1)
    assert outside.signums == []
    stack.close()
    assert outside.signums == [signal.SIGUSR1]


# Misuse.


def test_no_signals_are_refused():
    with pytest.raises(TypeError, match="No signals were provided"):
        uringtrio.open_signal_receiver()


def test_outside_of_a_run_is_refused(outside):
    with pytest.raises(RuntimeError, match="must be called from async context"):
        with uringtrio.open_signal_receiver(signal.SIGUSR1):
            raise AssertionError
    assert signal.getsignal(signal.SIGUSR1) is outside


def test_other_threads_are_refused(run):
    async def in_thread():
        with pytest.raises(RuntimeError, match="in the main thread only"):
            uringtrio.open_signal_receiver(signal.SIGUSR1)

    async def main():
        await uringtrio.to_thread.run_sync(uringtrio.run, in_thread)

    run(main)


@pytest.mark.parametrize(
    ("signum", "error", "message"),
    [
        (1234567, ValueError, "out of range"),
        (signal.SIGKILL, OSError, "cannot handle SIGKILL: the kernel lets no process do so"),
        (signal.SIGSTOP, OSError, "SIGSTOP"),
    ],
)
def test_signal_that_cannot_be_had_is_refused(run, outside, signum, error, message):
    async def main():
        with pytest.raises(error, match=message):
            with uringtrio.open_signal_receiver(signal.SIGUSR1, signum):
                raise AssertionError
        assert signal.getsignal(signal.SIGUSR1) is outside

    run(main)


def test_handler_that_could_not_be_restored_is_refused(run, monkeypatch):
    async def main():
        with pytest.raises(RuntimeError, match="cannot handle SIGUSR1: its handler"):
            with uringtrio.open_signal_receiver(signal.SIGUSR1):
                raise AssertionError

    monkeypatch.setattr(signal, "getsignal", lambda _signum: None)
    try:
        run(main)
    finally:
        monkeypatch.undo()
