"""Which CPUs there are, how many shards they take, and who gets which."""

import os
import queue
import threading

import pytest

from uringtrio._shards import placement
from uringtrio._thread_cache import start_thread_soon
from uringtrio.lowlevel import pin_thread

CPUS = sorted(os.sched_getaffinity(0))


def write(root, files):
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def machine(root, cpus, *, nodes=True):
    """Describe CPUs {number: (node, package, core)} as the system does."""
    files = {}
    by_node = {}
    for cpu, (node, package, core) in cpus.items():
        directory = f"sys/devices/system/cpu/cpu{cpu}/topology"
        files[f"{directory}/physical_package_id"] = f"{package}\n"
        files[f"{directory}/core_id"] = f"{core}\n"
        by_node.setdefault(node, []).append(str(cpu))
    if nodes:
        for node, members in by_node.items():
            files[f"sys/devices/system/node/node{node}/cpulist"] = ",".join(members) + "\n"
    return write(root, files)


# Two nodes of two cores of two threads; numbered as servers are, all first threads first.
SERVER = {cpu: (cpu // 2 % 2, cpu // 2 % 2, cpu % 2) for cpu in range(8)}


def test_spread_takes_cores_of_all_nodes_before_second_threads(tmp_path):
    order = placement.order_cpus(SERVER, "spread", machine(tmp_path, SERVER))

    assert order == [0, 2, 1, 3, 4, 6, 5, 7]


def test_pack_fills_a_core_then_a_node(tmp_path):
    order = placement.order_cpus(SERVER, "pack", machine(tmp_path, SERVER))

    assert order == [0, 4, 1, 5, 2, 6, 3, 7]


def test_only_usable_cpus_are_ordered(tmp_path):
    order = placement.order_cpus({1, 5, 7}, "spread", machine(tmp_path, SERVER))

    assert order == [1, 7, 5]


@pytest.mark.parametrize("word", ["spread", "pack"])
def test_system_that_says_nothing_has_cores_by_number(tmp_path, word):
    assert placement.order_cpus([3, 1, 2], word, tmp_path) == [1, 2, 3]


def test_virtual_machine_that_says_minus_one_has_cores_by_number(tmp_path):
    cpus = dict.fromkeys(range(4), (0, 0, -1))
    root = machine(tmp_path, cpus, nodes=False)

    assert placement.order_cpus(cpus, "spread", root) == [0, 1, 2, 3]


def test_cpu_lists_are_ranges(tmp_path):
    root = write(tmp_path, {"sys/devices/system/node/node1/cpulist": "0-1,4\n"})
    root = write(root, {"sys/devices/system/node/node0/cpulist": "2-3\n"})

    assert placement.order_cpus(range(5), "pack", root) == [2, 3, 0, 1, 4]


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({"proc/self/cgroup": "0::/\n"}, None),
        ({"proc/self/cgroup": "0::/a\n", "sys/fs/cgroup/a/cpu.max": "max 100000\n"}, None),
        ({"proc/self/cgroup": "0::/a\n", "sys/fs/cgroup/a/cpu.max": "150000 100000\n"}, 1.5),
        (
            {
                "proc/self/cgroup": "0::/a/b\n",
                "sys/fs/cgroup/a/cpu.max": "50000 100000\n",
                "sys/fs/cgroup/a/b/cpu.max": "800000 100000\n",
            },
            0.5,
        ),
        (
            {
                "proc/self/cgroup": "4:cpuacct,cpu:/a\n2:memory:/\n",
                "sys/fs/cgroup/cpu/a/cpu.cfs_quota_us": "300000\n",
                "sys/fs/cgroup/cpu/a/cpu.cfs_period_us": "100000\n",
            },
            3,
        ),
        (
            {
                "proc/self/cgroup": "4:cpu:/\n",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
            },
            None,
        ),
        ({}, None),
    ],
)
def test_quota_limits_the_number_of_shards(tmp_path, monkeypatch, files, quota):
    monkeypatch.setattr(placement, "usable_cpus", lambda: list(range(8)))
    count = placement.default_shard_count(write(tmp_path, files))

    assert count == {None: 8, 0.5: 1, 1.5: 2, 3: 3}[quota]


def test_one_shard_for_each_cpu_by_default(monkeypatch):
    monkeypatch.setattr(placement, "default_shard_count", lambda: len(CPUS))
    sets = placement.place("spread", None)

    assert sorted(cpu for entry in sets for cpu in entry) == CPUS


def test_more_shards_than_cpus_take_turns():
    sets = placement.place("spread", 2 * len(CPUS) + 1)

    assert sets[: len(CPUS)] == sets[len(CPUS) : 2 * len(CPUS)]
    assert sets[-1] == sets[0]


def test_none_leaves_every_shard_all_cpus():
    assert placement.place("none", 2) == [frozenset(CPUS)] * 2


def test_explicit_sets_are_taken_as_they_are():
    assert placement.place([CPUS, {CPUS[0]}], None) == [frozenset(CPUS), frozenset(CPUS[:1])]


@pytest.mark.parametrize(
    ("value", "count", "error", "message"),
    [
        ("dense", 1, ValueError, "not 'dense'"),
        ([], None, ValueError, "0 shards"),
        ([[0]], 2, ValueError, "CPUs of 1 shards, but there are 2"),
        ([[]], None, ValueError, r"placement\[0\] must name at least one CPU"),
        ([0], None, TypeError, r"placement\[0\] must be a set of CPU numbers, not 0"),
        ([["0"]], None, TypeError, r"placement\[0\]"),
        ([[CPUS[-1] + 1]], None, ValueError, "may not use; it may use"),
    ],
)
def test_impossible_placement_is_refused(value, count, error, message):
    with pytest.raises(error, match=message):
        placement.place(value, count)


def in_thread(function):
    """Call `function` in a thread of its own, whose affinity nobody misses."""
    results = []
    thread = threading.Thread(target=lambda: results.append(function()))
    thread.start()
    thread.join()
    return results[0]


def test_pin_thread_pins_the_calling_thread():
    def pin():
        pin_thread([CPUS[-1]])
        return os.sched_getaffinity(0)

    assert in_thread(pin) == {CPUS[-1]}
    assert sorted(os.sched_getaffinity(0)) == CPUS


def usable_by_a_worker():
    """Return the CPUs of a worker of the thread cache, and of one that this one uses."""
    results = queue.Queue()

    def look():
        start_thread_soon(lambda: os.sched_getaffinity(0), results.put)
        return os.sched_getaffinity(0)

    start_thread_soon(look, results.put)
    return [results.get(timeout=10).unwrap() for _ in range(2)]


def test_workers_run_where_the_thread_that_uses_them_may():
    """Until now, a worker that a pinned thread had started was pinned for all others."""

    def pin_and_look():
        pin_thread([CPUS[-1]])
        return usable_by_a_worker()

    for _ in range(3):
        assert in_thread(pin_and_look) == [{CPUS[-1]}] * 2
        assert usable_by_a_worker() == [set(CPUS)] * 2


@pytest.mark.parametrize(
    ("cpus", "error"),
    [([], ValueError), (0, TypeError), (["a"], TypeError), ([100_000], OSError), ([-1], OSError)],
)
def test_pin_thread_refuses_what_cannot_be(cpus, error):
    with pytest.raises(error, match="CPU"):
        pin_thread(cpus)


def test_system_without_affinity_does_not_pin(monkeypatch):
    monkeypatch.setattr(placement, "HAS_AFFINITY", False)
    every = frozenset(range(os.cpu_count()))

    assert placement.place("spread", 2) == [every, every]
    with pytest.raises(OSError, match="cannot pin threads"):
        pin_thread([0])
