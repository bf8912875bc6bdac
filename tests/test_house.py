"""The house rules: who may import whom, how large a room may grow, where a task may yield."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

SRC = Path(__file__).parents[1] / "src"
PACKAGE = "uringtrio"

# The architecture, lowest first: a module may import its own room and the rooms before it,
# and may not name a later one even for typing. A module in none of these rooms is a public
# facade, and may import everything.
ROOMS = (
    "_errors", "_abc", "_thread_cache",
    "_ring", "_ops", "_drivers", "_scheduler",
    "_timeouts", "_interval", "_sync", "_channels", "_safe_channel", "_signals", "_threads",
    "_debug",
    "_net", "_files", "_process", "_tls", "_shards",
)  # fmt: skip

# Inside a room the order is free unless it has stairs: then it too is lowest first, except
# for typing, where housemates may look up.
STAIRS = {
    "_scheduler": (
        "current", "clock", "deadlines", "traps", "coroutines", "groups", "cancel", "watch", "task",
        "nursery", "parking", "locals", "idle", "instruments", "interrupt", "asyncgens", "entry",
        "runner", "loop", "guest",
    ),
}  # fmt: skip

# The only modules in which a task hands control to the run loop.
YIELDERS = {"_ops/op.py", "_scheduler/traps.py"}

LINES_MAX = 500
FUNCTION_LINES_MAX = 70
# Longer ones, each with its reason.
LONGER = {}

MODULES = sorted((SRC / PACKAGE).rglob("*.py"))
every_module = pytest.mark.parametrize(
    "path", MODULES, ids=lambda p: str(p.relative_to(SRC / PACKAGE))
)


def dotted(path):
    return ".".join(path.relative_to(SRC / PACKAGE).with_suffix("").parts)


def height(module):
    """Where a module stands: its room's floor, then its step within the room."""
    room, _, rest = module.partition(".")
    if room not in ROOMS:
        return (len(ROOMS), 0)
    step = rest.partition(".")[0]
    stairs = STAIRS.get(room, ())
    return (ROOMS.index(room), stairs.index(step) if step in stairs else len(stairs))


def own_imports(path):
    """Yield (line, module, typing_only) for each import of this package."""
    here = [PACKAGE, *dotted(path).split(".")]
    tree = ast.parse(path.read_text())
    typing_only = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for statement in node.body
        for inner in ast.walk(statement)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = here[: -node.level] if node.level else []
            module = ".".join([*base, node.module] if node.module else base)
            names = [f"{module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            if name.partition(".")[0] == PACKAGE:
                module = name.removeprefix(PACKAGE).removeprefix(".")
                yield node.lineno, module, node in typing_only


def functions(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node


@every_module
def test_imports_point_down(path):
    here = dotted(path)
    for line, module, typing_only in own_imports(path):
        same_room = module.partition(".")[0] == here.partition(".")[0]
        allowed = height(module) <= height(here) or (typing_only and same_room)
        assert allowed, f"{path}:{line}: {here} imports {module}, which is above it"


@every_module
def test_module_says_what_it_is_for(path):
    source = path.read_text()
    assert not source or ast.get_docstring(ast.parse(source)), f"{path}: no module docstring"


@every_module
def test_it_fits(path):
    name = str(path.relative_to(SRC / PACKAGE))
    lines = path.read_text().count("\n")
    assert lines <= LINES_MAX or name in LONGER, f"{path}: {lines} lines"
    for function in functions(path):
        doc = function.body[0] if ast.get_docstring(function, clean=False) else None
        doc_lines = doc.end_lineno - doc.lineno + 1 if doc else 0
        lines = function.end_lineno - function.lineno + 1 - doc_lines
        where = f"{name}:{function.name}"
        assert lines <= FUNCTION_LINES_MAX or where in LONGER, f"{path}: {where} has {lines} lines"


@every_module
def test_tasks_yield_only_in_known_places(path):
    if str(path.relative_to(SRC / PACKAGE)) in YIELDERS:
        return
    for function in functions(path):
        by_hand = function.name == "__await__" or any(
            ast.unparse(d) in {"types.coroutine", "coroutine"} for d in function.decorator_list
        )
        assert not by_hand, f"{path}:{function.lineno}: {function.name} yields to the loop"
