"""SSLStream: the contract of streams, the handshake, both directions at once, bad input."""

import contextlib
import ssl

import pytest

import uringtrio
from uringtrio import lowlevel, socket, testing

NAME = "tls.example.org"
BIG_BYTES = 8 * 2**20


async def receive_all(stream, count):
    """Receive `count` bytes."""
    data = bytearray()
    while len(data) < count:
        chunk = await stream.receive_some()
        assert chunk, f"ended after {len(data)} of {count} bytes"
        data += chunk
    return data


@pytest.mark.parametrize("https_compatible", [False, True], ids=["tls", "https"])
def test_it_keeps_the_contract_of_streams(wrap, shake, https_compatible):
    async def make():
        return wrap(*testing.memory_stream_pair(), https_compatible=https_compatible)

    async def make_clogged():
        streams = wrap(*testing.lockstep_stream_pair(), https_compatible=https_compatible)
        # Otherwise whoever unclogs a stream by receiving gets stuck in the handshake.
        await shake(*streams)
        return streams

    uringtrio.run(testing.check_two_way_stream, make, make_clogged)


@pytest.mark.parametrize("data", [b"x", bytearray(b"xyz") * 50000, memoryview(b"0123456789")[2:5]])
def test_bytes_of_every_kind_arrive_over_sockets(run, socket_pair, data):
    async def main():
        async with socket_pair() as (client, server), uringtrio.open_nursery() as nursery:
            nursery.start_soon(client.send_all, data)
            assert await receive_all(server, len(data)) == bytes(data)

    run(main)


def test_items_larger_than_a_byte_are_sent_whole(run, memory_pair):
    async def main():
        client, server = memory_pair()
        numbers = memoryview(bytes(range(8))).cast("I")
        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(client.send_all, numbers)
            assert await receive_all(server, 8) == bytes(range(8))

    run(main)


def test_both_directions_at_once_do_not_deadlock(run, socket_pair):
    """Each side sends more than all buffers hold, while it receives."""
    big = bytes(range(256)) * (BIG_BYTES // 256)

    async def receive(stream):
        assert await receive_all(stream, BIG_BYTES) == big

    async def main():
        async with socket_pair() as streams, uringtrio.open_nursery() as nursery:
            for stream in streams:
                nursery.start_soon(stream.send_all, big)
                nursery.start_soon(receive, stream)

    run(main)


def test_much_data_is_encrypted_little_by_little(run, memory_pair, shake):
    """So what a connection keeps allocated does not grow with the largest message."""

    async def main():
        client, server = memory_pair()
        await shake(client, server)
        sizes = []
        send_stream = client.transport_stream.send_stream
        pump = send_stream.send_all_hook

        async def note_size():
            sizes.append(len(send_stream._outgoing._data))
            await pump()

        send_stream.send_all_hook = note_size
        await client.send_all(bytes(2**20))

        assert len(sizes) == 16
        assert max(sizes) < 2**17
        await receive_all(server, 2**20)

    run(main)


def test_one_message_is_one_send(run, memory_pair, shake):
    async def main():
        client, server = memory_pair()
        await shake(client, server)
        sends = []
        pump = client.transport_stream.send_stream.send_all_hook

        async def note():
            sends.append(1)
            await pump()

        client.transport_stream.send_stream.send_all_hook = note
        await client.send_all(bytes(60000))
        assert len(sends) == 1
        assert len(await server.receive_some()) == 60000

    run(main)


def test_first_use_does_the_handshake(run, memory_pair):
    async def main():
        client, server = memory_pair()
        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(client.send_all, b"x")
            assert await server.receive_some() == b"x"
        assert client.version() == server.version()

    run(main)


def test_tasks_share_one_handshake(run, memory_pair):
    async def main():
        client, server = memory_pair()
        async with uringtrio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(client.do_handshake)
                nursery.start_soon(server.do_handshake)
            nursery.start_soon(client.send_all, b"x")
            assert await server.receive_some() == b"x"
        with testing.assert_checkpoints():
            await client.do_handshake()

    run(main)


def test_failed_handshake_wakes_those_who_wait_for_it(run, settle, memory_pair):
    async def main():
        client, server = memory_pair()
        failed = []

        async def handshake():
            with pytest.raises(uringtrio.BrokenResourceError):
                await client.do_handshake()
            failed.append(1)

        async with uringtrio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(handshake)
            await settle()
            assert not failed
            await server.transport_stream.aclose()
        assert len(failed) == 3
        await client.aclose()

    run(main)


def test_cancelled_handshake_breaks_the_connection_also_for_those_who_wait(
    run, settle, memory_pair
):
    async def main():
        client, _server = memory_pair()
        scope = uringtrio.CancelScope()

        async def shake_hands():
            with scope:
                await client.do_handshake()

        async def receive():
            with pytest.raises(uringtrio.BrokenResourceError, match="cancellation"):
                await client.receive_some()

        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(shake_hands)
            await settle()
            nursery.start_soon(receive)
            await settle()
            scope.cancel()
        assert scope.cancelled_caught
        with pytest.raises(uringtrio.BrokenResourceError):
            await client.send_all(b"x")

    run(main)


@pytest.mark.parametrize("operation", ["do_handshake", "receive_some", "unwrap"])
def test_cancelled_before_it_begins_it_changes_nothing(run, memory_pair, shake, operation):
    async def main():
        client, server = memory_pair()
        with uringtrio.CancelScope() as scope:
            scope.cancel()
            await getattr(client, operation)()
        assert scope.cancelled_caught

        await shake(client, server)
        with uringtrio.CancelScope() as scope:
            scope.cancel()
            await client.send_all(b"lost")
        with uringtrio.CancelScope() as scope:
            scope.cancel()
            await getattr(client, operation)()
        await client.send_all(b"x")
        assert await server.receive_some() == b"x"

    run(main)


def test_cancelled_receive_loses_nothing(run, settle, memory_pair, shake):
    async def main():
        client, server = memory_pair()
        await shake(client, server)
        for _ in range(3):
            with uringtrio.CancelScope() as scope:
                async with uringtrio.open_nursery() as nursery:
                    nursery.start_soon(server.receive_some)
                    await settle()
                    scope.cancel()
        await client.send_all(b"all of it")
        with uringtrio.CancelScope() as scope:
            scope.cancel()
            await server.receive_some(3)
        assert scope.cancelled_caught
        assert await server.receive_some(3) == b"all"
        with uringtrio.CancelScope() as scope:
            scope.cancel()
            await server.receive_some(3)
        assert await receive_all(server, 6) == b" of it"

    run(main)


def test_failed_send_breaks_the_connection_also_for_those_in_line(run, settle, memory_pair, shake):
    """What they would send has a hole before it."""

    async def main():
        client, server = memory_pair()
        await shake(client, server)
        gate = uringtrio.Event()
        sends = []

        async def fail():
            sends.append(1)
            await gate.wait()
            raise KeyError

        client.transport_stream.send_stream.send_all_hook = fail

        async def send():
            with pytest.raises(KeyError):
                await client.send_all(b"first")

        async def push():
            # What a receive does that has to send.
            with pytest.raises(uringtrio.BrokenResourceError):
                await client._push(b"second")

        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(send)
            await settle()
            nursery.start_soon(push)
            nursery.start_soon(push)
            await settle()
            gate.set()
        assert len(sends) == 1
        assert not client._is_pushing

    run(main)


def test_cancelled_in_line_breaks_the_connection(run, settle, memory_pair, shake):
    async def main():
        client, server = memory_pair()
        await shake(client, server)
        gate = uringtrio.Event()
        client.transport_stream.send_stream.wait_send_all_might_not_block_hook = gate.wait
        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(client.wait_send_all_might_not_block)
            await settle()
            with uringtrio.CancelScope() as scope:
                async with uringtrio.open_nursery() as inner:
                    inner.start_soon(client._push, b"lost")
                    await settle()
                    scope.cancel()
            gate.set()
        with pytest.raises(uringtrio.BrokenResourceError):
            await client.send_all(b"x")
        assert not client._is_pushing

    run(main)


def test_second_task_in_the_same_direction_is_refused(run, settle, memory_pair, shake):
    async def main():
        client, server = memory_pair()
        await shake(client, server)
        client.transport_stream.send_stream.send_all_hook = uringtrio.sleep_forever
        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(client.receive_some)
            nursery.start_soon(client.send_all, b"x")
            await settle()
            for operation in (
                client.receive_some,
                lambda: client.send_all(b"x"),
                client.wait_send_all_might_not_block,
                client.unwrap,
            ):
                with pytest.raises(uringtrio.BusyResourceError, match="another task"):
                    await operation()
            nursery.cancel_scope.cancel()

    run(main)


def test_waiting_for_room_does_no_handshake(run, memory_pair):
    async def main():
        client, _server = memory_pair()
        with testing.assert_checkpoints():
            await client.wait_send_all_might_not_block()
        with pytest.raises(uringtrio.NeedHandshakeError):
            client.version()

    run(main)


def test_waiting_for_room_stands_in_line_behind_who_sends(run, settle, wrap):
    async def main():
        client, server = wrap(*testing.lockstep_stream_pair())
        events = []

        async def wait():
            await client.wait_send_all_might_not_block()
            events.append("room")

        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(client.do_handshake)
            await settle()
            nursery.start_soon(wait)
            await settle()
            assert events == []
            nursery.start_soon(server.do_handshake)
        assert events == ["room"]

    run(main)


def test_tls_goes_over_tls(run, client_context, server_context, memory_pair):
    async def main():
        outer_client, outer_server = memory_pair()
        client = uringtrio.SSLStream(outer_client, client_context, server_hostname=NAME)
        server = uringtrio.SSLStream(outer_server, server_context, server_side=True)

        async def ask():
            await client.send_all(b"hi" * 40000)
            assert await receive_all(client, 3) == b"bye"
            await client.aclose()

        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(ask)
            assert await receive_all(server, 80000) == b"hi" * 40000
            await server.send_all(b"bye")
            assert await server.receive_some() == b""
            await server.aclose()

    run(main)


def test_errors_of_the_transport_pass_and_leave_nothing_behind(run, socket_pair):
    async def main():
        async with socket_pair() as (client, server):
            server.transport_stream.socket.close()
            with pytest.raises(uringtrio.BrokenResourceError):
                await client.do_handshake()
            await client.aclose()
            assert client.transport_stream.socket.fileno() == -1

    run(main)


@pytest.mark.parametrize("wrong", [None, "context", ssl])
def test_wrong_context_is_refused_by_name(wrong):
    left, _ = testing.memory_stream_pair()
    with pytest.raises(TypeError, match=r"ssl\.create_default_context"):
        uringtrio.SSLStream(left, wrong)
    with pytest.raises(TypeError, match=r"ssl\.create_default_context"):
        uringtrio.SSLListener(left, wrong)


def test_context_that_checks_names_needs_one(client_context):
    left, _ = testing.memory_stream_pair()
    with pytest.raises(ValueError, match="server_hostname"):
        uringtrio.SSLStream(left, client_context)


@pytest.mark.parametrize(
    ("max_bytes", "error"), [(0, ValueError), (-1, ValueError), (1.5, TypeError)]
)
def test_wrong_max_bytes_are_refused_before_anything_happens(run, memory_pair, max_bytes, error):
    async def main():
        client, _ = memory_pair()
        with pytest.raises(error):
            await client.receive_some(max_bytes)
        with pytest.raises(uringtrio.WouldBlock):
            client.transport_stream.send_stream.get_data_nowait()

    run(main)


def test_nothing_is_sent_for_no_bytes(run, memory_pair, shake):
    async def main():
        client, server = memory_pair()
        await shake(client, server)
        for empty in (b"", bytearray(), memoryview(b"")):
            with testing.assert_checkpoints():
                await client.send_all(empty)
        await client.send_all(b"x")
        assert await server.receive_some() == b"x"

    run(main)


def test_name_in_other_letters_is_encoded_by_idna_2008(client_context):
    left, _ = testing.memory_stream_pair()
    stream = uringtrio.SSLStream(left, client_context, server_hostname="faß.de")

    assert stream.server_hostname == "xn--fa-hia.de"


def test_every_operation_is_a_checkpoint(run, socket_pair, shake):
    async def main():
        async with socket_pair() as (client, server):
            await shake(client, server)
            for _ in range(2):
                with testing.assert_checkpoints():
                    await client.send_all(b"xyz")
                for _ in range(3):
                    with testing.assert_checkpoints():
                        assert len(await server.receive_some(1)) == 1
            with testing.assert_checkpoints():
                await client.aclose()
            with testing.assert_checkpoints():
                await server.aclose()

    run(main)


def test_garbage_from_a_socket_is_one_clear_error(run, server_context):
    async def main():
        left, right = socket.socketpair()
        with left, right:
            server = uringtrio.SSLStream(
                uringtrio.SocketStream(right), server_context, server_side=True
            )
            await left.send(b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n")
            with pytest.raises(
                uringtrio.BrokenResourceError, match=r"the TLS handshake failed: .*(?i:http)"
            ):
                await server.receive_some()
            await server.aclose()
            # The alert, and the end: nobody has to wait for a time-out.
            answer = b""
            with contextlib.suppress(ConnectionResetError):
                while data := await left.recv(100):
                    answer += data
            assert answer[:1] in (b"\x15", b"")

    run(main)


def test_shielded_checkpoint_is_not_the_only_one_when_data_is_there(run, memory_pair, shake):
    """A loop that receives what is buffered lets others run."""

    async def main():
        client, server = memory_pair()
        await shake(client, server)
        await client.send_all(bytes(1000))
        turns = []

        async def count():
            while True:
                turns.append(1)
                await lowlevel.checkpoint()

        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(count)
            for _ in range(100):
                await server.receive_some(1)
            assert len(turns) >= 99
            nursery.cancel_scope.cancel()

    run(main)
