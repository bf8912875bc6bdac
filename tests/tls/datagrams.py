"""UDP without a kernel, and a DTLS server and client over that or over real sockets."""

import contextlib
import errno
import itertools
from math import inf

import uringtrio
from uringtrio import socket
from uringtrio.socket import SocketType


class Datagram(SocketType):
    """A UDP socket on a `Network`."""

    def __init__(self, network, family):
        super().__init__()
        self.network = network
        self._family = family
        self.address = ("", 0)
        self.is_closed = False
        self._end, self._packets = uringtrio.open_memory_channel(inf)

    @property
    def family(self):
        return self._family

    @property
    def type(self):
        return socket.SOCK_DGRAM

    def getsockname(self):
        return self.address

    def close(self):
        self.is_closed = True
        self._packets.close()
        self.network.sockets.pop(self.address, None)

    async def bind(self, _address):
        await uringtrio.lowlevel.checkpoint()
        self.network.add(self)

    async def sendto(self, data, address):
        await uringtrio.lowlevel.checkpoint()
        if self.is_closed:
            raise OSError(errno.EBADF, "closed")
        if self.address == ("", 0):
            self.network.add(self)
        self.network.route(bytes(data), self.address, address)
        return len(data)

    async def recvfrom(self, _size):
        return await self._packets.receive()


class Network:
    """UDP without a kernel, on which a test decides what becomes of each packet.

    Attributes:
        packets: what was sent so far: (data, source, target).
        on_packet: called with each packet; a test may replace it. At first it is `deliver`.
    """

    def __init__(self):
        self.sockets = {}
        self.packets = []
        # Never the same twice: late packets must not get to somebody else.
        self._ports = itertools.count(10000)
        self.on_packet = self.deliver

    def socket(self, family=socket.AF_INET):
        return Datagram(self, family)

    def add(self, sock):
        host = "127.0.0.1" if sock.family == socket.AF_INET else "::1"
        rest = () if sock.family == socket.AF_INET else (0, 0)
        sock.address = (host, next(self._ports), *rest)
        self.sockets[sock.address] = sock

    def route(self, *packet):
        self.packets.append(packet)
        self.on_packet(*packet)

    def deliver(self, data, source, target):
        if target in self.sockets:
            self.sockets[target]._end.send_nowait((data, source))


async def send_back(channel):
    async for packet in channel:
        await channel.send(packet)


async def echo(channel):
    with contextlib.suppress(uringtrio.BrokenResourceError, uringtrio.ClosedResourceError):
        await send_back(channel)


class Pair:
    """A server and a client over the same kind of sockets: `async with Pair(...) as pair`.

    Attributes:
        server, client: endpoints; the server is bound and serves `handler`.
        address: the server's.
    """

    def __init__(self, make_socket, server_ssl, handler=echo, host="127.0.0.1", **options):
        self._make_socket = make_socket
        self._options = options
        self._server_ssl = server_ssl
        self._handler = handler
        self._host = host

    async def __aenter__(self):
        self.server = uringtrio.DTLSEndpoint(self._make_socket())
        self.client = uringtrio.DTLSEndpoint(self._make_socket(), **self._options)
        await self.server.socket.bind((self._host, 0))
        self.address = self.server.socket.getsockname()
        self._manager = uringtrio.open_nursery()
        self.nursery = await self._manager.__aenter__()
        await self.nursery.start(self.server.serve, self._server_ssl, self._handler)
        return self

    async def __aexit__(self, *exc_info):
        self.nursery.cancel_scope.cancel()
        self.server.close()
        self.client.close()
        return await self._manager.__aexit__(*exc_info)


def udp():
    return socket.socket(type=socket.SOCK_DGRAM)


def udp6():
    return socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)


async def ask(pair, client_ssl, question=b"hello"):
    channel = pair.client.connect(pair.address, client_ssl)
    await channel.send(question)
    assert await channel.receive() == question
    return channel
