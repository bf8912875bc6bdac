#!/bin/sh
# Run the default test suite on each driver that this machine has: test.sh [PYTEST OPTION]...
set -eu

python=${VENV:-.venv}/bin/python
cd "$(dirname "$0")/.."

denial=$("$python" -c '
import uringtrio
report = uringtrio.probe()
print("" if report.available else report.reason or "no reason is known")
')

status=0
if [ -z "$denial" ]; then
    echo "==> the suite on io_uring"
    URINGTRIO_DRIVER=io_uring "$python" -m pytest "$@" || status=$?
else
    echo "==> NOT TESTED ON IO_URING, which this machine does not have: $denial"
    echo "==> ONLY READINESS IS TESTED"
fi
echo "==> the suite on epoll"
URINGTRIO_DRIVER=epoll "$python" -m pytest "$@" || status=$?
echo "==> the suite on kqueue, or on a stand-in for it where the system has none"
URINGTRIO_DRIVER=kqueue "$python" -m pytest "$@" || status=$?
exit $status
