"""What the kqueue driver makes of its filters, and of systems without them."""

import os
import select
import subprocess
import sys

import pytest

from uringtrio._ops.net import Recv


@pytest.fixture(params=["kqueue"])
def driver_name(request):
    return request.param


def test_filter_of_a_cancelled_op_reports_to_nobody_and_once(bench, pair):
    left, right = pair
    op = bench.submit(Recv(left, 10))
    bench.settle()
    bench.cancel(op)
    bench.finish(op)
    right.send(b"x")
    bench.settle()

    assert bench.driver._kqueue.control(None, 10, 0) == []
    assert bench.do(Recv(left, 10)) == 1


@pytest.mark.skipif(hasattr(select, "kqueue"), reason="this system has kqueue")
def test_system_without_kqueue_is_told_who_has_it():
    program = "import uringtrio\nasync def f(): pass\nuringtrio.run(f, driver='kqueue')"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )

    assert "driver 'kqueue' is not available: kqueue exists on the BSDs and macOS only" in (
        done.stderr
    )
