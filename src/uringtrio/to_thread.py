"""Calls of blocking functions in worker threads."""

from ._public import adopt as _adopt
from ._threads.to_thread import (
    current_default_thread_limiter as current_default_thread_limiter,
    run_sync as run_sync,
)

_adopt(__name__, globals())
