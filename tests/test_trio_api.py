"""Trio's public interface, name by name: what it has is here, and can be called the same way.

Compared with the Trio that is installed. The lists at the top are the differences, each with its
reason; everything else is the same, and stays so.
"""

import enum
import importlib
import inspect
import types

import hypothesis  # noqa: F401  # Trio looks whether it is there, and it must be there before
import pytest

import uringtrio.testing

trio = pytest.importorskip("trio")
importlib.import_module("trio.testing")

MODULES = ("", ".abc", ".from_thread", ".lowlevel", ".socket", ".testing", ".to_thread")

# Names that Trio has and we have not, or not yet. Not a promise: it may only become shorter.
MISSING = {
    "Path", "PosixPath", "WindowsPath", "open_file", "open_unix_socket", "wrap_file",
    "abc.HostnameResolver", "abc.SocketFactory", "lowlevel.encode_hostname",
    "socket.getnameinfo", "socket.getprotobyname", "socket.set_custom_hostname_resolver",
    "socket.set_custom_socket_factory", "open_tcp_stream(happy_eyeballs_delay)",
    "open_tcp_stream(local_address)",
}  # fmt: skip

# Classes whose instances take no attributes that they do not have. It may only become shorter.
FIXED_ATTRIBUTES = {"socket.SocketType"}

# Members of classes that Trio's documentation does not name.
UNDOCUMENTED = {
    "lowlevel.RunVarToken.previous_value",
    "lowlevel.RunVarToken.redeemed",
    # Instance attributes here, set in the constructor.
    "Cancelled.reason",
    "Cancelled.source",
    "Cancelled.source_task",
    # Constants of Trio's, for code that expects a `subprocess.Popen`.
    "Process.encoding",
    "Process.errors",
    "Process.universal_newlines",
}

# Parameters that are called otherwise: only where a caller cannot use the name in Trio either, or
# where the class's own contract (`abc.Channel.send(value)`) is followed more closely.
RENAMED = {
    "lowlevel.disable_ki_protection",
    "lowlevel.enable_ki_protection",
    "DTLSChannel.send",
    # These take what the standard library's take; Trio passes arguments on to that.
    "socket.SocketType.recv",
    "socket.SocketType.recvfrom",
    "socket.SocketType.recvmsg",
    "socket.SocketType.recvmsg_into",
    "socket.SocketType.send",
    "socket.SocketType.sendmsg",
    "socket.SocketType.sendto",
    "socket.fromfd",
}

# Defaults that are another object, and mean the same.
DEFAULTS_DIFFER = {
    "TaskStatus.started",
    "lowlevel.RunVar",
    "lowlevel.RunVar.get",
    "lowlevel.reschedule",
    "socket.SocketType.getsockopt",
    "socket.SocketType.bind",
    "socket.socket",
}

# A class in Trio only to be subscripted, `open_memory_channel[int](5)`, as it is here.
NO_CLASSES = {"open_memory_channel"}

PROTOCOLS = (
    "__aenter__", "__aexit__", "__aiter__", "__anext__", "__bool__", "__enter__", "__exit__",
    "__iter__", "__len__", "__reduce__",
)  # fmt: skip


def full_name(module, name):
    return f"{module}.{name}".lstrip(".")


def public_names():
    """Yield (full name, Trio's, ours or None) of everything that Trio has and documents."""
    for module in MODULES:
        theirs = importlib.import_module("trio" + module)
        ours = importlib.import_module("uringtrio" + module)
        for name in dir(theirs):
            if name.startswith("_") or name in ("TYPE_CHECKING", "annotations"):
                continue
            if name in {value.lstrip(".") for value in MODULES}:
                continue
            yield full_name(module, name), getattr(theirs, name), getattr(ours, name, None)


NAMES = list(public_names())
SHARED = [(name, theirs, ours) for name, theirs, ours in NAMES if ours is not None]


def by_name(entries):
    return pytest.mark.parametrize(
        ("name", "theirs", "ours"), [pytest.param(*entry, id=entry[0]) for entry in entries]
    )


CLASSES = [entry for entry in SHARED if isinstance(entry[1], type) and entry[0] not in NO_CLASSES]
FUNCTIONS = [entry for entry in SHARED if isinstance(entry[1], types.FunctionType)]


def members(theirs, ours, name):
    """Yield (full name, Trio's, ours) of the public members that both have."""
    for member in dir(theirs):
        if not member.startswith("_") and hasattr(ours, member):
            yield (
                f"{name}.{member}",
                inspect.getattr_static(theirs, member),
                inspect.getattr_static(ours, member),
            )


METHODS = [
    (member, getattr(theirs, member.rpartition(".")[2]), getattr(ours, member.rpartition(".")[2]))
    for name, theirs, ours in CLASSES
    for member, static, _ in members(theirs, ours, name)
    if callable(static) or isinstance(static, (classmethod, staticmethod))
]


def test_every_name_of_trios_is_here():
    assert {name for name, _, ours in NAMES if ours is None} <= MISSING


@by_name(CLASSES)
def test_class_has_every_member_of_trios(name, theirs, ours):
    missing = {
        f"{name}.{member}"
        for member in dir(theirs)
        if not member.startswith("_") and not hasattr(ours, member)
    }

    assert missing <= UNDOCUMENTED


@by_name(CLASSES)
def test_class_supports_the_statements_that_trios_supports(name, theirs, ours):
    def supported(cls):
        own = [base for base in cls.__mro__ if base is not object]
        return {dunder for dunder in PROTOCOLS if any(dunder in vars(base) for base in own)}

    assert supported(theirs) <= supported(ours), name


@by_name(CLASSES)
def test_properties_can_be_set_where_trios_can(name, theirs, ours):
    for member, theirs_static, ours_static in members(theirs, ours, name):
        if isinstance(theirs_static, property) and isinstance(ours_static, property):
            assert (ours_static.fset is None) is (theirs_static.fset is None), member


@by_name(CLASSES)
def test_class_keeps_the_contracts_that_trios_keeps(name, theirs, ours):
    def contracts(cls, library):
        abstract = importlib.import_module(f"{library}.abc")
        return {contract for contract in vars(abstract) if is_contract(abstract, contract, cls)}

    def is_contract(abstract, contract, cls):
        kept = getattr(abstract, contract)
        return isinstance(kept, type) and issubclass(cls, kept)

    assert contracts(theirs, "trio") <= contracts(ours, "uringtrio"), name


def is_final(cls):
    """Say whether a class refuses subclasses."""
    try:
        types.new_class("Mine", (cls,), {})
    except TypeError:
        return True
    return False


@by_name(CLASSES)
def test_class_is_final_where_trios_is(name, theirs, ours):
    if isinstance(theirs, enum.EnumMeta):
        return

    assert is_final(ours) is is_final(theirs), name


def has_public_constructor(theirs):
    return type(theirs).__name__ != "NoPublicConstructor"


@by_name([entry for entry in CLASSES if not has_public_constructor(entry[1])])
def test_class_has_no_public_constructor_where_trios_has_none(name, theirs, ours):
    assert isinstance(theirs, type)
    for args in ((), (None,)):
        with pytest.raises(TypeError, match=f"uringtrio.{name} has no public constructor"):
            ours(*args)


@by_name(CLASSES)
def test_instances_can_be_referred_to_weakly_where_trios_can(name, theirs, ours):
    if name.endswith("Statistics"):
        # Records without a life of their own.
        return

    assert ours.__weakrefoffset__ or not theirs.__weakrefoffset__, name


@by_name(CLASSES)
def test_instances_take_attributes_of_their_own_where_trios_do(name, theirs, ours):
    """Programs hang things on nurseries and replace a stream's method; all had slots only."""
    if name in FIXED_ATTRIBUTES or issubclass(theirs, BaseException):
        return

    assert ours.__dictoffset__ or not theirs.__dictoffset__, name


@by_name(CLASSES)
def test_class_can_be_subscripted_where_trios_can(name, theirs, ours):
    assert hasattr(ours, "__class_getitem__") >= hasattr(theirs, "__class_getitem__"), name


def signature(function):
    try:
        return inspect.signature(function)
    except (TypeError, ValueError):
        return None


CALLABLES = (
    FUNCTIONS
    + METHODS
    + [
        (name, theirs, ours)
        for name, theirs, ours in CLASSES
        if not issubclass(theirs, (BaseException, enum.Enum, str, int))
        and has_public_constructor(theirs)
    ]
)


def is_of_ours(function):
    return getattr(function, "__module__", "").startswith("uringtrio") or inspect.isclass(function)


@by_name([entry for entry in CALLABLES if entry[0] not in RENAMED and is_of_ours(entry[2])])
def test_call_takes_what_trios_takes(name, theirs, ours):
    theirs, ours = signature(theirs), signature(ours)
    if theirs is None:
        return
    assert ours is not None
    extra = dict(ours.parameters)
    expected = []
    for parameter in theirs.parameters.values():
        if f"{name}({parameter.name})" in MISSING and parameter.name not in extra:
            continue
        assert parameter.name in extra, f"{name} takes no {parameter.name}"
        found = extra.pop(parameter.name)
        assert found.kind is parameter.kind, f"{name}({parameter.name}) is {found.kind}"
        assert (found.default is found.empty) is (parameter.default is parameter.empty), parameter
        if parameter.default is not parameter.empty and name not in DEFAULTS_DIFFER:
            assert repr(found.default) == repr(parameter.default), parameter
        expected.append(parameter.name)
    # In the same order, and what is more must be named.
    assert [name for name in ours.parameters if name not in extra] == expected
    assert all(parameter.kind is parameter.KEYWORD_ONLY for parameter in extra.values()), name


@by_name([entry for entry in CALLABLES if not entry[0].startswith("socket.")])
def test_call_is_async_where_trios_is(name, theirs, ours):
    assert inspect.iscoroutinefunction(ours) is inspect.iscoroutinefunction(theirs), name


def test_abort_has_the_members_of_trios():
    ours, theirs = uringtrio.lowlevel.Abort, trio.lowlevel.Abort

    assert [member.name for member in ours] == [member.name for member in theirs]


@by_name([entry for entry in CLASSES if issubclass(entry[1], BaseException)])
def test_exception_is_caught_by_what_catches_trios(name, theirs, ours):
    def standard(cls):
        return [base for base in cls.__mro__ if base.__module__ == "builtins"]

    assert standard(ours) == standard(theirs), name
