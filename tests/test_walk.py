"""The budgets of the walk: how many frames and calls one receive costs.

A call is a Python frame that is entered or resumed, as `sys.setprofile` reports it, whose code is
not the test's own. Calls into C do not count: they are a tenth of the price.
"""

import os
import socket as stdlib
import sys
import threading
from pathlib import Path

import pytest

import uringtrio
from uringtrio import lowlevel, socket
from uringtrio._scheduler import loop

PACKAGE = str(Path(uringtrio.__file__).parent) + os.sep
FRAMES_MAX = 3
CALLS_MAX = 20
CALLS_AHEAD_MAX = 14
CONNECTIONS = 50


def needs_io_uring():
    return pytest.mark.skipif(
        os.environ.get("URINGTRIO_DRIVER") in {"epoll", "kqueue"}
        or not uringtrio.probe().available,
        reason="the budget is for io_uring",
    )


class Calls:
    """Records the Python calls between `start` and `stop`, by function name."""

    def __init__(self):
        self.names = []

    def start(self):
        sys.setprofile(self._profile)

    def stop(self):
        sys.setprofile(None)

    def _profile(self, frame, event, _argument):
        if event == "call" and frame.f_code.co_filename != __file__:
            self.names.append(frame.f_code.co_qualname)


@pytest.mark.parametrize("layer", ["socket", "stream"])
def test_blocked_receive_awaits_through_few_frames(run, settle, layer):
    async def main():
        left, right = socket.socketpair()
        with left, right:
            async with uringtrio.open_nursery() as nursery:
                if layer == "socket":
                    nursery.start_soon(left.recv, 1)
                else:
                    nursery.start_soon(uringtrio.SocketStream(left).receive_some, 1)
                await settle()
                (task,) = nursery.child_tasks
                frames = [
                    frame.f_code.co_qualname
                    for frame, _ in task.iter_await_frames()
                    if frame.f_code.co_filename.startswith(PACKAGE)
                ]
                nursery.cancel_scope.cancel()
        return frames

    frames = run(main)

    assert 1 <= len(frames) <= FRAMES_MAX, frames
    assert frames[-1] == "Op.__await__"


@needs_io_uring()
@pytest.mark.parametrize("layer", ["socket", "stream"])
def test_blocked_receive_makes_few_calls_down_and_up(settle, layer):
    calls = Calls()

    async def main():
        mine, peer = stdlib.socketpair()
        with socket.from_stdlib_socket(mine) as sock, peer:
            stream = uringtrio.SocketStream(sock)
            receive = sock.recv if layer == "socket" else stream.receive_some
            counts = []
            await settle()
            for _ in range(5):
                calls.names.clear()
                # By then the run waits in the kernel.
                timer = threading.Timer(0.01, peer.sendall, (b"data",))
                timer.start()
                enters = lowlevel.current_statistics().io_statistics.enters
                calls.start()
                data = await receive(100)
                calls.stop()
                assert data == b"data"
                assert lowlevel.current_statistics().io_statistics.enters > enters
                counts.append(list(calls.names))
                timer.join()
            return counts

    # No limit in time here, as that would be a deadline, which costs calls of its own. The first
    # receive makes the op, which the others use again.
    for names in uringtrio.run(main):
        assert any(name.endswith(".wait") for name in names), "it did not block"
        assert len(names) <= CALLS_MAX, names


@needs_io_uring()
def test_stream_that_receives_ahead_submits_nothing_and_makes_fewer_calls():
    calls = Calls()

    async def main():
        (listener,) = await uringtrio.open_tcp_listeners(0, host="127.0.0.1")
        async with listener:
            peer = stdlib.create_connection(listener.socket.getsockname())
            stream = await listener.accept()
        counts = []
        with peer:
            async with stream:
                for _ in range(6):
                    before = lowlevel.current_statistics().io_statistics
                    timer = threading.Timer(0.01, peer.sendall, (b"data",))
                    timer.start()
                    calls.names.clear()
                    calls.start()
                    data = await stream.receive_some()
                    calls.stop()
                    after = lowlevel.current_statistics().io_statistics
                    assert data == b"data"
                    assert after.enters > before.enters
                    counts.append((after.sqes - before.sqes, list(calls.names)))
                    timer.join()
        return counts, uringtrio.lowlevel.current_task()._runner.driver.has_multishot

    counts, has_multishot = uringtrio.run(main)
    for sqes, names in counts[2:] if has_multishot else ():
        assert sqes == 0
        assert len(names) <= CALLS_AHEAD_MAX, names


@needs_io_uring()
def test_echo_over_fifty_connections_enters_at_most_once_per_turn(run, monkeypatch):
    turns = [0]
    before_wait = loop.before_wait

    def count_turns(runner):
        turns[0] += 1
        return before_wait(runner)

    async def client(port, rounds):
        stream = await uringtrio.open_tcp_stream("127.0.0.1", port)
        async with stream:
            for _ in range(rounds):
                await stream.send_all(b"x" * 1024)
                received = 0
                while received < 1024:
                    received += len(await stream.receive_some())

    async def echo(stream):
        async for data in stream:
            await stream.send_all(data)

    async def main():
        async with uringtrio.open_nursery() as nursery:
            (listener,) = await nursery.start(
                lambda task_status: uringtrio.serve_tcp(
                    echo, 0, host="127.0.0.1", task_status=task_status
                )
            )
            port = listener.socket.getsockname()[1]
            before = lowlevel.current_statistics().io_statistics
            turns_before = turns[0]
            async with uringtrio.open_nursery() as clients:
                for _ in range(CONNECTIONS):
                    clients.start_soon(client, port, 20)
            after = lowlevel.current_statistics().io_statistics
            nursery.cancel_scope.cancel()
        return (
            after.enters - before.enters,
            after.cqes - before.cqes,
            turns[0] - turns_before,
        )

    monkeypatch.setattr(loop, "before_wait", count_turns)
    enters, cqes, turns_taken = run(main)

    assert cqes > 4 * 20 * CONNECTIONS
    assert enters <= turns_taken
    # One enter does the work of many: that is what the ring is for.
    assert cqes > 5 * enters


def test_turns_without_io_make_no_system_call_on_io_uring_and_few_elsewhere():
    async def main():
        before = lowlevel.current_statistics().io_statistics
        for _ in range(10_000):
            await lowlevel.checkpoint()
        after = lowlevel.current_statistics().io_statistics
        return after.driver, after.enters - before.enters

    driver, enters = uringtrio.run(main)
    # The completion queue can be looked at in memory; readiness has to be asked for.
    assert enters <= (0 if driver == "io_uring" else 10_000 / loop.POLL_EVERY + 1)
