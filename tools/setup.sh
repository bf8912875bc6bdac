#!/bin/sh
# Make the virtual environment, with uringtrio and the named extra in it: setup.sh EXTRA
#
# On Debian and Ubuntu it first installs the system packages that are missing, as root or through
# sudo where that asks for no password; otherwise it prints the command for it and stops.
#
# Environment: PYTHON, the interpreter (default: the first of python3, python3.14 ... python3.11
# that is at least 3.11); VENV, the environment's directory (default: .venv);
# URINGTRIO_NO_IO_URING=1, build without io_uring.
set -eu

extra=$1
venv=${VENV:-.venv}
cd "$(dirname "$0")/.."

say() { echo "setup: $*"; }
die() { say "$*" >&2; exit 1; }

find_python() {
    for candidate in ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11}; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$candidate"
            return
        fi
    done
}

has_compiler() { echo '#include <stdlib.h>' | cc -E - >/dev/null 2>&1; }

has_liburing() {
    case ${URINGTRIO_NO_IO_URING:-0} in '' | 0) ;; *) return 0 ;; esac
    pkg-config --exists liburing 2>/dev/null
}

# Print the Debian packages that this machine lacks.
missing_packages() {
    command -v make >/dev/null || echo make
    command -v pkg-config >/dev/null || echo pkg-config
    has_compiler || echo gcc libc6-dev
    has_liburing || echo liburing-dev
    python=$(find_python)
    if [ -n "$python" ]; then
        version=$("$python" -c 'import sys; print("python%d.%d" % sys.version_info[:2])')
        "$python" -c 'import ensurepip, venv' 2>/dev/null || echo "$version-venv"
        "$python" -c 'import os, sysconfig; os.stat(sysconfig.get_path("include") + "/Python.h")' \
            2>/dev/null || echo "$version-dev"
    elif command -v python3 >/dev/null; then
        # The release's own python3 is too old; it may offer a newer one beside it.
        echo python3.11 python3.11-venv python3.11-dev
    else
        echo python3 python3-venv python3-dev
    fi
}

install_packages() {
    command -v apt-get >/dev/null ||
        die "this machine has no apt-get; install what these Debian packages hold: $*"
    sudo=
    if [ "$(id -u)" -ne 0 ]; then
        sudo -n true 2>/dev/null || die "system packages are missing; run: sudo apt-get install $*"
        sudo='sudo -n'
    fi
    say "installing system packages with ${sudo:+sudo }apt-get: $*"
    $sudo apt-get update -qq
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" \
        </dev/null >/dev/null
}

[ -z "${PYTHON:-}" ] || [ -n "$(find_python)" ] || die "PYTHON=$PYTHON is no Python >= 3.11"

# Twice at most: the first pass may install a python3 that turns out to be too old.
for _ in first second; do
    missing=$(missing_packages | tr '\n' ' ')
    [ -z "$missing" ] && break
    # shellcheck disable=SC2086  # a list of words
    install_packages $missing
done
missing=$(missing_packages | tr '\n' ' ')
[ -z "$missing" ] || die "still missing after their installation: $missing"

python=$(find_python)
if [ ! -x "$venv/bin/python" ]; then
    say "making the virtual environment $venv with $python"
    "$python" -m venv "$venv"
fi
say "building uringtrio and installing it, editable, with its extra '$extra'"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --editable ".[$extra]"
