"""Measure what more shards bring, and what it costs to pass objects between them.

Each case runs in a process of its own, the cases in turn, and the best round of each counts. On a
machine with two CPUs, whatever else runs takes from the second shard. README.md beside this file
says how to read the figures.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import machine
import report

CASES = Path(__file__).with_name("shards_cases.py")
SERVER = Path(__file__).parents[1] / "examples" / "sharded_echo.py"

BETWEEN_PROCESSES = ("process", "process sync", "multiprocessing.Queue")
BETWEEN_THREADS = ("thread", "thread sync", "queue.Queue")
RINGS = ("thread sync", "queue.Queue")
WAKES = ("eventfd", "socketpair", "msg_ring")
WAKE_ROUND_TRIPS = 20_000

ECHO_CONNECTIONS = 50
ECHO_BYTES = 1024
ECHO_SECONDS = 2.0
WARMUP_SECONDS = 0.3

Figures = dict[str, float]
# All rounds of a case.
Every = dict[str, list[Figures]]


def run_json(*command: str) -> Figures:
    """Run a program that prints its figures last; return them."""
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    figures: Figures = json.loads(done.stdout.splitlines()[-1])
    return figures


def measure_echo(shards: int) -> Figures:
    """Drive a sharded echo server over TCP, and say which CPUs that takes on each side."""
    command = [sys.executable, str(SERVER), "--port=0", "--statistics", f"--shards={shards}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            # "shard I of N: ('HOST', PORT)", and lines of figures among them.
            ports = [
                next(line for line in server.stdout if line.startswith("shard"))
                for _ in range(shards)
            ]
            port = ports[0].split()[-1].strip(")\n")
            before = os.times()
            numbers = (port, ECHO_CONNECTIONS, ECHO_BYTES, WARMUP_SECONDS, ECHO_SECONDS, server.pid)
            figures = run_json(str(machine.build_c("load")), "stream", *map(str, numbers))
            after = os.times()
        finally:
            server.terminate()
        output, _ = server.communicate()
    last = {}
    for line in output.splitlines():
        if line.startswith("{"):
            last[json.loads(line)["shard"]] = json.loads(line)["cpu_seconds"]
    load = after.children_user + after.children_system
    load -= before.children_user + before.children_system
    seconds = WARMUP_SECONDS + ECHO_SECONDS
    return {
        "per_second": figures["requests_per_s"],
        "cpus": sum(last.values()) / seconds,
        "load_cpus": load / seconds,
    }


def run_rounds(rounds: int, shards: list[int]) -> Every:
    """Measure all cases, in turn."""
    every: Every = {}
    cases = [(f"work {kind} {n}",) for kind in ("process", "thread") for n in shards]
    cases += [("channel", name) for name in BETWEEN_PROCESSES + BETWEEN_THREADS]
    cases += [("there-and-back", name) for name in BETWEEN_PROCESSES + BETWEEN_THREADS]
    cases += [("ring", name) for name in RINGS]
    wake = str(machine.build_c("wake", "-luring", "-pthread"))
    for index in range(rounds):
        for case in cases:
            name = " ".join(case)
            print(f"round {index + 1}: {name}", end="\033[K\r", file=sys.stderr)
            words = case if len(case) == 2 else name.split()
            every.setdefault(name, []).append(run_json(sys.executable, str(CASES), *words))
        for count in shards:
            every.setdefault(f"echo {count}", []).append(measure_echo(count))
        for method in WAKES:
            figures = run_json(wake, method, str(WAKE_ROUND_TRIPS))
            every.setdefault(f"wake {method}", []).append(figures)
    print(end="\033[K", file=sys.stderr)
    return every


def best(rounds: list[Figures]) -> Figures:
    """Return the best round: the one with the highest rate, or else the shortest time."""
    if "per_second" in rounds[0]:
        return max(rounds, key=lambda figures: figures["per_second"])
    return min(rounds, key=lambda figures: figures["p50_us"])


def table_of_shards(
    every: Every, title: str, cases: list[str], shards: list[int]
) -> report.Figures:
    """Return what more shards bring, over the first number of them."""
    rows = []
    for case in cases:
        first = best(every[f"{case} {shards[0]}"])["per_second"]
        for count in shards:
            figures = best(every[f"{case} {count}"])
            rate, cpus, load = (figures.get(n, 0.0) for n in ("per_second", "cpus", "load_cpus"))
            name = f"{case.partition(' ')[2] or 'process'} {count}"
            cells = [name, f"{rate:,.0f}", f"{rate / first:.2f}", f"{cpus:.2f}"]
            rows.append([*cells, f"{rate / cpus:,.0f}", f"{load:.2f}"])
    columns = ["kind, shards", "1/s", f"x {shards[0]}", "CPUs", "1/CPU s", "load's CPUs"]
    return report.Figures(title, columns, rows)


def table_of_rates(every: Every, title: str, case: str, names: tuple[str, ...]) -> report.Figures:
    """Return objects per second and their price, as times the last of `names`."""
    rounds = {name: every[f"{case} {name}"] for name in names}
    rates = {name: best(rounds[name])["per_second"] for name in names}
    prices = {name: min(figures["cpu_us"] for figures in rounds[name]) for name in names}
    last = names[-1]
    rows = [
        [name, f"{rates[name]:,.0f}", f"{rates[name] / rates[last]:.2f}",
         f"{prices[name]:.2f}", f"{prices[last] / prices[name]:.2f}"]
        for name in names
    ]  # fmt: skip
    return report.Figures(title, ["channel", "1/s", "x last", "CPU", "x last"], rows)


def table_of_times(every: Every, title: str, case: str, names: tuple[str, ...]) -> report.Figures:
    """Return the time of there and back."""
    rows = []
    for name in names:
        figures = best(every[f"{case} {name}"])
        rows.append([name, *(f"{figures[key]:.1f}" for key in ("p50_us", "p99_us", "cpu_us"))])
    return report.Figures(title, ["by", "p50", "p99", "CPU"], rows)


def tabulate(every: Every, rounds: int, shards: list[int]) -> list[report.Figures]:
    """Return a table for each kind of case."""
    objects = "objects from one to another, CPU of both in us for each"
    there = "there and back in us, CPU of both"
    hops = "hops in a ring of 32 threads, 16 messages, CPU in us for each"
    work = ["work process", "work thread"]
    return [
        table_of_shards(every, f"CPU-bound requests, best of {rounds}", work, shards),
        table_of_shards(every, f"echo of 1 KiB over TCP, best of {rounds}", ["echo"], shards),
        table_of_rates(every, f"{objects}, best of {rounds}", "channel", BETWEEN_PROCESSES),
        table_of_rates(every, f"{objects}, best of {rounds}", "channel", BETWEEN_THREADS),
        table_of_rates(every, f"{hops}, best of {rounds}", "ring", RINGS),
        table_of_times(every, there, "there-and-back", BETWEEN_PROCESSES + BETWEEN_THREADS),
        table_of_times(every, f"two rings wake each other, in C: {there}", "wake", WAKES),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--shards", type=int, nargs="+", default=[1, 2], help="how many to compare")
    report.add_options(parser)
    options = parser.parse_args()
    machine.require_c("load")
    every = run_rounds(options.rounds, options.shards)
    tables = tabulate(every, options.rounds, options.shards)
    report.publish(options, tables, machine.versions(), [], every)


if __name__ == "__main__":
    main()
