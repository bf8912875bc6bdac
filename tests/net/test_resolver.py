"""Names to addresses and back, by the system's resolver or the run's own."""

import socket as stdlib
import threading

import pytest

import uringtrio
from uringtrio import abc, lowlevel, socket
from uringtrio.testing import assert_checkpoints


class Recording(abc.HostnameResolver):
    """Answers everything with 127.0.0.1, and keeps what it was asked."""

    def __init__(self):
        self.asked = []

    async def getaddrinfo(self, *args):
        self.asked.append(args)
        await lowlevel.checkpoint()
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", args[1]))]

    async def getnameinfo(self, sockaddr, flags):
        self.asked.append((sockaddr, flags))
        await lowlevel.checkpoint()
        return ("name.example", "service")


@pytest.fixture
def no_lookups(monkeypatch):
    """Fail a lookup that would ask the system for a name."""
    real = stdlib.getaddrinfo

    def lookup(host, port, family=0, kind=0, proto=0, flags=0):
        assert flags & socket.AI_NUMERICHOST, f"the system was asked for {host!r}"
        return real(host, port, family, kind, proto, flags)

    monkeypatch.setattr(stdlib, "getaddrinfo", lookup)


# encode_hostname.


@pytest.mark.parametrize(
    ("name", "encoded"),
    [
        ("name.example", b"name.example"),
        ("Name.Example", b"Name.Example"),
        ("::1", b"::1"),
        ("under_score", b"under_score"),
        # The standard library makes of this one "fass.de", which is somebody else's.
        ("faß.de", b"xn--fa-hia.de"),
        ("FAẞ.de", b"xn--fa-hia.de"),
        ("café.example", b"xn--caf-dma.example"),
        ("点.看", b"xn--3px.xn--c1y"),
    ],
)
def test_host_names_are_encoded_by_idna_2008(name, encoded):
    assert lowlevel.encode_hostname(name) == encoded


@pytest.mark.parametrize("name", ["a..ü", "ü" * 80, "\u0378", "ü-.example"])
def test_what_is_no_host_name_is_a_unicode_error(run, name):
    with pytest.raises(UnicodeError):
        lowlevel.encode_hostname(name)

    async def main():
        with pytest.raises(UnicodeError):
            await socket.getaddrinfo(name, 80)
        with pytest.raises(UnicodeError):
            await uringtrio.open_tcp_stream(name, 80)

    run(main)


# The system's resolver.


def test_lookups_get_the_encoded_name(run, monkeypatch):
    asked = []

    def lookup(host, port, family=0, kind=0, proto=0, flags=0):
        asked.append((host, bool(flags & socket.AI_NUMERICHOST)))
        if flags & socket.AI_NUMERICHOST:
            raise stdlib.gaierror(socket.EAI_NONAME, "no number")
        return [(family, kind, proto, "", (host, port))]

    monkeypatch.setattr(stdlib, "getaddrinfo", lookup)

    async def main():
        return await socket.getaddrinfo("faß.de", 80)

    assert run(main)[0][4] == (b"xn--fa-hia.de", 80)
    assert asked == [(b"xn--fa-hia.de", True), (b"xn--fa-hia.de", False)]


def test_service_names_are_looked_up(run):
    async def main():
        for host in ("127.0.0.1", None):
            answers = await socket.getaddrinfo(host, "http", socket.AF_INET, socket.SOCK_STREAM)
            assert answers[0][4] == ("127.0.0.1", 80)
            with pytest.raises(stdlib.gaierror):
                await socket.getaddrinfo(host, "no-such-service", type=socket.SOCK_STREAM)

    run(main)


def test_nonsense_is_a_gaierror_and_a_checkpoint(run):
    async def main():
        with assert_checkpoints():
            with pytest.raises(stdlib.gaierror):
                await socket.getaddrinfo("::1", 80, type=-1)

    run(main)


def test_names_of_addresses_are_found(run):
    expected = stdlib.getnameinfo(("127.0.0.1", 80), 0)
    numeric = socket.NI_NUMERICHOST | socket.NI_NUMERICSERV

    async def main():
        assert await socket.getnameinfo(("127.0.0.1", 80), 0) == expected
        assert await socket.getnameinfo(("::1", 1234, 0, 0), numeric) == ("::1", "1234")
        with pytest.raises(stdlib.gaierror):
            await socket.getnameinfo(("localhost", 80), 0)

    run(main)


def test_protocols_have_numbers(run):
    async def main():
        assert await socket.getprotobyname("tcp") == socket.IPPROTO_TCP
        with pytest.raises(OSError, match="protocol not found"):
            await socket.getprotobyname("no-such-protocol")

    run(main)


@pytest.mark.parametrize(
    ("name", "lookup"),
    [
        ("getnameinfo", lambda: socket.getnameinfo(("127.0.0.1", 80), 0)),
        ("getprotobyname", lambda: socket.getprotobyname("tcp")),
        ("getaddrinfo", lambda: socket.getaddrinfo("name.example", 80)),
    ],
)
def test_lookup_that_hangs_can_be_cancelled(run, monkeypatch, name, lookup):
    release = threading.Event()

    def hang(*args):
        if name == "getaddrinfo" and args[-1] & socket.AI_NUMERICHOST:
            raise stdlib.gaierror(socket.EAI_NONAME, "no number")
        release.wait(10)

    monkeypatch.setattr(stdlib, name, hang)

    async def main():
        with uringtrio.move_on_after(0.01) as scope:
            await lookup()
        release.set()
        return scope.cancelled_caught

    assert run(main)


def test_connect_that_is_cancelled_in_the_lookup_closes_the_socket(run):
    class Hanging(Recording):
        async def getaddrinfo(self, *_args):
            await uringtrio.sleep_forever()

    async def main():
        socket.set_custom_hostname_resolver(Hanging())
        with socket.socket() as sock:
            with uringtrio.move_on_after(0.01):
                await sock.connect(("name.example", 80))
            assert sock.fileno() == -1

    run(main)


# The run's own resolver.


@pytest.mark.usefixtures("no_lookups")
def test_custom_resolver_is_asked_for_names_in_ascii_and_for_nothing_numeric(run):
    async def main():
        resolver = Recording()
        assert socket.set_custom_hostname_resolver(resolver) is None
        found = await socket.getaddrinfo("café.example", 80, socket.AF_INET, 1, 6, 0)
        assert found[0][4] == ("127.0.0.1", 80)
        assert await socket.getaddrinfo(b"name", "http")
        assert await socket.getaddrinfo("127.0.0.1", "http")
        assert await socket.getaddrinfo("127.0.0.1", 80)
        assert await socket.getnameinfo(("::1", 80), 3) == ("name.example", "service")
        assert resolver.asked == [
            (b"xn--caf-dma.example", 80, socket.AF_INET, 1, 6, 0),
            (b"name", "http", 0, 0, 0, 0),
            (b"127.0.0.1", "http", 0, 0, 0, 0),
            (("::1", 80), 3),
        ]

    run(main)


@pytest.mark.usefixtures("no_lookups")
def test_custom_resolver_serves_connections_listeners_and_sockets(run):
    async def main():
        resolver = Recording()
        socket.set_custom_hostname_resolver(resolver)
        (listener,) = await uringtrio.open_tcp_listeners(0, host="here.example")
        async with listener:
            port = listener.socket.getsockname()[1]
            stream = await uringtrio.open_tcp_stream("there.example", port)
            await stream.aclose()
            with socket.socket() as sock:
                await sock.connect(("again.example", port))
        assert [asked[0] for asked in resolver.asked] == [
            b"here.example",
            b"there.example",
            b"again.example",
        ]

    run(main)


def test_custom_resolver_is_the_runs_own_and_can_be_taken_back(run):
    async def first():
        resolver = Recording()
        assert socket.set_custom_hostname_resolver(resolver) is None
        assert socket.set_custom_hostname_resolver(None) is resolver
        assert (await socket.getaddrinfo("localhost", 80))[0][4][0] in ("127.0.0.1", "::1")
        socket.set_custom_hostname_resolver(resolver)

    async def second():
        assert socket.set_custom_hostname_resolver(None) is None

    run(first)
    run(second)
    with pytest.raises(RuntimeError, match="run"):
        socket.set_custom_hostname_resolver(None)


def test_errors_of_a_custom_resolver_are_the_callers(run):
    class Failing(Recording):
        async def getaddrinfo(self, *_args):
            raise stdlib.gaierror(socket.EAI_AGAIN, "try again")

    async def main():
        socket.set_custom_hostname_resolver(Failing())
        with pytest.raises(stdlib.gaierror, match="try again"):
            await uringtrio.open_tcp_stream("name.example", 80)
        with socket.socket() as sock:
            with pytest.raises(stdlib.gaierror, match="try again"):
                await sock.connect(("name.example", 80))

    run(main)


def test_resolver_has_both_methods():
    class Half(abc.HostnameResolver):
        async def getaddrinfo(self, *_args):
            return []

    with pytest.raises(TypeError, match="getnameinfo"):
        Half()
