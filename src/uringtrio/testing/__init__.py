"""What tests of asynchronous code need: clocks, streams in memory, assertions."""

from typing import TYPE_CHECKING

from uringtrio._public import adopt as _adopt
from uringtrio._scheduler.idle import wait_all_tasks_blocked as wait_all_tasks_blocked
from uringtrio._threads.counting import (
    active_thread_count as active_thread_count,
    wait_all_threads_completed as wait_all_threads_completed,
)

from ._check_streams import (
    check_half_closeable_stream as check_half_closeable_stream,
    check_one_way_stream as check_one_way_stream,
    check_two_way_stream as check_two_way_stream,
)
from ._checkpoints import (
    assert_checkpoints as assert_checkpoints,
    assert_no_checkpoints as assert_no_checkpoints,
)
from ._clock import MockClock as MockClock
from ._lockstep_streams import (
    lockstep_stream_one_way_pair as lockstep_stream_one_way_pair,
    lockstep_stream_pair as lockstep_stream_pair,
)
from ._memory_streams import (
    MemoryReceiveStream as MemoryReceiveStream,
    MemorySendStream as MemorySendStream,
    memory_stream_one_way_pair as memory_stream_one_way_pair,
    memory_stream_pair as memory_stream_pair,
    memory_stream_pump as memory_stream_pump,
)
from ._network import open_stream_to_socket_listener as open_stream_to_socket_listener
from ._sequencer import Sequencer as Sequencer
from ._trio_test import trio_test as trio_test

if not TYPE_CHECKING:
    # A type checker would take it to mean that every name exists.
    from ._deprecated import __getattr__ as __getattr__

_adopt(__name__, globals())
