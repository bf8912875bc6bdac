"""Every public name is documented, typed, and at home in a public module."""

import ast
import importlib
import inspect
import pkgutil
import socket as stdlib
import types
import typing
from pathlib import Path

import pytest

import uringtrio
import uringtrio.socket

# The package and every public module in it, whatever they will be.
FACADES = (
    uringtrio,
    *(
        importlib.import_module(f"uringtrio.{module.name}")
        for module in pkgutil.iter_modules(uringtrio.__path__)
        if not module.name.startswith("_")
    ),
)
PUBLIC_MODULES = {facade.__name__ for facade in FACADES}

PACKAGE = str(Path(uringtrio.__file__).parent)


def reexported(facade):
    """Return the names that the facade's source re-exports: `from x import name as name`."""
    tree = ast.parse(Path(facade.__file__).read_text())
    return {
        alias.asname or alias.name
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and node.module != "__future__"
        for alias in node.names
        if not (alias.asname or alias.name).startswith("_")
        and (node.level or node.module.startswith("uringtrio."))
    }


NAMES = [
    pytest.param(facade, name, id=f"{facade.__name__}.{name}")
    for facade in FACADES
    for name in sorted(reexported(facade))
    if not isinstance(getattr(facade, name), types.ModuleType)
]
every_name = pytest.mark.parametrize(("facade", "name"), NAMES)


def own_members(cls):
    """Yield (name, member) of what a class of ours adds and users may call."""
    for base in cls.__mro__:
        if base is object or not base.__module__.startswith("uringtrio"):
            continue
        for name, member in vars(base).items():
            is_protocol = name.startswith("__") and name.endswith("__")
            if name.startswith("_") and not is_protocol:
                continue
            yield base, name, member


def functions_of(cls):
    for base, name, member in own_members(cls):
        if isinstance(member, property):
            for accessor in (member.fget, member.fset):
                if accessor is not None:
                    yield f"{base.__name__}.{name}", accessor
        elif isinstance(member, (classmethod, staticmethod)):
            yield f"{base.__name__}.{name}", member.__func__
        elif isinstance(member, types.FunctionType):
            yield f"{base.__name__}.{name}", member


def has_docstring(cls, name):
    """Say whether a method has a docstring, its own or that of the contract it fulfils."""
    return any(
        getattr(vars(base).get(name), "__doc__", None) for base in cls.__mro__ if name in vars(base)
    )


def is_ours(function):
    """Say whether a function is written in this package; `dataclass` and `enum` make others."""
    return function.__code__.co_filename.startswith(PACKAGE)


def is_alias(thing):
    """Say whether it is a type alias, which has the docstring and the home of its origin."""
    return typing.get_origin(thing) is not None


def missing_annotations(where, function):
    signature = inspect.signature(function)
    for index, parameter in enumerate(signature.parameters.values()):
        if index == 0 and parameter.name in ("self", "cls"):
            continue
        if parameter.annotation is inspect.Parameter.empty:
            yield f"{where}({parameter.name})"
    if signature.return_annotation is inspect.Signature.empty:
        yield f"{where} -> ?"


@every_name
def test_name_is_documented(facade, name):
    thing = getattr(facade, name)
    if is_alias(thing) or not callable(thing):
        return
    doc = vars(thing).get("__doc__") if inspect.isclass(thing) else thing.__doc__

    assert doc, f"{facade.__name__}.{name} has no docstring"
    assert not doc.startswith(f"{name}("), "that is what dataclass writes when nobody else does"


@every_name
def test_members_are_documented(facade, name):
    thing = getattr(facade, name)
    if not inspect.isclass(thing):
        return
    undocumented = {
        f"{thing.__name__}.{member}"
        for _, member, _ in own_members(thing)
        if callable(getattr(thing, member, None)) or isinstance(vars(thing).get(member), property)
        if not member.startswith("_") and not has_docstring(thing, member)
    }

    assert not undocumented


@every_name
def test_name_is_typed(facade, name):
    thing = getattr(facade, name)
    missing = []
    if isinstance(thing, types.FunctionType):
        missing += missing_annotations(name, thing)
    elif inspect.isclass(thing):
        for where, function in functions_of(thing):
            if is_ours(function):
                missing += missing_annotations(where, function)

    assert not missing


@every_name
def test_name_is_at_home_in_a_public_module(facade, name):
    thing = getattr(facade, name)
    if is_alias(thing) or not hasattr(thing, "__qualname__"):
        return

    assert thing.__module__ in PUBLIC_MODULES, f"{name} claims to be from {thing.__module__}"
    home = {f.__name__: f for f in FACADES}[thing.__module__]
    assert getattr(home, thing.__qualname__) is thing


@pytest.mark.parametrize("facade", FACADES, ids=lambda f: f.__name__)
def test_facade_has_no_other_names(facade):
    # `from __future__ import annotations` and type checking leave these two behind.
    left_behind = {"annotations", "TYPE_CHECKING"}
    present = {name for name in vars(facade) if not name.startswith("_")} - left_behind
    expected = reexported(facade)
    if facade is uringtrio:
        # Imported by this file, as by whoever wants it, and not by the package.
        present.remove("testing")
    if facade is uringtrio.socket:
        # The constants and pure functions of the standard library's module, by rule.
        from_stdlib = {name for name in stdlib.__all__ if hasattr(stdlib, name)}
        assert present - expected <= from_stdlib
        for name in present - expected:
            assert getattr(facade, name) is getattr(stdlib, name)
        present &= expected

    assert present == expected


def test_socket_module_has_the_constants_and_nothing_that_blocks():
    module = uringtrio.socket

    for name in ("AF_INET", "SOCK_STREAM", "SOL_SOCKET", "SHUT_WR", "IPPROTO_TCP", "EAI_NONAME"):
        assert getattr(module, name) == getattr(stdlib, name)
    assert module.inet_pton is stdlib.inet_pton
    assert module.gaierror is stdlib.gaierror
    for name in (
        "create_connection",
        "create_server",
        "gethostbyname",
        "gethostbyaddr",
        "setdefaulttimeout",
        "getfqdn",
        "SocketIO",
    ):
        assert not hasattr(module, name)
    assert module.socket is not stdlib.socket


def test_facades_only_re_export():
    for facade in FACADES:
        for node in ast.parse(Path(facade.__file__).read_text()).body:
            assert not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)), (
                f"{facade.__name__} defines {node.name}"
            )


def test_package_is_marked_as_typed():
    assert Path(uringtrio.__file__).with_name("py.typed").exists()


def counterpart(facade):
    """Return Trio's module of that name."""
    pytest.importorskip("trio")
    return importlib.import_module("trio" + facade.__name__.removeprefix("uringtrio"))


@pytest.mark.parametrize("facade", FACADES, ids=lambda f: f.__name__)
def test_every_name_is_trios_or_on_the_list_of_our_own(facade):
    """Programs for Trio run here; what we add is a decision, and stands here."""
    theirs = counterpart(facade)
    ours = {
        "uringtrio": {
            "AsyncIOWrapper",
            "BinaryFile",
            "BufferedFile",
            "BufferedStream",
            "Codec",
            "DriverUnavailableError",
            "Framed",
            "IncompleteReceiveError",
            "LengthPrefixCodec",
            "LimitExceededError",
            "LineCodec",
            "NamedTemporaryFile",
            "PathInfo",
            "PeerCredentials",
            "Positional",
            "ProbeReport",
            "RingOptions",
            "Shard",
            "ShardError",
            "SharedChannelStatistics",
            "SharedReceiveChannel",
            "SharedSendChannel",
            "SpooledTemporaryFile",
            "StandardStream",
            "TemporaryDirectory",
            "TemporaryFile",
            "TextFile",
            "UnbufferedFile",
            "Walk",
            "aligned_buffer",
            "copy",
            "current_shard",
            "inherited_listeners",
            "interval",
            "open_pipe",
            "open_stderr",
            "open_stdin",
            "open_stdout",
            "open_shared_channel",
            "open_unix_listeners",
            "probe",
            "run_sharded",
            "serve_unix",
        },
        "uringtrio.lowlevel": {
            "IOStatistics",
            "Stall",
            "StallDetector",
            "dump_task_tree_on",
            "format_task_tree",
            "pin_thread",
        },
    }.get(facade.__name__, set())
    foreign = {name for name in reexported(facade) if not hasattr(theirs, name)}

    assert foreign == ours


def parameters(function):
    """Return what a caller may rely on: kinds, and names where they can be used."""
    return [
        (parameter.kind, None if parameter.kind is parameter.POSITIONAL_ONLY else parameter.name)
        for parameter in inspect.signature(function).parameters.values()
    ]


# Ours takes more.
SIGNATURES_DIFFER = {"start_guest_run", "run", "open_tcp_listeners", "serve_tcp"}
# The name of what they decorate or wait with is nobody's business.
NAMES_DIFFER = {"enable_ki_protection", "disable_ki_protection"}


@every_name
def test_functions_take_what_trios_take(facade, name):
    theirs = counterpart(facade)
    ours = getattr(facade, name)
    if not isinstance(ours, types.FunctionType) or not hasattr(theirs, name):
        return
    if facade is uringtrio.socket or name in SIGNATURES_DIFFER | NAMES_DIFFER:
        return

    assert parameters(ours) == parameters(getattr(theirs, name))
