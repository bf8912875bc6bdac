"""Gives child processes of the tests the stand-in for kqueue, when that is what they test."""

import os
import runpy
import select
from pathlib import Path

if os.environ.get("URINGTRIO_DRIVER") == "kqueue" and not hasattr(select, "kqueue"):
    runpy.run_path(str(Path(__file__).parents[1] / "fake_kqueue.py"))["install"]()
