"""What libraries are built from: checkpoints, tasks, tokens, statistics."""

from ._drivers.driver import IOStatistics as IOStatistics
from ._public import adopt as _adopt
from ._scheduler.current import current_task as current_task
from ._scheduler.entry import TrioToken as TrioToken, current_trio_token as current_trio_token
from ._scheduler.interrupt import (
    disable_ki_protection as disable_ki_protection,
    enable_ki_protection as enable_ki_protection,
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
    reschedule as reschedule,
    wait_task_rescheduled as wait_task_rescheduled,
)

_adopt(__name__, globals())
