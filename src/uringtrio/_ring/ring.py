"""Ring: one io_uring of one thread. Opens it on the best terms to be had, fills SQEs, enters.

What the kernel does shapes it: the setup flags form a ladder walked on EINVAL; ring memory is
charged to RLIMIT_MEMLOCK and the charge of a closed ring comes back some 30 ms late, so ENOMEM is
retried with smaller rings and for a while; with DEFER_TASKRUN completions appear only in an enter,
and `IORING_SQ_TASKRUN` in shared memory says that an enter is worth making.
"""

from __future__ import annotations

import errno
import functools
import os
import struct
import time
import weakref
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NoReturn

from ._shim import ffi, lib
from .buffers import ProvidedBuffers

if TYPE_CHECKING:
    from .options import RingOptions

SETUP_SQPOLL = 1 << 1
SETUP_CQSIZE = 1 << 3
SETUP_CLAMP = 1 << 4
SETUP_SUBMIT_ALL = 1 << 7
SETUP_COOP_TASKRUN = 1 << 8
SETUP_TASKRUN_FLAG = 1 << 9
SETUP_SINGLE_ISSUER = 1 << 12
SETUP_DEFER_TASKRUN = 1 << 13

FEAT_NODROP = 1 << 1
FEAT_EXT_ARG = 1 << 8
FEATURES_NEEDED = FEAT_NODROP | FEAT_EXT_ARG  # Linux 5.11

SQ_CQ_OVERFLOW = 1 << 1
SQ_TASKRUN = 1 << 2

# Best first: Linux 6.1, 5.19, 5.11.
LADDER = (
    SETUP_SINGLE_ISSUER | SETUP_DEFER_TASKRUN | SETUP_TASKRUN_FLAG | SETUP_SUBMIT_ALL,
    SETUP_COOP_TASKRUN | SETUP_TASKRUN_FLAG | SETUP_SUBMIT_ALL,
    0,
)
NOMEM_ENTRIES_MIN = 32
NOMEM_RETRY_SECONDS = 0.15

# The shim's functions that are methods of Ring under their own names.
BOUND = (
    "accept", "cancel", "connect", "eventfd", "flush", "fsync", "link", "mkdir", "nop", "openat",
    "poll", "read", "readv", "recv", "recv_multishot", "recv_provided", "recvmsg", "rename", "send",
    "send_zc", "sendmsg", "shutdown", "splice", "statx", "symlink", "unlink", "write", "writev",
)  # fmt: skip

Prepare = Callable[..., int]

_open_rings: weakref.WeakSet[Ring] = weakref.WeakSet()


class Ring:
    """One kernel ring. Only the thread that made it may use it.

    Every method named like an opcode takes an op's id first, then what the opcode takes, fills
    one SQE and enters nothing. It returns 0, or -EBUSY when the submission queue is full: call
    `enter` and try again. The methods are the shim's functions with the ring bound, not Python
    functions around them: a frame that only forwards costs 60 ns of the 120 ns that the call
    takes (benchmarks/scheduler.py).

    Memory that an SQE names belongs to the op, which keeps it until its last CQE.
    """

    nop: Prepare  # (id)
    recv: Prepare  # (id, fd, buffer, size, flags)
    recv_provided: Prepare  # (id, fd, size, flags)
    recv_multishot: Prepare  # (id, fd, size of all together); a CQE for each buffer filled
    send: Prepare  # (id, fd, data, size, flags)
    recvmsg: Prepare  # (id, fd, msghdr, flags)
    sendmsg: Prepare  # (id, fd, msghdr, flags)
    accept: Prepare  # (id, fd, address, address_size, flags)
    connect: Prepare  # (id, fd, address, address_size)
    shutdown: Prepare  # (id, fd, how)
    close_fd: Prepare  # (id, fd)
    poll: Prepare  # (id, fd, events)
    read: Prepare  # (id, fd, buffer, size, offset)
    write: Prepare  # (id, fd, data, size, offset)
    readv: Prepare  # (id, fd, vectors, count, offset)
    writev: Prepare  # (id, fd, vectors, count, offset)
    fsync: Prepare  # (id, fd, flags)
    openat: Prepare  # (id, path, flags, mode); paths are bytes without a zero byte
    statx: Prepare  # (id, directory, path, flags, mask, 256 bytes for the result)
    rename: Prepare  # (id, old path, new path)
    unlink: Prepare  # (id, path, flags)
    mkdir: Prepare  # (id, path, mode)
    symlink: Prepare  # (id, target, path)
    link: Prepare  # (id, old path, new path)
    splice: Prepare  # (id, source, source offset, sink, sink offset, size, flags)
    send_zc: Prepare  # (id, fd, data, size, flags); two CQEs if the first has F_MORE
    cancel: Prepare  # (target id); its own CQE carries id 0
    eventfd: Callable[[int], int]  # (an eventfd to signal); 0 or a negated errno
    flush: Callable[[], int]  # submits without reaping; a count or a negated errno

    def __init__(self, options: RingOptions) -> None:
        """Open a ring.

        Raises:
            OSError: the kernel refuses; `errno` is its answer to the last rung of the ladder,
                or ENOSYS when it lacks `FEATURES_NEEDED`.
        """
        self.flags = 0
        self.features = 0
        # Closed, or inherited by a forked child.
        self.is_poisoned = False
        # How many of `buffers.returned` are to be given back at the next enter.
        self.returned_count = 0
        self._spin_ns = options.spin_us * 1000
        self._ring: Any = self._open(options)
        lib.ut_dontfork(self._ring)
        if options.iowq_max_workers:
            lib.ut_limit_workers(self._ring, options.iowq_max_workers, options.iowq_max_workers)
        self._bind()
        self.buffers = self._provide(options)
        _open_rings.add(self)

    def _open(self, options: RingOptions) -> Any:
        sq_entries, cq_entries = options.entries, options.cq_entries
        give_up = time.monotonic() + NOMEM_RETRY_SECONDS
        rungs: tuple[int, ...] = LADDER
        if options.sqpoll:
            rungs = (SETUP_SQPOLL | SETUP_SUBMIT_ALL, SETUP_SQPOLL)
        while True:
            res, ring = -errno.EINVAL, None
            for flags in rungs:
                res, ring = self._try(flags, sq_entries, cq_entries, options.sqpoll_idle_ms)
                if res != -errno.EINVAL:
                    break
            if res == 0:
                return ring
            if res != -errno.ENOMEM or time.monotonic() > give_up:
                raise OSError(-res, os.strerror(-res))
            if sq_entries <= NOMEM_ENTRIES_MIN and cq_entries <= 2 * NOMEM_ENTRIES_MIN:
                time.sleep(0.01)
            if sq_entries > NOMEM_ENTRIES_MIN:
                sq_entries = max(sq_entries // 2, NOMEM_ENTRIES_MIN)
            if cq_entries > 2 * NOMEM_ENTRIES_MIN:
                cq_entries = max(cq_entries // 2, 2 * NOMEM_ENTRIES_MIN)

    def _try(self, flags: int, entries: int, cq_entries: int, idle_ms: int) -> tuple[int, Any]:
        out, features = ffi.new("struct ut_ring **"), ffi.new("unsigned *")
        self.flags = flags | SETUP_CLAMP | SETUP_CQSIZE
        res = lib.ut_open(out, entries, cq_entries, self.flags, idle_ms, features)
        if res < 0:
            return res, None
        self.features = features[0]
        if self.features & FEATURES_NEEDED != FEATURES_NEEDED:
            lib.ut_close_ring(out[0])
            return -errno.ENOSYS, None
        return 0, out[0]

    def _bind(self) -> None:
        bind = functools.partial
        ring = self._ring
        for name in BOUND:
            setattr(self, name, bind(getattr(lib, f"ut_{name}"), ring))
        self.close_fd = bind(lib.ut_close, ring)
        self._enter = bind(lib.ut_enter, ring)
        self.fd = lib.ut_fd(ring)
        self.reap_max: int = lib.ut_reap_max()
        self._cqes = memoryview(ffi.buffer(lib.ut_cqes(ring), 16 * self.reap_max))
        self._unpack = struct.Struct("=QiI").iter_unpack
        self._sq_flags = self._word(lib.ut_sq_flags(ring))
        self._cq_tail = self._word(lib.ut_cq_tail(ring))
        self._cq_head = self._word(lib.ut_cq_head(ring))
        self._counters = memoryview(ffi.buffer(lib.ut_counters(ring), 32)).cast("Q")

    @staticmethod
    def _word(pointer: Any) -> memoryview:
        return memoryview(ffi.buffer(pointer, 4)).cast("I")

    def _provide(self, options: RingOptions) -> ProvidedBuffers | None:
        if options.buffer_count:
            try:
                return ProvidedBuffers(
                    self._ring, size=options.buffer_size, count=options.buffer_count
                )
            except OSError:
                # Linux < 5.19, and some distribution kernels: each receive brings its buffer.
                return None
        return None

    @property
    def tier(self) -> str:
        """On which terms the ring was had, see `LADDER`."""
        if self.flags & SETUP_DEFER_TASKRUN:
            return "deferred task work"
        return "cooperative task work" if self.flags & SETUP_COOP_TASKRUN else "plain ring"

    def has_news(self) -> bool:
        """Say whether an enter would find something, by looking at shared memory only."""
        return bool(
            self._cq_tail[0] != self._cq_head[0]
            or self._sq_flags[0] & (SQ_TASKRUN | SQ_CQ_OVERFLOW)
        )

    def enter(self, timeout_ns: int) -> Iterator[tuple[int, int, int]]:
        """Submit everything, wait for one CQE, and return the CQEs as (id, res, flags).

        Args:
            timeout_ns: wait at most this long; 0 does not wait, negative waits without end.

        Returns:
            At most `reap_max` CQEs, valid until the next enter. None after a signal.

        Raises:
            OSError: the ring is unusable.
        """
        returned_count, self.returned_count = self.returned_count, 0
        count = self._enter(1, timeout_ns, self._spin_ns, returned_count)
        if count < 0:
            raise OSError(-count, f"io_uring_enter: {os.strerror(-count)}")
        return self._unpack(self._cqes[: count * 16])

    def counters(self) -> tuple[int, ...]:
        """Return how many enters, SQEs, CQEs and overflows there have been."""
        return tuple(self._counters)

    def opcodes(self) -> frozenset[int]:
        """Return the opcode numbers that this kernel supports."""
        supported = ffi.new("unsigned char[]", 256)
        count = lib.ut_opcodes(self._ring, supported, 256)
        return frozenset(op for op in range(max(count, 0)) if supported[op])

    def new_address(self) -> tuple[Any, Any]:
        """Return memory for a socket address that the kernel writes, and for its size in bytes."""
        return ffi.new("char[]", 128), ffi.new("unsigned *", 128)

    def pin(self, buffer: object, *, writable: bool) -> Any:
        """Return a pointer to the memory of `buffer`, which cannot move while the pointer lives."""
        return ffi.from_buffer("char[]", buffer, require_writable=writable)

    def new_message(
        self, pins: list[Any], name: Any, name_size: int, control: Any, control_size: int
    ) -> tuple[Any, list[Any]]:
        """Return a `struct msghdr` over pinned buffers, and what must live as long as it does."""
        vectors = self.new_vectors(pins)
        message = ffi.new("struct msghdr *")
        message.msg_iov, message.msg_iovlen = vectors, len(pins)
        message.msg_name, message.msg_namelen = name, name_size
        message.msg_control, message.msg_controllen = control, control_size
        return message, [vectors, pins, name, control]

    def new_vectors(self, pins: list[Any]) -> Any:
        """Return an array of `struct iovec` over pinned buffers, which must live as long."""
        vectors = ffi.new("struct iovec[]", max(len(pins), 1))
        for vector, pin in zip(vectors, pins, strict=False):
            vector.iov_base, vector.iov_len = pin, len(pin)
        return vectors

    def copy_out(self, memory: Any, size: int) -> bytes:
        """Return the first `size` bytes of kernel-written memory."""
        return bytes(ffi.buffer(memory, size))

    def null(self) -> Any:
        """Return the null pointer."""
        return ffi.NULL

    def allocate(self, size: int) -> Any:
        """Return `size` bytes of memory for the kernel to write."""
        return ffi.new("char[]", max(size, 1))

    def close(self) -> None:
        """Close the ring. Nothing may be in flight: closing is no barrier for the kernel."""
        if self.is_poisoned:
            return
        _open_rings.discard(self)
        self._counters = memoryview(bytes(self._counters)).cast("Q")
        lib.ut_close_ring(self._ring)
        self.poison("this ring is closed")

    def poison(self, why: str) -> None:
        """Make every later use raise RuntimeError(why) and touch no shared memory."""

        def refuse(*_args: object) -> NoReturn:
            raise RuntimeError(why)

        for name, value in list(vars(self).items()):
            if isinstance(value, functools.partial):
                setattr(self, name, refuse)
        # Words of our own instead of the shared ones, such that an enter, which refuses, is due.
        self._cq_tail, self._cq_head = memoryview(b"\1"), memoryview(b"\0")
        self.is_poisoned = True


def _poison_in_child() -> None:
    # The mapping is gone in a forked child (MADV_DONTFORK); touching it would crash.
    for ring in list(_open_rings):
        ring.poison(
            "this io_uring ring belongs to the parent process: after os.fork(), "
            "leave the child by os._exit() or exec, or fork outside of uringtrio.run()"
        )


os.register_at_fork(after_in_child=_poison_in_child)
