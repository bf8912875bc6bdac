"""Runs the scripts of this directory, for each driver: each asserts what it is about by itself."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import uringtrio
from uringtrio._drivers.driver import SYSTEMS

HERE = Path(__file__).parent

pytestmark = pytest.mark.stress


@pytest.fixture(params=SYSTEMS)
def driver_name(request):
    report = uringtrio.probe()
    if request.param == "io_uring" and not report.available:
        pytest.skip(report.reason)
    return request.param


def run_script(name, driver, *options, limit_seconds):
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", HERE / name, "--driver", driver, *options],
        # For the stand-in for kqueue, which child processes get by this name.
        env={**os.environ, "URINGTRIO_DRIVER": driver},
        capture_output=True,
        text=True,
        timeout=limit_seconds,
        check=False,
    )
    sys.stdout.write(done.stdout)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert f"{driver}: " in done.stdout


def test_cancelled_receives_lose_no_byte(driver_name):
    run_script("cancelled_receives.py", driver_name, "--count", "100000", limit_seconds=120)


def test_cancelled_reads_of_files_are_whole_or_nothing(driver_name):
    run_script("cancelled_reads.py", driver_name, "--count", "100000", limit_seconds=120)


def test_echo_survives_connections_cut_at_random(driver_name):
    run_script("chaos_echo.py", driver_name, "--seconds", "50", limit_seconds=150)


def test_echo_survives_a_storm_of_signals(driver_name):
    run_script("signals_storm.py", driver_name, "--seconds", "10", limit_seconds=60)


def test_ten_thousand_connections_are_held_and_served(driver_name):
    run_script("many_connections.py", driver_name, limit_seconds=120)


def test_random_programs_do_the_same_as_on_trio(driver_name):
    run_script("random_programs.py", driver_name, "--count", "20000", limit_seconds=900)


@pytest.mark.parametrize("kind", ["thread", "process"])
def test_shared_channels_lose_no_wake(driver_name, kind):
    run_script(
        "shared_channel.py", driver_name, "--kind", kind, "--seconds", "60", limit_seconds=200
    )


def test_small_ring_and_many_streams():
    """More streams than the queues hold, so that both are full all the time."""
    report = uringtrio.probe()
    if not report.available:
        pytest.skip(report.reason)
    run_script(
        "cancelled_receives.py",
        "io_uring",
        "--count=100000",
        "--streams=400",
        "--entries=8",
        "--buffers=2",
        limit_seconds=120,
    )
