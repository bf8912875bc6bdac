"""Both orders of every completion and cancellation, on a driver that a test scripts."""

import errno

import pytest

import uringtrio
from uringtrio import socket
from uringtrio._drivers.scripted import ScriptedDriver
from uringtrio._tls.engine import WANT, Engine

NAME = "tls.example.org"


def shake(*engines):
    """Do the handshake of two engines, without I/O."""
    while not all(engine.is_handshaken for engine in engines):
        for engine, peer in (engines, engines[::-1]):
            if not engine.is_handshaken:
                engine.handshake()
            ciphertext = engine.take()
            if ciphertext:
                peer.feed(ciphertext)


class Race:
    """A stream over a socket, one task that uses it, and the peer's engine; a script does the rest.

    Attributes:
        peer: what the script encrypts and decrypts with.
        results: what each use of the stream gave: a value, or the type of an exception.
        scope: around the first use.
    """

    def __init__(self, client_context, server_context):
        self.driver = ScriptedDriver(cancels_complete=False)
        self.scope = uringtrio.CancelScope()
        self.results = []
        self.peer = Engine(server_context, server_side=True, server_hostname=None)
        self._context = client_context

    def complete(self, kind, res, data=None):
        (op,) = self.driver.find(kind)
        self.driver.complete(op, res, data)

    def arrive(self, plaintext):
        """Let the peer's data arrive."""
        assert self.peer.encrypt(plaintext) is None
        ciphertext = self.peer.take()
        self.complete("Recv", len(ciphertext), ciphertext)

    def leave(self):
        """Let everything be sent that is being sent."""
        (op,) = self.driver.find("Send")
        ciphertext = bytes(op.pins)
        self.peer.feed(ciphertext)
        self.driver.complete(op, len(ciphertext))

    def run(self, uses, *steps):
        for step in steps:
            self.driver.at_wait(lambda _driver, step=step: step())
        uringtrio.run(self._main, uses, driver=self.driver)
        assert self.driver.in_flight == {}

    async def _main(self, uses):
        sock, other = socket.socketpair()
        with sock, other:
            self.stream = uringtrio.SSLStream(
                uringtrio.SocketStream(sock), self._context, server_hostname=NAME
            )
            shake(self.stream._engine, self.peer)
            first, *rest = uses
            with self.scope:
                await self._use(first)
            for use in rest:
                await self._use(use)

    async def _use(self, use):
        try:
            self.results.append(await use(self.stream))
        except uringtrio.Cancelled:
            self.results.append(uringtrio.Cancelled)
            raise
        except uringtrio.BrokenResourceError as exc:
            self.results.append(type(exc))


def receive(stream):
    return stream.receive_some()


def send(stream):
    return stream.send_all(b"hello")


@pytest.fixture
def race(client_context, server_context):
    return Race(client_context, server_context)


def test_data_before_the_cancel_is_received(race):
    def step():
        race.arrive(b"hello")
        race.scope.cancel()

    race.run([receive], step)
    assert race.results == [b"hello"]


def test_data_after_the_cancel_is_received_all_the_same(race):
    race.run([receive], race.scope.cancel, lambda: race.arrive(b"hello"))

    assert race.results == [b"hello"]


def test_part_of_a_record_after_the_cancel_is_kept_for_the_next_receive(race):
    parts = []

    def first_part():
        race.peer.encrypt(b"hello")
        record = race.peer.take()
        parts.append(record[7:])
        race.complete("Recv", 7, record[:7])

    def second_part():
        race.complete("Recv", len(parts[0]), parts[0])

    race.run([receive, receive], race.scope.cancel, first_part, second_part)
    assert race.results == [uringtrio.Cancelled, b"hello"]


def test_receive_that_was_cancelled_leaves_the_stream_whole(race):
    def let_go():
        race.complete("Recv", -errno.ECANCELED)

    race.run(
        [receive, receive, send],
        race.scope.cancel,
        let_go,
        lambda: race.arrive(b"hello"),
        race.leave,
    )
    assert race.results == [uringtrio.Cancelled, b"hello", None]
    assert race.peer.decrypt(10) == b"hello"


def test_send_that_ends_before_the_cancel_is_done(race):
    def step():
        race.leave()
        race.scope.cancel()

    race.run([send, send], step, race.leave)
    assert race.results == [None, None]
    assert race.peer.decrypt(100) == b"hellohello"


def test_send_that_ends_after_the_cancel_is_done_all_the_same(race):
    race.run([send, send], race.scope.cancel, race.leave, race.leave)

    assert race.results == [None, None]
    assert race.peer.decrypt(100) == b"hellohello"


@pytest.mark.parametrize("res", [-errno.ECANCELED, 5])
def test_send_that_was_cancelled_halfway_breaks_the_stream(race, res):
    def let_go():
        race.complete("Send", res)

    race.run([send, send, receive], race.scope.cancel, let_go)
    assert race.results == [
        uringtrio.Cancelled,
        uringtrio.BrokenResourceError,
        uringtrio.BrokenResourceError,
    ]
    assert race.peer.decrypt(10) is WANT
