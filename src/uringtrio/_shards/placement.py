"""CPUs: how many this process may use, how they lie together, and which of them a shard gets."""

from __future__ import annotations

import errno
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from uringtrio._thread_cache import note_pinned

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

# What `run_sharded(placement=...)` accepts.
Placement = Literal["spread", "pack", "none"]

HAS_AFFINITY = hasattr(os, "sched_setaffinity")


def usable_cpus() -> list[int]:
    """Return the numbers of the CPUs that the calling thread may run on, ascending."""
    if HAS_AFFINITY:
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def default_shard_count(root: Path = Path("/")) -> int:
    """Return how many shards can run at the same time: usable CPUs, or the cgroup's quota of them.

    Args:
        root: where to find `proc` and `sys`, for tests.
    """
    # Half a CPU of quota is still one to run on: rounding down would leave it unused.
    return max(1, math.ceil(min(len(usable_cpus()), *_quotas(root), math.inf)))


def _quotas(root: Path) -> Iterable[float]:
    """Yield the CPUs that each cgroup above this process grants, where it grants less than all.

    Source: cgroups(7); the kernel's admin-guide/cgroup-v2, cpu.max, and sched-bwc of version 1.
    """
    mounts = root / "sys/fs/cgroup"
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if not controllers:
            for group in _with_parents(mounts, path):
                yield from _quota_of(_read(group / "cpu.max").split())
        elif "cpu" in controllers.split(","):
            for group in _with_parents(mounts / "cpu", path):
                figures = [_read(group / f"cpu.cfs_{name}_us") for name in ("quota", "period")]
                yield from _quota_of([figure.strip() for figure in figures])


def _quota_of(figures: list[str]) -> Iterable[float]:
    # "max" and -1 stand for no limit; files that are not there, for a system without limits.
    if len(figures) == 2 and figures[0].isdecimal() and int(figures[1] or 0) > 0:
        yield int(figures[0]) / int(figures[1])


def _with_parents(mount: Path, path: str) -> Iterable[Path]:
    group = mount / path.strip("/")
    yield group
    while group != mount:
        group = group.parent
        yield group


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def order_cpus(
    cpus: Iterable[int], placement: Literal["spread", "pack"], root: Path = Path("/")
) -> list[int]:
    """Return CPUs in the order in which shards get them.

    Args:
        cpus: the usable ones.
        placement: "spread" gives every core one shard before any core gets a second one on
            another hyper-thread, and takes the NUMA nodes in turn; "pack" fills a core, then the
            next core of the node, then the next node.
        root: where to find `sys`, for tests.
    """
    nodes: dict[int, dict[tuple[int, int], list[int]]] = {}
    node_of = _nodes(root)
    for cpu in sorted(cpus):
        cores = nodes.setdefault(node_of.get(cpu, 0), {})
        cores.setdefault(_core(cpu, root), []).append(cpu)
    # By rank: of the node, of the core in its node, of the hyper-thread in its core.
    ranked = [
        (node, core, thread, cpu)
        for node, (_, cores) in enumerate(sorted(nodes.items()))
        for core, threads in enumerate(cores.values())
        for thread, cpu in enumerate(threads)
    ]
    if placement == "spread":
        ranked.sort(key=lambda rank: (rank[2], rank[1], rank[0]))
    return [cpu for *_, cpu in ranked]


def _core(cpu: int, root: Path) -> tuple[int, int]:
    """Return what tells the core of `cpu` from all others; itself where the system does not say."""
    topology = root / f"sys/devices/system/cpu/cpu{cpu}/topology"
    package = _read(topology / "physical_package_id").strip()
    core = _read(topology / "core_id").strip()
    # Some virtual machines say -1.
    if package.isdecimal() and core.isdecimal():
        return int(package), int(core)
    return -1, cpu


def _nodes(root: Path) -> dict[int, int]:
    """Return the NUMA node of each CPU; nothing where there are none."""
    return {
        cpu: int(directory.name.removeprefix("node"))
        for directory in (root / "sys/devices/system/node").glob("node[0-9]*")
        for cpu in _parse_cpu_list(_read(directory / "cpulist"))
    }


def _parse_cpu_list(text: str) -> Iterable[int]:
    """Yield the numbers in a list such as "0-3,8"."""
    for part in text.strip().split(","):
        first, _, last = part.partition("-")
        if first:
            yield from range(int(first), int(last or first) + 1)


def place(
    placement: Placement | Sequence[Iterable[int]], count: int | None
) -> list[frozenset[int]]:
    """Return the CPUs of each shard.

    Args:
        placement: as `run_sharded` gets it.
        count: how many shards; None takes one for each usable CPU, or for each set in `placement`.

    Raises:
        TypeError: `placement` is neither one of the words nor a list of sets.
        ValueError: it is another word, or not one set for each shard, or names a CPU that this
            process may not use.
    """
    cpus = usable_cpus()
    if isinstance(placement, str):
        if placement not in ("spread", "pack", "none"):
            raise ValueError(
                f'placement must be "spread", "pack", "none" or a list with the CPUs of each '
                f"shard, not {placement!r}"
            )
        count = default_shard_count() if count is None else count
        if placement == "none" or not HAS_AFFINITY:
            return [frozenset(cpus)] * count
        order = order_cpus(cpus, placement)
        return [frozenset({order[index % len(order)]}) for index in range(count)]
    sets = [_as_cpu_set(entry, f"placement[{i}]") for i, entry in enumerate(placement)]
    if not sets or (count is not None and len(sets) != count):
        raise ValueError(
            f"placement lists the CPUs of {len(sets)} shards, but there are {count or 'none'}: "
            "leave out shards, or list as many"
        )
    for index, entry in enumerate(sets):
        if not entry <= set(cpus):
            raise ValueError(
                f"placement[{index}] names CPUs {sorted(entry - set(cpus))}, which this process "
                f"may not use; it may use {cpus}"
            )
    return sets


def _as_cpu_set(cpus: Iterable[int], name: str) -> frozenset[int]:
    try:
        found = frozenset(cpus)
    except TypeError:
        raise TypeError(f"{name} must be a set of CPU numbers, not {cpus!r}") from None
    if not all(isinstance(cpu, int) for cpu in found):
        raise TypeError(f"{name} must be a set of CPU numbers, not {cpus!r}")
    if not found:
        raise ValueError(f"{name} must name at least one CPU")
    return found


def pin_thread(cpus: Iterable[int]) -> None:
    """Let the calling thread run on these CPUs only.

    Threads and processes that it starts from then on inherit that, also those of
    `to_thread.run_sync`; others of this process go where they did.

    Args:
        cpus: at least one CPU number; `os.sched_getaffinity(0)` says which are usable.

    Raises:
        TypeError: `cpus` are no ints.
        ValueError: there are none of them.
        OSError: none of them can be used here (EINVAL), or threads cannot be pinned on this
            system (ENOSYS).

    Checkpoint: never; this is no async function.

    Source: sched_setaffinity(2).
    """
    wanted = _as_cpu_set(cpus, "cpus")
    if not HAS_AFFINITY:
        raise OSError(errno.ENOSYS, "this system cannot pin threads to CPUs")
    try:
        os.sched_setaffinity(0, wanted)
    except (OSError, OverflowError, ValueError) as exc:
        raise OSError(
            errno.EINVAL,
            f"cannot pin this thread to CPUs {sorted(wanted)}: usable are {usable_cpus()}",
        ) from exc
    note_pinned(wanted)
