"""Servers whose clients come in crowds."""

import collections
import contextlib
import errno
import os
import socket as stdlib
import ssl

import pytest

import uringtrio
from uringtrio import abc, lowlevel
from uringtrio._net import listen


class Turns(abc.Instrument):
    """Counts the turns of a run."""

    def __init__(self):
        self.count = 0

    def before_io_wait(self, _timeout):
        self.count += 1


def plain(listener):
    return listener


def encrypted(listener):
    return uringtrio.SSLListener(listener, ssl.create_default_context(ssl.Purpose.CLIENT_AUTH))


@pytest.fixture
def serve_crowd(run):
    """Serve clients that are there already; return in which turn of the run each was taken."""

    async def main(turns, size, wrap):
        taken = []

        async def handler(_stream):
            taken.append(turns.count)
            await uringtrio.sleep_forever()

        (listener,) = await uringtrio.open_tcp_listeners(0, host="127.0.0.1")
        address = listener.socket.getsockname()
        with contextlib.ExitStack() as clients:
            for _ in range(size):
                clients.enter_context(stdlib.create_connection(address))
            turns.count = 0
            async with uringtrio.open_nursery() as nursery:
                nursery.start_soon(uringtrio.serve_listeners, handler, [wrap(listener)])
                while len(taken) < size:
                    await lowlevel.checkpoint()
                nursery.cancel_scope.cancel()
        return taken

    def serve(size, wrap=plain):
        turns = Turns()
        return run(main, turns, size, wrap, instruments=[turns])

    return serve


@pytest.mark.parametrize("wrap", [plain, encrypted])
def test_crowd_is_taken_at_once(serve_crowd, wrap):
    """One in each turn, in which all those before it were served, kept 500 waiting for seconds."""
    assert serve_crowd(100, wrap)[-1] < 10


def test_crowd_leaves_turns_to_others(serve_crowd, monkeypatch):
    monkeypatch.setattr(listen, "ACCEPTED_MAX", 10)
    taken = collections.Counter(serve_crowd(35))
    assert sorted(taken.values()) == [5, 10, 10, 10]


@pytest.mark.parametrize("number", [errno.ECONNABORTED, errno.EMFILE])
def test_error_behind_the_first_is_left_to_the_next_accept(
    serve_crowd, monkeypatch, caplog, number
):
    accept = stdlib.socket.accept
    calls = 0

    def fail_once(sock):
        nonlocal calls
        calls += 1
        if calls == 2:
            raise OSError(number, os.strerror(number))
        return accept(sock)

    monkeypatch.setattr(stdlib.socket, "accept", fail_once)
    assert len(serve_crowd(10)) == 10
    assert not caplog.records


class Wrapper(abc.Listener):
    """Passes on whatever it has not itself."""

    def __init__(self, listener):
        self._listener = listener

    def __getattr__(self, name):
        return getattr(self._listener, name)

    async def accept(self):
        return "wrapped", await self._listener.accept()

    async def aclose(self):
        await self._listener.aclose()


def test_listener_that_wraps_another_is_asked_itself(run):
    handled = []

    async def handler(_stream):
        raise AssertionError("not asked")

    async def main():
        (listener,) = await uringtrio.open_tcp_listeners(0, host="127.0.0.1")
        with contextlib.ExitStack() as clients:
            for _ in range(3):
                address = listener.socket.getsockname()
                clients.enter_context(stdlib.create_connection(address))
            wrapper = Wrapper(listener)
            assert wrapper._accept_nowait
            async with uringtrio.open_nursery() as nursery:

                async def handle(pair):
                    word, stream = pair
                    handled.append(word)
                    await stream.aclose()
                    if len(handled) == 3:
                        nursery.cancel_scope.cancel()

                class Handlers:
                    def start_soon(self, _run_handler, pair, _handler):
                        nursery.start_soon(handle, pair)

                await uringtrio.serve_listeners(handler, [wrapper], handler_nursery=Handlers())

    run(main)
    assert handled == ["wrapped"] * 3
