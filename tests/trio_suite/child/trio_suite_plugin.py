"""The pytest plugin of a process that runs one file of Trio's tests: `process.py` reads it.

It installs the alias before anything imports trio, keeps to the tests that it is given, says what
becomes of each as a line of JSON, at once, so that a crash loses nothing, and ends the process
if a test hangs.
"""

import faulthandler
import json
import os
import signal
import time
from pathlib import Path

import pytest
import trio_alias
from trio_alias import asserts

JOB = json.loads(Path(os.environ["TRIO_SUITE_JOB"]).read_text())
PID = os.getpid()

results = Path(JOB["results"]).open("a", encoding="utf-8")  # noqa: SIM115  # for good
dump = Path(JOB["dump"]).open("w", encoding="utf-8")  # noqa: SIM115  # for good

faulthandler.enable(dump)
# A shell that starts the run in the background has it ignore Ctrl-C, which tests are about.
signal.signal(signal.SIGINT, signal.default_int_handler)
trio_alias.install()
asserts.install()


def emit(event, **details):
    # A test may fork, and its child must not speak for it.
    if os.getpid() == PID:
        results.write(json.dumps({"event": event, **details}) + "\n")
        results.flush()


def pytest_collection_modifyitems(config, items):
    wanted = set(JOB["ids"])
    dropped = [item for item in items if item.nodeid not in wanted]
    items[:] = [item for item in items if item.nodeid in wanted]
    config.hook.pytest_deselected(items=dropped)


def pytest_collectreport(report):
    if not report.passed:
        emit("not collected", message=str(report.longrepr))


class Result:
    """What is known so far of the test that runs."""

    kind = "no report"
    message = ""


result = Result()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item):
    global result  # noqa: PLW0603  # hooks share nothing else
    result = Result()
    started = time.monotonic()
    emit("start", id=item.nodeid)
    faulthandler.dump_traceback_later(JOB["timeout"], exit=True, file=dump)
    try:
        return (yield)
    finally:
        faulthandler.cancel_dump_traceback_later()
        seconds = time.monotonic() - started
        emit("end", id=item.nodeid, kind=result.kind, message=result.message, seconds=seconds)


def pytest_runtest_logreport(report):
    if report.failed:
        crash = getattr(report.longrepr, "reprcrash", None)
        first = crash.message if crash else ""
        result.message += f"[{report.when}] {first}\n{report.longrepr}\n"
        result.kind = "failed"
    elif report.skipped and result.kind != "failed":
        # Also a test that is expected to fail: on the manifest there is none.
        result.kind, result.message = "skipped", str(report.longrepr)
    elif report.when == "call" and result.kind == "no report":
        result.kind = "passed"


def pytest_sessionfinish():
    emit("done")
