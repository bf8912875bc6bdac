"""The `api` directive, and what the names in docstrings and signatures refer to.

    ```{api} uringtrio
    run
    current_time
    ```

documents two names of a module, each by the autodoc directive of its kind. Without names it
documents every name of the module that no other page lists, so that a new one needs no edit.
"""

import ast
import builtins
import collections.abc
import contextlib
import importlib
import inspect
import json
import pkgutil
import re
import subprocess
import sys
import types
import typing
import warnings
from pathlib import Path

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.domains.python import PyObject, PyXRefRole
from sphinx.ext.napoleon import GoogleDocstring
from sphinx.util.docutils import SphinxDirective
from sphinx.util.nodes import make_refnode

import uringtrio

PACKAGE = "uringtrio"
FACADES = [
    PACKAGE,
    *(
        f"{PACKAGE}.{module.name}"
        for module in pkgutil.iter_modules(uringtrio.__path__)
        if not module.name.startswith("_")
    ),
]
BLOCK = re.compile(r"^```\{api\} (\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

# Where the bare names in signatures come from, if they are none of ours.
FOREIGN = (builtins, typing, collections.abc, types, contextlib)
TYPESHED = {"FileDescriptorOrPath", "StrOrBytesPath"}


def public_names(module_name):
    """Return the names that the source of a facade re-exports, in its order."""
    module = importlib.import_module(module_name)
    return [
        alias.asname or alias.name
        for node in ast.parse(Path(module.__file__).read_text()).body
        if isinstance(node, ast.ImportFrom) and node.module != "__future__"
        for alias in node.names
        if not (alias.asname or alias.name).startswith("_")
        and (node.level or node.module.startswith(f"{PACKAGE}."))
        and not isinstance(getattr(module, alias.asname or alias.name), types.ModuleType)
    ]


def listed_names(source_dir, module_name):
    """Return the names of a module that the pages list, on whichever page."""
    return {
        name
        for page in Path(source_dir).rglob("*.md")
        for module, names in BLOCK.findall(page.read_text())
        if module == module_name
        for name in names.split()
    }


PRINT_NAMES = """
import importlib, json
missing = {{}}
for facade in {FACADES}:
    try:
        theirs = importlib.import_module(facade.replace("uringtrio", "trio"))
    except ModuleNotFoundError:
        continue
    ours = vars(importlib.import_module(facade))
    names = {{name for name in vars(theirs) if not name.startswith("_")}} - {{"annotations"}}
    if names - set(ours):
        missing[theirs.__name__] = sorted(names - set(ours))
print(json.dumps(missing))
"""


class Api(SphinxDirective):
    """Documents names of one module."""

    required_arguments = 1
    has_content = True

    def run(self):
        """Return the nodes of the entries."""
        module_name = self.arguments[0]
        names = [line.strip() for line in self.content if line.strip()]
        if not names:
            # The page depends on all others then; each build reads it again.
            self.env.note_reread()
            listed = listed_names(self.env.srcdir, module_name)
            names = [name for name in public_names(module_name) if name not in listed]
        lines = ["````{eval-rst}"]
        for name in names:
            lines += directive_for(module_name, name)
        lines.append("````")
        container = nodes.Element()
        where = f"{self.env.docname}, api {module_name}"
        self.state.nested_parse(StringList(lines, source=where), self.content_offset, container)
        return container.children


class MissingFromTrio(SphinxDirective):
    """Lists the public names of Trio that this package has not."""

    has_content = True

    def run(self):
        """Return a list with an item for each module that lacks any, or a sentence."""
        # In a process of its own: with autodoc loaded Trio shows other platforms' names too.
        program = PRINT_NAMES.format(FACADES=FACADES)
        output = subprocess.check_output([sys.executable, "-W", "ignore", "-c", program], text=True)
        items = nodes.bullet_list()
        for theirs, names in json.loads(output).items():
            paragraph = nodes.paragraph("", "", nodes.literal("", theirs), nodes.Text(": "))
            for name in names:
                paragraph += [nodes.literal("", name), nodes.Text(", ")]
            paragraph[-1] = nodes.Text(".")
            items += nodes.list_item("", paragraph)
        return [items] if len(items) else [nodes.paragraph("", "Nothing.")]


def directive_for(module_name, name):
    """Return the lines of the autodoc directive for one name."""
    thing = getattr(importlib.import_module(module_name), name)
    full_name = f"{module_name}.{name}"
    if inspect.isclass(thing):
        kind = "exception" if issubclass(thing, BaseException) else "class"
        options = []
        if any(is_worth_showing(base) for base in thing.__bases__):
            options.append("   :show-inheritance:")
        if kind == "class":
            # `expire` is what a deadline calls.
            options += ["   :members:", "   :exclude-members: expire"]
            options.append("   :inherited-members: object,tuple,Generic,Enum")
        return [f".. auto{kind}:: {full_name}", *options, ""]
    if inspect.isfunction(thing):
        return [f".. autofunction:: {full_name}", ""]
    return [f".. autodata:: {full_name}", "   :no-value:", ""]


def is_worth_showing(base):
    """Say whether a base class tells a user something: our contracts, and Python's exceptions."""
    is_contract = base.__module__.startswith(PACKAGE) and "._" not in base.__module__
    return is_contract or issubclass(base, BaseException)


def keep_bases_worth_showing(_app, _name, _thing, _options, bases):
    """Drop the other bases from the entry of a class."""
    bases[:] = [base for base in bases if is_worth_showing(typing.get_origin(base) or base)]


def tidy_signature(_app, what, _name, thing, _options, signature, returns):
    """Show no arguments of a class that users cannot construct, and only what is Python."""
    if what == "class" and signature is not None:
        if has_private_constructor(thing):
            return "", None
        # What `inspect` says of a dataclass's field; Sphinx would not parse it.
        signature = signature.replace("<factory>", "...")
    return signature, returns


def has_private_constructor(cls):
    """Say whether calling the class says so."""
    if getattr(cls, "_is_protocol", False):
        return True
    with warnings.catch_warnings(action="ignore"):
        try:
            inspect.signature(cls).bind()
            cls()
        except TypeError as exc:
            return "no public constructor" in str(exc)
    return False


def resolve(app, env, node, content):
    """Find a name among ours that its own module has not; say of others that they are code."""
    if node.get("refdomain") != "py":
        return None
    target = node["reftarget"]
    domain = env.domains.python_domain
    for module_name in FACADES:
        found = domain.objects.get(f"{module_name}.{target}")
        if found is not None and module_name not in target:
            return make_refnode(
                app.builder, node["refdoc"], found.docname, found.node_id, content, target
            )
    if node["reftype"] == "name" or is_known(target):
        return content
    return None


def is_known(target):
    """Say whether the name is Python's, or one that this package has for itself."""
    parts = target.removeprefix("~").split(".")
    if len(parts) > 1:
        is_private = parts[0] == PACKAGE and any(part.startswith("_") for part in parts)
        return is_private or parts[0] == "outcome" or parts[0] in sys.stdlib_module_names
    if target in TYPESHED or any(hasattr(module, target) for module in FOREIGN):
        return True
    ours = [module for name, module in sys.modules.items() if name.startswith(f"{PACKAGE}.")]
    return any(hasattr(module, target) for module in ours)


def mark_examples(_app, _what, _name, _thing, _options, lines):
    """Make literal blocks of the indented examples, which have no mark in the source."""
    marked = []
    last = ""
    for line in lines:
        # What is in a section follows its heading without a blank line.
        if line.startswith("    ") and marked and not marked[-1].strip() and last[:1].strip():
            marked += ["::", ""]
        if line.strip():
            last = line
        marked.append(line)
    lines[:] = marked


def parse_properties_as_methods():
    """Let docstrings of properties have sections; napoleon takes `TYPE: TEXT` for all of them."""
    parse = GoogleDocstring._parse

    def parse_as_method(docstring):
        if docstring._what == "property":
            docstring._what = "method"
        parse(docstring)

    GoogleDocstring._parse = parse_as_method


def setup(app):
    """Register everything."""
    parse_properties_as_methods()
    for field in PyObject.doc_field_types:
        if field.name == "variable":
            field.label = "Attributes"
    app.add_directive("api", Api)
    app.add_directive("missing-from-trio", MissingFromTrio)
    app.add_role_to_domain("py", "name", PyXRefRole())
    # Before napoleon, whose priority is the default of 500.
    app.connect("autodoc-process-docstring", mark_examples, priority=400)
    app.connect("autodoc-process-bases", keep_bases_worth_showing)
    app.connect("autodoc-process-signature", tidy_signature)
    app.connect("missing-reference", resolve)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
