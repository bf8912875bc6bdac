"""Parcels: what is copied for a shard of this process is copied whole or not at all."""

import socket as stdlib
from types import SimpleNamespace

import pytest

import uringtrio
from uringtrio import ClosedResourceError, open_shared_channel
from uringtrio._shards.parcel import copy_for_shard


@pytest.fixture
def pair():
    left, right = stdlib.socketpair()
    with left, right:
        yield left, right


def test_copies_are_independent(pair):
    send, receive = open_shared_channel(1, kind="thread")
    numbers, [sock, copied_send] = copy_for_shard(((1, 2), [pair[0], send]))
    send.close()
    with sock, copied_send:
        assert numbers == (1, 2)
        assert sock.fileno() != pair[0].fileno()
        copied_send.send_nowait("hello")
    assert receive.receive_nowait() == "hello"
    receive.close()


def test_what_was_copied_is_closed_if_the_rest_cannot_be(pair):
    """The fixture `leftovers` counts the descriptors."""
    send, receive = open_shared_channel(1, kind="thread")
    closed = send.clone()
    closed.close()
    with pytest.raises(ClosedResourceError):
        copy_for_shard([pair[0], [send], closed])
    assert receive.statistics().open_send_channels == 1
    with send, receive:
        pass


def test_stream_that_has_received_ahead_is_not_copied(pair):
    """Its copy would miss those bytes; until now it was made without them."""
    stream = uringtrio.SocketStream(uringtrio.socket.from_stdlib_socket(pair[0].dup()))
    stream.socket._ahead = SimpleNamespace(id=0, is_over=False, ahead=b"early", error=0)
    with pytest.raises(RuntimeError, match="5 bytes which it has received before"):
        copy_for_shard([pair[1], stream])
    stream.socket._ahead = None
    stream.socket.close()
