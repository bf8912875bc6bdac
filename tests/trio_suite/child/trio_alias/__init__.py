"""Makes `import trio` give uringtrio, to tests that came with Trio's wheel.

Of the modules that are imported under the name `trio`

- the public ones (`trio`, `trio.abc`, `trio.socket` ...) stand for uringtrio's of the same name;
- the private ones (`trio._core._run` ...) are made up: a name in them is the public object of that
  name, or a tool that tests use and no package needs to have, which comes from the wheel; all of
  this is in `names.py`;
- the tests themselves (`trio._tests`, `trio._core._tests`) are loaded from the wheel as they are.

A name that uringtrio does not have must not break the import of a whole file of tests: it becomes
a `Missing`, which raises when a test uses it.
"""

from .finder import install as install
