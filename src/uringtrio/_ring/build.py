"""Builds `_shim` with cffi: API mode over the system's liburing, limited ABI where it can be had.

Run by setup.py; not imported by the package.
"""

from __future__ import annotations

import os
import subprocess
import sysconfig
from pathlib import Path

from cffi import FFI

HERE = Path(__file__).resolve().parent

# The system's structures that the package fills by name; the compiler knows their layout.
SYSTEM_STRUCTURES = """
struct iovec { void *iov_base; size_t iov_len; ...; };
struct msghdr {
    void *msg_name; unsigned msg_namelen;
    struct iovec *msg_iov; size_t msg_iovlen;
    void *msg_control; size_t msg_controllen;
    int msg_flags; ...;
};
"""


def liburing_version() -> int:
    """Return the liburing that pkg-config finds as major * 100 + minor; 202 when it cannot say."""
    try:
        text = subprocess.run(
            [os.environ.get("PKG_CONFIG", "pkg-config"), "--modversion", "liburing"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        return 202
    major, minor = text.strip().split(".")[:2]
    return int(major) * 100 + int(minor)


ffibuilder = FFI()
ffibuilder.cdef(
    SYSTEM_STRUCTURES + (HERE / "shim.h").read_text() + (HERE / "shared_queue.h").read_text()
)
ffibuilder.set_source(
    "uringtrio._ring._shim",
    (HERE / "shim.c").read_text() + (HERE / "shared_queue.c").read_text(),
    include_dirs=[str(HERE)],
    libraries=["uring"],
    define_macros=[("UT_LIBURING", str(liburing_version())), ("_GNU_SOURCE", None)],
    extra_compile_args=["-O2", "-std=gnu11", "-Wall", "-Wextra", "-Wno-unused-parameter"],
    # cffi's limited ABI is not to be had on free-threaded builds before 3.15.
    py_limited_api=not sysconfig.get_config_var("Py_GIL_DISABLED"),
)
