"""Run Trio's own tests on uringtrio, as far as they are about Trio's public API."""

import argparse
import importlib.metadata
import importlib.util
import os
import shutil
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from rich.console import Console
from rich.markup import escape

import uringtrio

from . import expected, manifest
from .process import FileRun
from .report import DriverReport, show_reasons

JOBS_MAX = 4


def parse_options():
    parser = argparse.ArgumentParser(prog="trio_suite", description=__doc__)
    parser.add_argument("--driver", choices=expected.DRIVERS, help="default: all that can be had")
    parser.add_argument("-k", metavar="TEXT", default="", help="only tests with this in their id")
    parser.add_argument("-j", "--jobs", type=int, default=min(os.cpu_count() or 1, JOBS_MAX))
    parser.add_argument("--timeout", type=float, default=20.0, help="seconds per test: 20")
    parser.add_argument("--expected", type=Path, default=expected.PATH, metavar="TOML")
    parser.add_argument("--workdir", type=Path, help="keep logs here, also if all is well")
    return parser.parse_args()


def find_wheel(console, known):
    """Return the directory of the installed trio, which is not imported."""
    spec = importlib.util.find_spec("trio")
    wheel = Path(spec.origin).parent if spec else None
    if wheel is None or not (wheel / "_tests").is_dir():
        sys.exit("trio is not installed with its tests: pip install '.[test]'")
    version = importlib.metadata.version("trio")
    if version != known.trio:
        sys.exit(f"the manifest is about trio {known.trio}, not {version}: pip install '.[test]'")
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    if python not in known.pythons:
        console.print(f"Trio's tests were not sorted on Python {python}: expect other failures")
    return wheel


def choose_drivers(console, options):
    if options.driver:
        return [options.driver]
    probed = uringtrio.probe()
    if probed.available:
        return list(expected.DRIVERS)
    console.print(f"==> NOT TESTED ON IO_URING: {escape(probed.reason or 'no reason is known')}")
    return ["epoll"]


def run_driver(driver, selected, options, wheel, workdir):
    """Return {file: (outcomes, seconds)}."""
    workdir.mkdir(parents=True, exist_ok=True)

    def run_file(file):
        started = time.monotonic()
        run = FileRun(file, wheel=wheel, driver=driver, workdir=workdir, timeout=options.timeout)
        return run.run(selected[file]), time.monotonic() - started

    with ThreadPoolExecutor(options.jobs) as pool:
        return dict(zip(selected, pool.map(run_file, selected), strict=True))


def main():
    options = parse_options()
    console = Console(highlight=False)
    known = manifest.load()
    try:
        listed = expected.load(known, options.expected)
    except expected.ListError as exc:
        sys.exit(str(exc))
    selected = {
        file: chosen
        for file, ids in known.applicable.items()
        if (chosen := [test_id for test_id in ids if options.k in test_id])
    }
    if not selected:
        sys.exit(f"no test that applies has {options.k!r} in its id")
    wheel = find_wheel(console, known)
    workdir = options.workdir or Path(tempfile.mkdtemp(prefix="trio-suite-"))
    console.print(
        f"Trio {known.trio}: {len(known.ids())} of its tests apply to other packages, "
        f"{len(known.excluded)} do not (manifest.json says why)",
        soft_wrap=True,
    )
    reports = []
    for driver in choose_drivers(console, options):
        results = run_driver(driver, selected, options, wheel, workdir.absolute() / driver)
        reports.append(DriverReport(driver, results, listed, is_whole=selected == known.applicable))
        reports[-1].show(console)
    show_reasons(console, reports, listed)
    is_good = all(report.is_good for report in reports)
    if is_good and not options.workdir:
        shutil.rmtree(workdir)
    else:
        console.print(f"\nLogs: {escape(str(workdir))}/*/*.log", soft_wrap=True)
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main())
