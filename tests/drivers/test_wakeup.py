"""Waking: from threads and signal handlers, any number of times, at any time."""

import os
import select
import signal
import threading

import pytest

from uringtrio._drivers.wakeup import DRAIN_BYTES, Wakeup


@pytest.fixture
def wakeup():
    one = Wakeup()
    yield one
    one.close()


def is_awake(wakeup):
    readable, _, _ = select.select([wakeup.reader], [], [], 0)
    return bool(readable)


def test_sleeps_until_woken(wakeup):
    assert not is_awake(wakeup)
    wakeup.wake()
    assert is_awake(wakeup)
    wakeup.drain()
    assert not is_awake(wakeup)


def test_drain_without_a_wake_does_nothing(wakeup):
    wakeup.drain()

    assert not is_awake(wakeup)


def test_many_wakes_are_one(wakeup):
    for _ in range(DRAIN_BYTES):
        wakeup.wake()
    wakeup.drain()

    assert not is_awake(wakeup)


def test_full_buffer_neither_blocks_nor_raises(wakeup):
    for _ in range(100_000):
        wakeup.wake()

    assert is_awake(wakeup)


def test_wake_from_threads(wakeup):
    threads = [threading.Thread(target=wakeup.wake) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert is_awake(wakeup)


def test_signals_write_to_it(wakeup):
    old_handler = signal.signal(signal.SIGUSR1, lambda *_: None)
    old_fd = signal.set_wakeup_fd(wakeup.writer.fileno())
    try:
        signal.raise_signal(signal.SIGUSR1)
    finally:
        signal.set_wakeup_fd(old_fd)
        signal.signal(signal.SIGUSR1, old_handler)

    assert is_awake(wakeup)


def test_wake_after_close_is_harmless(wakeup):
    wakeup.close()
    wakeup.wake()
    wakeup.close()


def test_descriptors_are_not_inherited(wakeup):
    assert not os.get_inheritable(wakeup.reader.fileno())
    assert not os.get_inheritable(wakeup.writer.fileno())
