"""Datagrams, messages with control data, descriptors passed between sockets."""

import array
import os

import pytest

import uringtrio
from uringtrio import socket


async def udp_socket(family=socket.AF_INET):
    sock = socket.socket(family, socket.SOCK_DGRAM)
    await sock.bind(("127.0.0.1" if family == socket.AF_INET else "::1", 0))
    return sock


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_datagrams_arrive_whole_with_the_senders_address(run, family):
    async def main():
        left, right = await udp_socket(family), await udp_socket(family)
        with left, right:
            assert await left.sendto(b"one", right.getsockname()) == 3
            assert await left.sendto(b"two", 0, right.getsockname()) == 3
            assert await right.recvfrom(100) == (b"one", left.getsockname())
            assert await right.recvfrom(100) == (b"two", left.getsockname())

    run(main)


def test_datagram_is_cut_to_the_size_asked_for(run):
    async def main():
        left, right = await udp_socket(), await udp_socket()
        with left, right:
            for receive in (
                right.recv,
                right.recvfrom,
            ):
                await left.sendto(b"0123456789", right.getsockname())
                await left.sendto(b"next", right.getsockname())
                first, second = await receive(4), await receive(100)
                if isinstance(first, tuple):
                    first, second = first[0], second[0]
                assert (first, second) == (b"0123", b"next")

    run(main)


def test_empty_datagram_is_received_as_such(run):
    async def main():
        left, right = await udp_socket(), await udp_socket()
        with left, right:
            assert await left.sendto(b"", right.getsockname()) == 0
            assert await right.recvfrom(100) == (b"", left.getsockname())
            await left.sendto(b"", right.getsockname())
            assert await right.recv(100) == b""

    run(main)


def test_connected_datagram_socket_sends_and_receives_like_a_stream(run):
    async def main():
        left, right = await udp_socket(), await udp_socket()
        with left, right:
            await left.connect(right.getsockname())
            await left.send(b"hello")
            assert await right.recv(100) == b"hello"
            await right.sendto(b"back", left.getsockname())
            assert await left.recv(100) == b"back"

    run(main)


def test_large_datagram_arrives_whole(run):
    async def main():
        left, right = await udp_socket(), await udp_socket()
        data = bytes(range(256)) * 200
        with left, right:
            await left.sendto(data, right.getsockname())
            assert await right.recv(65536) == data

    run(main)


def test_receive_from_into_a_buffer(run):
    async def main():
        left, right = await udp_socket(), await udp_socket()
        with left, right:
            buffer = bytearray(b"-" * 8)
            await left.sendto(b"abc", right.getsockname())
            assert await right.recvfrom_into(buffer) == (3, left.getsockname())
            assert buffer == b"abc-----"
            await left.sendto(b"0123456789", right.getsockname())
            assert await right.recvfrom_into(buffer, 2) == (2, left.getsockname())
            assert buffer == b"01c-----"

    run(main)


def test_cancelled_receive_loses_no_datagram(run, settle):
    async def main():
        left, right = await udp_socket(), await udp_socket()
        with left, right:
            for number in range(20):
                received = []

                async def receive(received=received):
                    received.append(await right.recvfrom(100))

                async with uringtrio.open_nursery() as nursery:
                    nursery.start_soon(receive)
                    await settle()
                    await left.sendto(b"%d" % number, right.getsockname())
                    nursery.cancel_scope.cancel()
                if not received:
                    await receive()
                assert received == [(b"%d" % number, left.getsockname())]

    run(main)


@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_SEQPACKET])
def test_unix_packets_keep_their_borders(run, kind):
    async def main():
        left, right = socket.socketpair(socket.AF_UNIX, kind)
        with left, right:
            await left.send(b"one")
            await left.send(b"two")
            assert await right.recv(100) == b"one"
            assert await right.recv(100) == b"two"

    run(main)


def test_seqpacket_ends_when_the_peer_closes(run):
    async def main():
        left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with left, right:
            await left.send(b"last")
            left.close()
            assert await right.recv(100) == b"last"
            assert await right.recv(100) == b""

    run(main)


def test_unix_datagrams_by_path_tell_the_sender(run, tmp_path):
    async def main():
        left = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        right = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        with left, right:
            await left.bind(str(tmp_path / "left"))
            await right.bind(tmp_path / "right")
            await left.sendto(b"hello", tmp_path / "right")
            data, address = await right.recvfrom(100)
            assert (data, address) == (b"hello", str(tmp_path / "left"))
            await right.sendto(b"back", address)
            assert await left.recv(100) == b"back"

    run(main)


def test_unix_datagram_of_a_nameless_sender_has_no_address(run, tmp_path):
    async def main():
        nameless = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        named = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        with nameless, named:
            await named.bind(str(tmp_path / "named"))
            await nameless.sendto(b"x", str(tmp_path / "named"))
            assert await named.recvfrom(10) == (b"x", None)

    run(main)


# Messages.


def test_message_gathers_and_scatters(run):
    async def main():
        left, right = socket.socketpair()
        with left, right:
            assert await left.sendmsg([b"abc", bytearray(b"de"), memoryview(b"f")]) == 6
            first, second = bytearray(4), bytearray(10)
            size, control, flags, address = await right.recvmsg_into([first, second])
            assert (size, control, flags, address) == (6, [], 0, None)
            assert (bytes(first), bytes(second[:2])) == (b"abcd", b"ef")

    run(main)


def test_message_of_a_datagram_has_the_senders_address_and_flags(run):
    async def main():
        left, right = await udp_socket(), await udp_socket()
        with left, right:
            await left.sendmsg([b"0123", b"456789"], [], 0, right.getsockname())
            assert await right.recvmsg(100) == (b"0123456789", [], 0, left.getsockname())
            await left.sendmsg([b"0123456789"], [], 0, right.getsockname())
            data, _, flags, _ = await right.recvmsg(4)
            assert data == b"0123"
            assert flags & socket.MSG_TRUNC

    run(main)


def test_descriptors_travel_in_messages(run):
    async def main():
        left, right = socket.socketpair()
        reader, writer = os.pipe()
        with left, right:
            rights = array.array("i", [reader, writer])
            await left.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
            data, control, flags, _ = await right.recvmsg(1, socket.CMSG_SPACE(2 * 4))
            ((level, kind, raw),) = control
            assert (data, level, kind) == (b"x", socket.SOL_SOCKET, socket.SCM_RIGHTS)
            assert not flags & socket.MSG_CTRUNC
            received = array.array("i", raw)
            try:
                assert not set(received) & {reader, writer}
                os.write(received[1], b"through the copy")
                assert os.read(reader, 100) == b"through the copy"
                assert all(not os.get_inheritable(fd) for fd in received)
            finally:
                for fd in (reader, writer, *received):
                    os.close(fd)

    run(main)


def test_control_message_without_room_is_cut_and_no_descriptor_leaks(run):
    async def main():
        left, right = socket.socketpair()
        reader, writer = os.pipe()
        with left, right:
            rights = array.array("i", [reader, writer])
            await left.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
            data, control, flags, _ = await right.recvmsg(1)
            assert (data, control) == (b"x", [])
            assert flags & socket.MSG_CTRUNC
        os.close(reader)
        os.close(writer)

    run(main)


def test_credentials_arrive_as_control_message(run):
    async def main():
        left, right = socket.socketpair()
        with left, right:
            right.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
            await left.send(b"x")
            _, control, _, _ = await right.recvmsg(1, socket.CMSG_SPACE(12))
            ((level, kind, raw),) = control
            assert (level, kind) == (socket.SOL_SOCKET, socket.SCM_CREDENTIALS)
            assert list(array.array("i", raw)) == [os.getpid(), os.getuid(), os.getgid()]

    run(main)


def test_cancelled_message_with_descriptors_leaks_none(run, settle):
    async def main():
        left, right = socket.socketpair()
        reader, writer = os.pipe()
        with left, right:
            for _ in range(10):
                received = []

                async def receive(received=received):
                    received.append(await right.recvmsg(1, socket.CMSG_SPACE(4)))

                async with uringtrio.open_nursery() as nursery:
                    nursery.start_soon(receive)
                    await settle()
                    rights = array.array("i", [reader])
                    await left.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
                    nursery.cancel_scope.cancel()
                if not received:
                    await receive()
                (fd,) = array.array("i", received[0][1][0][2])
                os.close(fd)
        os.close(reader)
        os.close(writer)

    run(main)


def test_families_that_only_the_standard_library_can_read_work_too(run):
    """AF_NETLINK: its addresses are not ours to pack."""

    async def main():
        try:
            sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
        except OSError:
            pytest.skip("no netlink here")
        with sock:
            await sock.bind((0, 0))
            # RTM_GETLINK, a dump: the kernel answers at once.
            request = (
                (20).to_bytes(4, "little")
                + (18).to_bytes(2, "little")
                + (0x301).to_bytes(2, "little")
                + bytes(8)
                + bytes(4)
            )
            assert await sock.sendto(request, (0, 0)) == 20
            data, address = await sock.recvfrom(65536)
            assert len(data) > 16
            assert address == (0, 0)

    run(main)
