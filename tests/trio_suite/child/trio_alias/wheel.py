"""What is taken from Trio's wheel at run time, besides the tests."""

import ast
import importlib.util
import os
import sys
import warnings
from pathlib import Path

# The installed package: the runner says where.
WHEEL = Path(os.environ["TRIO_SUITE_WHEEL"])


def has_module(name):
    """Say whether Trio has a module `trio.{name}`."""
    base = WHEEL.joinpath(*name.split("."))
    return base.with_suffix(".py").exists() or (base / "__init__.py").exists()


def literal(path, name):
    """Return the value of a module's constant, without running the module."""
    for node in ast.parse((WHEEL / path).read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign):
            targets, value = node.targets, node.value
        elif isinstance(node, ast.AnnAssign) and node.value is not None:
            targets, value = [node.target], node.value
        else:
            continue
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            return ast.literal_eval(value)
    raise AttributeError(name)


def tool(path, name):
    """Return a tool that tests use, out of one of Trio's modules, run on top of uringtrio."""
    alias = "trio_wheel." + path.removesuffix(".py").replace("/", ".")
    if alias not in sys.modules:
        _run_module(alias, path)
    return getattr(sys.modules[alias], name)


def _run_module(alias, path):
    spec = importlib.util.spec_from_file_location(alias, WHEEL / path)
    module = importlib.util.module_from_spec(spec)
    # Its relative imports shall find the aliases.
    module.__package__ = ".".join(["trio", *Path(path).parts[:-1]])
    module.__spec__ = None
    sys.modules[alias] = module
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[alias]
        raise
    if path == "_socket.py":
        # What looks up names is under test: it must be uringtrio's.
        module.getaddrinfo = importlib.import_module("uringtrio.socket").getaddrinfo
