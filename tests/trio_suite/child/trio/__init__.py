"""Found before the real trio by the children of tests, so that `import trio` is uringtrio there.

In the process that runs the tests, `trio_alias` is installed before anybody imports trio.
"""

import sys

import trio_alias

# The import system takes what stands under this name when this module has run: the alias.
del sys.modules["trio"]
trio_alias.install()
