"""What libraries are built from: checkpoints, tasks, tokens, statistics."""

from ._debug.dump import dump_task_tree_on as dump_task_tree_on
from ._debug.stall import Stall as Stall, StallDetector as StallDetector
from ._debug.tree import format_task_tree as format_task_tree
from ._drivers.driver import IOStatistics as IOStatistics
from ._net.fd_stream import FdStream as FdStream
from ._net.readiness import (
    notify_closing as notify_closing,
    wait_readable as wait_readable,
    wait_writable as wait_writable,
)
from ._net.resolver import encode_hostname as encode_hostname
from ._process.spawn import open_process as open_process
from ._public import adopt as _adopt
from ._scheduler.current import (
    current_task as current_task,
    in_trio_run as in_trio_run,
    in_trio_task as in_trio_task,
)
from ._scheduler.entry import TrioToken as TrioToken, current_trio_token as current_trio_token
from ._scheduler.guest import start_guest_run as start_guest_run
from ._scheduler.instruments import (
    add_instrument as add_instrument,
    remove_instrument as remove_instrument,
)
from ._scheduler.interrupt import (
    currently_ki_protected as currently_ki_protected,
    disable_ki_protection as disable_ki_protection,
    enable_ki_protection as enable_ki_protection,
)
from ._scheduler.locals import RunVar as RunVar, RunVarToken as RunVarToken
from ._scheduler.parking import (
    ParkingLot as ParkingLot,
    ParkingLotStatistics as ParkingLotStatistics,
    add_parking_lot_breaker as add_parking_lot_breaker,
    remove_parking_lot_breaker as remove_parking_lot_breaker,
)
from ._scheduler.runner import (
    RunStatistics as RunStatistics,
    current_clock as current_clock,
    current_root_task as current_root_task,
    current_statistics as current_statistics,
    spawn_system_task as spawn_system_task,
)
from ._scheduler.task import Task as Task
from ._scheduler.traps import (
    Abort as Abort,
    RaiseCancelT as RaiseCancelT,
    cancel_shielded_checkpoint as cancel_shielded_checkpoint,
    checkpoint as checkpoint,
    checkpoint_if_cancelled as checkpoint_if_cancelled,
    permanently_detach_coroutine_object as permanently_detach_coroutine_object,
    reattach_detached_coroutine_object as reattach_detached_coroutine_object,
    reschedule as reschedule,
    temporarily_detach_coroutine_object as temporarily_detach_coroutine_object,
    wait_task_rescheduled as wait_task_rescheduled,
)
from ._shards.placement import pin_thread as pin_thread
from ._sync.unbounded_queue import (
    UnboundedQueue as UnboundedQueue,
    UnboundedQueueStatistics as UnboundedQueueStatistics,
)
from ._thread_cache import start_thread_soon as start_thread_soon

_adopt(__name__, globals())
