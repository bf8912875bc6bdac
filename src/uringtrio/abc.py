"""The contracts: streams, listeners, channels, clocks."""

from ._abc import (
    AsyncResource as AsyncResource,
    Channel as Channel,
    Clock as Clock,
    HalfCloseableStream as HalfCloseableStream,
    HostnameResolver as HostnameResolver,
    Instrument as Instrument,
    Listener as Listener,
    ReceiveChannel as ReceiveChannel,
    ReceiveStream as ReceiveStream,
    SendChannel as SendChannel,
    SendStream as SendStream,
    Stream as Stream,
)
from ._net.socket_type import SocketFactory as SocketFactory
from ._public import adopt as _adopt

_adopt(__name__, globals())
