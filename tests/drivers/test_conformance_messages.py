"""What every driver promises about messages: datagrams, control messages, many buffers."""

import errno
import os
import socket
import struct
import subprocess
import sys

import pytest

from uringtrio._ops.datagram import SendTo
from uringtrio._ops.net import RecvInto, RecvMsg, SendMsg

from .traffic import abstract, drain, fill

ECANCELED = -errno.ECANCELED


def send_to(sock, data, address):
    op = SendTo(sock)
    op.take(data, 0, address)
    return op


def test_sendmsg_gathers_and_recvmsg_scatters(bench, pair):
    left, right = pair
    assert bench.do(SendMsg(left, [b"hello ", bytearray(b"world")], [], 0, None)) == 11
    buffers = [bytearray(3), bytearray(100)]
    op = RecvMsg(right, buffers, 0, 0)

    assert bench.do(op) == 11
    assert bytes(buffers[0]) == b"hel"
    assert bytes(buffers[1][:8]) == b"lo world"
    control, flags, address = op.message()
    assert control == []
    assert flags == 0
    assert not address


def test_descriptors_travel_and_arrive_close_on_exec(bench, pair):
    """Arrived inheritable on epoll, so that any child process would have held them open."""
    left, right = pair
    reader, writer = os.pipe()
    rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("i", writer))
    assert bench.do(SendMsg(left, [b"x"], [rights], 0, None)) == 1
    os.close(writer)
    op = RecvMsg(right, [bytearray(10)], socket.CMSG_SPACE(4), 0)
    assert bench.do(op) == 1
    ((level, kind, data),), flags, _ = op.message()
    (received,) = struct.unpack("i", data)
    try:
        assert (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS)
        assert flags == 0
        assert not os.get_inheritable(received)
        os.write(received, b"through")
        assert os.read(reader, 10) == b"through"
    finally:
        os.close(received)
        os.close(reader)


def test_recvmsg_says_that_it_cut_data_and_control(bench, pairs):
    left, right = pairs(kind=socket.SOCK_DGRAM)
    reader, writer = os.pipe()
    socket.send_fds(left, [b"long message"], [reader, writer])
    os.close(reader)
    os.close(writer)
    op = RecvMsg(right, [bytearray(4)], socket.CMSG_LEN(0), 0)

    assert bench.do(op) == 4
    control, flags, _ = op.message()
    assert flags & socket.MSG_TRUNC
    assert flags & socket.MSG_CTRUNC
    assert [data for _, _, data in control if data] == []


def test_recvmsg_and_sendmsg_can_be_cancelled(bench, pair):
    left, right = pair
    assert bench.cancel_and_finish(bench.submit(RecvMsg(left, [bytearray(4)], 0, 0))) == ECANCELED
    before = fill(left)
    send = bench.submit(SendMsg(left, [b"x"], [], 0, None))
    assert bench.cancel_and_finish(send) == ECANCELED
    assert len(drain(right)) == before


@pytest.mark.parametrize(
    ("family", "host"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")]
)
def test_datagrams_carry_their_addresses(bench, family, host):
    with (
        socket.socket(family, socket.SOCK_DGRAM) as one,
        socket.socket(family, socket.SOCK_DGRAM) as two,
    ):
        for sock in (one, two):
            sock.setblocking(False)
            sock.bind((host, 0))
        buffer = bytearray(100)
        receive = bench.submit(RecvMsg(two, [buffer], 0, 0))
        bench.settle()
        assert bench.do(send_to(one, b"datagram", two.getsockname())) == 8
        assert bench.finish(receive) == [8]

        assert buffer[:8] == b"datagram"
        assert receive.message()[2] == one.getsockname()


@pytest.mark.parametrize("is_abstract", [True, False])
def test_unix_datagrams_carry_their_addresses(bench, tmp_path, is_abstract):
    name = abstract(b"with\0a NUL") if is_abstract else str(tmp_path / "ö")
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as one,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as two,
    ):
        one.bind(name)
        two.bind(abstract(b"two"))
        two.setblocking(False)
        op = RecvMsg(two, [bytearray(10)], 0, 0)
        bench.submit(op)
        assert bench.do(send_to(one, b"x", abstract(b"two"))) == 1
        bench.finish(op)

        assert op.message()[2] == one.getsockname() == name


def test_datagram_to_nobody_is_an_error(bench):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        op = send_to(sock, b"x", abstract(b"nobody"))
        assert bench.do(op) == -errno.ECONNREFUSED


def link_local_address():
    """Return an IPv6 address that needs its scope, or skip."""
    with open("/proc/net/if_inet6") as lines:
        for line in lines:
            packed, index, *_ = line.split()
            if packed.startswith("fe80"):
                return socket.inet_ntop(socket.AF_INET6, bytes.fromhex(packed)), int(index, 16)
    return pytest.skip("no interface has a link-local IPv6 address")


def test_link_local_sender_is_named_as_the_standard_library_does(bench):
    """Was 'fe80::1%eth0' on a ring; since 3.7 the scope is only the fourth item."""
    host, scope = link_local_address()
    with (
        socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as one,
        socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as two,
    ):
        for sock in (one, two):
            sock.setblocking(False)
            sock.bind((host, 0, 0, scope))
        op = bench.submit(RecvMsg(two, [bytearray(10)], 0, 0))
        bench.do(send_to(one, b"x", two.getsockname()))
        bench.finish(op)

        assert op.message()[2] == one.getsockname() == (host, one.getsockname()[1], 0, scope)


@pytest.mark.parametrize("is_cancelled", [False, True])
@pytest.mark.parametrize("kind", [RecvInto, RecvMsg, SendMsg])
def test_completed_op_lets_go_of_its_buffers(bench, pair, kind, is_cancelled):
    """Sockets keep the op for its successor: the user's buffer could not be resized meanwhile."""
    left, right = pair
    buffer = bytearray(10)
    if kind is RecvInto:
        op = RecvInto(left, memoryview(buffer), 0)
    elif kind is RecvMsg:
        op = RecvMsg(left, [memoryview(buffer)], 0, 0)
    else:
        op = SendMsg(left, [memoryview(buffer)], [], 0, None)
        if is_cancelled:
            fill(left)
    bench.submit(op)
    if is_cancelled:
        assert bench.cancel_and_finish(op) == ECANCELED
    else:
        right.send(b"x")
        bench.finish(op)
    try:
        buffer.clear()
    except BufferError:
        is_free = False
    else:
        is_free = True
    # Not in a traceback's cycle: collecting an exported memoryview crashes the interpreter.
    del op
    bench.forget()

    assert is_free


COLLECT = """
import gc, uringtrio

class Connection:
    def __init__(self):
        self.me = self
        self.view = memoryview(bytearray(10))
        self.sock, self.peer = uringtrio.socket.socketpair()

async def main():
    for _ in range(50):
        connection = Connection()
        await connection.peer.send(b"x")
        await connection.sock.recvmsg_into([connection.view])
        connection.op = connection.sock._reading
        connection.sock.close()
        connection.peer.close()
    del connection
    gc.collect()

uringtrio.run(main)
"""


def test_collected_messages_do_not_crash(driver_name):
    """cffi's hold on a memoryview outlived the op; collecting the two in a cycle was a SIGSEGV."""
    done = subprocess.run(
        [sys.executable, "-c", COLLECT],
        env={**os.environ, "URINGTRIO_DRIVER": driver_name},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert "BufferError" not in done.stderr
