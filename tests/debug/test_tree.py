"""format_task_tree: every task of a run, in its place."""

import re
import threading

import pytest

import uringtrio
from uringtrio import lowlevel


def shape(text):
    """Return the tree without places, which change with edits, and without names of calls."""
    return [
        re.sub(r" in uringtrio\S+", " in (call)", re.sub(r" at /.*", "", line))
        for line in text.splitlines()
    ]


def below(text, name):
    """Return the lines of the subtree of the task `name`, without their indent."""
    lines = text.splitlines()
    start = next(i for i, line in enumerate(lines) if f"task {name}:" in line)
    column = lines[start].index("task ")
    found = [lines[start][column:]]
    for line in lines[start + 1 :]:
        if line[:column].strip(" │"):
            break
        found.append(line[column:])
    return "\n".join(found)


async def forever():
    await uringtrio.sleep_forever()


def test_tree_has_every_task_in_its_place(clock, settle):
    async def outer():
        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(forever, name="inner 1")
            with uringtrio.move_on_after(10, shield=True):
                async with uringtrio.open_nursery() as second:
                    second.start_soon(forever, name="inner 2")
                    await uringtrio.sleep(3)

    async def main():
        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(outer, name="b")
            nursery.start_soon(forever, name="a")
            await settle()
            text = lowlevel.format_task_tree()
            nursery.cancel_scope.cancel()
        return text

    main_name = f"{main.__module__}.{main.__qualname__}"
    text = uringtrio.run(main, clock=clock)

    assert shape(text) == [
        "task <init>: waiting for its nursery",
        "└── nursery",
        "    ├── task <TrioToken.run_sync_soon task>: waiting in (call)",
        "    └── nursery",
        "        └── nursery",
        f"            └── task {main_name}: running",
        "                └── nursery",
        "                    ├── task a: sleeping for ever in (call)",
        "                    └── task b: sleeping, 3.00 s left in (call)",
        "                        └── nursery",
        "                            ├── task inner 1: sleeping for ever in (call)",
        "                            └── cancel scope, 10.00 s left, shielded",
        "                                └── nursery",
        "                                    └── task inner 2: sleeping for ever in (call)",
    ]


def test_same_tasks_stand_in_the_same_order(clock, settle):
    async def main():
        async with uringtrio.open_nursery() as nursery:
            for _ in range(50):
                nursery.start_soon(forever)
            await settle()
            assert lowlevel.format_task_tree() == lowlevel.format_task_tree()
            nursery.cancel_scope.cancel()

    uringtrio.run(main, clock=clock)


def test_subtree_of_one_task(clock, settle):
    async def parent(task_status):
        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(forever, name="child")
            task_status.started(lowlevel.current_task())

    async def main():
        async with uringtrio.open_nursery() as nursery:
            task = await nursery.start(parent, name="parent")
            await settle()
            text = lowlevel.format_task_tree(task)
            whole = lowlevel.format_task_tree()
            nursery.cancel_scope.cancel()
        assert shape(lowlevel.format_task_tree(task)) == ["task parent: finished"]
        return text, whole

    text, whole = uringtrio.run(main, clock=clock)
    assert shape(text) == [
        "task parent: waiting for its nursery",
        "└── nursery",
        "    └── task child: sleeping for ever in (call)",
    ]
    assert below(whole, "parent") == text


def test_scopes_say_how_they_are(clock, settle):
    async def shielded():
        with uringtrio.CancelScope(shield=True):
            with uringtrio.CancelScope() as unshielded:
                unshielded.shield = False
                await uringtrio.sleep(1)

    async def timed_out():
        with uringtrio.move_on_after(0):
            with uringtrio.CancelScope(deadline=uringtrio.current_time() + 7.5):
                with uringtrio.CancelScope(shield=True):
                    await uringtrio.sleep(1)

    async def main():
        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(shielded, name="shielded")
            nursery.start_soon(timed_out, name="timed out")
            await settle()
            nursery.cancel_scope.cancel("two\n lines")
            return lowlevel.format_task_tree(lowlevel.current_task())

    _main, *lines = shape(uringtrio.run(main, clock=clock))
    assert lines == [
        "└── nursery, cancelled by explicit: two lines",
        "    ├── task shielded: sleeping, 1.00 s left in (call)",
        "    │   └── cancel scope, shielded",
        "    │       └── cancel scope",
        "    └── task timed out: sleeping, 1.00 s left in (call)",
        "        └── cancel scope, cancelled by deadline",
        "            └── cancel scope, cancelled from outside",
        "                └── cancel scope, shielded",
    ]


def test_very_deep_trees_are_shown(clock):
    depth = 1500

    async def nest(level):
        if level == 0:
            return lowlevel.format_task_tree()
        found = []

        async def deeper():
            found.append(await nest_in_task(level - 1))

        async with uringtrio.open_nursery() as nursery:
            nursery.start_soon(deeper)
        return found[0]

    async def nest_in_task(level):
        return await nest(level)

    text = uringtrio.run(nest, depth, clock=clock)
    assert text.count("deeper: ") == depth


def test_it_works_in_callbacks_and_instruments(clock):
    texts = {}

    class Observer(uringtrio.abc.Instrument):
        def __init__(self, *hooks):
            for hook in hooks:
                setattr(self, hook, lambda *_args, hook=hook: self.note(hook))

        def note(self, hook):
            texts[hook] = texts.get(hook, "") + lowlevel.format_task_tree()

    async def main():
        lowlevel.current_trio_token().run_sync_soon(Observer().note, "callback")
        await uringtrio.sleep(1)

    hooks = [name for name in dir(uringtrio.abc.Instrument) if not name.startswith("_")]
    uringtrio.run(main, clock=clock, instruments=[Observer(*hooks)])

    assert set(texts) == {*hooks, "callback"}
    assert texts["before_run"] == texts["after_run"] == "no tasks"
    assert "task <TrioToken.run_sync_soon task>: running" in texts["callback"]
    # The clock jumps before the wait.
    assert "sleeping, 0.00 s left" in texts["before_io_wait"]


def test_only_the_thread_of_a_run_may_ask():
    with pytest.raises(RuntimeError, match=r"dump_task_tree_on\(\)"):
        lowlevel.format_task_tree()

    async def main():
        with pytest.raises(RuntimeError, match="in the thread of a run"):
            await uringtrio.to_thread.run_sync(lowlevel.format_task_tree)

    uringtrio.run(main)


def test_only_tasks_of_this_run_are_shown():
    async def other_run():
        return lowlevel.current_task()

    async def main():
        with pytest.raises(TypeError, match=r"must be a lowlevel\.Task, not 'main'"):
            lowlevel.format_task_tree("main")
        tasks = []
        thread = threading.Thread(target=lambda: tasks.append(uringtrio.run(other_run)))
        thread.start()
        thread.join()
        with pytest.raises(RuntimeError, match="belongs to another run"):
            lowlevel.format_task_tree(tasks[0])

    uringtrio.run(main)
