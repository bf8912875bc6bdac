"""The modules that stand under the name `trio` and its submodules'."""

import importlib
import pkgutil
import sys
import types

from . import names, wheel
from .missing import Missing, MissingNameError, would_break_an_import


def is_private_module(path):
    """Say whether Trio has a module `trio.{path}` that is private."""
    name = path.rpartition(".")[2]
    return name.startswith("_") and not name.startswith("__") and wheel.has_module(path)


class PublicModule(types.ModuleType):
    """Stands for a public module of uringtrio's: reading and patching both go through to it."""

    def __init__(self, path):
        super().__init__(f"trio.{path}" if path else "trio", "Stands for uringtrio's.")
        # No identifier, as any may be one of Trio's: `trio._path` is a module.
        self.__dict__["alias of"] = path

    def _module(self):
        path = self.__dict__["alias of"]
        return importlib.import_module(f"uringtrio.{path}" if path else "uringtrio")

    def __getattr__(self, name):
        path = self.__dict__["alias of"]
        key = f"{path}.{name}" if path else name
        if name == "__all__":
            return sorted({*names.STAR.get(path, ()), *dir(self)})
        is_submodule = not path and name in names.PUBLIC_MODULES
        if is_submodule or is_private_module(key):
            return importlib.import_module(f"trio.{key}")
        try:
            if key in names.DERIVED:
                return names.DERIVED[key]()
            if not name.startswith("_") or name == "__version__":
                return names.public(path, name)
        except AttributeError:
            pass
        if not name.startswith("__") and would_break_an_import(sys._getframe(1)):
            return Missing(f"trio.{key}")
        raise AttributeError(f"uringtrio has no {key}")

    def __setattr__(self, name, value):
        if name.startswith("_") or isinstance(value, types.ModuleType):
            super().__setattr__(name, value)
        else:
            setattr(self._module(), name, value)

    def __delattr__(self, name):
        if name in self.__dict__:
            super().__delattr__(name)
        else:
            delattr(self._module(), name)

    def __dir__(self):
        return [name for name in dir(self._module()) if not name.startswith("_")]


class PrivateModule(types.ModuleType):
    """Stands for a private module of Trio's: gives the names that tests import out of it."""

    def __init__(self, path):
        super().__init__(f"trio.{path}", "Stands for what tests need of Trio's.")
        self.__dict__["alias of"] = path

    def __getattr__(self, name):
        path = self.__dict__["alias of"]
        if name == "__all__" and path in names.STAR:
            by_the_way = names.STAR_BY_THE_WAY[path]
            for extra, where in by_the_way.items():
                self.__dict__[extra] = pkgutil.resolve_name(where)
            return [*names.STAR[path], *by_the_way]
        if not name.startswith("__"):
            try:
                return self._find(path, name)
            except (AttributeError, ImportError, MissingNameError, TypeError):
                # Not there, or a tool that needs what is not there.
                if would_break_an_import(sys._getframe(1)):
                    return Missing(f"trio.{path}.{name}")
        raise AttributeError(f"uringtrio has nothing for trio.{path}.{name}")

    def _find(self, path, name):
        key = f"{path}.{name}"
        if key in names.DERIVED:
            value = names.DERIVED[key]()
            if isinstance(value, (dict, set, int)):
                self.__dict__[name] = value  # The same one each time.
            return value
        if key in names.TOOLS:
            return wheel.tool(names.TOOLS[key], name)
        if is_private_module(key):
            return importlib.import_module(f"trio.{key}")
        if name.startswith("_"):
            raise AttributeError(name)
        return self._find_public(path, name)

    def _find_public(self, path, name):
        for home in names.HOMES.get(path, names.HOMES_OTHERWISE):
            try:
                return names.public(home, name)
            except AttributeError:
                continue
        raise AttributeError(name)
