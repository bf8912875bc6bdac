"""A signal every millisecond, while sockets, TLS and child processes are at work: none notices.

Each signal has a handler in Python, so every system call that can be interrupted is, again and
again. tests/stress/signals_storm.py does the same for longer, with more connections.
"""

import os
import signal
import ssl
from functools import partial

import pytest

import uringtrio

trustme = pytest.importorskip("trustme")

INTERVAL_SECONDS = 0.001
SIGNALS_MIN = 300
MESSAGE = os.urandom(100_000)
NAME = "localhost"


@pytest.fixture
def storm():
    """Makes the storm, and is a list with an item for each signal so far."""
    seen = []
    before = signal.signal(signal.SIGALRM, lambda _signum, _frame: seen.append(1))
    signal.setitimer(signal.ITIMER_REAL, INTERVAL_SECONDS, INTERVAL_SECONDS)
    yield seen
    signal.setitimer(signal.ITIMER_REAL, 0)
    # One that is still under way is dropped by this, and would kill under the default.
    signal.signal(signal.SIGALRM, signal.SIG_IGN)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope="module")
def contexts():
    """A server's context, and a client's that trusts it."""
    authority = trustme.CA()
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(NAME).configure_cert(server)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    return server, client


async def echo(stream):
    async with stream:
        async for chunk in stream:
            await stream.send_all(chunk)


async def exchange(stream):
    """Send the message, and check that it comes back."""
    async with stream, uringtrio.open_nursery() as nursery:
        nursery.start_soon(stream.send_all, MESSAGE)
        received = bytearray()
        while len(received) < len(MESSAGE):
            chunk = await stream.receive_some()
            assert chunk
            received += chunk
        assert received == MESSAGE


def test_signals_interrupt_nothing_and_nothing_is_lost(run, storm, contexts):
    server_context, client_context = contexts
    rounds = dict.fromkeys(("tcp", "tls", "process", "cancelled"), 0)

    async def until_enough(name, once):
        while len(storm) < SIGNALS_MIN or not rounds[name]:
            await once()
            rounds[name] += 1

    async def main():
        async with uringtrio.open_nursery() as nursery:
            serve_tcp = partial(uringtrio.serve_tcp, echo, 0, host="127.0.0.1")
            (plain,) = await nursery.start(serve_tcp)
            serve_tls = partial(uringtrio.serve_ssl_over_tcp, host="127.0.0.1")
            (private,) = await nursery.start(serve_tls, echo, 0, server_context)
            ports = [
                listener.socket.getsockname()[1] for listener in (plain, private.transport_listener)
            ]

            async def over_tcp():
                await exchange(await uringtrio.open_tcp_stream("127.0.0.1", ports[0]))

            async def over_tls():
                stream = await uringtrio.open_ssl_over_tcp_stream(
                    NAME, ports[1], ssl_context=client_context
                )
                await exchange(stream)

            async def through_a_process():
                done = await uringtrio.run_process(["cat"], stdin=MESSAGE, capture_stdout=True)
                assert done.stdout == MESSAGE

            async def cancelled():
                with uringtrio.move_on_after(0.005) as scope:
                    await uringtrio.run_process(["sleep", "1000"])
                assert scope.cancelled_caught

            async with uringtrio.open_nursery() as clients:
                clients.start_soon(until_enough, "tcp", over_tcp)
                clients.start_soon(until_enough, "tls", over_tls)
                clients.start_soon(until_enough, "process", through_a_process)
                clients.start_soon(until_enough, "cancelled", cancelled)
            nursery.cancel_scope.cancel()

    run(main)
    assert len(storm) >= SIGNALS_MIN
    assert all(rounds.values())
