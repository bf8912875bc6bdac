"""open_shared_channel: which kind of shared channel it is to be."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Generic, Literal, Self, TypeVar, final

from .channel import SharedReceiveChannel, SharedSendChannel
from .channel_process import open_process_channel
from .channel_thread import open_thread_channel
from .plan import resolve_kind

if TYPE_CHECKING:
    from .shard import Kind

T = TypeVar("T")


@final
class open_shared_channel(  # noqa: N801  # a class, to be subscripted as open_memory_channel is
    tuple[SharedSendChannel[T], SharedReceiveChannel[T]], Generic[T]
):
    """Open a channel between shards: `send_channel, receive_channel = open_shared_channel(100)`.

    Any number of tasks in any number of shards send and receive, and so do threads without a run;
    each object goes to exactly one receiver. It behaves as `open_memory_channel` does within one
    run. Give the handles to `run_sharded` as arguments: each shard gets clones of its own.

    A process that is killed loses at most the objects that it had received.

    Args:
        max_buffer_size: how many objects may wait in the buffer before `send` has to wait: an int
            of at least 0, or math.inf. With 0, `send` waits until somebody waits to receive.
        kind: what the shards are, as in `run_sharded`. Between processes, objects are pickled.

    Raises:
        TypeError: `max_buffer_size` is neither an int nor inf.
        ValueError: it is negative, or there is no such kind.
        OSError: the system is short of descriptors (EMFILE) or has no memory files (ENOSYS); for
            processes only.
    """

    __slots__ = ()

    def __new__(
        cls, max_buffer_size: float, *, kind: Literal["auto", "thread", "process"] = "auto"
    ) -> Self:
        """Make a pair of handles."""
        if max_buffer_size != inf and not isinstance(max_buffer_size, int):
            raise TypeError(
                f"max_buffer_size must be an integer or math.inf, not {max_buffer_size!r}"
            )
        if max_buffer_size < 0:
            raise ValueError(f"max_buffer_size must be at least 0, not {max_buffer_size!r}")
        if kind not in ("auto", "thread", "process"):
            raise ValueError(f'kind must be "auto", "thread" or "process", not {kind!r}')
        resolved: Kind = resolve_kind(kind)
        opener = open_thread_channel if resolved == "thread" else open_process_channel
        return super().__new__(cls, opener(max_buffer_size))
