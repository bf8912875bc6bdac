"""Which driver is chosen, why, and what is said when it cannot be had."""

import builtins
import errno
import json
import os
import subprocess
import sys
import textwrap

import pytest

import uringtrio
from uringtrio._drivers import driver as driver_module
from uringtrio._drivers.driver import choose_driver, count_by_kind, probe
from uringtrio._drivers.epoll import EpollDriver
from uringtrio._ops.file import Nop
from uringtrio._ops.net import Poll

needs_io_uring = pytest.mark.skipif(not probe().available, reason=probe().reason)

SETUP = 425
ENTER = 426
REGISTER = 427


@pytest.fixture
def choose(monkeypatch):
    """Return `choose_driver` with a clean environment; closes what it opened."""
    monkeypatch.delenv("URINGTRIO_DRIVER", raising=False)
    opened = []

    def choose_one(name=None, options=None):
        opened.append(choose_driver(name, options))
        return opened[-1]

    yield choose_one
    for driver in opened:
        driver.close()


def under_denial(call, error, code):
    """Run `code` in a process whose io_uring system call `call` fails; return what it prints."""
    prelude = textwrap.dedent("""\
        import ctypes, json, platform, struct

        def deny(number, error):
            load, equal, answer = 0x20, 0x15, 0x06
            allow, fail = 0x7FFF0000, 0x00050000
            arch = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}[platform.machine()]
            rules = [(load, 0, 0, 4), (equal, 1, 0, arch), (answer, 0, 0, allow), (load, 0, 0, 0),
                     (equal, 0, 1, number), (answer, 0, 0, fail | error), (answer, 0, 0, allow)]
            code = b"".join(struct.pack("=HBBI", *rule) for rule in rules)
            memory = ctypes.create_string_buffer(code, len(code))
            program = struct.pack("@HP", len(rules), ctypes.addressof(memory))
            libc = ctypes.CDLL(None, use_errno=True)
            assert libc.prctl(38, 1, 0, 0, 0) == 0  # PR_SET_NO_NEW_PRIVS
            assert libc.prctl(22, 2, program) == 0  # PR_SET_SECCOMP, SECCOMP_MODE_FILTER

        import uringtrio
        """)
    environment = {key: value for key, value in os.environ.items() if key != "URINGTRIO_DRIVER"}
    done = subprocess.run(
        [sys.executable, "-c", f"{prelude}deny({call}, {error})\n{textwrap.dedent(code)}"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


RUN = """
async def main():
    left, right = uringtrio.socket.socketpair()
    with left, right:
        await left.send(b"x")
        assert await right.recv(1) == b"x"
    statistics = uringtrio.lowlevel.current_statistics().io_statistics
    print(json.dumps([statistics.driver, statistics.reason]))

uringtrio.run(main)
"""


# By name.


@needs_io_uring
def test_auto_takes_io_uring_where_it_can_be_had(choose):
    for name in (None, "auto"):
        driver = choose(name)
        assert driver.name == "io_uring"
        assert driver.reason.startswith("the best that this kernel has")


@needs_io_uring
def test_io_uring_by_name(choose):
    driver = choose("io_uring", uringtrio.RingOptions(entries=8))

    assert driver.name == "io_uring"
    assert "asked for by run(driver=...)" in driver.reason


def test_epoll_by_name(choose):
    driver = choose("epoll")

    assert type(driver) is EpollDriver
    assert driver.reason == "asked for by run(driver=...)"


def test_environment_chooses_where_run_does_not(choose, monkeypatch):
    monkeypatch.setenv("URINGTRIO_DRIVER", "epoll")

    assert choose().name == "epoll"
    assert choose().reason == "asked for by the environment's URINGTRIO_DRIVER"


@needs_io_uring
def test_argument_comes_before_the_environment(choose, monkeypatch):
    monkeypatch.setenv("URINGTRIO_DRIVER", "epoll")

    assert choose("io_uring").name == "io_uring"
    assert choose("auto").name == "io_uring"


@pytest.mark.parametrize("name", ["uring", "", "EPOLL", "kqueue2"])
def test_unknown_name_is_told_the_known_ones(choose, name):
    with pytest.raises(ValueError, match="unknown driver") as caught:
        choose(name)

    message = str(caught.value)
    assert repr(name) in message
    assert "'auto', 'io_uring', 'epoll'" in message
    assert "run(driver=...)" in message


def test_unknown_name_in_the_environment_names_the_variable(choose, monkeypatch):
    monkeypatch.setenv("URINGTRIO_DRIVER", "iouring")
    with pytest.raises(ValueError, match=r"the environment's URINGTRIO_DRIVER.*'iouring'"):
        choose()


def test_run_takes_the_driver_and_says_so(run):
    async def main():
        return uringtrio.lowlevel.current_statistics().io_statistics

    statistics = run(main, driver="epoll")
    assert statistics.driver == "epoll"
    assert statistics.reason == "asked for by run(driver=...)"


# Denied.


@pytest.mark.parametrize("error", [errno.EPERM, errno.ENOSYS, errno.EACCES])
def test_denial_falls_back_to_epoll_and_records_why(error):
    name, reason = under_denial(SETUP, error, RUN)

    assert name == "epoll"
    assert "io_uring" in reason
    assert "allow" in reason


def test_denied_enter_falls_back_to_epoll():
    """A profile may let a ring be made and not be used."""
    name, _ = under_denial(ENTER, errno.EPERM, RUN)

    assert name == "epoll"


@needs_io_uring
def test_denied_register_still_has_a_ring():
    """Without registering there are no provided buffers: each receive brings its own."""
    name, _ = under_denial(REGISTER, errno.EPERM, RUN)

    assert name in ("io_uring", "epoll")


@pytest.mark.parametrize("error", [errno.EPERM, errno.ENOSYS])
def test_denial_of_the_driver_asked_for_raises_with_reason_and_remedy(error):
    name, reason, number, message = under_denial(
        SETUP,
        error,
        """
        async def main():
            raise AssertionError("it ran")

        try:
            uringtrio.run(main, driver="io_uring")
        except uringtrio.DriverUnavailableError as exc:
            print(json.dumps([exc.driver, exc.reason, exc.errno, str(exc)]))
        """,
    )

    assert name == "io_uring"
    assert number == error
    assert reason in message
    assert "allow" in reason


def test_probe_under_denial_says_why():
    available, reason, number, features = under_denial(
        SETUP,
        errno.EPERM,
        """
        report = uringtrio.probe()
        print(json.dumps([report.available, report.reason, report.errno, report.features]))
        """,
    )

    assert available is False
    assert "denied" in reason
    assert number == errno.EPERM
    assert features == []


# Not built, not Linux.


def test_build_without_io_uring_falls_back_and_says_so(choose, monkeypatch):
    real_import = builtins.__import__

    def import_without_shim(name, *args, **kwargs):
        if name.endswith(("_ring.probe", "_ring.ring")):
            raise ImportError("no module named _shim")
        return real_import(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", import_without_shim)

    assert choose("auto").name == "epoll"
    assert "built without io_uring" in choose("auto").reason
    with pytest.raises(uringtrio.DriverUnavailableError, match="built without io_uring"):
        choose("io_uring")
    report = probe()
    assert not report.available
    assert "built without io_uring" in report.reason


def test_elsewhere_there_is_no_io_uring(monkeypatch):
    monkeypatch.setattr(driver_module.sys, "platform", "darwin")

    report = probe()
    assert not report.available
    assert "Linux only, not on darwin" in report.reason
    with pytest.raises(uringtrio.DriverUnavailableError, match="Linux only"):
        choose_driver("io_uring", None)


# What probe and statistics say.


@needs_io_uring
def test_probe_tells_what_there_is():
    report = probe()

    assert report.errno is None
    assert report.kernel == os.uname().release
    assert "nodrop" in report.features
    assert "ext_arg" in report.features
    assert {0, 1, 2} <= report.opcodes
    assert max(report.opcodes) < 256
    assert report.reason.startswith("io_uring with ")


def test_count_by_kind_counts_by_class_name():
    assert count_by_kind([Nop(), Nop(), Poll(0, 1)]) == {"Nop": 2, "Poll": 1}
    assert count_by_kind([]) == {}
