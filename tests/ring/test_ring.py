"""The ring: how it is opened on lesser terms, what it says when it cannot be, and forks."""

import errno
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import idna
import outcome
import pytest
import sniffio

import uringtrio

ring_module = pytest.importorskip("uringtrio._ring.ring")

from uringtrio._ring.ring import LADDER, NOMEM_RETRY_SECONDS, Ring  # noqa: E402  # after the skip

if not uringtrio.probe().available:
    pytest.skip(uringtrio.probe().reason, allow_module_level=True)

RingOptions = uringtrio.RingOptions


@pytest.fixture
def attempts(monkeypatch):
    """Return a function that makes attempts fail by a rule, and the list of (flags, sq, cq)."""
    made = []
    real_try = Ring._try

    def install(answer):
        def attempt(self, flags, entries, cq_entries, idle_ms):
            made.append((flags, entries, cq_entries))
            error = answer(flags, entries, cq_entries)
            return (-error, None) if error else real_try(self, flags, entries, cq_entries, idle_ms)

        monkeypatch.setattr(Ring, "_try", attempt)
        return made

    return install


def do_nop(ring):
    """Carry out one nop; return its CQE."""
    assert ring.nop(7) == 0
    return list(ring.enter(-1))


# The ladder.


def test_best_terms_are_tried_first(attempts):
    made = attempts(lambda *_: 0)
    ring = Ring(RingOptions())
    ring.close()

    assert [flags for flags, _, _ in made] == [LADDER[0]]


@pytest.mark.parametrize("rung", range(1, len(LADDER)))
def test_older_kernels_get_lesser_terms_that_work(attempts, rung):
    made = attempts(lambda flags, *_: errno.EINVAL if LADDER.index(flags) < rung else 0)
    ring = Ring(RingOptions())
    try:
        assert [flags for flags, _, _ in made] == list(LADDER[: rung + 1])
        assert do_nop(ring) == [(7, 0, 0)]
        assert not ring.has_news()
    finally:
        ring.close()


@pytest.mark.parametrize("rung", range(len(LADDER)))
def test_run_works_on_every_rung(attempts, run, rung):
    attempts(lambda flags, *_: errno.EINVAL if LADDER.index(flags) < rung else 0)

    async def main():
        left, right = uringtrio.socket.socketpair()
        with left, right:
            for _ in range(100):
                await left.send(b"x")
                assert await right.recv(10) == b"x"
            with uringtrio.move_on_after(0.01) as scope:
                await right.recv(10)
            assert scope.cancelled_caught

    run(main, driver="io_uring")


def test_no_rung_raises_the_kernels_answer(attempts):
    made = attempts(lambda *_: errno.EINVAL)
    with pytest.raises(OSError, match="Invalid argument") as caught:
        Ring(RingOptions())

    assert caught.value.errno == errno.EINVAL
    assert len(made) == len(LADDER)


@pytest.mark.parametrize("error", [errno.EPERM, errno.ENOSYS, errno.EMFILE])
def test_refusal_is_not_tried_again(attempts, error):
    made = attempts(lambda *_: error)
    with pytest.raises(OSError, match=r".") as caught:
        Ring(RingOptions())

    assert caught.value.errno == error
    assert len(made) == 1


def test_missing_features_are_no_usable_ring(monkeypatch):
    monkeypatch.setattr(ring_module, "FEATURES_NEEDED", 1 << 30)
    with pytest.raises(OSError, match="not implemented") as caught:
        Ring(RingOptions())

    assert caught.value.errno == errno.ENOSYS


# No memory.


def test_no_memory_makes_the_ring_smaller(attempts):
    made = attempts(lambda _flags, entries, _cq: errno.ENOMEM if entries > 100 else 0)
    ring = Ring(RingOptions(entries=512, cq_entries=2048))
    try:
        assert [(sq, cq) for _, sq, cq in made] == [(512, 2048), (256, 1024), (128, 512), (64, 256)]
        assert do_nop(ring) == [(7, 0, 0)]
    finally:
        ring.close()


def test_large_completion_queue_becomes_smaller_too(attempts):
    """The halving stopped with the submission queue, so a large CQ was never made smaller."""
    attempts(lambda _flags, _sq, cq: errno.ENOMEM if cq > 1024 else 0)
    ring = Ring(RingOptions(entries=8, cq_entries=65536))
    try:
        assert do_nop(ring) == [(7, 0, 0)]
    finally:
        ring.close()


def test_memory_that_comes_back_late_is_waited_for(attempts):
    start = time.monotonic()
    attempts(lambda *_: errno.ENOMEM if time.monotonic() < start + NOMEM_RETRY_SECONDS / 2 else 0)
    ring = Ring(RingOptions())
    try:
        assert do_nop(ring) == [(7, 0, 0)]
    finally:
        ring.close()


def test_memory_that_never_comes_is_an_error_soon(attempts):
    attempts(lambda *_: errno.ENOMEM)
    start = time.monotonic()
    with pytest.raises(OSError, match="Cannot allocate memory"):
        Ring(RingOptions())

    assert NOMEM_RETRY_SECONDS <= time.monotonic() - start < NOMEM_RETRY_SECONDS + 5.0


LOW_MEMLOCK = """
import json, os, resource, sys
sys.path[:0] = json.loads(sys.argv[1])
resource.setrlimit(resource.RLIMIT_MEMLOCK, (65536, 65536))
os.setgroups([]); os.setgid(65534); os.setuid(65534)
import uringtrio

async def main():
    left, right = uringtrio.socket.socketpair()
    with left, right:
        await left.send(b"x")
        assert await right.recv(1) == b"x"
    return uringtrio.lowlevel.current_statistics().io_statistics

results = []
for _ in range(5):
    statistics = uringtrio.run(main)
    results.append([statistics.driver, statistics.reason])
print(json.dumps(results))
"""


@pytest.fixture
def readable_path():
    """Return import paths that any user can read, with the package and what it needs."""
    # Not in pytest's own directory, which each suite that begins makes unreadable for others.
    root = Path(tempfile.mkdtemp())
    ignore = shutil.ignore_patterns("__pycache__")
    for module in (uringtrio, pytest.importorskip("cffi"), idna, outcome, sniffio):
        source = Path(module.__file__).parent
        shutil.copytree(source, root / source.name, ignore=ignore)
    for name in ("_cffi_backend", "attr", "attrs", "pycparser"):
        for site in map(Path, sys.path):
            for source in site.glob(f"{name}*"):
                if source.is_dir() and not source.name.endswith(".dist-info"):
                    shutil.copytree(source, root / source.name, ignore=ignore, dirs_exist_ok=True)
                elif source.suffix == ".so":
                    shutil.copy(source, root)
    for path in (root, *root.rglob("*")):
        path.chmod(path.stat().st_mode | 0o055 | (0o004 if path.is_file() else 0))
    yield root
    shutil.rmtree(root)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_little_locked_memory_still_runs_again_and_again(readable_path):
    """RLIMIT_MEMLOCK of 64 KiB: a smaller ring, or epoll with the reason; never an error."""
    python = shutil.which("python3", path="/usr/bin")
    if python is None or sys.version_info[:2] != python_version(python):
        pytest.skip("no interpreter of this version that any user can read")
    done = subprocess.run(
        [python, "-c", LOW_MEMLOCK, json.dumps([str(readable_path)])],
        cwd="/",
        # Nothing but what a sanitizer needs.
        env={"PATH": "/usr/bin"} | {k: v for k, v in os.environ.items() if k == "LD_PRELOAD"},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout)
    assert len(results) == 5
    for driver, reason in results:
        assert driver == "io_uring" or "RLIMIT_MEMLOCK" in reason


def python_version(python):
    code = "import sys; print(*sys.version_info[:2])"
    out = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout
    return tuple(map(int, out.split()))


# Entering.


def test_full_submission_queue_says_busy_and_takes_more_after_flush():
    ring = Ring(RingOptions(entries=4, cq_entries=8))
    try:
        assert [ring.nop(i) for i in range(1, 6)] == [0, 0, 0, 0, -errno.EBUSY]
        assert ring.flush() == 4
        assert ring.nop(5) == 0
        ids = {op_id for _ in range(2) for op_id, _, _ in ring.enter(0)}
        assert ids == {1, 2, 3, 4, 5}
    finally:
        ring.close()


def test_enter_times_out_without_an_error():
    ring = Ring(RingOptions(entries=4, cq_entries=8))
    try:
        start = time.monotonic()
        assert list(ring.enter(20_000_000)) == []
        assert time.monotonic() - start >= 0.02
        assert list(ring.enter(0)) == []
    finally:
        ring.close()


def test_one_enter_hands_out_at_most_its_limit_and_the_next_the_rest():
    ring = Ring(RingOptions(entries=1024, cq_entries=1024))
    try:
        total = ring.reap_max + 100
        for i in range(1, total + 1):
            assert ring.nop(i) == 0
        first = [op_id for op_id, _, _ in ring.enter(0)]
        assert len(first) == ring.reap_max
        assert ring.has_news()
        rest = []
        while ring.has_news():
            rest += [op_id for op_id, _, _ in ring.enter(-1)]
        assert sorted(first + rest) == list(range(1, total + 1))
    finally:
        ring.close()


def test_cancel_of_nothing_has_a_completion_of_nobody():
    ring = Ring(RingOptions(entries=4, cq_entries=8))
    try:
        ring.cancel(99)
        assert list(ring.enter(-1)) == [(0, -errno.ENOENT, 0)]
    finally:
        ring.close()


def test_counters_count():
    ring = Ring(RingOptions(entries=4, cq_entries=8))
    do_nop(ring)
    do_nop(ring)
    assert ring.counters() == (2, 2, 2, 0)
    ring.close()

    assert ring.counters() == (2, 2, 2, 0)


def test_opcodes_of_this_kernel():
    ring = Ring(RingOptions(entries=4, cq_entries=8))
    opcodes = ring.opcodes()
    ring.close()

    # NOP, POLL_ADD, SENDMSG, RECVMSG, ACCEPT, ASYNC_CANCEL, CONNECT, READ, WRITE, SEND, RECV.
    assert {0, 6, 9, 10, 13, 14, 16, 22, 23, 26, 27} <= opcodes


# Closing.


def test_closed_ring_refuses_everything():
    ring = Ring(RingOptions(entries=4, cq_entries=8))
    ring.close()

    for call in (lambda: ring.nop(1), ring.flush, lambda: ring.enter(0), lambda: ring.cancel(1)):
        with pytest.raises(RuntimeError, match="this ring is closed"):
            call()
    ring.close()


def test_many_rings_one_after_the_other():
    for _ in range(100):
        ring = Ring(RingOptions())
        do_nop(ring)
        ring.close()


def test_worker_limit_and_kernel_thread_can_be_asked_for():
    ring = Ring(RingOptions(entries=4, cq_entries=8, iowq_max_workers=2))
    do_nop(ring)
    ring.close()
    ring = Ring(RingOptions(entries=4, cq_entries=8, sqpoll=True, sqpoll_idle_ms=10))
    do_nop(ring)
    ring.close()


# Forks.


def child_exit(call):
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            call()
        except RuntimeError as exc:
            status = 3 if "belongs to the parent process" in str(exc) else 2
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.mark.parametrize("method", ["nop", "enter", "flush", "cancel"])
def test_forked_child_is_refused_and_the_parent_undisturbed(method):
    ring = Ring(RingOptions(entries=4, cq_entries=8))
    try:
        assert ring.nop(1) == 0
        args = () if method == "flush" else (0,)
        assert child_exit(lambda: getattr(ring, method)(*args)) == 3

        assert list(ring.enter(-1)) == [(1, 0, 0)]
        assert do_nop(ring) == [(7, 0, 0)]
    finally:
        ring.close()


def test_forked_child_may_look_for_news_without_a_crash():
    """It read the mapping that a child does not have, and died of SIGSEGV."""
    ring = Ring(RingOptions(entries=4, cq_entries=8))

    def look():
        ring.has_news()
        os._exit(0)

    try:
        assert child_exit(look) in (0, 3)
    finally:
        ring.close()


def test_forked_child_may_close_the_ring():
    ring = Ring(RingOptions(entries=4, cq_entries=8))

    def close():
        ring.close()
        os._exit(0)

    try:
        ring.nop(1)
        assert child_exit(close) in (0, 3)
        assert list(ring.enter(-1)) == [(1, 0, 0)]
    finally:
        ring.close()


def test_child_of_a_run_that_goes_on_gets_an_error_and_the_parent_goes_on(run):
    """fork() inside a run: the child must not live on in it."""

    async def main():
        left, right = uringtrio.socket.socketpair()
        with left, right:
            async with uringtrio.open_nursery() as nursery:
                nursery.start_soon(right.recv, 10)
                await uringtrio.lowlevel.checkpoint()
                pid = os.fork()
                if pid == 0:
                    return await go_on_in_child()
                status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
                await left.send(b"x")
        return status

    async def go_on_in_child():
        for _ in range(100):
            await uringtrio.lowlevel.checkpoint()
        os._exit(0)

    parent = os.getpid()
    try:
        status = run(main, driver="io_uring")
    except BaseException as exc:
        if os.getpid() == parent:
            raise
        told = exc
        while told.__cause__ is not None:
            told = told.__cause__
        os._exit(3 if "belongs to the parent process" in str(told) else 2)
    assert status == 3
