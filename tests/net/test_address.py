"""Names to addresses."""

import socket as stdlib
import threading

import pytest

import uringtrio
from uringtrio import socket
from uringtrio._net import resolver as module
from uringtrio._net.address import resolve


def test_numeric_addresses_need_no_thread(run, monkeypatch):
    async def never(*_args, **_options):
        raise AssertionError("a thread was asked")

    async def main():
        answers = await socket.getaddrinfo("127.0.0.1", 80, type=socket.SOCK_STREAM)
        assert answers == stdlib.getaddrinfo("127.0.0.1", 80, type=socket.SOCK_STREAM)
        assert (await socket.getaddrinfo("::1", 80))[0][0] == socket.AF_INET6
        assert await socket.getaddrinfo(None, 80)

    monkeypatch.setattr(module.to_thread, "run_sync", never)
    run(main)


def test_names_are_looked_up_in_a_thread(run, monkeypatch):
    threads = []
    real = stdlib.getaddrinfo

    def lookup(host, port, family=0, kind=0, proto=0, flags=0):
        if host == b"name.example" and not flags & socket.AI_NUMERICHOST:
            threads.append(threading.current_thread())
            host = "127.0.0.1"
        return real(host, port, family, kind, proto, flags)

    monkeypatch.setattr(stdlib, "getaddrinfo", lookup)

    async def main():
        return await socket.getaddrinfo("name.example", 80, type=socket.SOCK_STREAM)

    assert run(main)[0][4] == ("127.0.0.1", 80)
    assert len(threads) == 1
    assert threads[0] is not threading.main_thread()


def test_lookup_is_a_checkpoint_even_if_numeric(run):
    async def main():
        with uringtrio.CancelScope() as scope:
            scope.cancel()
            await socket.getaddrinfo("127.0.0.1", 80)
        return scope.cancelled_caught

    assert run(main)


def test_cancelled_lookup_is_left_to_its_thread(run, monkeypatch):
    release = threading.Event()
    real = stdlib.getaddrinfo

    def lookup(host, port, family=0, kind=0, proto=0, flags=0):
        if not flags & socket.AI_NUMERICHOST:
            release.wait(10)
            host = "127.0.0.1"
        return real(host, port, family, kind, proto, flags)

    monkeypatch.setattr(stdlib, "getaddrinfo", lookup)

    async def main():
        with uringtrio.move_on_after(0.01) as scope:
            await socket.getaddrinfo("name.example", 80)
        release.set()
        return scope.cancelled_caught

    assert run(main)


def test_unresolvable_name_raises_gaierror(run):
    async def main():
        with pytest.raises(stdlib.gaierror) as caught:
            await socket.getaddrinfo("name.invalid", 80)
        assert isinstance(caught.value, OSError)
        with pytest.raises(stdlib.gaierror):
            await socket.getaddrinfo("name.example", 80, flags=socket.AI_NUMERICHOST)

    run(main)


@pytest.mark.parametrize(
    ("family", "given", "expected"),
    [
        (socket.AF_INET, ("127.0.0.1", 80), ("127.0.0.1", 80)),
        (socket.AF_INET, ("", 80), ("127.0.0.1", 80)),
        (socket.AF_INET, ("<broadcast>", 80), ("255.255.255.255", 80)),
        (socket.AF_INET, ("localhost", 80), ("127.0.0.1", 80)),
        (socket.AF_INET, ("127.0.0.1", "80"), ("127.0.0.1", 80)),
        (socket.AF_INET6, ("::1", 80, 7), ("::1", 80, 7)),
        (socket.AF_INET6, ("::1", 80, 7, 1), ("::1", 80, 7, 1)),
        (socket.AF_INET6, ("", 80), ("::1", 80)),
        (socket.AF_INET6, (None, 80), ("::1", 80)),
        (socket.AF_INET6, ("fe80::1%lo", 80), ("fe80::1", 80, 0, 1)),
        (socket.AF_INET6, ("fe80::1%lo", 80, 7), ("fe80::1", 80, 7, 1)),
        (socket.AF_INET6, ("fe80::1%lo", 80, 7, 5), ("fe80::1", 80, 7, 5)),
        (socket.AF_INET6, ("fe80::1", 80, 0, 1), ("fe80::1", 80, 0, 1)),
        (socket.AF_UNIX, "/a/path", "/a/path"),
        (socket.AF_UNIX, b"\0abstract", b"\0abstract"),
    ],
)
def test_addresses_are_made_numeric(run, family, given, expected):
    async def main():
        with stdlib.socket(family) as sock:
            found = await resolve(sock, given, local=False)
            return found[: len(expected)] if isinstance(found, tuple) else found

    assert run(main) == expected


@pytest.mark.parametrize(
    ("family", "given", "expected"),
    [
        (socket.AF_INET, ("", 80), ("0.0.0.0", 80)),
        (socket.AF_INET, (None, 80), ("0.0.0.0", 80)),
        (socket.AF_INET6, ("", 80), ("::", 80)),
    ],
)
def test_no_host_is_the_wildcard_where_it_is_to_bind_to(run, family, given, expected):
    async def main():
        with stdlib.socket(family) as sock:
            found = await resolve(sock, given, local=True)
            return found[:2]

    assert run(main) == expected


def test_addresses_of_other_families_are_passed_on_as_they_are(run):
    async def main():
        with stdlib.socket(socket.AF_NETLINK, socket.SOCK_RAW) as sock:
            return await resolve(sock, (0, 0), local=False)

    assert run(main) == (0, 0)


def test_mapped_addresses_go_where_the_socket_allows_them(run):
    async def main():
        with stdlib.socket(socket.AF_INET6) as sock:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            found = await resolve(sock, ("127.0.0.1", 80), local=False)
            assert found[:2] == ("::ffff:127.0.0.1", 80)
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            with pytest.raises(stdlib.gaierror):
                await resolve(sock, ("127.0.0.1", 80), local=False)

    run(main)


@pytest.mark.parametrize("wrong", ["127.0.0.1", ("127.0.0.1",), ("127.0.0.1", 80, 0), 5, None, []])
def test_address_of_the_wrong_form_is_refused_with_the_right_one(run, wrong):
    async def main():
        with socket.socket() as sock:
            for call in (
                lambda: sock.bind(wrong),
                lambda: sock.connect(wrong),
                lambda: sock.sendto(b"x", wrong),
            ):
                with pytest.raises(ValueError, match=r"should be a \(host, port\) tuple"):
                    await call()

    run(main)


@pytest.mark.parametrize("port", [-1, 65536, 70_000])
def test_port_out_of_range_is_refused(run, port):
    async def main():
        with socket.socket() as sock, socket.socket(type=socket.SOCK_DGRAM) as datagrams:
            for call in (
                lambda: sock.bind(("127.0.0.1", port)),
                lambda: sock.connect(("127.0.0.1", port)),
                lambda: datagrams.sendto(b"x", ("127.0.0.1", port)),
                lambda: datagrams.sendmsg([b"x"], [], 0, ("127.0.0.1", port)),
            ):
                with pytest.raises(OverflowError, match="port must be 0-65535"):
                    await call()

    run(main)
