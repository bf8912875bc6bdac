"""Drops single asserts on private attributes, out of tests that are about public behaviour.

The manifest excludes tests that are about something private; in these, an assert or two is.
"""

import ast
from pathlib import Path

from _pytest.assertion import rewrite

TESTS = {
    "test_highlevel_ssl_helpers.py": {
        "test_open_ssl_over_tcp_stream_and_everything_else",
        "test_open_ssl_over_tcp_listeners",
    },
    "test_ssl.py": {"test_SSLListener"},
    "test_subprocess.py": {"test_basic"},
    "test_sync.py": {"test_CapacityLimiter_zero_limit_tokens"},
    "test_signals.py": {
        "test_open_signal_receiver",
        "test_catch_signals_race_condition_on_exit",
    },
}
PRIVATE_NAMES = {"get_pending_signal_count"}


def is_private(node):
    """Say whether a node of an assert is Trio's own business."""
    if isinstance(node, ast.Attribute):
        return node.attr.startswith("_") and not node.attr.startswith("__")
    if isinstance(node, ast.Name):
        return node.id in PRIVATE_NAMES
    # A repr that begins with the package's name.
    is_text = isinstance(node, ast.Constant) and isinstance(node.value, str)
    return is_text and node.value.startswith("<trio.")


class DropPrivateAsserts(ast.NodeTransformer):
    def visit_Assert(self, node):
        if any(is_private(inner) for inner in ast.walk(node.test)):
            return ast.copy_location(ast.Pass(), node)
        return node


def install():
    """Have it done by pytest's own rewriting of asserts, which sees each module of tests."""
    rewrite_asserts = rewrite.rewrite_asserts

    def drop_and_rewrite(mod, source, module_path=None, config=None):
        tests = TESTS.get(Path(module_path).name, ()) if module_path else ()
        for node in mod.body:
            if getattr(node, "name", None) in tests:
                DropPrivateAsserts().visit(node)
        return rewrite_asserts(mod, source, module_path, config)

    rewrite.rewrite_asserts = drop_and_rewrite
