"""The types of the public interface: what mypy accepts, what it refuses, and that they are true."""

import runpy
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TYPING = ROOT / "tests" / "typing"


def test_mypy_agrees_with_the_programs(tmp_path_factory):
    """A user's program is clean, public types are what they are said to be, mistakes are found."""
    pytest.importorskip("mypy")
    checked = subprocess.run(
        [
            sys.executable, "-m", "mypy", "--config-file", ROOT / "pyproject.toml",
            "--cache-dir", tmp_path_factory.getbasetemp() / "mypy", TYPING,
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip

    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_program_does_what_its_types_say():
    results = runpy.run_path(str(TYPING / "program.py"))["run_everything"]()

    driver = results["low"].pop()
    assert driver in ("io_uring", "epoll", "kqueue")
    assert results == {
        "pool": {0: 5, 1: 5, 2: 5, 3: 5},
        "service": True,
        "deadlines": ["Cancelled", "None False", "True", "attempt 1"],
        "synchronise": [1, 2],
        "threads": 36,
        "talk": b"hello",
        "datagrams": (b"datagram", 8),
        "in_memory": b"QUIET",
        "generators": 18,
        "low": ["1", "1", "2.5", "1.0", "woken", "main"],
        "protected": "True 2",
        "clock": 1000.0,
        "guest": 42,
    }
