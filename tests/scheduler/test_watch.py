"""Watch: counting a task's checkpoints, and leaving no trace."""

import contextvars

import uringtrio
from uringtrio import from_thread, lowlevel, to_thread
from uringtrio._scheduler.watch import Watch


def test_watch_counts_both_halves_apart():
    async def main():
        watch = Watch.enter(lowlevel.current_task())
        await lowlevel.checkpoint()
        assert (watch.cancel_points(), watch.schedule_points()) == (1, 1)
        await lowlevel.cancel_shielded_checkpoint()
        assert (watch.cancel_points(), watch.schedule_points()) == (1, 2)
        await lowlevel.checkpoint_if_cancelled()
        assert (watch.cancel_points(), watch.schedule_points()) == (2, 2)
        await uringtrio.sleep(0)
        assert (watch.cancel_points(), watch.schedule_points()) == (3, 3)
        watch.exit()

    uringtrio.run(main)


def test_nested_watches_are_one_and_end_with_the_outermost():
    async def main():
        task = lowlevel.current_task()
        outer = Watch.enter(task)
        inner = Watch.enter(task)
        assert inner is outer
        inner.exit()
        await lowlevel.checkpoint()
        assert outer.schedule_points() == 1
        outer.exit()
        assert task._watch is None
        assert task._run == task.context.run

    uringtrio.run(main)


def test_watched_task_keeps_its_context_and_lends_it_to_threads():
    var = contextvars.ContextVar("var", default="none")

    async def main():
        watch = Watch.enter(lowlevel.current_task())
        var.set("mine")
        await lowlevel.checkpoint()
        assert var.get() == "mine"

        def work():
            var.set("thread's")
            return from_thread.run_sync(var.get)

        assert await to_thread.run_sync(work) == "thread's"
        assert var.get() == "mine"
        watch.exit()
        await lowlevel.checkpoint()
        assert var.get() == "mine"

    uringtrio.run(main)
