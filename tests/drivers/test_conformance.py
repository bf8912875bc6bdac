"""What every driver promises, asked of each driver: submit, cancel, wait, wake, close, statistics.

The single ops are in test_conformance_ops.py, full queues in test_conformance_load.py.
"""

import errno
import os
import signal
import socket
import threading
import time

import pytest

from uringtrio._drivers.driver import IOStatistics
from uringtrio._ops.file import Nop
from uringtrio._ops.net import Accept, Poll, Recv, RecvMsg, Send
from uringtrio._ops.op import POLLIN, POLLOUT

ECANCELED = -errno.ECANCELED

# Longer than any wait here may take, shorter than a test may.
LONG_SECONDS = 30.0

RAISED = 3


def elapsed(call, *args):
    start = time.monotonic()
    call(*args)
    return time.monotonic() - start


def exit_status(call, *args):
    """Return what a forked child ended with: RAISED for any error, a signal's number negated."""
    pid = os.fork()
    if pid == 0:
        try:
            os._exit(int(bool(call(*args))))
        except (OSError, RuntimeError, ValueError):
            os._exit(RAISED)
        finally:
            os._exit(RAISED + 1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


# Submit.


def test_completion_comes_from_wait_never_from_submit(bench, pair):
    left, right = pair
    right.send(b"data")
    op = bench.submit(Recv(left, 10))

    assert bench.completions[id(op)] == 0
    assert bench.in_flight() == {"Recv": 1}
    assert bench.finish(op) == [4]
    assert op.value == b"data"
    assert bench.in_flight() == {}


def test_each_op_completes_exactly_once(bench, pairs):
    ops = []
    for _ in range(50):
        left, right = pairs()
        ops += [bench.submit(Recv(left, 10)), bench.submit(Send(right, b"x")), bench.submit(Nop())]
    bench.finish(*ops)

    bench.settle()
    assert set(bench.completions.values()) == {1}
    assert bench.in_flight() == {}


def test_ids_are_never_used_twice_even_for_one_object(bench, pair):
    left, right = pair
    op = Recv(left, 1)
    for _ in range(300):
        right.send(b"x")
        assert bench.do(op) == 1
        bench.completions.clear()

    assert len(set(bench.ids)) == len(bench.ids) == 300
    assert bench.ids == sorted(bench.ids)
    assert 0 not in bench.ids


def test_refused_argument_raises_in_submit_and_leaves_nothing(bench, pair):
    left, _ = pair
    with pytest.raises(TypeError):
        bench.driver.submit(Send(left, "text is not bytes"))

    assert bench.in_flight() == {}
    bench.settle()
    assert bench.do(Nop()) == 0


def test_both_directions_of_one_socket_wait_at_once(bench, pair):
    left, right = pair
    while True:
        try:
            left.send(bytes(65536))
        except BlockingIOError:
            break
    receive = bench.submit(Recv(left, 10))
    send = bench.submit(Send(left, b"more"))
    bench.settle()
    assert bench.in_flight() == {"Recv": 1, "Send": 1}

    right.send(b"hello")
    assert bench.finish(receive) == [5]
    bench.settle()
    while True:
        try:
            right.recv(1 << 20)
        except BlockingIOError:
            break
    assert bench.finish(send) == [4]


# Cancel.


def test_cancelled_op_completes_once_with_ecanceled(bench, pair):
    op = bench.submit(Recv(pair[0], 10))
    bench.settle()
    bench.cancel(op)

    assert bench.finish(op) == [ECANCELED]
    bench.settle()
    assert bench.in_flight() == {}


def test_cancel_before_the_first_wait(bench, pair):
    op = bench.submit(Recv(pair[0], 10))
    bench.cancel(op)

    assert bench.finish(op) == [ECANCELED]
    bench.settle()


def test_cancel_twice_is_as_once(bench, pair):
    op = bench.submit(Recv(pair[0], 10))
    bench.cancel(op)
    bench.driver.cancel(op)

    assert bench.finish(op) == [ECANCELED]
    bench.settle()


def test_cancel_does_not_take_data_that_comes_later(bench, pair):
    left, right = pair
    op = bench.submit(Recv(left, 10))
    bench.cancel(op)
    bench.finish(op)
    right.send(b"later")

    bench.settle()
    assert left.recv(10) == b"later"


def test_cancel_of_what_is_done_already_delivers_the_data(bench, pair):
    left, right = pair
    right.send(b"data")
    op = bench.submit(Recv(left, 10))
    bench.cancel(op)
    (res,) = bench.finish(op)

    # Which of the two wins is the kernel's choice; no byte may be lost by it.
    got = op.value if res >= 0 else left.recv(10)
    assert got == b"data"
    assert res in (4, ECANCELED)


def test_cancel_after_completion_harms_nobody(bench, pair):
    left, right = pair
    right.send(b"1")
    op = Recv(left, 10)
    bench.do(op)
    bench.driver.cancel(op)
    bench.settle()

    other = bench.submit(Recv(left, 10))
    bench.settle()
    right.send(b"2")
    assert bench.finish(other) == [1]


def test_cancel_one_of_many_on_the_same_descriptor(bench, pair):
    ops = [bench.submit(Poll(pair[0].fileno(), POLLIN)) for _ in range(5)]
    bench.settle()
    bench.cancel(ops[2])

    assert bench.finish(ops[2]) == [ECANCELED]
    assert bench.in_flight() == {"Poll": 4}
    pair[1].send(b"x")
    results = bench.finish(*ops[:2], *ops[3:])
    assert all(res & POLLIN for res in results)


def test_cancel_does_not_free_buffer_before_completion(bench, pair):
    left, _ = pair
    data = bytearray(b"payload" * 100_000)
    op = bench.submit(Send(left, data, socket.MSG_WAITALL | socket.MSG_NOSIGNAL))
    bench.settle()
    bench.cancel(op)
    if bench.driver.name == "io_uring":
        with pytest.raises(BufferError):
            data.clear()

    (res,) = bench.finish(op)
    assert 0 < res < len(data)
    data.clear()


# Wait.


def test_wait_of_zero_does_not_wait(bench, pair):
    bench.submit(Recv(pair[0], 10))

    # The shortest wait that there is, a millisecond, would add up to more.
    assert elapsed(lambda: [bench.wait(0) for _ in range(5000)]) < 4


@pytest.mark.parametrize("milliseconds", [1, 20])
def test_wait_ends_at_its_timeout_and_not_before(bench, pair, milliseconds):
    bench.submit(Recv(pair[0], 10))
    bench.settle()
    took = elapsed(lambda: bench.driver.wait(milliseconds * 1_000_000))

    assert milliseconds / 1000 <= took < milliseconds / 1000 + 0.5


def test_short_timeouts_are_not_rounded_to_nothing(bench):
    bench.settle()

    assert elapsed(lambda: [bench.driver.wait(200_000) for _ in range(20)]) >= 20 * 0.0002


def test_wait_without_end_ends_with_the_completion(bench, pair):
    left, right = pair
    op = bench.submit(Recv(left, 10))
    thread = threading.Thread(target=right.send, args=(b"x",))
    thread.start()
    done = bench.wait(-1)
    while not done:
        done = bench.wait(-1)
    thread.join()

    assert done == [op]


def test_completion_ends_a_long_wait_at_once(bench, pair):
    left, right = pair
    op = bench.submit(Recv(left, 10))
    bench.settle()
    right.send(b"x")

    assert elapsed(bench.finish, op) < LONG_SECONDS / 10


def test_signal_ends_the_wait_without_an_error(bench):
    seen = []
    before = signal.signal(signal.SIGALRM, lambda *_: seen.append(1))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.01)
        if bench.driver.name == "io_uring":
            assert bench.driver.wait(round(LONG_SECONDS * 1e9)) == []
        else:
            # Python's own epoll continues its wait; the loop's wakeup descriptor ends it.
            signal.set_wakeup_fd(bench.driver.wakeup_fd)
            assert bench.driver.wait(round(LONG_SECONDS * 1e9)) == []
    finally:
        signal.set_wakeup_fd(-1)
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)

    assert seen == [1]


# Wake.


def test_wake_before_the_wait_is_not_lost(bench):
    bench.driver.wake()

    assert elapsed(bench.driver.wait, round(LONG_SECONDS * 1e9)) < LONG_SECONDS / 10


def test_wake_from_another_thread_ends_the_wait(bench):
    for _ in range(20):
        thread = threading.Thread(target=bench.driver.wake)
        thread.start()
        assert elapsed(bench.driver.wait, round(LONG_SECONDS * 1e9)) < LONG_SECONDS / 10
        thread.join()


def test_wakes_are_used_up(bench):
    for _ in range(1000):
        bench.driver.wake()
    assert elapsed(bench.driver.wait, round(LONG_SECONDS * 1e9)) < LONG_SECONDS / 10
    bench.wait(0.001)

    assert elapsed(bench.wait, 0.05) >= 0.05


def test_more_wakes_than_the_socket_holds_do_not_block(bench):
    for _ in range(100_000):
        bench.driver.wake()
    while elapsed(bench.wait, 0.01) < 0.01:
        pass

    bench.driver.wake()
    assert elapsed(bench.driver.wait, round(LONG_SECONDS * 1e9)) < LONG_SECONDS / 10


def test_wake_is_no_completion(bench, pair):
    op = bench.submit(Recv(pair[0], 10))
    bench.driver.wake()
    bench.driver.wait(round(LONG_SECONDS * 1e9))

    assert bench.completions[id(op)] == 0
    assert bench.in_flight() == {"Recv": 1}


def test_wake_after_close_is_harmless(open_bench):
    bench = open_bench()
    bench.close()

    # A late thread must not crash, nor write to a descriptor that took the number.
    reader, writer = os.pipe()
    bench.driver.wake()
    os.set_blocking(reader, False)
    with pytest.raises(BlockingIOError):
        os.read(reader, 1)
    os.close(reader)
    os.close(writer)


# Close.


def test_close_right_after_a_wake_does_not_hang(open_bench):
    bench = open_bench()
    bench.driver.wake()
    # The fixture closes, and looks at the time that takes.


def test_close_ends_what_is_in_flight(open_bench, pairs, listener):
    bench = open_bench()
    for _ in range(100):
        left, right = pairs()
        bench.submit(Recv(left, 10))
        bench.submit(Recv(right, 10))
    bench.submit(Accept(listener))
    bench.submit(Poll(listener.fileno(), POLLOUT))
    bench.wait(0)
    # The fixture closes, and looks for what is left.


def test_close_gives_the_memory_back(open_bench, pair):
    bench = open_bench()
    data = bytearray(10_000_000)
    op = bench.submit(Send(pair[0], data, socket.MSG_WAITALL | socket.MSG_NOSIGNAL))
    bench.wait(0)
    bench.close()

    assert 0 < op.res < len(data)
    data.clear()


def test_close_closes_an_accepted_descriptor_without_taker(open_bench, listener):
    bench = open_bench()
    client = socket.create_connection(listener.getsockname())
    bench.submit(Accept(listener))
    bench.close()

    with client:
        client.settimeout(LONG_SECONDS)
        assert client.recv(1) == b""


def test_close_closes_received_descriptors_without_taker(open_bench, pair):
    bench = open_bench()
    left, right = pair
    reader, writer = os.pipe()
    socket.send_fds(right, [b"x"], [writer])
    os.close(writer)
    bench.submit(RecvMsg(left, [bytearray(1)], socket.CMSG_SPACE(4), 0))
    bench.close()

    # Only an end of file if nobody holds the writing end any more.
    assert os.read(reader, 1) == b""
    os.close(reader)


def test_closed_driver_refuses_to_be_used(open_bench):
    bench = open_bench()
    bench.do(Nop())
    before = bench.driver.statistics()
    bench.close()

    # In a process of its own: what used memory of the closed ring died of it.
    assert exit_status(lambda: bench.driver.statistics().sqes < before.sqes) == 0
    assert exit_status(bench.driver.wait, 0) == RAISED
    assert exit_status(bench.driver.submit, Nop()) in (0, RAISED)
    assert exit_status(bench.driver.close) in (0, RAISED)


# Statistics.


def test_statistics_say_what_was_done(bench, pair):
    left, right = pair
    before = bench.driver.statistics()
    op = bench.submit(Recv(left, 10))
    bench.submit(Poll(left.fileno(), POLLIN))
    bench.wait(0)
    during = bench.driver.statistics()
    bench.cancel(op)
    right.send(b"x")
    bench.finish(op)
    after = bench.driver.statistics()

    assert isinstance(after, IOStatistics)
    assert after.driver == after.backend == bench.driver.name
    assert after.reason == bench.driver.reason
    assert during.in_flight == {"Recv": 1, "Poll": 1}
    assert after.sqes > before.sqes
    assert after.cqes > before.cqes
    assert after.enters > before.enters
    assert after.cancels == before.cancels + 1
    assert after.overflows == 0
