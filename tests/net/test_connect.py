"""`open_tcp_stream`: outgoing connections."""

import errno
import itertools
import socket as stdlib
from math import inf, nan

import pytest

import uringtrio
from uringtrio import abc, socket


async def unused_port():
    with socket.socket() as sock:
        await sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", b"127.0.0.1", "::1"])
def test_stream_is_connected(run, host):
    async def main():
        bound_to = "::1" if host == "::1" else "127.0.0.1"
        (listener,) = await uringtrio.open_tcp_listeners(0, host=bound_to)
        async with listener:
            port = listener.socket.getsockname()[1]
            stream = await uringtrio.open_tcp_stream(host, port)
            async with stream, await listener.accept() as server:
                await stream.send_all(b"hello")
                assert await server.receive_some(5) == b"hello"

    run(main)


def test_all_attempts_failed_is_an_os_error_with_the_attempts_as_cause(run):
    async def main():
        port = await unused_port()
        with pytest.raises(
            OSError, match=f"all attempts to connect to localhost:{port} failed"
        ) as caught:
            await uringtrio.open_tcp_stream("localhost", port)
        cause = caught.value.__cause__
        assert isinstance(cause, ExceptionGroup)
        assert all(isinstance(exc, ConnectionRefusedError) for exc in cause.exceptions)
        assert any(f"('127.0.0.1', {port})" in str(exc) for exc in cause.exceptions)

    run(main)


def test_later_addresses_are_tried_when_earlier_ones_fail(run, monkeypatch):
    async def main():
        (listener,) = await uringtrio.open_tcp_listeners(0, host="127.0.0.1")
        async with listener:
            port = listener.socket.getsockname()[1]
            stream = await uringtrio.open_tcp_stream("two.example", port)
            await stream.aclose()

    real = stdlib.getaddrinfo

    def lookup(host, port, family=0, kind=0, proto=0, flags=0):
        if flags & socket.AI_NUMERICHOST:
            return real(host, port, family, kind, proto, flags)
        return [
            *real("127.0.0.99", 1, family, kind, proto, flags),
            *real("127.0.0.1", port, family, kind, proto, flags),
        ]

    monkeypatch.setattr(stdlib, "getaddrinfo", lookup)
    run(main)


def test_unresolvable_name_is_a_gaierror(run):
    async def main():
        with pytest.raises(stdlib.gaierror):
            await uringtrio.open_tcp_stream("name.invalid", 80)

    run(main)


def test_host_and_port_are_checked_at_the_call(run):
    async def main():
        with pytest.raises(ValueError, match="host must be str or bytes"):
            await uringtrio.open_tcp_stream(None, 80)
        with pytest.raises(TypeError, match="port must be int"):
            await uringtrio.open_tcp_stream("127.0.0.1", "80")

    run(main)


def test_cancelled_connection_leaves_no_socket(run):
    async def main():
        (listener,) = await uringtrio.open_tcp_listeners(0, host="127.0.0.1", backlog=0)
        async with listener:
            port = listener.socket.getsockname()[1]
            streams = []
            cancelled = 0
            for _ in range(4):
                with uringtrio.move_on_after(0.03) as scope:
                    streams.append(await uringtrio.open_tcp_stream("127.0.0.1", port))
                cancelled += scope.cancelled_caught
            # Some did not fit into the backlog. Their descriptors are counted after the test.
            assert cancelled
            for stream in streams:
                await stream.aclose()

    run(main)


def test_error_keeps_its_number(run):
    async def main():
        port = await unused_port()
        with pytest.raises(OSError, match="all attempts") as caught:
            await uringtrio.open_tcp_stream("127.0.0.1", port)
        assert caught.value.errno == errno.ECONNREFUSED

    run(main)


def test_local_address_is_where_the_connection_comes_from(run):
    async def main():
        (listener,) = await uringtrio.open_tcp_listeners(0, host="127.0.0.1")
        async with listener:
            port = listener.socket.getsockname()[1]
            for given, expected in (("127.0.0.3", "127.0.0.3"), ("0.0.0.0", "127.0.0.1")):
                stream = await uringtrio.open_tcp_stream("127.0.0.1", port, local_address=given)
                async with stream, await listener.accept() as server:
                    assert server.socket.getpeername()[0] == expected
                    # The port may serve other peers too.
                    assert stream.getsockopt(socket.IPPROTO_IP, stdlib.IP_BIND_ADDRESS_NO_PORT)

    run(main)


def test_local_address_of_another_family_or_machine_fails_the_attempt(run):
    async def main():
        for wrong in ("::", "192.0.2.1"):
            with pytest.raises(
                OSError, match=r"^all attempts to connect to 127\.0\.0\.1:80"
            ) as caught:
                await uringtrio.open_tcp_stream("127.0.0.1", 80, local_address=wrong)
            (attempt,) = caught.value.__cause__.exceptions
            assert f"local_address={wrong!r}" in str(attempt)

    run(main)


@pytest.mark.parametrize("delay", [-1, nan])
def test_delay_is_checked_at_the_call(run, delay):
    async def main():
        with pytest.raises(ValueError, match="happy_eyeballs_delay"):
            await uringtrio.open_tcp_stream("127.0.0.1", 80, happy_eyeballs_delay=delay)

    run(main)


# With sockets and names that are made up, and a clock that jumps.


class FakeSocket(socket.SocketType):
    type = socket.SOCK_STREAM

    def __init__(self, net):
        super().__init__()
        self.net = net
        self.is_connected = self.is_closed = False

    def setsockopt(self, *_args):
        if self.net.setsockopt_error is not None:
            raise self.net.setsockopt_error

    async def connect(self, address):
        host = address[0]
        self.net.begun[host] = uringtrio.current_time() - self.net.start
        self.net.sockets[host] = self
        seconds, error = self.net.hosts[host]
        await uringtrio.sleep(seconds)
        if error is not None:
            raise error
        self.is_connected = True

    def close(self):
        self.is_closed = True


class FakeNet(abc.SocketFactory, abc.HostnameResolver):
    """A network of hosts, each (address, seconds until it answers, the error or None).

    Attributes:
        begun: when the attempt at each address began.
        sockets: the socket of each attempt.
    """

    def __init__(self, *hosts, without=()):
        self.hosts = {host: (seconds, error) for host, seconds, error in hosts}
        self.without = without
        self.setsockopt_error = None
        self.begun = {}
        self.sockets = {}
        self.start = 0

    def socket(self, family, *_args):
        if family in self.without:
            raise OSError(errno.EAFNOSUPPORT, "no such family")
        return FakeSocket(self)

    async def getaddrinfo(self, _host, port, _family, kind, *_args):
        return [
            (socket.AF_INET6 if ":" in host else socket.AF_INET, kind, 6, "", (host, port))
            for host in self.hosts
        ]

    async def getnameinfo(self, *_args):
        raise AssertionError("nobody asks")

    def connect(self, clock, **options):
        """Return (address of the winner or None, seconds, the exception or None)."""

        async def main():
            socket.set_custom_hostname_resolver(self)
            socket.set_custom_socket_factory(self)
            self.start = uringtrio.current_time()
            try:
                stream = await uringtrio.open_tcp_stream("name.example", 80, **options)
            except Exception as exc:  # noqa: BLE001  # kept for the test
                return None, uringtrio.current_time() - self.start, exc
            seconds = uringtrio.current_time() - self.start
            (winner,) = [host for host, sock in self.sockets.items() if sock is stream.socket]
            assert stream.socket.is_connected
            assert not stream.socket.is_closed
            stream.socket.close()
            return winner, seconds, None

        try:
            return uringtrio.run(main, clock=clock)
        finally:
            assert all(sock.is_closed for sock in self.sockets.values())


def refused():
    return OSError(errno.ECONNREFUSED, "refused")


def test_each_attempt_has_a_head_start(clock):
    net = FakeNet(("1.1.1.1", 1, None), ("2.2.2.2", 1, None), ("3.3.3.3", 0.25, None))

    assert net.connect(clock) == ("3.3.3.3", 0.75, None)
    assert net.begun == {"1.1.1.1": 0, "2.2.2.2": 0.25, "3.3.3.3": 0.5}


def test_none_is_the_default_head_start(clock):
    net = FakeNet(("1.1.1.1", 1, None), ("2.2.2.2", 0.5, None))

    assert net.connect(clock, happy_eyeballs_delay=None) == ("2.2.2.2", 0.75, None)


def test_early_success_begins_no_further_attempt(clock):
    net = FakeNet(("1.1.1.1", 0.125, None), ("2.2.2.2", 0, None))

    assert net.connect(clock) == ("1.1.1.1", 0.125, None)
    assert set(net.begun) == {"1.1.1.1"}


def test_failure_begins_the_next_attempt_at_once(clock):
    net = FakeNet(("1.1.1.1", 0.125, refused()), ("2.2.2.2", 0, refused()), ("3.3.3.3", 1, None))

    assert net.connect(clock) == ("3.3.3.3", 1.125, None)
    assert net.begun == {"1.1.1.1": 0, "2.2.2.2": 0.125, "3.3.3.3": 0.125}


def test_delay_of_nothing_tries_all_at_once(clock):
    net = FakeNet(("1.1.1.1", 3, None), ("2.2.2.2", 2, None), ("3.3.3.3", 1, None))

    assert net.connect(clock, happy_eyeballs_delay=0) == ("3.3.3.3", 1, None)
    assert set(net.begun.values()) == {0}


def test_infinite_delay_tries_one_after_the_other(clock):
    net = FakeNet(("1.1.1.1", 100, refused()), ("2.2.2.2", 2, None), ("3.3.3.3", 1, None))

    assert net.connect(clock, happy_eyeballs_delay=inf) == ("2.2.2.2", 102, None)
    assert net.begun == {"1.1.1.1": 0, "2.2.2.2": 100}


def test_second_attempt_is_at_another_family(clock):
    net = FakeNet(
        ("1.1.1.1", 9, None), ("2.2.2.2", 9, None), ("::3", 9, None), ("4.4.4.4", 9, None)
    )
    net.connect(clock)

    assert list(net.begun) == ["1.1.1.1", "::3", "2.2.2.2", "4.4.4.4"]


def test_family_that_the_system_lacks_costs_no_time(clock):
    net = FakeNet(("::1", 0, None), ("2.2.2.2", 1, None), without={socket.AF_INET6})

    assert net.connect(clock) == ("2.2.2.2", 1, None)
    assert net.begun == {"2.2.2.2": 0}


def test_two_that_succeed_in_the_same_moment_leave_one(clock):
    net = FakeNet(("1.1.1.1", 1, None), ("2.2.2.2", 1, None))
    winner, seconds, error = net.connect(clock, happy_eyeballs_delay=0)

    assert winner in net.hosts
    assert (seconds, error) == (1, None)


def test_all_failures_are_told_in_order(clock):
    errors = [refused(), OSError(errno.ENETUNREACH, "unreachable"), refused()]
    hosts = itertools.count(1)
    net = FakeNet(*((f"10.0.0.{next(hosts)}", 1, error) for error in errors))
    _, seconds, error = net.connect(clock)

    assert seconds == 1.5
    assert type(error) is OSError
    assert error.errno is None
    assert str(error) == "all attempts to connect to name.example:80 failed"
    assert list(error.__cause__.exceptions) == errors


def test_number_that_all_failures_have_is_the_errors_too(clock):
    net = FakeNet(("1.1.1.1", 0, refused()), ("2.2.2.2", 0, refused()))
    _, _, error = net.connect(clock)

    assert type(error) is ConnectionRefusedError
    assert error.errno == errno.ECONNREFUSED


def test_name_without_addresses_is_an_error(clock):
    _, _, error = FakeNet().connect(clock)

    assert "no results found for hostname lookup: name.example:80" in str(error)


def test_failure_after_the_race_closes_the_winner(clock):
    net = FakeNet(("1.1.1.1", 1, None), ("2.2.2.2", 2, None))
    net.setsockopt_error = ValueError("not now")
    _, _, error = net.connect(clock, happy_eyeballs_delay=0)

    assert error is net.setsockopt_error


def test_error_that_is_no_failure_to_connect_ends_the_race(clock):
    net = FakeNet(("1.1.1.1", 1, None), ("2.2.2.2", 0.5, ValueError("a bug")))
    _, _, error = net.connect(clock, happy_eyeballs_delay=0)

    assert isinstance(error, ExceptionGroup)
    assert isinstance(error.exceptions[0], ValueError)


def test_cancelled_race_closes_every_socket(clock):
    net = FakeNet(("1.1.1.1", 9, None), ("2.2.2.2", 9, None))

    async def main():
        socket.set_custom_hostname_resolver(net)
        socket.set_custom_socket_factory(net)
        with uringtrio.move_on_after(1) as scope:
            await uringtrio.open_tcp_stream("name.example", 80)
        assert scope.cancelled_caught
        assert len(net.sockets) == 2
        assert all(sock.is_closed for sock in net.sockets.values())

    uringtrio.run(main, clock=clock)


# With real ones.


def test_address_that_never_answers_is_overtaken(run, monkeypatch):
    """A listener whose queue is full drops every further handshake."""
    with stdlib.create_server(("127.0.0.9", 0), backlog=0) as deaf:
        port = deaf.getsockname()[1]
        fillers = [stdlib.socket() for _ in range(3)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.9", port))

        def lookup(*_args):
            return [
                (stdlib.AF_INET, stdlib.SOCK_STREAM, 6, "", (host, port))
                for host in ("127.0.0.9", "127.0.0.1")
            ]

        real = stdlib.getaddrinfo
        monkeypatch.setattr(
            stdlib,
            "getaddrinfo",
            lambda host, *rest: lookup() if host == b"name.example" else real(host, *rest),
        )

        async def main():
            (listener,) = await uringtrio.open_tcp_listeners(port, host="127.0.0.1")
            async with listener:
                stream = await uringtrio.open_tcp_stream(
                    "name.example", port, happy_eyeballs_delay=0.02
                )
                async with stream:
                    assert stream.socket.getpeername() == ("127.0.0.1", port)

        run(main)
        for filler in fillers:
            filler.close()


def test_error_for_ipv6_has_brackets_around_the_host(run):
    async def main():
        for host in ("::1", b"::1"):
            with pytest.raises(OSError, match=r"connect to \[::1\]:2 failed"):
                await uringtrio.open_tcp_stream(host, 2)

    run(main)
