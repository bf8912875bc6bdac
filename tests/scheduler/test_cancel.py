"""Cancel scopes: what a cancellation reaches, when, and who absorbs it."""

import sys

import pytest

import uringtrio
from uringtrio import lowlevel


async def wait_and_say(record, name):
    try:
        await uringtrio.sleep_forever()
    finally:
        record(name)


def test_cancel_interrupts_a_wait_and_the_scope_absorbs_it(record):
    async def main():
        with uringtrio.CancelScope() as scope:
            assert not scope.cancel_called
            scope.cancel()
            assert scope.cancel_called
            assert not scope.cancelled_caught
            await uringtrio.sleep_forever()
            record("never")
        assert scope.cancelled_caught
        record("after")

    uringtrio.run(main)

    assert record.events == ["after"]


def test_cancelling_is_level_triggered(record):
    async def main():
        with uringtrio.CancelScope() as scope:
            scope.cancel()
            for _ in range(3):
                with pytest.raises(uringtrio.Cancelled):
                    await lowlevel.checkpoint()
                record("again")
            record("no checkpoint, no effect")
        assert scope.cancel_called
        assert not scope.cancelled_caught
        await lowlevel.checkpoint()

    uringtrio.run(main)

    assert record.events == ["again"] * 3 + ["no checkpoint, no effect"]


def test_cancel_from_another_task_reaches_all_below_and_nobody_else(record, settle):
    async def inside(scope):
        with scope:
            async with uringtrio.open_nursery() as nursery:
                nursery.start_soon(wait_and_say, record, "child")
                with uringtrio.CancelScope():
                    await wait_and_say(record, "body")

    async def main():
        scope = uringtrio.CancelScope()
        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(inside, scope)
            nursery.start_soon(wait_and_say, record, "outside")
            await settle()
            scope.cancel()
            await settle()
            assert sorted(record.events) == ["body", "child"]
            nursery.cancel_scope.cancel()

    uringtrio.run(main)

    assert record.events[2:] == ["outside"]


def test_the_cancelled_scope_absorbs_and_not_one_inside_it():
    async def main():
        with uringtrio.CancelScope() as outer:
            with uringtrio.CancelScope() as middle:
                with uringtrio.CancelScope() as inner:
                    middle.cancel()
                    await uringtrio.sleep_forever()
                raise AssertionError("the inner scope is not cancelled")
        return [scope.cancelled_caught for scope in (inner, middle, outer)]

    assert uringtrio.run(main) == [False, True, False]


def test_the_outermost_of_several_cancelled_scopes_absorbs():
    async def main():
        with uringtrio.CancelScope() as outer:
            with uringtrio.CancelScope() as inner:
                inner.cancel()
                outer.cancel()
                await uringtrio.sleep_forever()
            raise AssertionError("the inner scope absorbed what was the outer's")
        return [scope.cancelled_caught for scope in (inner, outer)]

    assert uringtrio.run(main) == [False, True]


def test_cancel_before_entering_cancels_the_first_checkpoint(record):
    # Made and cancelled outside of any run, too.
    scope = uringtrio.CancelScope()
    scope.cancel()

    async def main():
        assert scope.cancel_called
        with scope:
            record("inside")
            await lowlevel.checkpoint()
            record("never")
        assert scope.cancelled_caught

    uringtrio.run(main)

    assert record.events == ["inside"]


def test_cancel_reaches_a_task_that_is_runnable(settle):
    """A cancel between a task's checkpoint and its next step was lost in half of all cases."""

    async def child(scope, went_on):
        with scope:
            await lowlevel.checkpoint()
            went_on.append(True)

    async def main():
        for _ in range(20):
            went_on = []
            scope = uringtrio.CancelScope()
            async with uringtrio.open_nursery() as nursery:
                nursery.start_soon(child, scope, went_on)
                await lowlevel.checkpoint()
                if not went_on:
                    scope.cancel()
                    await settle()
                    assert not went_on

    uringtrio.run(main)


def test_cancel_of_own_scope_while_running_waits_for_the_next_checkpoint(record):
    async def main():
        with uringtrio.CancelScope() as scope:
            await lowlevel.checkpoint()
            scope.cancel()
            record("goes on")
            await lowlevel.checkpoint()
            record("never")

    uringtrio.run(main)

    assert record.events == ["goes on"]


def test_cancel_again_changes_nothing():
    async def main():
        with uringtrio.CancelScope() as scope:
            scope.cancel("first")
            scope.cancel("second")
            with pytest.raises(uringtrio.Cancelled) as caught:
                await lowlevel.checkpoint()
            await lowlevel.checkpoint()
        scope.cancel("after the end")
        assert caught.value.reason == "first"
        assert scope.cancelled_caught

    uringtrio.run(main)


def test_other_exceptions_pass_through_a_cancelled_scope():
    async def main():
        with uringtrio.CancelScope() as scope:
            scope.cancel()
            raise LookupError
        return scope

    with pytest.raises(LookupError):
        uringtrio.run(main)


def test_scope_takes_its_cancelled_out_of_a_group_and_leaves_the_rest():
    async def fail_on_cancel():
        try:
            await uringtrio.sleep_forever()
        except uringtrio.Cancelled:
            raise LookupError from None

    async def main():
        with pytest.raises(ExceptionGroup) as caught:  # noqa: PT012  # the block is what is tested
            with uringtrio.CancelScope() as scope:
                async with uringtrio.open_nursery() as nursery:
                    nursery.start_soon(fail_on_cancel)
                    nursery.start_soon(uringtrio.sleep_forever)
                    await lowlevel.checkpoint()
                    scope.cancel()
        assert scope.cancelled_caught
        assert [type(exc) for exc in caught.value.exceptions] == [LookupError]
        assert caught.value.__context__ is None

    uringtrio.run(main)


# Shields.


def test_shield_keeps_outer_cancellation_out_until_its_end(record):
    async def main():
        with uringtrio.CancelScope() as outer:
            outer.cancel()
            with uringtrio.CancelScope(shield=True) as inner:
                await lowlevel.checkpoint()
                record("shielded")
            assert not inner.cancel_called
            await lowlevel.checkpoint()
            record("never")
        assert outer.cancelled_caught

    uringtrio.run(main)

    assert record.events == ["shielded"]


def test_shielded_scope_can_be_cancelled_itself():
    async def main():
        with uringtrio.CancelScope() as outer:
            outer.cancel()
            with uringtrio.CancelScope(shield=True) as inner:
                inner.cancel()
                await uringtrio.sleep_forever()
            # The shield is the border: inner took what was its own.
            assert inner.cancelled_caught
            assert not outer.cancelled_caught
            await lowlevel.checkpoint()
        assert outer.cancelled_caught

    uringtrio.run(main)


def test_taking_the_shield_away_delivers_what_it_kept_out(settle):
    async def child(shield):
        with uringtrio.CancelScope() as outer:
            outer.cancel()
            with shield:
                await uringtrio.sleep_forever()
            raise AssertionError("the outer scope is cancelled")
        assert outer.cancelled_caught

    async def main():
        shield = uringtrio.CancelScope(shield=True)
        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(child, shield)
            await settle()
            assert nursery.child_tasks
            shield.shield = False
            await settle()
            assert not nursery.child_tasks

    uringtrio.run(main)


def test_shield_put_up_after_the_cancel_protects_what_follows():
    async def main():
        with uringtrio.CancelScope() as outer:
            with uringtrio.CancelScope() as inner:
                outer.cancel()
                with pytest.raises(uringtrio.Cancelled):
                    await lowlevel.checkpoint()
                inner.shield = True
                assert inner.shield
                await lowlevel.checkpoint()
                inner.shield = False
                with pytest.raises(uringtrio.Cancelled):
                    await lowlevel.checkpoint()
        assert not outer.cancelled_caught

    uringtrio.run(main)


def test_shield_is_a_bool_and_nothing_else():
    with pytest.raises(TypeError, match="must be a bool"):
        uringtrio.CancelScope(shield=1)
    scope = uringtrio.CancelScope()
    for value in (1, None, "yes"):
        with pytest.raises(TypeError, match="must be a bool"):
            scope.shield = value

    assert scope.shield is False


# Reasons.


def test_cancelled_tells_who_cancelled_and_why():
    async def main():
        with uringtrio.CancelScope() as scope:
            scope.cancel("the reason")
            with pytest.raises(uringtrio.Cancelled) as caught:
                await lowlevel.checkpoint()
        task = repr(lowlevel.current_task())
        assert caught.value.source == "explicit"
        assert caught.value.reason == "the reason"
        assert caught.value.source_task == task
        text = f"cancelled due to explicit with reason 'the reason' from task {task}"
        assert str(caught.value) == text

    uringtrio.run(main)


def test_inner_scopes_inherit_the_reason():
    async def main():
        with uringtrio.CancelScope() as outer:
            with uringtrio.CancelScope():
                outer.cancel("from outside")
                with uringtrio.CancelScope(), pytest.raises(uringtrio.Cancelled) as caught:
                    await lowlevel.checkpoint()
        assert caught.value.reason == "from outside"

    uringtrio.run(main)


def test_cancel_without_a_reason_has_none():
    async def main():
        with uringtrio.CancelScope() as scope:
            scope.cancel()
            with pytest.raises(uringtrio.Cancelled) as caught:
                await lowlevel.checkpoint()
        assert caught.value.reason is None
        assert caught.value.source == "explicit"

    uringtrio.run(main)


# Misuse.


def test_scope_is_for_one_with_block():
    async def main():
        with uringtrio.CancelScope() as scope:
            with pytest.raises(RuntimeError, match="single 'with' block"):
                scope.__enter__()
        with pytest.raises(RuntimeError, match="single 'with' block"):
            with scope:
                pass

    uringtrio.run(main)


def test_scopes_closed_in_the_wrong_order_are_an_error_and_the_task_survives():
    async def main():
        first, second = uringtrio.CancelScope(), uringtrio.CancelScope()
        first.__enter__()
        second.__enter__()
        with pytest.raises(RuntimeError, match="Cancel scope stack corrupted"):
            first.__exit__(None, None, None)
        second.__exit__(None, None, None)
        await lowlevel.checkpoint()
        with uringtrio.CancelScope() as third:
            third.cancel()
            await lowlevel.checkpoint()
        assert third.cancelled_caught

    uringtrio.run(main)


def test_scope_closed_twice_is_an_error():
    async def main():
        scope = uringtrio.CancelScope()
        scope.__enter__()
        scope.__exit__(None, None, None)
        with pytest.raises(RuntimeError, match="Cancel scope stack corrupted"):
            scope.__exit__(None, None, None)
        await lowlevel.checkpoint()

    uringtrio.run(main)


def test_scope_closed_in_another_task_is_an_error_of_that_task(settle):
    async def close(scope):
        with pytest.raises(RuntimeError, match="from unrelated"):
            scope.__exit__(None, None, None)

    async def main():
        scope = uringtrio.CancelScope()
        async with uringtrio.open_nursery() as nursery:
            with scope:
                nursery.start_soon(close, scope)
                await settle()
                # It still works here.
                scope.cancel()
                await lowlevel.checkpoint()
            assert scope.cancelled_caught

    uringtrio.run(main)


def test_scope_left_around_an_open_nursery_is_an_error_and_cancels_nothing_else():
    async def main():
        with pytest.raises(RuntimeError, match="Cancel scope stack corrupted"):  # noqa: PT012  # the block is what is tested
            scope = uringtrio.CancelScope()
            with scope:
                manager = uringtrio.open_nursery()
                await manager.__aenter__()
        await manager.__aexit__(None, None, None)
        await lowlevel.checkpoint()

    uringtrio.run(main)


def test_repr_tells_the_state(clock):
    async def main():
        scope = uringtrio.CancelScope()
        assert "unbound" in repr(scope)
        with scope:
            assert "active" in repr(scope)
            assert "deadline" not in repr(scope)
            scope.deadline = uringtrio.current_time() + 7
            assert "7.00 seconds from now" in repr(scope)
            clock.now += 10
            assert "3.00 seconds ago" in repr(scope)
            scope.cancel()
            assert "cancelled" in repr(scope)
        assert "exited" in repr(scope)

    uringtrio.run(main, clock=clock)


# Size.


def test_five_thousand_nested_scopes_do_not_recurse():
    async def main():
        scopes = []
        for _ in range(5000):
            scopes.append(uringtrio.CancelScope())
            scopes[-1].__enter__()
        scopes[0].cancel()
        with pytest.raises(uringtrio.Cancelled) as caught:
            await lowlevel.checkpoint()
        for scope in reversed(scopes[1:]):
            assert not scope.__exit__(uringtrio.Cancelled, caught.value, None)
        assert scopes[0].__exit__(uringtrio.Cancelled, caught.value, None)

    uringtrio.run(main)


def steps_of(fn):
    """Count the calls that `fn()` makes: what no load of the machine changes."""
    steps = 0

    def count(_frame, _event, _argument):
        nonlocal steps
        steps += 1

    sys.setprofile(count)
    fn()
    sys.setprofile(None)
    return steps


def test_cancelling_is_linear_in_the_number_of_tasks(settle):
    async def main(count):
        async with uringtrio.open_nursery() as nursery:
            for _ in range(count):
                nursery.start_soon(uringtrio.sleep_forever)
            await settle()
            return steps_of(nursery.cancel_scope.cancel)

    few, many = uringtrio.run(main, 100), uringtrio.run(main, 1000)

    assert few > 100
    assert many < 11 * few


def test_cancelling_is_linear_in_the_depth_of_nurseries(settle):
    async def nested(left):
        async with uringtrio.open_nursery() as nursery:
            with uringtrio.CancelScope():
                if left:
                    nursery.start_soon(nested, left - 1)
                await uringtrio.sleep_forever()

    async def main(depth):
        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(nested, depth)
            for _ in range(depth):
                await lowlevel.checkpoint()
            await settle()
            return steps_of(nursery.cancel_scope.cancel)

    few, many = uringtrio.run(main, 20), uringtrio.run(main, 200)

    assert few > 20
    assert many < 11 * few
