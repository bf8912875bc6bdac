"""What setup.py promises where liburing is missing, and what the source distribution holds."""

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

pytest.importorskip("setuptools", minversion="77")

ROOT = Path(__file__).parents[1]
SOURCES = ("LICENSE", "MANIFEST.in", "README.md", "pyproject.toml", "setup.py", "src")

# Debian and Ubuntu, Fedora, Arch, Alpine.
PACKAGES = ("liburing-dev (Debian, Ubuntu, Alpine)", "liburing-devel (Fedora)", "liburing (Arch)")

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nothing is compiled")


def build_ext(tmp_path, **environment):
    """Run the step of a build that needs liburing, with results in `tmp_path`."""
    clean = {key: value for key, value in os.environ.items() if key != "URINGTRIO_NO_IO_URING"}
    return subprocess.run(
        [
            sys.executable,
            "setup.py",
            "build_ext",
            "--build-temp",
            tmp_path,
            "--build-lib",
            tmp_path,
        ],
        cwd=ROOT,
        env=clean | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def script(path, text):
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def assert_stops_with_one_line(done, cause):
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    message = done.stderr.splitlines()[-1]
    assert message.startswith("uringtrio: ")
    assert cause in message
    assert "URINGTRIO_NO_IO_URING=1" in message
    for package in PACKAGES:
        assert package in message


@linux_only
def test_missing_liburing_is_one_line_that_names_the_packages(tmp_path):
    pkg_config = script(tmp_path / "pkg-config", "exit 1")
    done = build_ext(tmp_path, PKG_CONFIG=pkg_config)

    assert_stops_with_one_line(done, "pkg-config does not find it")


@linux_only
def test_old_liburing_is_named_with_its_version(tmp_path):
    pkg_config = script(tmp_path / "pkg-config", '[ "$1" = --modversion ] && echo 2.1')
    done = build_ext(tmp_path, PKG_CONFIG=pkg_config)

    assert_stops_with_one_line(done, "pkg-config finds 2.1")


@linux_only
def test_without_pkg_config_the_compiler_is_asked(tmp_path):
    compiler = script(tmp_path / "cc", "exit 1")
    done = build_ext(tmp_path, PKG_CONFIG=str(tmp_path / "absent"), CC=compiler)

    assert_stops_with_one_line(done, "the compiler does not find it")


@linux_only
def test_without_pkg_config_and_compiler_both_are_named(tmp_path):
    absent = str(tmp_path / "absent")
    done = build_ext(tmp_path, PKG_CONFIG=absent, CC=absent)

    assert_stops_with_one_line(done, "there is neither pkg-config nor a C compiler")


def test_build_without_io_uring_needs_no_liburing(tmp_path):
    pkg_config = script(tmp_path / "pkg-config", "exit 1")
    done = build_ext(tmp_path, PKG_CONFIG=pkg_config, URINGTRIO_NO_IO_URING="1")

    assert done.returncode == 0, done.stderr
    assert not list(tmp_path.rglob("*.so"))


@pytest.fixture
def checkout(tmp_path):
    """Return a copy of the sources, so that a build leaves nothing in this one."""
    copy = tmp_path / "checkout"
    copy.mkdir()
    for name in SOURCES:
        source = ROOT / name
        if source.is_dir():
            ignore = shutil.ignore_patterns("__pycache__", "*.so", "*.egg-info")
            shutil.copytree(source, copy / name, ignore=ignore)
        else:
            shutil.copy(source, copy / name)
    return copy


def build(checkout, hook):
    """Call a hook of the build backend as pip does, but in this environment."""
    code = f"from setuptools import build_meta; build_meta.{hook}('dist')"
    environment = os.environ | {"URINGTRIO_NO_IO_URING": "1"} if "wheel" in hook else None
    subprocess.run(
        [sys.executable, "-c", code], cwd=checkout, env=environment, check=True, capture_output=True
    )
    (product,) = (checkout / "dist").iterdir()
    return product


def test_sdist_holds_everything_that_a_build_needs(checkout):
    with tarfile.open(build(checkout, "build_sdist")) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}

    sources = ("build.py", "shim.c", "shim.h", "shared_queue.c", "shared_queue.h", "_shim.pyi")
    ring = {f"src/uringtrio/_ring/{name}" for name in sources}
    assert {"setup.py", "pyproject.toml", "LICENSE", "src/uringtrio/py.typed"} | ring <= names
    assert not [name for name in names if name.endswith(".so")]


def test_wheel_without_io_uring_is_for_every_machine(checkout):
    wheel = build(checkout, "build_wheel")

    assert wheel.name.endswith("-py3-none-any.whl")
    with zipfile.ZipFile(wheel) as archive:
        assert "uringtrio/py.typed" in archive.namelist()
