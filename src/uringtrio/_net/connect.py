"""Outgoing TCP connections: happy eyeballs.

A name may have many addresses, of which some lead nowhere and answer nothing. So the attempts do
not wait for each other's end: the next one starts when the one before has failed, or has had its
head start. The first that succeeds wins, and the others are cancelled. Two may succeed in the same
turn of the loop, so each attempt closes its own socket unless it is the winner's.

Source: RFC 8305 and RFC 6555; the order of the addresses is getaddrinfo's, RFC 6724.
"""

from __future__ import annotations

import contextlib
import socket as stdlib
import sys
from typing import TYPE_CHECKING, Any

from uringtrio._scheduler.nursery import Nursery, open_nursery
from uringtrio._sync.event import Event
from uringtrio._timeouts import move_on_after

from .resolver import getaddrinfo
from .socket import socket as make_socket
from .stream import SocketStream

if TYPE_CHECKING:
    from .resolver import AddressInfo
    from .socket_type import SocketType

# The "Connection Attempt Delay" of RFC 8305, section 5.
HEAD_START_SECONDS = 0.25


async def open_tcp_stream(
    host: str | bytes,
    port: int,
    *,
    happy_eyeballs_delay: float | None = HEAD_START_SECONDS,
    local_address: str | None = None,
) -> SocketStream:
    """Connect to a TCP port by the address of `host` that answers first.

    Args:
        host: a name or an address.
        port: 1 to 65535.
        happy_eyeballs_delay: how many seconds an attempt has before the next address is tried at
            the same time; one that fails makes room at once. 0 tries all at the same time,
            `math.inf` one after the other, None is the default, 0.25.
        local_address: the name or address to connect from; None leaves it to the system. A
            wildcard, "0.0.0.0" or "::", restricts the attempts to its family.

    Returns:
        The stream of the first connection that succeeded. The other attempts are over.

    Raises:
        ValueError: `host` is neither str nor bytes, or `happy_eyeballs_delay` is negative.
        TypeError: `port` is no int.
        OSError: the name cannot be resolved (`socket.gaierror`), or no address could be
            connected to; then the `__cause__` is an ExceptionGroup of the attempts, and the
            `errno` is theirs if they agree in one.

    Checkpoint: always.
    """
    if not isinstance(host, (str, bytes)):
        raise ValueError(f"host must be str or bytes, not {host!r}")  # noqa: TRY004  # Trio's
    if not isinstance(port, int):
        raise TypeError(f"port must be int, not {port!r}")
    if happy_eyeballs_delay is None:
        happy_eyeballs_delay = HEAD_START_SECONDS
    if not happy_eyeballs_delay >= 0:
        raise ValueError(f"happy_eyeballs_delay must be at least 0, not {happy_eyeballs_delay!r}")
    where = format_host_port(host, port)
    targets = await getaddrinfo(host, port, type=stdlib.SOCK_STREAM)
    if not targets:
        # The system's resolver would have raised; a custom one need not.
        raise OSError(f"no results found for hostname lookup: {where}")
    race = Race(local_address)
    try:
        await race.run(in_order_of_trial(targets), happy_eyeballs_delay)
        if race.winner is not None:
            return SocketStream(race.winner)
    except BaseException:
        if race.winner is not None:
            race.winner.close()
        raise
    raise all_failed(where, race.errors)


def in_order_of_trial(targets: list[AddressInfo]) -> list[AddressInfo]:
    """Return the targets with the second of another family than the first, if there is one.

    Source: RFC 6555, section 5.4.
    """
    for index, target in enumerate(targets):
        if target[0] != targets[0][0]:
            return [targets[0], target, *targets[1:index], *targets[index + 1 :]]
    return targets


def format_host_port(host: str | bytes, port: int) -> str:
    """Return `host:port`, with brackets around the colons of IPv6."""
    name = host.decode("ascii", "backslashreplace") if isinstance(host, bytes) else host
    return f"[{name}]:{port}" if ":" in name else f"{name}:{port}"


def all_failed(where: str, errors: list[OSError]) -> OSError:
    """Return the error to raise when no attempt succeeded, with the attempts as its cause."""
    message = f"all attempts to connect to {where} failed"
    numbers = {error.errno for error in errors}
    number = numbers.pop() if len(numbers) == 1 else None
    failure = OSError(message) if number is None else OSError(number, message)
    failure.__cause__ = ExceptionGroup(message, errors)
    return failure


class Race:
    """The attempts of one call of `open_tcp_stream`.

    Args:
        local_address: what to bind to, or None.

    Attributes:
        winner: the connected socket, once there is one; it belongs to the caller of `run`.
        errors: why the attempts that failed have failed.
    """

    __slots__ = ("_local_address", "errors", "winner")

    def __init__(self, local_address: str | None) -> None:
        self._local_address = local_address
        self.winner: SocketType | None = None
        self.errors: list[OSError] = []

    async def run(self, targets: list[AddressInfo], head_start_seconds: float) -> None:
        """Try `targets`, and end when one has succeeded or all have failed."""
        async with open_nursery() as nursery:
            for target in targets:
                has_failed = Event()
                nursery.start_soon(self._attempt, target, has_failed, nursery)
                with move_on_after(head_start_seconds):
                    await has_failed.wait()

    async def _attempt(self, target: AddressInfo, has_failed: Event, nursery: Nursery) -> None:
        family, kind, proto, _, address = target
        try:
            sock = make_socket(family, kind, proto)
            try:
                if self._local_address is not None:
                    await self._bind(sock, self._local_address, address)
                await sock.connect(address)
            except BaseException:
                sock.close()
                raise
        except OSError as exc:
            self.errors.append(exc)
            has_failed.set()
        else:
            if self.winner is None:
                self.winner = sock
                nursery.cancel_scope.cancel("another attempt to connect has succeeded")
            else:
                sock.close()

    @staticmethod
    async def _bind(sock: SocketType, local_address: str, address: Any) -> None:
        # The port is chosen when the peer is known: then it may serve other peers too.
        if sys.platform == "linux":
            with contextlib.suppress(OSError):
                sock.setsockopt(stdlib.IPPROTO_IP, stdlib.IP_BIND_ADDRESS_NO_PORT, 1)
        try:
            await sock.bind((local_address, 0))
        except OSError as exc:
            # Without a number: of those of name lookups some are negative, and not of the system.
            raise OSError(
                f"local_address={local_address!r} is incompatible with remote address "
                f"{address!r}: {exc}"
            ) from exc
