"""Runs one file of Trio's tests in a process of its own, and a new one past each crash or hang."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

CHILD = Path(__file__).with_name("child")

# How much longer than a test a process may be silent: it starts, collects, cleans up.
SILENCE_SECONDS = 30.0
POLL_SECONDS = 0.2
# After so many crashes and hangs in one file the rest of it is not run.
CRASHES_MAX = 10


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one test.

    Attributes:
        kind: passed, failed, skipped, hang, crash, "not collected" or "not run".
        message: what to say of it if it did not pass.
    """

    id: str
    kind: str
    message: str = ""
    seconds: float = 0.0

    @property
    def passed(self):
        # A skipped test is one that should run: what Trio skips is not on the manifest.
        return self.kind == "passed"


class FileRun:
    """The run of one file's tests.

    Args:
        file: as in the manifest, from the directory above the wheel's package.
        wheel: that package's directory.
        driver: the value of URINGTRIO_DRIVER.
        workdir: where logs and results are kept; each file has names of its own there.
        timeout: seconds for one test.
    """

    def __init__(self, file, *, wheel, driver, workdir, timeout):
        self._file = file
        self._wheel = wheel
        self._driver = driver
        self._workdir = workdir
        self._timeout = timeout
        name = file.replace("/", "_")
        self.log = workdir / f"{name}.log"
        self._job = workdir / f"{name}.job"
        self._results = workdir / f"{name}.jsonl"
        self._dump = workdir / f"{name}.dump"
        self._tmp = workdir / f"{name}.tmp"

    def run(self, ids):
        """Run the tests and return their outcomes, in the order of `ids`."""
        outcomes = {}
        left, rest = ids, None
        crashes = 0
        while left and rest is None:
            ended, rest = self._run_process(left)
            outcomes |= ended
            left = [test_id for test_id in ids if test_id not in outcomes]
            crashes += rest is None
            if crashes == CRASHES_MAX:
                rest = ("not run", f"{crashes} crashes or hangs in this file")
        return [outcomes.get(test_id) or Outcome(test_id, *rest) for test_id in ids]

    def _run_process(self, ids):
        """Return {id: outcome}, and what became of the others: None, a new process may tell."""
        self._results.write_text("")
        self._dump.write_text("")
        self._job.write_text(
            json.dumps(
                {
                    "ids": ids,
                    "results": str(self._results),
                    "dump": str(self._dump),
                    "timeout": self._timeout,
                }
            )
        )
        with self.log.open("a", encoding="utf-8") as log:
            process = subprocess.Popen(
                self._command(),
                env=self._environment(),
                cwd=self._workdir,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                is_silent = self._wait(process)
            finally:
                # With everything that tests have started and left behind.
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                status = process.wait()
        return self._read_results(status, is_silent=is_silent)

    def _wait(self, process):
        """Wait for the end, or for a silence that is too long; return which of them it was."""
        size, since = 0, time.monotonic()
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(POLL_SECONDS)
                return False
            if self._results.stat().st_size != size:
                size, since = self._results.stat().st_size, time.monotonic()
            elif time.monotonic() - since > self._timeout + SILENCE_SECONDS:
                return True

    def _read_results(self, status, *, is_silent):
        ended = {}
        running = problem = None
        is_done = False
        for line in self._results.read_text(encoding="utf-8").splitlines():
            event = json.loads(line)
            match event.pop("event"):
                case "start":
                    running = event["id"]
                case "end":
                    running = None
                    ended[event["id"]] = Outcome(**event)
                case "not collected":
                    problem = event["message"]
                case "done":
                    is_done = True
        if running is not None:
            dump = self._dump.read_text(errors="replace")
            is_hang = is_silent or dump.startswith("Timeout (")
            message = dump or f"the process ended with status {status}"
            ended[running] = Outcome(running, "hang" if is_hang else "crash", message)
            return ended, None
        if is_done or problem:
            return ended, ("not collected", problem or "there is no test of this name")
        return ended, ("not run", f"pytest ended with status {status}\n{self.log.read_text()}")

    def _command(self):
        site = self._wheel.parent
        return [
            *(sys.executable, "-m", "pytest", "-c", CHILD / "pytest.ini", "--rootdir", site),
            *("-p", "trio_suite_plugin", "-p", "trio._tests.pytest_plugin", "--run-slow"),
            *("-p", "no:cacheprovider", "-p", "no:faulthandler", "--import-mode=append"),
            *("--basetemp", self._tmp, "--tb=short", "-q", site / self._file),
        ]

    def _environment(self):
        paths = [str(CHILD), os.environ.get("PYTHONPATH")]
        environment = os.environ | {
            "URINGTRIO_DRIVER": self._driver,
            "TRIO_SUITE_WHEEL": str(self._wheel),
            "TRIO_SUITE_JOB": str(self._job),
            "PYTHONPATH": os.pathsep.join(filter(None, paths)),
            # The wheel's directory stays as it is, and asserts are rewritten as these runs do.
            "PYTHONPYCACHEPREFIX": str(self._workdir / "pycache"),
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        }
        environment.pop("PYTEST_ADDOPTS", None)
        return environment
