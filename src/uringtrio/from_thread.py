"""Calls from threads back into a run."""

from ._public import adopt as _adopt
from ._threads.from_thread import (
    check_cancelled as check_cancelled,
    run as run,
    run_sync as run_sync,
)

_adopt(__name__, globals())
