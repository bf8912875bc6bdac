"""The machine under the benchmarks: CPUs to pin to, C programs to build, versions to report."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import shutil
import subprocess
from pathlib import Path

C_DIRECTORY = Path(__file__).with_name("c")
BINARIES = C_DIRECTORY / "bin"

PACKAGES = ("uringtrio", "trio", "uvloop")


class CannotBuildError(Exception):
    """A C program of the benchmark cannot be built here; the message says why."""


def cpu_pair() -> tuple[int, int]:
    """Return a CPU for the server and one for the load; the same one if there is no other."""
    cpus = sorted(os.sched_getaffinity(0))
    return cpus[0], cpus[-1]


def pinned(command: list[str], cpu: int, **options: object) -> subprocess.Popen[str]:
    """Start `command` on one CPU only."""
    before = os.sched_getaffinity(0)
    # A child inherits the affinity of its parent, so nothing has to run between fork and exec.
    os.sched_setaffinity(0, {cpu})
    try:
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **options)  # type: ignore[call-overload,no-any-return]
    finally:
        os.sched_setaffinity(0, before)


def build_c(name: str, *libraries: str) -> Path:
    """Build `c/NAME.c` unless that was done already, and return the program."""
    source = C_DIRECTORY / f"{name}.c"
    program = BINARIES / name
    inputs = (source, C_DIRECTORY / "net.h")
    if program.exists() and all(program.stat().st_mtime > path.stat().st_mtime for path in inputs):
        return program
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if compiler is None:
        raise CannotBuildError("there is no C compiler")
    BINARIES.mkdir(exist_ok=True)
    flags = ["-O2", "-Wall", "-Wextra", str(source), "-o", str(program), *libraries]
    done = subprocess.run([compiler, *flags], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise CannotBuildError(f"{source.name} does not build: {done.stderr.splitlines()[0]}")
    return program


def require_c(name: str) -> None:
    """Build a C program that a benchmark cannot do without.

    Raises:
        SystemExit: it cannot be built.
    """
    try:
        build_c(name)
    except CannotBuildError as error:
        raise SystemExit(f"{name}.c is needed: {error}") from None


def is_installed(module: str) -> bool:
    """Return whether this interpreter finds `module`."""
    return importlib.util.find_spec(module) is not None


def versions() -> dict[str, str]:
    """Return what the figures depend on, by name."""
    found = {
        "cpu": cpu_model(),
        "kernel": platform.release(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "liburing": output_of("pkg-config", "--modversion", "liburing"),
        "compiler": output_of(os.environ.get("CC", "cc"), "--version"),
    }
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found


def cpu_model() -> str:
    """Return the processor's name and how many of them this process may use."""
    names = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return f"{len(os.sched_getaffinity(0))} x {names[0] if names else platform.machine()}"


def output_of(*command: str) -> str:
    """Return the first line that a command prints, or "unknown"."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return done.stdout.partition("\n")[0]
