"""The tree of a run as text: tasks, the scopes and nurseries they have open, what they wait for."""

from __future__ import annotations

import sys
from math import inf
from typing import TYPE_CHECKING

from uringtrio._scheduler.current import CURRENT
from uringtrio._scheduler.task import Task

from .waits import describe, seconds_left

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

    from uringtrio._scheduler.cancel import CancelScope
    from uringtrio._scheduler.nursery import Nursery


class _Block:
    """A cancel scope, or a nursery, that a task has open; in it are those it opened later.

    Attributes:
        scopes: the task's scopes, outermost first.
        index: of this block's scope among them.
    """

    __slots__ = ("index", "scopes", "task")

    def __init__(self, task: Task, scopes: list[CancelScope], index: int) -> None:
        self.task = task
        self.scopes = scopes
        self.index = index

    def nursery(self) -> Nursery | None:
        """Return the nursery whose scope this is, or None."""
        scope = self.scopes[self.index]
        for nursery in self.task._nurseries:
            if nursery.cancel_scope is scope:
                return nursery
        return None

    def inner(self) -> list[_Block]:
        """Return the next block, if there is one."""
        index = self.index + 1
        return [_Block(self.task, self.scopes, index)] if index < len(self.scopes) else []


Node = Task | _Block


def format_task_tree(task: Task | None = None) -> str:
    """Return the living tasks of this run as indented text, with what each is waiting for.

    Below a task stand the cancel scopes and nurseries that it has open, the later ones in the
    earlier ones, and in each nursery its tasks, by name:

        task app.main: waiting for its nursery at /srv/app.py:31 in main
        └── nursery
            ├── task app.report: sleeping, 4.20 s left in uringtrio.sleep at /srv/app.py:9 in report
            └── task app.serve: running at /srv/app.py:17 in serve
                └── cancel scope, 0.75 s left, shielded

    Of a task it says whether it runs, is runnable, has not started, or waits, and then for what:
    the op in flight with its descriptor (`recv fd=7`), a sleep and its rest, its nursery. After
    "in" comes the function of uringtrio, or of the standard library, that it has called; after
    "at" the innermost line of other code.
    Of a scope it says when its deadline is, whether it is cancelled and why, and whether it is
    shielded.

    To be called in the run's thread: in a task, an instrument, a callback of
    `TrioToken.run_sync_soon`, or a signal handler. The text is for people and may change.

    Args:
        task: where to begin; None begins with the run's first task, the ancestor of all.

    Returns:
        One or more lines, without a line feed at the end.

    Raises:
        RuntimeError: called outside of a run, or `task` is of another run.
        TypeError: `task` is no task.
    """
    runner = CURRENT.runner
    if runner is None:
        raise RuntimeError(
            "uringtrio.lowlevel.format_task_tree() must be called in the thread of a run, and this "
            "is none: call it from a task, or have the run call it by "
            "TrioToken.run_sync_soon(), or use uringtrio.lowlevel.dump_task_tree_on()"
        )
    if task is not None:
        if not isinstance(task, Task):
            raise TypeError(f"format_task_tree: `task` must be a lowlevel.Task, not {task!r}")
        if task._runner is not runner:
            raise RuntimeError(f"format_task_tree: {task!r} belongs to another run")
    return "\n".join(tree_lines(task or runner.init_task, sys._getframe(1)))


def tree_lines(root: Task | None, frame: FrameType | None) -> Iterator[str]:
    """Yield the lines of the tree below `root`.

    Args:
        root: None if the run has no tasks yet, or no more.
        frame: where the run's thread was when somebody asked.
    """
    if root is None:
        yield "no tasks"
        return
    # Not by recursion: nurseries in nurseries may be deeper than Python's stack.
    todo: list[tuple[Node, str, str]] = [(root, "", "")]
    while todo:
        node, indent, inner_indent = todo.pop()
        yield indent + (_task_text(node, frame) if isinstance(node, Task) else _block_text(node))
        nodes = _below(node)
        for at in reversed(range(len(nodes))):
            branch, trunk = ("└── ", "    ") if at == len(nodes) - 1 else ("├── ", "│   ")
            todo.append((nodes[at], inner_indent + branch, inner_indent + trunk))


def _below(node: Node) -> list[Node]:
    if isinstance(node, Task):
        scopes: list[CancelScope] = []
        scope: CancelScope | None = node._scope
        while scope is not None and scope._task is node:
            scopes.append(scope)
            scope = scope._parent
        scopes.reverse()
        return [_Block(node, scopes, 0)] if scopes else []
    nursery = node.nursery()
    children: list[Task] = []
    if nursery is not None:
        # A set has no order of its own; the same tasks are to stand in the same order each time.
        children = sorted(nursery._children, key=lambda task: (task.name, id(task)))
    return [*children, *node.inner()]


def _task_text(task: Task, frame: FrameType | None) -> str:
    return f"task {task.name}: {describe(task, frame)}"


def _block_text(block: _Block) -> str:
    scope = block.scopes[block.index]
    text = "cancel scope" if block.nursery() is None else "nursery"
    if scope._cancel_called:
        text += ", cancelled"
        if scope._reason is not None:
            text += f" by {scope._reason.source}"
            if scope._reason.reason is not None:
                text += f": {' '.join(scope._reason.reason.split())}"
    elif scope._effectively_cancelled:
        text += ", cancelled from outside"
    elif scope._deadline != inf:
        text += f", {seconds_left(scope._deadline - block.task._runner.now())}"
    if scope._shield:
        text += ", shielded"
    return text
