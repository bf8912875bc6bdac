"""What this kernel's io_uring can do, found by doing it, and the words to say when it cannot."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from .options import RingOptions
from .report import ProbeReport
from .ring import Ring

SYSCTL = Path("/proc/sys/kernel/io_uring_disabled")


def explain(error: OSError) -> str:
    """Say why the kernel refused a ring, and the remedy."""
    match error.errno:
        case errno.EPERM | errno.EACCES:
            return _explain_denial()
        case errno.ENOSYS:
            return (
                "the kernel has no usable io_uring (Linux 5.11 or later is needed), or a seccomp "
                "filter hides it (container runtimes do; allow io_uring_setup, io_uring_enter and "
                "io_uring_register there)"
            )
        case errno.ENOMEM:
            return (
                "no memory for a ring: RLIMIT_MEMLOCK is too low for this user "
                "(raise `ulimit -l`, or ask for less with RingOptions(entries=..., cq_entries=...))"
            )
        case errno.EMFILE | errno.ENFILE:
            return f"no file descriptor left for a ring ({error.strerror}; raise `ulimit -n`)"
        case _:
            name = errno.errorcode.get(error.errno or 0, "unknown errno")
            return f"io_uring_setup failed with {name}: {error.strerror}"


def _explain_denial() -> str:
    try:
        disabled = int(SYSCTL.read_text())
    except (OSError, ValueError):
        disabled = 0
    if disabled == 2:
        return "io_uring is off (sysctl kernel.io_uring_disabled=2; set it to 0)"
    if disabled == 1:
        return (
            "io_uring is for privileged users only (sysctl kernel.io_uring_disabled=1; set it "
            "to 0, or join the group of sysctl kernel.io_uring_group)"
        )
    return (
        "io_uring is denied, most likely by the seccomp profile of a container "
        "(allow io_uring_setup, io_uring_enter and io_uring_register in the profile)"
    )


def probe_ring() -> ProbeReport:
    """Open a small ring, look, close it."""
    kernel = os.uname().release
    try:
        ring = Ring(RingOptions(entries=8, cq_entries=16, buffer_count=2, buffer_size=4096))
    except OSError as exc:
        return ProbeReport(False, explain(exc), exc.errno, kernel)
    features = describe(ring.flags, ring.features, provided_buffers=ring.buffers is not None)
    report = ProbeReport(
        True, f"io_uring with {', '.join(features)}", None, kernel, features, ring.opcodes()
    )
    ring.close()
    return report


SETUP_NAMES = {
    1: "sqpoll", 7: "submit_all", 8: "coop_taskrun", 9: "taskrun_flag", 12: "single_issuer",
    13: "defer_taskrun",
}  # fmt: skip
FEATURE_NAMES = {
    0: "single_mmap", 1: "nodrop", 2: "submit_stable", 3: "rw_cur_pos", 5: "fast_poll",
    8: "ext_arg", 9: "native_workers", 11: "cqe_skip", 12: "linked_file", 14: "recvsend_bundle",
    15: "min_timeout", 17: "no_iowait",
}  # fmt: skip


def describe(flags: int, features: int, *, provided_buffers: bool) -> tuple[str, ...]:
    """Return the names of setup flags, features and registrations in force."""
    names = [name for bit, name in SETUP_NAMES.items() if flags >> bit & 1]
    names += [name for bit, name in FEATURE_NAMES.items() if features >> bit & 1]
    if provided_buffers:
        names.append("provided_buffers")
    return tuple(names)
