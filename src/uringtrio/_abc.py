"""The contracts of streams, channels, listeners, clocks, resolvers: abstract classes, no code."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

from ._errors import EndOfChannel

if TYPE_CHECKING:
    import socket
    from types import TracebackType

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
T_contra = TypeVar("T_contra", contravariant=True)
ResourceT_co = TypeVar("ResourceT_co", bound="AsyncResource", covariant=True)

Buffer = bytes | bytearray | memoryview


class Sealed:
    """A class whose subclasses cannot be subclassed: what `typing.final` says, also at run time."""

    __slots__ = ()

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        for base in cls.__bases__:
            if base is not Sealed and issubclass(base, Sealed):
                raise TypeError(
                    f"{base.__module__}.{base.__qualname__} is final and cannot be subclassed: "
                    "keep an instance in a class of your own instead"
                )


class Clock(ABC):
    """A source of time for one run, in seconds as a float; the zero point is arbitrary."""

    __slots__ = ()

    @abstractmethod
    def start_clock(self) -> None:
        """Start: called once, by the run that uses this clock, before anything else."""

    @abstractmethod
    def current_time(self) -> float:
        """Return the current time in seconds."""

    @abstractmethod
    def deadline_to_sleep_time(self, deadline: float) -> float:
        """Return how many real seconds to wait until `deadline`; zero or less if it has passed."""


class Instrument:
    """What a run tells instruments; override what is of interest. Any object may stand in.

    The methods are called in the run's thread, must be quick, and must not raise: an instrument
    that raises is logged and removed.
    """

    __slots__ = ()

    def before_run(self) -> None:
        """The run begins."""

    def after_run(self) -> None:
        """The run is about to end."""

    def task_spawned(self, task: Any) -> None:
        """`task` has been made."""

    def task_scheduled(self, task: Any) -> None:
        """`task` has become runnable."""

    def before_task_step(self, task: Any) -> None:
        """`task` is about to run until it next waits."""

    def after_task_step(self, task: Any) -> None:
        """`task` has run until it waits, or has ended."""

    def task_exited(self, task: Any) -> None:
        """`task` has ended."""

    def before_io_wait(self, timeout: float) -> None:
        """The run is about to wait, for at most `timeout` seconds."""

    def after_io_wait(self, timeout: float) -> None:
        """The run has waited; `timeout` is as before."""


class HostnameResolver(ABC):
    """What looks up the names of a run; see `uringtrio.socket.set_custom_hostname_resolver`."""

    __slots__ = ()

    @abstractmethod
    async def getaddrinfo(
        self,
        host: bytes | None,
        port: str | bytes | int | None,
        family: int = 0,
        type: int = 0,  # noqa: A002  # the standard library's name
        proto: int = 0,
        flags: int = 0,
    ) -> list[tuple[socket.AddressFamily, socket.SocketKind, int, str, Any]]:
        """Look up a name, for `uringtrio.socket.getaddrinfo`, whose errors it raises.

        Args:
            host: the name in its ASCII form, see `uringtrio.lowlevel.encode_hostname`; None is the
                wildcard or the loopback address. Where host and port are numeric this is not
                called.
            port: a number, a service name, or None.
            family: AF_* to restrict the answers to, 0 for all.
            type: SOCK_*, likewise.
            proto: IPPROTO_*, likewise.
            flags: AI_* flags.

        Returns:
            Tuples (family, type, proto, canonical name, address), the best first.

        Checkpoint: always.
        """

    @abstractmethod
    async def getnameinfo(self, sockaddr: Any, flags: int) -> tuple[str, str]:
        """Look up (host, service) of an address, for `uringtrio.socket.getnameinfo`.

        Args:
            sockaddr: (host, port) or (host, port, flowinfo, scope_id).
            flags: NI_* flags.

        Checkpoint: always.
        """


class AsyncResource(ABC):
    """Something that must be closed, where closing may have to wait.

    `async with` closes it: entering is not a checkpoint, leaving awaits `aclose`.
    """

    __slots__ = ()

    @abstractmethod
    async def aclose(self) -> None:
        """Close this resource, waiting as long as a graceful close needs.

        If it is cancelled, it still closes, forcefully. Closing twice is allowed.

        Checkpoint: always.
        """

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()


class SendStream(AsyncResource):
    """The sending side of a stream of bytes."""

    __slots__ = ()

    @abstractmethod
    async def send_all(self, data: Buffer) -> None:
        """Send all of `data`, waiting as long as the peer does not take it.

        Args:
            data: any number of bytes, zero included. It is borrowed until the call returns or
                raises; do not change it meanwhile.

        Raises:
            BusyResourceError: another task is sending through this stream.
            BrokenResourceError: the connection is gone.
            ClosedResourceError: this side was closed before or during the call.

        If it is cancelled, an unknown part of `data` has been sent.

        Checkpoint: always.
        """

    @abstractmethod
    async def wait_send_all_might_not_block(self) -> None:
        """Wait until `send_all` might not have to wait.

        Raises: what `send_all` raises.

        Checkpoint: always.
        """


class ReceiveStream(AsyncResource):
    """The receiving side of a stream of bytes; iterate over it to get chunks until the end."""

    __slots__ = ()

    @abstractmethod
    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """Wait until there is at least one byte and return what is there.

        Args:
            max_bytes: at most this many bytes, at least 1; None leaves the choice to the stream.

        Returns:
            1 to `max_bytes` bytes; empty means end of stream, now and in every later call.

        Raises:
            BusyResourceError: another task is receiving from this stream.
            BrokenResourceError: the connection is gone.
            ClosedResourceError: this side was closed before or during the call.
            TypeError: `max_bytes` is no int.
            ValueError: it is less than 1.

        Checkpoint: always.
        """

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes | bytearray:
        data = await self.receive_some()
        if not data:
            raise StopAsyncIteration
        return data


class Stream(SendStream, ReceiveStream):
    """A stream of bytes in both directions. Closing it closes both."""

    __slots__ = ()


class HalfCloseableStream(Stream):
    """A stream whose sending side can be ended while the receiving side stays open."""

    __slots__ = ()

    @abstractmethod
    async def send_eof(self) -> None:
        """Send end of stream, after which sending raises `ClosedResourceError`.

        Raises: what `send_all` raises. Calling it twice is allowed.

        Checkpoint: always.
        """


class Listener(AsyncResource, Generic[ResourceT_co]):
    """Something that hands out incoming connections."""

    __slots__ = ()

    @abstractmethod
    async def accept(self) -> ResourceT_co:
        """Wait for a connection and return it.

        Raises:
            BusyResourceError: another task is accepting from this listener.
            ClosedResourceError: this side was closed before or during the call.

        Checkpoint: always.
        """


class SendChannel(AsyncResource, Generic[T_contra]):
    """The sending side of a channel of Python objects."""

    __slots__ = ()

    @abstractmethod
    async def send(self, value: T_contra) -> None:
        """Send one object, waiting until the channel takes it.

        Raises:
            BrokenResourceError: nobody can receive it any more.
            ClosedResourceError: this handle was closed before or during the call.

        Checkpoint: always. If it is cancelled, nothing was sent.
        """


class ReceiveChannel(AsyncResource, Generic[T_co]):
    """The receiving side of a channel of Python objects; iterate until the senders are closed."""

    __slots__ = ()

    @abstractmethod
    async def receive(self) -> T_co:
        """Wait for one object and return it.

        Raises:
            EndOfChannel: the senders are closed and the channel is empty.
            ClosedResourceError: this handle was closed before or during the call.

        Checkpoint: always. If it is cancelled, nothing was received.
        """

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T_co:
        try:
            return await self.receive()
        except EndOfChannel:
            raise StopAsyncIteration from None


class Channel(SendChannel[T], ReceiveChannel[T]):
    """A channel of Python objects in both directions."""

    __slots__ = ()
