"""KeyboardInterrupt: raised in the user's code, never in the runtime's, never lost."""

import contextlib
import random
import signal
import socket
import subprocess
import sys

import pytest

import uringtrio
from uringtrio import lowlevel

from .interrupts import interrupt, interrupt_from_outside, run_whole


def only_exceptions(error):
    """Return the types of the exceptions in a group of groups."""
    if isinstance(error, BaseExceptionGroup):
        return {kind for inner in error.exceptions for kind in only_exceptions(inner)}
    return {type(error)}


# In the user's code.


def test_interrupt_is_raised_right_there_in_main(record):
    async def main():
        try:
            interrupt()
            record("never")
        finally:
            record("unwound")

    with pytest.raises(KeyboardInterrupt):
        uringtrio.run(main)

    assert record.events == ["unwound"]


def test_interrupt_caught_by_the_user_is_over():
    async def main():
        with pytest.raises(KeyboardInterrupt):
            interrupt()
        await lowlevel.checkpoint()
        return "goes on"

    assert run_whole(main) == "goes on"


def test_interrupt_in_a_child_takes_its_siblings_down(record):
    async def sibling():
        try:
            await uringtrio.sleep_forever()
        except uringtrio.Cancelled as exc:
            record((exc.source, exc.reason))
            raise

    async def child():
        await lowlevel.checkpoint()
        interrupt()

    async def main():
        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(sibling)
            await lowlevel.checkpoint()
            nursery.start_soon(child)

    with pytest.raises(BaseExceptionGroup) as caught:
        uringtrio.run(main)

    assert only_exceptions(caught.value) == {KeyboardInterrupt}
    assert record.events == [("nursery", "child task raised exception KeyboardInterrupt()")]


def test_interrupt_in_sync_code_below_a_task_is_raised_there():
    def deep(depth):
        if depth:
            deep(depth - 1)
        else:
            interrupt()

    async def main():
        with pytest.raises(KeyboardInterrupt):
            deep(20)
        return "goes on"

    assert run_whole(main) == "goes on"


# While the run waits.


def test_interrupt_ends_a_sleep_of_main(record):
    async def main():
        try:
            await uringtrio.sleep_forever()
        except KeyboardInterrupt:
            record("here")
            raise

    with pytest.raises(KeyboardInterrupt), interrupt_from_outside():
        uringtrio.run(main)

    assert record.events == ["here"]


def test_interrupt_ends_a_receive_and_loses_no_byte():
    async def main():
        left, right = uringtrio.socket.socketpair()
        with left, right:
            with pytest.raises(KeyboardInterrupt):
                await left.recv(10)
            assert lowlevel.current_statistics().io_statistics.in_flight == {}
            await right.send(b"data")
            return await left.recv(10)

    with interrupt_from_outside():
        assert run_whole(main) == b"data"


def test_interrupt_ends_a_wait_for_a_channel_or_an_event_and_leaves_it_whole():
    async def main():
        send, receive = uringtrio.open_memory_channel(0)
        with pytest.raises(KeyboardInterrupt):
            await receive.receive()
        assert receive.statistics().tasks_waiting_receive == 0
        with pytest.raises(uringtrio.WouldBlock):
            send.send_nowait(1)

    with interrupt_from_outside():
        run_whole(main)


def test_interrupt_while_main_waits_for_its_nursery_cancels_the_children(record, settle):
    async def child():
        try:
            await uringtrio.sleep_forever()
        except uringtrio.Cancelled as exc:
            record(exc.source)
            raise

    async def main():
        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(child)
            nursery.start_soon(child)
            await settle()

    with pytest.raises(BaseExceptionGroup) as caught, interrupt_from_outside():
        uringtrio.run(main)

    assert only_exceptions(caught.value) == {KeyboardInterrupt}
    assert record.events == ["KeyboardInterrupt"] * 2


def test_interrupt_goes_to_main_and_not_to_a_child_that_waits(record):
    async def child():
        with contextlib.suppress(uringtrio.Cancelled):
            await uringtrio.sleep_forever()
        record("child was cancelled")
        await lowlevel.checkpoint()

    async def main():
        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(child)
            with pytest.raises(KeyboardInterrupt):
                await uringtrio.sleep_forever()
            record("main was interrupted")
            nursery.cancel_scope.cancel()

    with interrupt_from_outside():
        run_whole(main)

    assert record.events == ["main was interrupted", "child was cancelled"]


def test_interrupt_reaches_main_inside_a_shield():
    async def main():
        with uringtrio.CancelScope(shield=True):
            await uringtrio.sleep_forever()

    with pytest.raises(KeyboardInterrupt), interrupt_from_outside():
        uringtrio.run(main)


# In the runtime's code, or where it is kept out.


def test_interrupt_in_a_callback_waits_for_mains_checkpoint(record):
    async def main():
        def callback():
            interrupt()
            record("the callback is whole")

        lowlevel.current_trio_token().run_sync_soon(callback)
        with pytest.raises(KeyboardInterrupt):
            await uringtrio.sleep_forever()
        await lowlevel.checkpoint()

    run_whole(main)

    assert record.events == ["the callback is whole"]


def test_interrupt_in_a_system_task_waits_for_mains_checkpoint(record):
    async def system():
        interrupt()
        record("the system task is whole")

    async def main():
        lowlevel.spawn_system_task(system)
        with pytest.raises(KeyboardInterrupt):
            await uringtrio.sleep_forever()

    run_whole(main)

    assert record.events == ["the system task is whole"]


def test_interrupt_in_an_abort_function_waits_for_mains_checkpoint(record):
    async def child():
        def abort(_raise_cancel):
            interrupt()
            record("the abort function is whole")
            return lowlevel.Abort.SUCCEEDED

        await lowlevel.wait_task_rescheduled(abort)

    async def main():
        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(child)
            await lowlevel.checkpoint()
            await lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
            with uringtrio.CancelScope(shield=True), pytest.raises(KeyboardInterrupt):
                await uringtrio.sleep_forever()

    run_whole(main)

    assert record.events == ["the abort function is whole"]


def test_interrupt_with_main_protected_waits_for_its_checkpoint(record):
    async def main():
        interrupt()
        record("not here")
        with pytest.raises(KeyboardInterrupt):
            await lowlevel.checkpoint()
        await lowlevel.checkpoint()
        return "goes on"

    result = run_whole(main, restrict_keyboard_interrupt_to_checkpoints=True)

    assert result == "goes on"
    assert record.events == ["not here"]


def test_interrupt_is_delivered_also_by_checkpoint_if_cancelled():
    async def main():
        interrupt()
        await lowlevel.cancel_shielded_checkpoint()
        await lowlevel.cancel_shielded_checkpoint()
        with pytest.raises(KeyboardInterrupt):
            await lowlevel.checkpoint_if_cancelled()

    run_whole(main, restrict_keyboard_interrupt_to_checkpoints=True)


def test_interrupt_that_finds_no_checkpoint_comes_out_of_run(record):
    async def main():
        interrupt()
        record("main ends")
        return "lost"

    with pytest.raises(KeyboardInterrupt):
        uringtrio.run(main, restrict_keyboard_interrupt_to_checkpoints=True)

    assert record.events == ["main ends"]


def test_interrupt_as_system_tasks_end_comes_out_of_run(record):
    async def system():
        try:
            await uringtrio.sleep_forever()
        finally:
            interrupt()
            record("unwound")

    async def main():
        lowlevel.spawn_system_task(system)
        await lowlevel.checkpoint()

    with pytest.raises(KeyboardInterrupt):
        uringtrio.run(main)

    assert record.events == ["unwound"]


def test_several_pending_interrupts_are_one():
    async def main():
        for _ in range(3):
            interrupt()
        with pytest.raises(KeyboardInterrupt):
            await lowlevel.checkpoint()
        await lowlevel.checkpoint()

    run_whole(main, restrict_keyboard_interrupt_to_checkpoints=True)


# At any moment.


# Python itself may be hit between making a coroutine and awaiting it.
@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_interrupt_at_random_moments_never_breaks_the_run():
    """The handler of a timer does what SIGINT does, wherever the program happens to be."""
    hits = []

    def on_alarm(_signum, frame):
        hits.append(frame.f_code.co_name)
        signal.getsignal(signal.SIGINT)(signal.SIGINT, frame)

    async def busy():
        send, receive = uringtrio.open_memory_channel(1)
        left, right = uringtrio.socket.socketpair()

        async def produce():
            with send:
                while True:
                    with uringtrio.move_on_after(1):
                        await send.send(1)
                        await right.send(b"x")

        with left, right:
            async with uringtrio.open_nursery() as nursery:
                nursery.start_soon(produce)
                signal.setitimer(signal.ITIMER_REAL, random.uniform(0.0001, 0.003))
                while True:
                    await receive.receive()
                    await left.recv(1)

    old = signal.signal(signal.SIGALRM, on_alarm)
    try:
        for _ in range(100):
            with pytest.raises(BaseException) as caught:  # noqa: PT011  # looked at below
                uringtrio.run(busy)
            # If it hit the producer first, the channel ended for main.
            kinds = only_exceptions(caught.value) - {uringtrio.EndOfChannel}
            assert kinds == {KeyboardInterrupt}
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)

    assert len(set(hits)) > 3


def test_interrupt_of_a_server_unwinds_its_finally_blocks():
    program = """
import uringtrio

async def handle(stream):
    try:
        async for data in stream:
            await stream.send_all(data)
    finally:
        print("handler unwound", flush=True)

async def main():
    try:
        async with uringtrio.open_nursery() as nursery:
            (listener,) = await nursery.start(
                lambda task_status: uringtrio.serve_tcp(
                    handle, 0, host="127.0.0.1", task_status=task_status
                )
            )
            print(listener.socket.getsockname()[1], flush=True)
    finally:
        print("main unwound", flush=True)

try:
    uringtrio.run(main)
except* KeyboardInterrupt:
    print("interrupted", flush=True)
"""
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as server:
        try:
            port = int(server.stdout.readline())
            with socket.create_connection(("127.0.0.1", port), 10) as client:
                client.sendall(b"hello")
                assert client.recv(5) == b"hello"
                server.send_signal(signal.SIGINT)
                output, errors = server.communicate(timeout=20)
        finally:
            server.kill()

    assert errors == ""
    assert output.splitlines() == ["handler unwound", "main unwound", "interrupted"]
    assert server.returncode == 0
