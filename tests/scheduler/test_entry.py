"""TrioToken: calls into a run from other threads, from signal handlers, and from the run itself."""

import contextvars
import signal
import sys
import threading

import pytest

import uringtrio
from uringtrio import lowlevel

variable = contextvars.ContextVar("variable", default="unset")


def test_call_from_a_thread_wakes_a_run_that_waits_for_ever():
    async def main():
        token = lowlevel.current_trio_token()
        event = uringtrio.Event()
        seen = []

        def call():
            seen.append(threading.current_thread())
            event.set()

        thread = threading.Thread(target=token.run_sync_soon, args=(call,))
        thread.start()
        await event.wait()
        thread.join(10)
        return seen

    assert uringtrio.run(main) == [threading.main_thread()]


def test_calls_are_made_in_order():
    async def main():
        token = lowlevel.current_trio_token()
        seen = []
        done = uringtrio.Event()
        for number in range(100):
            token.run_sync_soon(seen.append, number)
        token.run_sync_soon(done.set)
        assert not seen
        await done.wait()
        return seen

    assert uringtrio.run(main) == list(range(100))


def test_idempotent_calls_are_made_once_and_in_order(settle):
    async def main():
        token = lowlevel.current_trio_token()
        seen = []
        for _ in range(3):
            for number in range(5):
                token.run_sync_soon(seen.append, number, idempotent=True)
        await settle()
        assert seen == list(range(5))
        # Made once more when asked for after it was made.
        token.run_sync_soon(seen.append, 0, idempotent=True)
        await settle()
        return seen

    assert uringtrio.run(main) == [0, 1, 2, 3, 4, 0]


def test_equal_calls_that_are_not_idempotent_are_all_made(settle):
    async def main():
        token = lowlevel.current_trio_token()
        seen = []
        for _ in range(3):
            token.run_sync_soon(seen.append, "x")
        token.run_sync_soon(seen.append, "x", idempotent=True)
        await settle()
        return seen

    assert uringtrio.run(main) == ["x"] * 4


def test_call_may_queue_calls_without_starving_the_tasks(settle):
    async def main():
        token = lowlevel.current_trio_token()
        count = 0

        def again():
            nonlocal count
            count += 1
            if count < 10_000:
                token.run_sync_soon(again)

        token.run_sync_soon(again)
        await settle()
        # The task has had its turns in between.
        assert 0 < count < 100
        count = 10_000
        await settle()

    uringtrio.run(main)


def test_idempotent_call_may_queue_itself(settle):
    async def main():
        token = lowlevel.current_trio_token()
        seen = []

        def again():
            seen.append(len(seen))
            if len(seen) < 3:
                token.run_sync_soon(again, idempotent=True)

        token.run_sync_soon(again, idempotent=True)
        await settle()
        return seen

    assert uringtrio.run(main) == [0, 1, 2]


def test_call_that_raises_ends_the_run_with_the_cause_and_the_others_are_still_made():
    seen = []

    async def main():
        token = lowlevel.current_trio_token()

        def fail():
            raise LookupError("from the call")

        token.run_sync_soon(fail)
        token.run_sync_soon(seen.append, "made")
        await uringtrio.sleep_forever()

    with pytest.raises(uringtrio.TrioInternalError) as caught:
        uringtrio.run(main)

    error = caught.value
    while not isinstance(error, LookupError):
        error = error.exceptions[0] if isinstance(error, BaseExceptionGroup) else error.__cause__
    assert str(error) == "from the call"
    assert seen == ["made"]


def test_call_after_the_run_is_refused():
    async def main():
        return lowlevel.current_trio_token()

    token = uringtrio.run(main)
    with pytest.raises(uringtrio.RunFinishedError):
        token.run_sync_soon(int)
    with pytest.raises(uringtrio.RunFinishedError):
        token.run_sync_soon(int, idempotent=True)


def test_call_that_was_not_refused_is_made_even_as_the_run_ends():
    for _ in range(20):
        made, accepted = [], []
        stop = threading.Event()
        started = threading.Event()

        def hammer(token, stop=stop, started=started, made=made, accepted=accepted):
            while not stop.is_set():
                try:
                    token.run_sync_soon(made.append, 1)
                except uringtrio.RunFinishedError:
                    return
                accepted.append(1)
                started.set()

        async def main(hammer=hammer):
            thread = threading.Thread(target=hammer, args=(lowlevel.current_trio_token(),))
            thread.start()
            return thread

        thread = uringtrio.run(main)
        thread.join(10)
        stop.set()

        assert len(made) == len(accepted)


def test_system_tasks_may_call_while_they_are_cancelled():
    seen = []

    async def background():
        try:
            await uringtrio.sleep_forever()
        finally:
            lowlevel.current_trio_token().run_sync_soon(seen.append, "made")

    async def main():
        lowlevel.spawn_system_task(background)
        await lowlevel.checkpoint()

    uringtrio.run(main)

    assert seen == ["made"]


def test_calls_run_in_the_context_of_the_run(settle):
    async def main():
        variable.set("of main")
        seen = []
        lowlevel.current_trio_token().run_sync_soon(lambda: seen.append(variable.get()))
        await settle()
        return seen

    assert uringtrio.run(main) == ["unset"]


def test_there_is_one_token_in_a_run_and_another_in_the_next():
    async def main():
        assert lowlevel.current_trio_token() is lowlevel.current_trio_token()
        return lowlevel.current_trio_token()

    assert uringtrio.run(main) is not uringtrio.run(main)


def test_token_has_no_public_constructor():
    with pytest.raises(TypeError, match="current_trio_token"):
        lowlevel.TrioToken()


def test_call_from_a_signal_handler_is_made(run):
    async def main():
        event = uringtrio.Event()
        token = lowlevel.current_trio_token()
        old = signal.signal(signal.SIGUSR1, lambda *_: token.run_sync_soon(event.set))
        try:
            threading.Timer(
                0.01, signal.pthread_kill, (threading.main_thread().ident, signal.SIGUSR1)
            ).start()
            # The signal comes while the run waits, and must end the wait.
            await event.wait()
        finally:
            signal.signal(signal.SIGUSR1, old)

    run(main)


def test_idempotent_calls_from_many_threads_do_not_disturb_each_other(run):
    """A call that was queued while another was taken out crashed the run."""
    interval = sys.getswitchinterval()

    async def main():
        token = lowlevel.current_trio_token()
        stop = threading.Event()

        def flood():
            while not stop.is_set():
                for number in range(20):
                    token.run_sync_soon(int, number, idempotent=True)

        threads = [threading.Thread(target=flood) for _ in range(4)]
        for thread in threads:
            thread.start()
        try:
            await uringtrio.sleep(0.3)
        finally:
            stop.set()
            for thread in threads:
                thread.join(10)

    sys.setswitchinterval(1e-6)
    try:
        run(main)
    finally:
        sys.setswitchinterval(interval)


def test_no_call_from_many_threads_is_lost(run):
    async def main():
        token = lowlevel.current_trio_token()
        seen = []
        done = uringtrio.Event()

        def call(number):
            seen.append(number)
            if len(seen) == 4000:
                done.set()

        def flood(first):
            for number in range(first, first + 1000):
                token.run_sync_soon(call, number)

        threads = [threading.Thread(target=flood, args=(n * 1000,)) for n in range(4)]
        for thread in threads:
            thread.start()
        await done.wait()
        for thread in threads:
            thread.join(10)
        # In order for each thread.
        for n in range(4):
            own = [number for number in seen if n * 1000 <= number < (n + 1) * 1000]
            assert own == sorted(own)
        return len(set(seen))

    assert run(main) == 4000
