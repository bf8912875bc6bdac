"""DTLSEndpoint: one socket for any number of DTLS connections, as client and as server.

A system task receives the packets of the socket and hands them to the channels, by the sender's
address. It knows the endpoint only weakly, so that an endpoint that was forgotten is collected,
which closes the socket, which ends the task.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import socket as stdlib
import warnings
import weakref
from math import inf
from typing import TYPE_CHECKING, Any, Self, final

from uringtrio._abc import Sealed
from uringtrio._channels import open_memory_channel
from uringtrio._errors import BusyResourceError, ClosedResourceError, RunFinishedError
from uringtrio._net.socket_type import SocketType
from uringtrio._scheduler.current import current_time
from uringtrio._scheduler.entry import current_trio_token
from uringtrio._scheduler.nursery import TASK_STATUS_IGNORED, TaskStatus, open_nursery
from uringtrio._scheduler.runner import spawn_system_task
from uringtrio._sync.lock import Lock
from uringtrio._timeouts import sleep

from .dtls_channel import DTLSChannel
from .dtls_codec import (
    BadPacketError,
    ClientHello,
    decode_client_hello,
    is_client_hello,
    is_part_of_handshake,
)
from .dtls_cookies import Cookies
from .dtls_mtu import PACKET_BYTES_MAX
from .dtls_openssl import check_context, openssl, prepare_server_context

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from types import TracebackType

LOGGER = logging.getLogger("uringtrio.dtls")

_CLOSED_ERRNOS = frozenset({errno.EBADF, errno.ENOTSOCK})
# What an earlier packet met on its way, told to whoever uses the socket next. Source: ip(7).
_EARLIER_ERRNOS = frozenset(
    {errno.ECONNRESET, errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH,
     errno.EHOSTDOWN, errno.ENETDOWN, errno.EMSGSIZE, errno.EPROTO}
)  # fmt: skip
SCARCITY_SLEEP_SECONDS = 0.1


@final
class DTLSEndpoint(Sealed):
    """A datagram socket, of which it becomes the owner, and the DTLS connections over it.

    Needs pyOpenSSL: `pip install 'uringtrio[dtls]'`. `with endpoint:` closes it at the end.

    Args:
        socket: of type SOCK_DGRAM; bound, if it is to serve.
        incoming_packets_buffer: how many packets each channel keeps until somebody receives them;
            what comes when it is full is dropped, and counted.

    Raises:
        ImportError: pyOpenSSL is not installed.
        TypeError: it is no socket of `uringtrio.socket`.
        ValueError: it is not of type SOCK_DGRAM, or the buffer's size is negative.
        RuntimeError: called outside of a run.

    Attributes:
        socket: the socket.
        incoming_packets_buffer: as given.
    """

    __slots__ = (
        "__dict__",
        "__weakref__", "_channels", "_context", "_cookies", "_is_closed", "_is_receiving",
        "_new_channels", "_new_channels_end", "_send_lock", "_token", "incoming_packets_buffer",
        "socket",
    )  # fmt: skip

    def __init__(self, socket: SocketType, *, incoming_packets_buffer: int = 10) -> None:
        # Until the end of this there is nothing that `__del__` would have to close.
        self._is_closed = True
        openssl()
        if not isinstance(socket, SocketType):
            raise TypeError(f"DTLSEndpoint needs a socket made by uringtrio.socket, not {socket!r}")
        if socket.type != stdlib.SOCK_DGRAM:
            raise ValueError("DTLS requires a SOCK_DGRAM socket")
        if incoming_packets_buffer < 0:
            raise ValueError(
                f"incoming_packets_buffer must be at least 0, not {incoming_packets_buffer!r}"
            )
        self.socket: Any = socket
        self.incoming_packets_buffer = incoming_packets_buffer
        self._token = current_trio_token()
        # By the peer's address; a channel that was forgotten is no longer in there.
        self._channels: weakref.WeakValueDictionary[Any, DTLSChannel] = (
            weakref.WeakValueDictionary()
        )
        # Of the `serve` that is running, or None.
        self._context: Any = None
        self._cookies = Cookies()
        # Channels that wait for `serve` to start their handlers. Each was paid for by a handshake's
        # first half, so it needs no limit that a forger could exhaust.
        self._new_channels_end, self._new_channels = open_memory_channel[DTLSChannel](inf)
        self._send_lock = Lock()
        self._is_receiving = False
        self._is_closed = False

    def __del__(self) -> None:
        if self._is_closed:
            return
        # In the run, so that the task that receives is woken. If that is over, so is the task.
        with contextlib.suppress(RunFinishedError):
            self._token.run_sync_soon(self.socket.close)
        warnings.warn(
            f"unclosed DTLS endpoint {self!r}", ResourceWarning, stacklevel=1, source=self
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the socket and all channels. `serve` returns when its handlers have.

        Tasks that wait in a channel get ClosedResourceError. Twice is allowed.

        Checkpoint: never; this is no async function.
        """
        self._is_closed = True
        self.socket.close()
        for channel in list(self._channels.values()):
            channel.close()
        self._new_channels_end.close()

    async def serve(
        self,
        ssl_context: Any,
        async_fn: Callable[..., Awaitable[object]],
        *args: Any,
        task_status: TaskStatus[None] = TASK_STATUS_IGNORED,
    ) -> None:
        """Run `async_fn(channel, *args)` in a task for each client, until the endpoint is closed.

        The client has proved that it has its address, and nothing else: the handshake is yet to
        come, and its errors are raised in the handler. The channel is closed when the handler has
        returned; if it raises, this raises it.

        A client whose ClientHello comes in fragments gets no answer: to put it together takes
        memory, which it has to prove its address for. OpenSSL cuts it where it takes the MTU to be
        as small as possible, which is when nobody tells it.

        Args:
            ssl_context: an `OpenSSL.SSL.Context` of DTLS_METHOD with the server's certificate,
                which no connection was made from yet, other than by an earlier `serve`. It gets a
                callback for cookies.
            async_fn: an async function.
            args: its arguments after the channel.
            task_status: for `nursery.start`, which then returns None.

        Raises:
            BusyResourceError: another task is in here.
            ClosedResourceError: the endpoint is closed.
            RuntimeError: the socket is not bound.
            TypeError: `ssl_context` is no `OpenSSL.SSL.Context`.
            ValueError: it was used before.

        Checkpoint: always.
        """
        self._check_open()
        if self._context is not None:
            raise BusyResourceError("another task is already serving on this DTLSEndpoint")
        check_context(ssl_context, "DTLSEndpoint.serve()")
        self._check_bound()
        prepare_server_context(ssl_context)
        self._ensure_receiving()

        async def handle(channel: DTLSChannel) -> None:
            with channel:
                await async_fn(channel, *args)

        self._context = ssl_context
        try:
            async with open_nursery() as nursery:
                task_status.started()
                async for channel in self._new_channels:
                    nursery.start_soon(handle, channel)
        finally:
            self._context = None

    def _check_open(self) -> None:
        if self._is_closed:
            raise ClosedResourceError("this DTLS endpoint was closed")

    def _check_bound(self) -> None:
        try:
            address = self.socket.getsockname()
        except OSError:
            address = None
        # An internet socket that is not bound has port 0, one of another family has no name.
        if not address or (isinstance(address, tuple) and address[1] == 0):
            raise RuntimeError("DTLS socket must be bound before it can serve")

    def connect(self, address: Any, ssl_context: Any) -> DTLSChannel:
        """Return a channel to a peer, which is not asked yet: the handshake does that.

        An earlier channel to the same address is replaced, and broken.

        Args:
            address: as the socket takes it, with a numeric host: `("127.0.0.1", 7000)`.
            ssl_context: an `OpenSSL.SSL.Context` of DTLS_METHOD with the trusted certificates.

        Raises:
            ClosedResourceError: the endpoint is closed.
            TypeError: `ssl_context` is no `OpenSSL.SSL.Context`.
            ValueError: the host is no address.
        """
        self._check_open()
        check_context(ssl_context, "DTLSEndpoint.connect()")
        channel = DTLSChannel(self, self._as_received(address), ssl_context)
        channel._connection.set_connect_state()
        self._associate(channel)
        return channel

    def _as_received(self, address: Any) -> Any:
        """Return `address` as `recvfrom` will report it."""
        family = self.socket.family
        if family not in (stdlib.AF_INET, stdlib.AF_INET6):
            return address
        host, *rest = address
        # A link-local address carries the name of its interface behind a "%".
        host, percent, interface = host.partition("%")
        try:
            host = stdlib.inet_ntop(family, stdlib.inet_pton(family, host))
        except OSError:
            raise ValueError(
                f"connect() cannot look up names, and {host!r} is no address of this socket's "
                "family: await uringtrio.socket.getaddrinfo() for one"
            ) from None
        if family == stdlib.AF_INET6:
            rest = [*rest, 0, 0][:3]
        return (host + percent + interface, *rest)

    def _associate(self, channel: DTLSChannel) -> None:
        earlier = self._channels.get(channel.peer_address)
        if earlier is not None:
            earlier._replace()
        self._channels[channel.peer_address] = channel

    def _forget(self, channel: DTLSChannel) -> None:
        if self._channels.get(channel.peer_address) is channel:
            del self._channels[channel.peer_address]

    def _ensure_receiving(self) -> None:
        # Not before something is to be received: until then the socket need not be bound.
        if not self._is_receiving:
            self._is_receiving = True
            spawn_system_task(_receive_packets, weakref.ref(self), self.socket)

    async def _handle_packet(self, packet: bytes, address: Any) -> None:
        if is_client_hello(packet):
            await self._handle_client_hello(packet, address)
            return
        channel = self._channels.get(address)
        if channel is None:
            return
        if channel._is_handshaken and is_part_of_handshake(packet):
            # The peer is still at it: our last flight was lost. Maybe nobody receives here, so
            # this cannot be left to those who do.
            with contextlib.suppress(OSError, ClosedResourceError):
                await channel._send_flight(channel._final_flight)
        else:
            channel._deliver(packet)

    async def _handle_client_hello(self, packet: bytes, address: Any) -> None:
        if self._context is None:
            return
        try:
            hello = decode_client_hello(packet)
        except BadPacketError:
            return
        if self._cookies.accepts(hello, address, current_time()):
            self._accept(packet, hello, address)
            return
        challenge = self._cookies.challenge(hello, address, current_time())
        # Whatever hinders it, the client will ask again.
        with contextlib.suppress(OSError, ClosedResourceError):
            async with self._send_lock:
                await self.socket.sendto(challenge, address)

    def _accept(self, packet: bytes, hello: ClientHello, address: Any) -> None:
        """Make a channel for a client that has proved its address."""
        earlier = self._channels.get(address)
        if earlier is not None and _is_same(earlier._hello, hello):
            return  # A copy of the packet that made it.
        channel = DTLSChannel(self, address, self._context, hello)
        try:
            channel._connection.bio_write(packet)
            channel._connection.DTLSv1_listen()
        except openssl().Error:
            return  # The cookie is good, and nothing else.
        self._associate(channel)
        self._new_channels_end.send_nowait(channel)


def _is_same(earlier: ClientHello | None, hello: ClientHello) -> bool:
    """Say whether two messages are the same, whatever records they came in."""
    return earlier is not None and earlier.cookie == hello.cookie and earlier.rest == hello.rest


async def _receive_packets(endpoint_ref: weakref.ref[DTLSEndpoint], socket: Any) -> None:
    """Hand out what arrives, until the socket is closed or the endpoint is gone."""
    while True:
        try:
            packet, address = await socket.recvfrom(PACKET_BYTES_MAX)
        except ClosedResourceError:
            return
        except OSError as exc:
            if exc.errno in _CLOSED_ERRNOS:
                return
            if exc.errno not in _EARLIER_ERRNOS:
                LOGGER.exception("cannot receive; trying again in %s s", SCARCITY_SLEEP_SECONDS)
                await sleep(SCARCITY_SLEEP_SECONDS)
            continue
        endpoint = endpoint_ref()
        # It may have been closed after the packet had come.
        if endpoint is None or endpoint._is_closed:
            return
        if packet:
            await endpoint._handle_packet(packet, address)
        # Not while it waits for the next packet.
        del endpoint
