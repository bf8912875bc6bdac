"""What is said about a ring that cannot be had: the reason, and the remedy."""

import errno
import os

import pytest

probe_module = pytest.importorskip("uringtrio._ring.probe")

from uringtrio._ring.probe import describe, explain, probe_ring  # noqa: E402  # after the skip


def error(number):
    return OSError(number, os.strerror(number))


@pytest.fixture
def sysctl(tmp_path, monkeypatch):
    path = tmp_path / "io_uring_disabled"
    monkeypatch.setattr(probe_module, "SYSCTL", path)
    return path


@pytest.mark.parametrize("number", [errno.EPERM, errno.EACCES])
@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("2\n", ["sysctl kernel.io_uring_disabled=2", "set it to 0"]),
        ("1\n", ["privileged users only", "kernel.io_uring_disabled=1", "kernel.io_uring_group"]),
        ("0\n", ["seccomp", "allow io_uring_setup, io_uring_enter and io_uring_register"]),
        ("what?", ["seccomp"]),
        (None, ["seccomp"]),
    ],
)
def test_denial_is_traced_to_the_sysctl_or_the_container(sysctl, number, content, words):
    if content is not None:
        sysctl.write_text(content)

    for word in words:
        assert word in explain(error(number))


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSYS, ["Linux 5.11 or later", "seccomp"]),
        (errno.ENOMEM, ["RLIMIT_MEMLOCK", "ulimit -l", "RingOptions"]),
        (errno.EMFILE, ["ulimit -n", "Too many open files"]),
        (errno.ENFILE, ["file descriptor"]),
        (errno.EIO, ["EIO", "Input/output error"]),
        (99999, ["unknown errno"]),
    ],
)
def test_each_refusal_names_cause_and_remedy(number, words):
    for word in words:
        assert word in explain(error(number))


def test_probe_of_a_refusal_has_the_errno_and_the_kernel(monkeypatch):
    def refuse(_options):
        raise error(errno.ENOMEM)

    monkeypatch.setattr(probe_module, "Ring", refuse)
    report = probe_ring()

    assert not report.available
    assert report.errno == errno.ENOMEM
    assert "RLIMIT_MEMLOCK" in report.reason
    assert report.kernel == os.uname().release
    assert report.features == ()
    assert report.opcodes == frozenset()


def test_describe_names_flags_and_features():
    names = describe(1 << 13 | 1 << 12, 1 << 1 | 1 << 8, provided_buffers=True)

    assert names == ("single_issuer", "defer_taskrun", "nodrop", "ext_arg", "provided_buffers")
    assert describe(0, 0, provided_buffers=False) == ()
