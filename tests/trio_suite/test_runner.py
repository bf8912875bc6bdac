"""The list of expected failures is well-formed, and the runner of Trio's tests holds by it."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from . import expected, manifest
from .expected import Entry, ExpectedFailures, ListError
from .process import FileRun, Outcome
from .report import DriverReport

HERE = Path(__file__).parent
TIMEOUT_SECONDS = 50

FILE = "trio/_core/_tests/test_local.py"
LISTED = "trio/_core/_tests/test_run.py::test_nice_error_on_bad_calls_to_run_or_spawn"


def run_suite(*options):
    """Run the runner on the driver that the environment names, or else on epoll."""
    named = os.environ.get("URINGTRIO_DRIVER")
    driver = named if named in expected.DRIVERS else "epoll"
    return subprocess.run(
        [sys.executable, "-m", "trio_suite", "--driver", driver, *options],
        env=os.environ | {"PYTHONPATH": str(HERE.parent), "COLUMNS": "120"},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )


def report_on(outcomes, listed, *, driver="epoll", is_whole=True):
    return DriverReport(driver, {FILE: (outcomes, 1.0)}, listed, is_whole=is_whole)


def test_every_expected_failure_is_a_test_that_applies_and_has_a_reason():
    known = manifest.load()
    listed = expected.load(known)

    assert listed.tests.keys() <= known.ids()
    assert all(entry.reason for entry in listed.tests.values())


def test_manifest_has_a_reason_for_each_test_that_does_not_apply():
    known = manifest.load()

    assert known.ids().isdisjoint(known.excluded)
    assert all(known.excluded.values())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[tests."no_file.py"]\ntest_x = "A reason."', "no_file.py::test_x is not run anyway"),
        (f'[tests."{FILE}"]\ntest_x = "A reason."', "Trio has no such test"),
        (f'[tests."{FILE}"]\ntest_runvar_sync = ""', "the reason must be a sentence"),
        (f'[tests."{FILE}"]\ntest_runvar_sync = {{ driver = "epoll" }}', "must be a sentence"),
        (f'[tests."{FILE}"]\ntest_runvar_sync = {{ driver = "x", reason = "A." }}', "driver ="),
        ('[not_built_yet]\n"trio/_tests/no_*.py" = "A reason."', "no file of tests that apply"),
        (f'[not_built_yet]\n"{FILE}" = "soon"', "the reason must be a sentence"),
        ("[test]", "no such section: test"),
        ("tests", "Expected '='"),
    ],
)
def test_list_with_a_mistake_is_refused(tmp_path, text, message):
    path = tmp_path / "list.toml"
    path.write_text(text)

    with pytest.raises(ListError, match=message):
        expected.load(manifest.load(), path)


def test_driver_limits_an_entry(tmp_path):
    path = tmp_path / "list.toml"
    path.write_text(
        f'[tests."{FILE}"]\ntest_runvar_sync = {{ driver = "epoll", reason = "A reason." }}'
    )

    listed = expected.load(manifest.load(), path)

    assert listed.reason_for(f"{FILE}::test_runvar_sync", "epoll") == "A reason."
    assert listed.reason_for(f"{FILE}::test_runvar_sync", "io_uring") is None


@pytest.mark.parametrize("kind", ["failed", "skipped", "hang", "crash", "not collected"])
def test_what_does_not_pass_must_be_listed(kind):
    outcome = Outcome(f"{FILE}::test_x", kind)

    assert report_on([outcome], ExpectedFailures()).failed == [outcome]
    listed = ExpectedFailures({outcome.id: Entry("Because.")})
    report = report_on([outcome], listed)
    assert (report.is_good, report.failed_as_expected) == (True, [outcome])


def test_what_is_listed_must_not_pass():
    outcome = Outcome(f"{FILE}::test_x", "passed")
    listed = ExpectedFailures({outcome.id: Entry("Because.", ("epoll",))})

    report = report_on([outcome], listed)

    assert not report.is_good
    assert report.passed_unexpectedly == [outcome]
    assert report_on([outcome], listed, driver="io_uring").is_good


def test_file_that_is_not_built_yet_must_have_a_failure():
    passed = Outcome(f"{FILE}::test_x", "passed")
    failed = Outcome(f"{FILE}::test_y", "failed")
    listed = ExpectedFailures(not_built_yet={"trio/_core/_tests/*": "Soon."})

    assert report_on([passed, failed], listed).is_good
    assert report_on([passed], listed).outdated == ["trio/_core/_tests/*"]
    # A selection does not say it of the whole file.
    assert report_on([passed], listed, is_whole=False).is_good


def test_runner_runs_trios_tests_on_uringtrio():
    done = run_suite("-k", "test_local.py")

    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert "4 apply, 4 passed, 0 failed as expected, 0 failed" in done.stdout


def test_runner_fails_with_a_failure_that_is_not_listed(tmp_path):
    empty = tmp_path / "list.toml"
    empty.touch()

    done = run_suite("-k", LISTED, "--expected", str(empty), "--workdir", str(tmp_path))

    assert done.returncode == 1
    assert f"FAILED {LISTED}" in done.stdout
    assert run_suite("-k", LISTED).returncode == 0


def test_file_goes_on_after_a_test_that_hangs(tmp_path):
    file = "trio/_tests/test_timeouts.py"
    sleeps_a_second = f"{file}::test_sleep"
    sleeps_shortly = f"{file}::test_cannot_wake_sleep_forever"
    unknown = f"{file}::test_of_no_such_name"
    wheel = Path(importlib.util.find_spec("trio").origin).parent
    file_run = FileRun(file, wheel=wheel, driver="epoll", workdir=tmp_path, timeout=0.5)

    outcomes = file_run.run([sleeps_a_second, sleeps_shortly, unknown])

    assert [(outcome.id, outcome.kind) for outcome in outcomes] == [
        (sleeps_a_second, "hang"),
        (sleeps_shortly, "passed"),
        (unknown, "not collected"),
    ]


def test_nothing_but_this_is_collected_from_here():
    assert [path.name for path in HERE.rglob("test_*.py")] == ["test_runner.py"]
    assert not list(HERE.rglob("conftest.py"))
