"""Puts the alias in the import system's way."""

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys

import sniffio

from .modules import PrivateModule, PublicModule, is_private_module
from .names import PUBLIC_MODULES, TOOL_MODULES
from .wheel import WHEEL

# Packages of tests: made up, with what is in them found in the wheel.
TEST_PACKAGES = ("_tests", "_core._tests", "_tests.type_tests", "_tests.tools")


def path_of(name):
    """Return the module's path in the package: "" for `trio` itself."""
    return name.removeprefix("trio").removeprefix(".")


class AliasLoader(importlib.abc.Loader):
    def create_module(self, spec):
        path = path_of(spec.name)
        is_public = not path or path in PUBLIC_MODULES
        return PublicModule(path) if is_public else PrivateModule(path)

    def exec_module(self, module):
        path = path_of(module.__name__)
        module.__dict__["__file__"] = str(WHEEL / "__init__.py") if not path else "<alias>"


class EmptyLoader(importlib.abc.Loader):
    def create_module(self, _spec):
        return None

    def exec_module(self, module):
        pass


class MainLoader(importlib.abc.Loader):
    """Loads `trio.__main__`, for `python -m trio` in a child: uringtrio's."""

    def __init__(self, spec):
        self._spec = spec

    def get_code(self, _name):
        return self._spec.loader.get_code(self._spec.name)

    def create_module(self, _spec):
        return None

    def exec_module(self, module):
        exec(self.get_code(module.__name__), module.__dict__)


class AliasFinder(importlib.abc.MetaPathFinder):
    def find_spec(self, fullname, _path=None, _target=None):
        if fullname != "trio" and not fullname.startswith("trio."):
            return None
        path = path_of(fullname)
        if path in TEST_PACKAGES:
            spec = importlib.machinery.ModuleSpec(fullname, EmptyLoader(), is_package=True)
            spec.submodule_search_locations = [str(WHEEL.joinpath(*path.split(".")))]
            return spec
        if path in TOOL_MODULES:
            return importlib.util.spec_from_file_location(fullname, WHEEL / TOOL_MODULES[path])
        if path == "__main__":
            main = importlib.util.find_spec("uringtrio.__main__")
            return main and importlib.machinery.ModuleSpec(fullname, MainLoader(main))
        is_public = not path or path in PUBLIC_MODULES
        # The usual finder takes a module of tests from its package's directory.
        is_test = path.startswith(("_tests.", "_core._tests."))
        if is_public or (is_private_module(path) and not is_test):
            is_package = path in {"", "testing"} or not is_public
            return importlib.machinery.ModuleSpec(fullname, AliasLoader(), is_package=is_package)
        return None


def install():
    """Make every later `import trio` in this process give uringtrio."""
    for name in [name for name in sys.modules if name == "trio" or name.startswith("trio.")]:
        del sys.modules[name]
    sys.meta_path.insert(0, AliasFinder())
    importlib.import_module("trio")
    for module in PUBLIC_MODULES:
        importlib.import_module(f"trio.{module}")
    _alias_for_sniffio()


def _alias_for_sniffio():
    """Let tests that ask which library is running see the name that they know."""
    current = sniffio.current_async_library

    def current_async_library():
        name = current()
        return "trio" if name == "uringtrio" else name

    sniffio.current_async_library = current_async_library
