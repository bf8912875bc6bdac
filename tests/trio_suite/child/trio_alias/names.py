"""Where the names come from that tests import out of Trio's private modules.

Keys are `module.name` without the leading `trio.`.
"""

import importlib
import io
import socket
import warnings
from functools import cache, partial

from . import wheel

PUBLIC_MODULES = ("abc", "from_thread", "lowlevel", "socket", "testing", "to_thread")


def public(module, name):
    """Return the public object `uringtrio.{module}.{name}`; raise AttributeError without it."""
    full_name = f"uringtrio.{module}" if module else "uringtrio"
    return getattr(importlib.import_module(full_name), name)


def quietly_public(module, name):
    """Return a public object that warns of being deprecated, without the warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return public(module, name)


@cache
def socket_class():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        return type(public("socket", "from_stdlib_socket")(sock))


def file_class():
    return type(public("", "wrap_file")(io.StringIO()))


# Private names for what is public, or plain constants.
DERIVED = {
    "_threads.to_thread_run_sync": partial(public, "to_thread", "run_sync"),
    "_threads.current_default_thread_limiter": partial(
        public, "to_thread", "current_default_thread_limiter"
    ),
    "_threads.from_thread_run": partial(public, "from_thread", "run"),
    "_threads.from_thread_run_sync": partial(public, "from_thread", "run_sync"),
    "_threads.from_thread_check_cancelled": partial(public, "from_thread", "check_cancelled"),
    "_file_io.AsyncIOWrapper": file_class,
    "_file_io._FILE_SYNC_ATTRS": partial(wheel.literal, "_file_io.py", "_FILE_SYNC_ATTRS"),
    "_file_io._FILE_ASYNC_METHODS": partial(wheel.literal, "_file_io.py", "_FILE_ASYNC_METHODS"),
    "_core._run.DEADLINE_HEAP_MIN_PRUNE_THRESHOLD": partial(
        wheel.literal, "_core/_run.py", "DEADLINE_HEAP_MIN_PRUNE_THRESHOLD"
    ),
    # Tests only look at it to see that nothing is left in it.
    "_core._parking_lot.GLOBAL_PARKING_LOT_BREAKER": dict,
    "_socket._SocketType": socket_class,
    "_socket._NUMERIC_ONLY": lambda: socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
    "testing._RaisesGroup": partial(quietly_public, "testing", "RaisesGroup"),
    "testing._Matcher": partial(quietly_public, "testing", "Matcher"),
}

# Private names that tests use as tools and that are never what a test is about: Trio's own, run
# on top of uringtrio.
TOOLS = {
    **dict.fromkeys(
        [
            "_util.ConflictDetector", "_util.NoPublicConstructor", "_util.final",
            "_util.async_wraps", "_util.wraps", "_util.raise_saving_context",
        ],
        "_util.py",
    ),
    "_ssl._is_eof": "_ssl.py",
    "_sync.AsyncContextManagerMixin": "_sync.py",
    "_signals._signal_handler": "_signals.py",
    "_socket._resolve_address_nocp": "_socket.py",
    **dict.fromkeys(
        [
            "_dtls.BadPacket", "_dtls.ContentType", "_dtls.HandshakeFragment",
            "_dtls.HandshakeType", "_dtls.ProtocolVersion", "_dtls.Record",
            "_dtls.decode_client_hello_untrusted", "_dtls.decode_handshake_fragment_untrusted",
            "_dtls.encode_handshake_fragment", "_dtls.encode_record",
        ],
        "_dtls.py",
    ),
}  # fmt: skip

# Private modules that are tools as a whole.
TOOL_MODULES = {"testing._fake_net": "testing/_fake_net.py"}

# Where a private module's public names are to be looked for, if not in `HOMES_OTHERWISE`.
HOMES = {
    "_abc": ("abc",),
    "_socket": ("socket", "lowlevel"),
    "_repl": (),
    "_util": (),
    "_deprecate": ("",),
}
HOMES_OTHERWISE = ("", "lowlevel", "testing", "abc")

# What `import *` gives: of private modules, their public names and what tests expect to get by
# the way; of public ones, the names that uringtrio might lack.
STAR = {
    "_sync": [
        "CapacityLimiter", "CapacityLimiterStatistics", "Condition", "ConditionStatistics",
        "Event", "EventStatistics", "Lock", "LockStatistics", "Semaphore", "StrictFIFOLock",
    ],
    "_highlevel_socket": ["SocketListener", "SocketStream"],
    "testing": [
        "MemoryReceiveStream", "MemorySendStream", "MockClock", "Sequencer",
        "active_thread_count", "assert_checkpoints", "assert_no_checkpoints",
        "check_half_closeable_stream", "check_one_way_stream", "check_two_way_stream",
        "lockstep_stream_one_way_pair", "lockstep_stream_pair", "memory_stream_one_way_pair",
        "memory_stream_pair", "memory_stream_pump", "open_stream_to_socket_listener",
        "trio_test", "wait_all_tasks_blocked", "wait_all_threads_completed",
    ],
}  # fmt: skip
STAR_BY_THE_WAY = {
    "_sync": {"trio": "trio"},
    "_highlevel_socket": {"trio": "trio", "errno": "errno", "overload": "typing:overload"},
}
