"""Plan: what `run_sharded` was asked for, checked before anything starts."""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from uringtrio._drivers.driver import Driver
from uringtrio._scheduler.coroutines import check_async_fn
from uringtrio._scheduler.current import in_trio_run

from .placement import Placement, place
from .shard import SHARD, Kind

if TYPE_CHECKING:
    from uringtrio._ring.options import RingOptions

Placements = Placement | Sequence[Iterable[int]]


@dataclass(frozen=True, slots=True)
class Plan:
    """What to run in each shard, and how.

    Attributes:
        main, args: the async function and its arguments.
        kind: "thread" or "process".
        placement: the CPUs of each shard; there are as many shards.
        driver, ring: as `run` takes them.
        grace_seconds: how long a cancelled shard may go on.
    """

    main: Callable[..., Awaitable[Any]]
    args: tuple[Any, ...]
    kind: Kind
    placement: list[frozenset[int]]
    driver: str | None
    ring: RingOptions | None
    grace_seconds: float


def make_plan(  # noqa: PLR0913  # the arguments of `run_sharded`
    main: Callable[..., Awaitable[Any]],
    args: tuple[Any, ...],
    *,
    shards: int | None,
    kind: Literal["auto", "thread", "process"],
    placement: Placements,
    driver: str | None,
    ring: RingOptions | None,
    grace_seconds: float,
) -> Plan:
    """Return the plan, or raise what `run_sharded` documents."""
    check_async_fn(main, "uringtrio.run_sharded")
    _check_place_of_call()
    if shards is not None and not isinstance(shards, int):
        raise TypeError(f"shards must be an int or None, not {shards!r}")
    if shards is not None and shards < 1:
        raise ValueError(f"shards must be at least 1, not {shards}")
    if kind not in ("auto", "thread", "process"):
        raise ValueError(f'kind must be "auto", "thread" or "process", not {kind!r}')
    if isinstance(driver, Driver):
        raise TypeError(
            f"run_sharded needs the name of a driver, not {driver!r}: each shard opens its own"
        )
    if not grace_seconds >= 0:
        raise ValueError(f"grace_seconds must be at least 0, not {grace_seconds!r}")
    return Plan(
        main, args, resolve_kind(kind), place(placement, shards), driver, ring, grace_seconds
    )


def resolve_kind(kind: Literal["auto", "thread", "process"]) -> Kind:
    """Return what "auto" stands for here: threads where they run in parallel."""
    if kind != "auto":
        return kind
    # Since Python 3.13; before that there is always a GIL.
    is_gil_enabled = getattr(sys, "_is_gil_enabled", lambda: True)
    return "process" if is_gil_enabled() else "thread"


def _check_place_of_call() -> None:
    if SHARD.get(None) is not None:
        raise RuntimeError(
            "run_sharded() was called inside a shard: shards do not nest. "
            "Call it once, outside, and give each shard more tasks"
        )
    if in_trio_run():
        raise RuntimeError(
            "run_sharded() was called inside a run: it starts runs of its own and blocks until "
            "they end. Call it where you would call uringtrio.run()"
        )
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise RuntimeError(
            "run_sharded() was called while a shard's process imports the program: put the call "
            'under `if __name__ == "__main__":`'
        )
