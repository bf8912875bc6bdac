"""What pyproject.toml cannot say: whether to build the C module, from what, and for which ABI.

`_ring/build.py` describes the C module itself, in words that need no liburing: so an sdist can
be made anywhere, and only `build_ext` looks for the library.
"""

import os
import platform
import shlex
import subprocess
import sys
import sysconfig

from setuptools import setup
from setuptools.command.build_ext import build_ext

LIBURING_MIN = "2.2"

# It compiles with liburing 2.2 and later only: that release brought multishot accept.
LIBURING_TRIAL = """
#include <liburing.h>
void *uringtrio_trial(void) { return (void *)io_uring_prep_multishot_accept; }
"""

# Which package holds liburing's headers, by distribution.
LIBURING_PACKAGES = (
    "liburing-dev (Debian, Ubuntu, Alpine), liburing-devel (Fedora) or liburing (Arch)"
)

HAS_RING = sys.platform == "linux" and os.environ.get("URINGTRIO_NO_IO_URING", "0") in {"", "0"}

# Before Python 3.15 the limited ABI and the free-threaded build exclude each other, and PyPy has
# no limited ABI.
HAS_LIMITED_ABI = platform.python_implementation() == "CPython" and not sysconfig.get_config_var(
    "Py_GIL_DISABLED"
)


def find_liburing() -> str:
    """Return what is wrong with this machine's liburing, or an empty string."""
    pkg_config = shlex.split(os.environ.get("PKG_CONFIG", "pkg-config"))
    try:
        known = subprocess.run(
            [*pkg_config, "--modversion", "liburing"], capture_output=True, text=True, check=False
        )
    except OSError:
        return try_liburing_header()
    if known.returncode != 0:
        return "pkg-config does not find it"
    enough = subprocess.run(
        [*pkg_config, f"--atleast-version={LIBURING_MIN}", "liburing"], check=False
    )
    return "" if enough.returncode == 0 else f"pkg-config finds {known.stdout.strip()}"


def try_liburing_header() -> str:
    """Ask the compiler instead, for machines that have no pkg-config."""
    compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")
    try:
        trial = subprocess.run(
            [*compiler, "-fsyntax-only", "-x", "c", "-"],
            input=LIBURING_TRIAL,
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError:
        return f"there is neither pkg-config nor a C compiler ({compiler[0]})"
    return "" if trial.returncode == 0 else "the compiler does not find it (there is no pkg-config)"


class BuildRing(build_ext):
    """Build the C module, once liburing has been found."""

    def run(self) -> None:
        """Stop with one line that says what to install, instead of with a compiler's errors."""
        problem = find_liburing() if HAS_RING else ""
        if problem:
            raise SystemExit(
                f"uringtrio: building the io_uring driver needs liburing >= {LIBURING_MIN}, but "
                f"{problem}: install {LIBURING_PACKAGES}, or set URINGTRIO_NO_IO_URING=1 to build "
                "without it (the epoll driver remains)"
            )
        super().run()


if HAS_RING:
    setup(
        cffi_modules=["src/uringtrio/_ring/build.py:ffibuilder"],
        cmdclass={"build_ext": BuildRing},
        options={"bdist_wheel": {"py_limited_api": "cp311"}} if HAS_LIMITED_ABI else {},
    )
else:
    setup()
