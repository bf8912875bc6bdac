"""Names that do not exist, as far as an import can be spared from failing for them."""

import sys
from opcode import opmap

# None, which is no op's code, where a version of Python does not have an op.
IMPORT_OPS = {opmap["IMPORT_FROM"], opmap.get("IMPORT_STAR")}
# Since Python 3.12 `import *` is an intrinsic function, number 2.
CALL_INTRINSIC = opmap.get("CALL_INTRINSIC_1")
IMPORT_STAR_INTRINSIC = 2
ATTRIBUTE_OPS = {opmap["LOAD_ATTR"], opmap.get("LOAD_METHOD")}

# Of a code object: it is a function's, with local variables in slots.
CO_OPTIMIZED = 0x1


class MissingNameError(Exception):
    """A test uses a name that uringtrio does not have."""


def is_module_level(frame):
    return not frame.f_code.co_flags & CO_OPTIMIZED


def would_break_an_import(frame):
    """Say whether the attribute that `frame` is asking for is one that an import needs."""
    code = frame.f_code.co_code
    op, argument = code[frame.f_lasti], code[frame.f_lasti + 1]
    if op in IMPORT_OPS or (op == CALL_INTRINSIC and argument == IMPORT_STAR_INTRINSIC):
        return True
    return op in ATTRIBUTE_OPS and is_module_level(frame)


class _MissingBase:
    missing_name = "?"

    def __new__(cls, *_args, **_kwargs):
        raise MissingNameError(f"the base class is missing: {cls.missing_name}")


class Missing:
    """Stands for a name that does not exist: modules may refer to it, tests may not use it."""

    def __init__(self, name):
        object.__setattr__(self, "_missing_name", name)

    def __repr__(self):
        return f"<missing {self._missing_name}>"

    def _fail(self, *_args):
        raise MissingNameError(f"missing: {self._missing_name}")

    @property
    def __name__(self):
        # Names of parametrised tests are made of it, and have to stay what they are.
        return self._missing_name.rpartition(".")[2]

    def __call__(self, *_args, **_kwargs):
        if is_module_level(sys._getframe(1)):
            return self  # Also as a decorator: what it decorates is missing then.
        return self._fail()

    def __getattr__(self, name):
        if name.startswith(("__", "_pytest")) or name == "pytestmark":
            raise AttributeError(name)
        if is_module_level(sys._getframe(1)):
            return Missing(f"{self._missing_name}.{name}")
        return self._fail()

    def __getitem__(self, item):
        return self

    def __or__(self, other):
        return self

    __ror__ = __or__

    def __mro_entries__(self, bases):
        return (type("MissingBase", (_MissingBase,), {"missing_name": self._missing_name}),)

    __setattr__ = __iter__ = __bool__ = __instancecheck__ = _fail
    __enter__ = __exit__ = __aenter__ = __aexit__ = _fail
