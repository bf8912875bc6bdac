"""uringtrio: structured concurrency for Python on io_uring, with Trio's interface."""

from . import (
    abc as abc,
    from_thread as from_thread,
    lowlevel as lowlevel,
    socket as socket,
    to_thread as to_thread,
)
from ._channels import (
    MemoryChannelStatistics as MemoryChannelStatistics,
    MemoryReceiveChannel as MemoryReceiveChannel,
    MemorySendChannel as MemorySendChannel,
    open_memory_channel as open_memory_channel,
)
from ._drivers.driver import probe as probe
from ._errors import (
    BrokenResourceError as BrokenResourceError,
    BusyResourceError as BusyResourceError,
    Cancelled as Cancelled,
    ClosedResourceError as ClosedResourceError,
    DriverUnavailableError as DriverUnavailableError,
    EndOfChannel as EndOfChannel,
    IncompleteReceiveError as IncompleteReceiveError,
    LimitExceededError as LimitExceededError,
    NeedHandshakeError as NeedHandshakeError,
    RunFinishedError as RunFinishedError,
    ShardError as ShardError,
    TooSlowError as TooSlowError,
    TrioDeprecationWarning as TrioDeprecationWarning,
    TrioInternalError as TrioInternalError,
    WouldBlock as WouldBlock,
)
from ._files.binary import (
    BinaryFile as BinaryFile,
    UnbufferedFile as UnbufferedFile,
)
from ._files.buffered import BufferedFile as BufferedFile
from ._files.open import open_file as open_file
from ._files.path import (
    Path as Path,
    PosixPath as PosixPath,
    WindowsPath as WindowsPath,
)
from ._files.path_info import PathInfo as PathInfo
from ._files.pipe import (
    StandardStream as StandardStream,
    open_pipe as open_pipe,
    open_stderr as open_stderr,
    open_stdin as open_stdin,
    open_stdout as open_stdout,
)
from ._files.positional import Positional as Positional
from ._files.raw import aligned_buffer as aligned_buffer
from ._files.temporary import (
    NamedTemporaryFile as NamedTemporaryFile,
    SpooledTemporaryFile as SpooledTemporaryFile,
    TemporaryDirectory as TemporaryDirectory,
    TemporaryFile as TemporaryFile,
)
from ._files.text import TextFile as TextFile
from ._files.walking import Walk as Walk
from ._files.wrapper import (
    AsyncIOWrapper as AsyncIOWrapper,
    wrap_file as wrap_file,
)
from ._interval import interval as interval
from ._net.buffered import BufferedStream as BufferedStream
from ._net.connect import open_tcp_stream as open_tcp_stream
from ._net.copy import copy as copy
from ._net.credentials import PeerCredentials as PeerCredentials
from ._net.framed import (
    Codec as Codec,
    Framed as Framed,
    LengthPrefixCodec as LengthPrefixCodec,
    LineCodec as LineCodec,
)
from ._net.inherited import inherited_listeners as inherited_listeners
from ._net.listen import (
    SocketListener as SocketListener,
    open_tcp_listeners as open_tcp_listeners,
    serve_listeners as serve_listeners,
    serve_tcp as serve_tcp,
)
from ._net.staple import (
    StapledStream as StapledStream,
    aclose_forcefully as aclose_forcefully,
)
from ._net.stream import SocketStream as SocketStream
from ._net.unix import (
    open_unix_listeners as open_unix_listeners,
    open_unix_socket as open_unix_socket,
    serve_unix as serve_unix,
)
from ._process.process import Process as Process
from ._process.run import run_process as run_process
from ._public import adopt as _adopt
from ._ring.options import RingOptions as RingOptions
from ._ring.report import ProbeReport as ProbeReport
from ._safe_channel import as_safe_channel as as_safe_channel
from ._scheduler.cancel import CancelScope as CancelScope
from ._scheduler.current import current_time as current_time
from ._scheduler.loop import run as run
from ._scheduler.nursery import (
    TASK_STATUS_IGNORED as TASK_STATUS_IGNORED,
    Nursery as Nursery,
    TaskStatus as TaskStatus,
    open_nursery as open_nursery,
)
from ._shards.channel import (
    SharedChannelStatistics as SharedChannelStatistics,
    SharedReceiveChannel as SharedReceiveChannel,
    SharedSendChannel as SharedSendChannel,
)
from ._shards.open_channel import open_shared_channel as open_shared_channel
from ._shards.run import run_sharded as run_sharded
from ._shards.shard import Shard as Shard, current_shard as current_shard
from ._signals import open_signal_receiver as open_signal_receiver
from ._sync.condition import (
    Condition as Condition,
    ConditionStatistics as ConditionStatistics,
)
from ._sync.event import Event as Event, EventStatistics as EventStatistics
from ._sync.limiter import (
    CapacityLimiter as CapacityLimiter,
    CapacityLimiterStatistics as CapacityLimiterStatistics,
)
from ._sync.lock import (
    Lock as Lock,
    LockStatistics as LockStatistics,
    StrictFIFOLock as StrictFIFOLock,
)
from ._sync.semaphore import Semaphore as Semaphore
from ._timeouts import (
    current_effective_deadline as current_effective_deadline,
    fail_after as fail_after,
    fail_at as fail_at,
    move_on_after as move_on_after,
    move_on_at as move_on_at,
    sleep as sleep,
    sleep_forever as sleep_forever,
    sleep_until as sleep_until,
)
from ._tls.connect import (
    open_ssl_over_tcp_listeners as open_ssl_over_tcp_listeners,
    open_ssl_over_tcp_stream as open_ssl_over_tcp_stream,
    serve_ssl_over_tcp as serve_ssl_over_tcp,
)
from ._tls.dtls_channel import (
    DTLSChannel as DTLSChannel,
    DTLSChannelStatistics as DTLSChannelStatistics,
)
from ._tls.dtls_endpoint import DTLSEndpoint as DTLSEndpoint
from ._tls.listener import SSLListener as SSLListener
from ._tls.stream import SSLStream as SSLStream
from ._version import __version__ as __version__

_adopt(__name__, globals())
