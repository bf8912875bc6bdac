"""Addresses and control messages survive the way to the kernel's bytes and back."""

import array
import os
import socket
import struct

import pytest
from hypothesis import given, strategies as st

from uringtrio._ops.sockaddr import (
    NATIVE_FAMILIES,
    UNIX_PATH_MAX,
    pack,
    pack_control,
    unpack,
    unpack_control,
)

ports = st.integers(0, 65535)
ipv4 = st.binary(min_size=4, max_size=4).map(lambda raw: socket.inet_ntop(socket.AF_INET, raw))
ipv6 = st.binary(min_size=16, max_size=16).map(lambda raw: socket.inet_ntop(socket.AF_INET6, raw))


# The layouts, against what the kernel and the standard library say.


@given(ipv4, ports)
def test_inet_round_trip(host, port):
    packed = pack(socket.AF_INET, (host, port))

    assert len(packed) == 16
    assert unpack(packed) == (host, port)


@given(ipv6, ports, st.integers(0, (1 << 20) - 1), st.integers(0, (1 << 32) - 1))
def test_inet6_round_trip(host, port, flow, scope):
    packed = pack(socket.AF_INET6, (host, port, flow, scope))

    assert len(packed) == 28
    assert unpack(packed) == (host, port, flow, scope)


@given(ipv6, ports)
def test_inet6_short_forms_mean_zero(host, port):
    assert unpack(pack(socket.AF_INET6, (host, port))) == (host, port, 0, 0)
    assert unpack(pack(socket.AF_INET6, (host, port, 7))) == (host, port, 7, 0)


path_bytes = st.binary(min_size=1, max_size=UNIX_PATH_MAX - 1).filter(lambda raw: 0 not in raw)


@given(path_bytes)
def test_unix_path_round_trip(raw):
    expected = os.fsdecode(raw)

    assert unpack(pack(socket.AF_UNIX, raw)) == expected
    assert unpack(pack(socket.AF_UNIX, expected)) == expected
    assert unpack(pack(socket.AF_UNIX, bytearray(raw))) == expected


@given(st.binary(max_size=UNIX_PATH_MAX - 1))
def test_abstract_unix_name_keeps_every_byte(rest):
    name = b"\0" + rest

    assert unpack(pack(socket.AF_UNIX, name)) == name


def test_abstract_name_may_be_a_str():
    assert unpack(pack(socket.AF_UNIX, "\0name")) == b"\0name"


def test_unnamed_unix_socket_is_an_empty_path():
    assert unpack(struct.pack("=H", socket.AF_UNIX)) == ""


@pytest.mark.parametrize("raw", [b"", b"\1"])
def test_no_address_is_none(raw):
    assert unpack(raw) is None


def test_longest_unix_path():
    longest = "x" * (UNIX_PATH_MAX - 1)

    assert unpack(pack(socket.AF_UNIX, longest)) == longest
    with pytest.raises(OSError, match="AF_UNIX path too long"):
        pack(socket.AF_UNIX, longest + "x")
    with pytest.raises(OSError, match="AF_UNIX path too long"):
        pack(socket.AF_UNIX, b"\0" + b"x" * UNIX_PATH_MAX)


def test_path_that_fills_the_field_needs_no_terminator():
    raw = struct.pack("=H", socket.AF_UNIX) + b"x" * UNIX_PATH_MAX

    assert unpack(raw) == "x" * UNIX_PATH_MAX


@pytest.mark.parametrize("port", [-1, 65536, 1 << 40])
@pytest.mark.parametrize(
    ("family", "host"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")]
)
def test_port_out_of_range_is_refused_as_the_standard_library_does(family, host, port):
    with pytest.raises(OverflowError, match="port must be 0-65535"):
        pack(family, (host, port))


@pytest.mark.parametrize(
    ("family", "host"), [(socket.AF_INET, "localhost"), (socket.AF_INET6, "127.0.0.1")]
)
def test_host_that_is_not_numeric_is_refused(family, host):
    with pytest.raises(OSError, match="illegal IP address"):
        pack(family, (host, 80))


def test_native_families_are_those_with_a_layout_here():
    assert {socket.AF_INET, socket.AF_INET6, socket.AF_UNIX} == NATIVE_FAMILIES


@pytest.mark.parametrize(
    ("family", "address"),
    [
        (socket.AF_INET, ("127.0.0.1", 0)),
        (socket.AF_INET6, ("::1", 0)),
        (socket.AF_UNIX, "abstract"),
        (socket.AF_UNIX, "path"),
    ],
)
def test_unpack_says_what_the_standard_library_says(family, address, tmp_path):
    if address == "path":
        address = str(tmp_path / "path")
    elif address == "abstract":
        address = b"\0uringtrio %d" % os.getpid()
    with socket.socket(family) as sock:
        sock.bind(address)
        name = sock.getsockname()

    assert unpack(pack(family, name)) == name


# Control messages.

control_messages = st.lists(
    st.tuples(
        st.integers(0, (1 << 31) - 1), st.integers(0, (1 << 31) - 1), st.binary(max_size=100)
    ),
    max_size=5,
)


@given(control_messages)
def test_control_round_trip(messages):
    assert list(unpack_control(pack_control(messages))) == messages


@given(control_messages)
def test_packed_control_has_the_size_that_cmsg_space_says(messages):
    packed = pack_control(messages)

    assert len(packed) == sum(socket.CMSG_SPACE(len(data)) for _, _, data in messages)


@given(control_messages, st.integers(0, 600))
def test_cut_control_gives_whole_messages_and_at_most_one_cut_one(messages, size):
    got = list(unpack_control(pack_control(messages)[:size]))

    assert len(got) <= len(messages)
    assert got[:-1] == messages[: max(len(got) - 1, 0)]
    if got:
        level, kind, data = messages[len(got) - 1]
        assert got[-1][:2] == (level, kind)
        assert data.startswith(got[-1][2])


@given(st.binary(max_size=200))
def test_unpack_control_of_anything_ends(raw):
    for _level, _kind, data in unpack_control(raw):
        assert len(data) <= len(raw)


def test_any_buffer_is_data():
    packed = pack_control([(1, 2, array.array("i", [3, 4])), (1, 2, memoryview(b"abc"))])

    assert list(unpack_control(packed)) == [(1, 2, struct.pack("ii", 3, 4)), (1, 2, b"abc")]


def test_the_kernel_understands_packed_control():
    """The standard library's recvmsg reads back what was packed here, and the other way round."""
    left, right = socket.socketpair()
    reader, writer = os.pipe()
    try:
        rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("ii", reader, writer))
        left.sendmsg([b"x"], [rights])
        _, ((level, kind, data),), _, _ = right.recvmsg(1, socket.CMSG_SPACE(8))
        fds = struct.unpack("ii", data)
        for fd in fds:
            os.close(fd)

        assert (level, kind) == rights[:2]
        assert list(unpack_control(pack_control([(level, kind, data)]))) == [(level, kind, data)]
    finally:
        for each in (reader, writer):
            os.close(each)
        left.close()
        right.close()
