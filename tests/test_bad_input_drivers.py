"""Drivers that do not exist, and io_uring where it is denied: refused, or replaced."""

import errno
import functools
import os
import platform
import re
import subprocess
import sys
from pathlib import Path

import pytest

import uringtrio
from uringtrio import lowlevel


async def good():
    pass


def test_unknown_driver_names_the_known_ones():
    with pytest.raises(ValueError, match=r"run\(driver=\.\.\.\).*'kqueu'") as caught:
        uringtrio.run(good, driver="kqueu")

    for known in ("'auto'", "'io_uring'", "'epoll'"):
        assert known in str(caught.value)


def test_unknown_driver_in_the_environment_names_the_variable(monkeypatch):
    monkeypatch.setenv("URINGTRIO_DRIVER", "iocp")
    with pytest.raises(ValueError, match=r"URINGTRIO_DRIVER.*'iocp'"):
        uringtrio.run(good)


def test_driver_given_to_run_wins_over_the_environment(monkeypatch):
    async def main():
        return lowlevel.current_statistics().io_statistics.driver

    monkeypatch.setenv("URINGTRIO_DRIVER", "nonsense")

    assert uringtrio.run(main, driver="epoll") == "epoll"


def test_ring_options_are_checked_where_they_are_made():
    for arguments, text in (
        ({"entries": 0}, r"entries=0\) must be from 1"),
        ({"buffer_count": 3}, "power of two"),
        ({"cq_entries": 1}, "cq_entries"),
    ):
        with pytest.raises(ValueError, match=text):
            uringtrio.RingOptions(**arguments)
    with pytest.raises(TypeError, match=r"entries=\.\.\.\) must be an int"):
        uringtrio.RingOptions(entries="many")


def run_denied(number, program):
    """Run `program` where io_uring fails with `number`."""
    environment = {k: v for k, v in os.environ.items() if k != "URINGTRIO_DRIVER"}
    return subprocess.run(
        [sys.executable, Path(__file__).with_name("deny_io_uring.py"), number, program],
        env=environment,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )


@pytest.fixture(params=["EPERM", "ENOSYS", "EACCES"])
def denied(request):
    """Runs programs where io_uring is denied, with one answer after the other."""
    if platform.machine() not in ("x86_64", "aarch64"):
        pytest.skip("the filter knows no other machine")
    return functools.partial(run_denied, request.param)


REMEDY = {
    "EPERM": re.compile("denied.*seccomp.*allow io_uring_setup|sysctl kernel.io_uring_disabled"),
    "EACCES": re.compile("denied.*seccomp.*allow io_uring_setup|sysctl kernel.io_uring_disabled"),
    "ENOSYS": re.compile("no usable io_uring.*seccomp.*allow io_uring_setup"),
}


def test_denied_io_uring_that_was_asked_for_is_refused_with_reason_and_remedy(denied):
    done = denied("""
import os, uringtrio

async def main():
    raise AssertionError("it ran")

before = os.listdir("/proc/self/fd")
try:
    uringtrio.run(main, driver="io_uring")
except uringtrio.DriverUnavailableError as exc:
    print(exc.driver, exc.errno, str(exc))
assert os.listdir("/proc/self/fd") == before
""")

    assert done.returncode == 0, done.stderr
    number = denied.args[0]
    driver, seen, text = done.stdout.split(" ", 2)
    assert driver == "io_uring"
    assert int(seen) == getattr(errno, number)
    assert REMEDY[number].search(text)


def test_denied_io_uring_in_the_environment_is_refused_too(denied):
    done = denied("""
import os, uringtrio

async def main():
    raise AssertionError("it ran")

os.environ["URINGTRIO_DRIVER"] = "io_uring"
try:
    uringtrio.run(main)
except uringtrio.DriverUnavailableError as exc:
    print(exc.reason)
""")

    assert done.returncode == 0, done.stderr
    assert REMEDY[denied.args[0]].search(done.stdout)


def test_denied_io_uring_falls_back_to_epoll_and_records_the_reason(denied):
    done = denied("""
import uringtrio

async def main():
    left, right = uringtrio.socket.socketpair()
    with left, right:
        await left.send(b"x")
        assert await right.recv(1) == b"x"
    statistics = uringtrio.lowlevel.current_statistics().io_statistics
    print(statistics.driver, statistics.reason)

uringtrio.run(main)
report = uringtrio.probe()
assert not report.available
assert report.errno is not None
print("probe", report.reason)
""")

    assert done.returncode == 0, done.stderr
    ran, probed = done.stdout.splitlines()
    assert ran.startswith("epoll ")
    assert REMEDY[denied.args[0]].search(ran)
    assert REMEDY[denied.args[0]].search(probed)
