"""Checkpoints, and the wait that everything else is made of."""

import outcome
import pytest

import uringtrio
from uringtrio import lowlevel
from uringtrio.lowlevel import Abort


async def no_wait():
    """Each of these can finish at once."""
    event = uringtrio.Event()
    event.set()
    send, receive = uringtrio.open_memory_channel(1)
    send.send_nowait(1)
    closed, _ = uringtrio.open_memory_channel(1)
    await closed.aclose()
    spare, _receive = uringtrio.open_memory_channel(1)
    return {
        "checkpoint": lowlevel.checkpoint,
        "sleep": lambda: uringtrio.sleep(0),
        "sleep_until": lambda: uringtrio.sleep_until(0),
        "Event.wait": event.wait,
        "receive": receive.receive,
        "send": lambda: spare.send(1),
        "aclose": closed.aclose,
    }


NAMES = sorted(uringtrio.run(no_wait))


@pytest.mark.parametrize("name", NAMES)
def test_operation_that_need_not_wait_lets_others_run(name):
    async def note(seen):
        seen.append("other")

    async def main():
        operation = (await no_wait())[name]
        seen = []
        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(note, seen)
            await operation()
            if not seen:  # The order within one turn is open.
                nursery.start_soon(note, seen)
                await lowlevel.checkpoint()
            assert seen

    uringtrio.run(main)


@pytest.mark.parametrize("name", NAMES)
def test_operation_that_need_not_wait_is_a_cancellation_point(name):
    async def main():
        operation = (await no_wait())[name]
        with uringtrio.CancelScope() as scope:
            scope.cancel()
            await operation()
        assert scope.cancelled_caught

    uringtrio.run(main)


def test_cancelled_operation_does_not_happen():
    async def main():
        send, receive = uringtrio.open_memory_channel(1)
        left, right = uringtrio.socket.socketpair()
        with left, right:
            await right.send(b"data")
            with uringtrio.CancelScope() as scope:
                scope.cancel()
                for operation in (lambda: send.send(1), lambda: left.recv(10)):
                    with pytest.raises(uringtrio.Cancelled):
                        await operation()
            with pytest.raises(uringtrio.WouldBlock):
                receive.receive_nowait()
            assert await left.recv(10) == b"data"

    uringtrio.run(main)


def test_cancel_shielded_checkpoint_schedules_but_does_not_cancel():
    async def note(seen):
        seen.append("other")

    async def main():
        seen = []
        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(note, seen)
            with uringtrio.CancelScope() as scope:
                scope.cancel()
                await lowlevel.cancel_shielded_checkpoint()
                await lowlevel.cancel_shielded_checkpoint()
            assert not scope.cancelled_caught
            assert seen == ["other"]

    uringtrio.run(main)


def test_checkpoint_if_cancelled_cancels_but_does_not_schedule():
    async def note(seen):
        seen.append("other")

    async def main():
        seen = []
        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(note, seen)
            for _ in range(10):
                await lowlevel.checkpoint_if_cancelled()
            assert not seen
            with uringtrio.CancelScope() as scope:
                scope.cancel()
                await lowlevel.checkpoint_if_cancelled()
            assert scope.cancelled_caught

    uringtrio.run(main)


def test_wait_returns_what_reschedule_gives(settle):
    async def wait(results):
        task = lowlevel.current_task()

        def abort(_raise_cancel):
            raise AssertionError("nobody cancels")

        task.custom_sleep_data = "mine"
        results.append(await lowlevel.wait_task_rescheduled(abort))
        results.append(task.custom_sleep_data)

    async def main():
        for given, expected in ((outcome.Value("value"), "value"), (None, None)):
            results = []
            async with uringtrio.open_nursery() as nursery:
                nursery.start_soon(wait, results)
                await settle()
                (task,) = nursery.child_tasks
                assert task.custom_sleep_data == "mine"
                if given is None:
                    lowlevel.reschedule(task)
                else:
                    lowlevel.reschedule(task, given)
                # Whoever woke it cleaned up after it.
                assert task.custom_sleep_data is None
            assert results == [expected, None]

    uringtrio.run(main)


def test_checkpoint_cleans_up_the_sleep_data():
    async def main():
        task = lowlevel.current_task()
        task.custom_sleep_data = "mine"
        await lowlevel.checkpoint()
        assert task.custom_sleep_data is None

    uringtrio.run(main)


def test_wait_raises_what_reschedule_gives(settle):
    async def wait():
        with pytest.raises(LookupError, match="given"):
            await lowlevel.wait_task_rescheduled(lambda _: Abort.FAILED)

    async def main():
        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await settle()
            (task,) = nursery.child_tasks
            lowlevel.reschedule(task, outcome.Error(LookupError("given")))

    uringtrio.run(main)


def test_rescheduled_task_runs_in_the_next_turn(settle, record):
    async def wait():
        await lowlevel.wait_task_rescheduled(lambda _: Abort.SUCCEEDED)
        record("woken")

    async def main():
        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await settle()
            (task,) = nursery.child_tasks
            lowlevel.reschedule(task)
            record("rescheduled")

    uringtrio.run(main)

    assert record.events == ["rescheduled", "woken"]


def test_abort_that_succeeds_raises_cancelled_at_the_wait(settle):
    calls = []

    async def wait():
        def abort(_raise_cancel):
            calls.append("abort")
            return Abort.SUCCEEDED

        await lowlevel.wait_task_rescheduled(abort)

    async def main():
        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await settle()
            nursery.cancel_scope.cancel()
            assert calls == ["abort"]

    uringtrio.run(main)

    assert calls == ["abort"]


def test_abort_that_fails_is_asked_once_and_the_wait_goes_on(settle):
    calls = []

    async def wait():
        def abort(raise_cancel):
            calls.append(raise_cancel)
            return Abort.FAILED

        with uringtrio.CancelScope() as inner:
            value = await lowlevel.wait_task_rescheduled(abort)
        assert value == "in spite of it"
        assert not inner.cancelled_caught
        # The cancellation is still there.
        with pytest.raises(uringtrio.Cancelled):
            await lowlevel.checkpoint()

    async def main():
        with uringtrio.CancelScope() as outer:
            async with uringtrio.open_nursery() as nursery:
                nursery.start_soon(wait)
                await settle()
                (task,) = nursery.child_tasks
                nursery.cancel_scope.cancel()
                outer.cancel()
                with uringtrio.CancelScope(shield=True):
                    await settle()
                assert len(calls) == 1
                lowlevel.reschedule(task, outcome.Value("in spite of it"))

    uringtrio.run(main)

    assert len(calls) == 1


def test_abort_that_fails_may_raise_the_cancellation_later(settle):
    async def wait(raisers):
        def abort(raise_cancel):
            raisers.append(raise_cancel)
            return Abort.FAILED

        with uringtrio.CancelScope() as scope:
            scope.cancel("late")
            await lowlevel.wait_task_rescheduled(abort)
        assert scope.cancelled_caught

    async def main():
        raisers = []
        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(wait, raisers)
            await settle()
            (task,) = nursery.child_tasks
            (raise_cancel,) = raisers
            with pytest.raises(uringtrio.Cancelled) as caught:
                raise_cancel()
            assert caught.value.reason == "late"
            lowlevel.reschedule(task, outcome.capture(raise_cancel))

    uringtrio.run(main)


def test_wait_in_a_cancelled_scope_is_aborted_at_once():
    calls = []

    async def main():
        def abort(_raise_cancel):
            calls.append("abort")
            return Abort.SUCCEEDED

        with uringtrio.CancelScope() as scope:
            scope.cancel()
            await lowlevel.wait_task_rescheduled(abort)
        assert scope.cancelled_caught

    uringtrio.run(main)

    assert calls == ["abort"]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_abort_that_answers_nonsense_ends_the_run(leftovers):
    leftovers.allowed = True

    async def main():
        with uringtrio.CancelScope() as scope:
            scope.cancel()
            await lowlevel.wait_task_rescheduled(lambda _: True)

    with pytest.raises(uringtrio.TrioInternalError) as caught:
        uringtrio.run(main)

    assert "Abort" in str(caught.value.__cause__)


def test_reschedule_twice_is_an_error_of_the_second_call(settle):
    async def wait():
        await lowlevel.wait_task_rescheduled(lambda _: Abort.SUCCEEDED)
        # Another wait, which the second reschedule must not end.
        await uringtrio.sleep_forever()

    async def main():
        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await settle()
            (task,) = nursery.child_tasks
            lowlevel.reschedule(task)
            with pytest.raises(AssertionError):
                lowlevel.reschedule(task)
            await settle()
            assert nursery.child_tasks == {task}
            nursery.cancel_scope.cancel()

    uringtrio.run(main)


@pytest.mark.parametrize("late", [False, True])
def test_cancelled_checkpoint_keeps_the_context_of_what_follows(settle, late):
    """It was thrown into the coroutine, which put another exception in the place of the context."""

    async def clean_up():
        try:
            await lowlevel.checkpoint()
        finally:
            raise KeyError

    async def cancelled(scope):
        with scope:
            try:
                int("no number")
            except ValueError:
                with pytest.raises(KeyError) as caught:
                    await clean_up()
                return caught.value.__context__
        return None

    async def main():
        scope = uringtrio.CancelScope()
        if not late:
            scope.cancel()
            return await cancelled(scope)

        async def keep():
            contexts.append(await cancelled(scope))

        contexts = []
        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(keep)
            # Between the yield and the next step, in one order of the two; before, in the other.
            await lowlevel.checkpoint()
            scope.cancel()
            await settle()
        return contexts[0]

    context = uringtrio.run(main)
    assert isinstance(context, uringtrio.Cancelled)
    assert isinstance(context.__context__, ValueError)
