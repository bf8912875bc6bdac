"""Every public name is in the reference, once."""

import ast
import importlib
import pkgutil
import re
import types
from collections import Counter
from pathlib import Path

import pytest

import uringtrio

PAGES = sorted((Path(__file__).parents[2] / "docs" / "reference").glob("*.md"))
# As docs/extensions/reference.py reads them.
BLOCK = re.compile(r"^```\{api\} (\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BLOCKS = [block for page in PAGES for block in BLOCK.findall(page.read_text())]

MODULES = [
    "uringtrio",
    *(
        f"uringtrio.{module.name}"
        for module in pkgutil.iter_modules(uringtrio.__path__)
        if not module.name.startswith("_")
    ),
]


def public_names(module_name):
    """Return the names that the facade's source re-exports."""
    module = importlib.import_module(module_name)
    names = {
        alias.asname or alias.name
        for node in ast.parse(Path(module.__file__).read_text()).body
        if isinstance(node, ast.ImportFrom) and node.module != "__future__"
        for alias in node.names
        if node.level or node.module.startswith("uringtrio.")
    }
    return {
        name
        for name in names
        if not name.startswith("_") and not isinstance(getattr(module, name), types.ModuleType)
    }


@pytest.mark.parametrize("module", MODULES)
def test_every_public_name_is_in_the_reference_once(module):
    names = Counter(
        name for of_module, names in BLOCKS if of_module == module for name in names.split()
    )
    # A block without names takes all that no other lists.
    takes_the_rest = sum(of_module == module and not names.strip() for of_module, names in BLOCKS)
    missing = set() if takes_the_rest else public_names(module) - set(names)

    assert not missing, (
        f"add {sorted(missing)} to a ```{{api}} {module} block of a page in docs/reference/"
    )
    assert takes_the_rest <= 1
    assert [name for name, count in names.items() if count > 1] == []
    assert set(names) - public_names(module) == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_page_is_in_the_table_of_contents(page):
    index = (page.parent / "index.md").read_text()

    assert page.name == "index.md" or page.stem in index.split()
