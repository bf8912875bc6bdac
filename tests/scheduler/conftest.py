"""Two hosts for guest runs: asyncio, and a loop like Tk's that knows nothing of descriptors."""

import asyncio
import heapq
import itertools
import queue
import threading
import time

import pytest

from uringtrio import lowlevel
from uringtrio._scheduler import loop
from uringtrio._scheduler.current import CURRENT

# A guest that has not ended by then never will.
HOST_SECONDS_MAX = 20.0


class TkLikeHost:
    """An event loop with `after` and a queue: no descriptors, no signals, no notion of tasks."""

    def __init__(self):
        self._queue = queue.SimpleQueue()
        self._timers = []
        self._count = itertools.count()
        self._is_over = False

    def call_soon_threadsafe(self, fn):
        self._queue.put(fn)

    call_soon = call_soon_threadsafe

    def after(self, seconds, fn):
        heapq.heappush(self._timers, (time.monotonic() + seconds, next(self._count), fn))

    def quit(self):
        self._is_over = True

    def mainloop(self):
        self._is_over = False
        while not self._is_over:
            timeout = self._timers[0][0] - time.monotonic()
            try:
                fn = self._queue.get(timeout=max(timeout, 0))
            except queue.Empty:
                fn = heapq.heappop(self._timers)[2]
            fn()

    def close(self):
        self._timers.clear()


class AsyncioHost:
    """asyncio's event loop, of which an exception in a callback ends `mainloop`, as with Tk."""

    def __init__(self):
        self._loop = asyncio.new_event_loop()
        self._loop.set_exception_handler(self._crash)
        self._error = None
        self.call_soon_threadsafe = self._loop.call_soon_threadsafe
        self.call_soon = self._loop.call_soon
        self.after = self._loop.call_later
        self.quit = self._loop.stop

    def _crash(self, loop, context):
        self._error = context.get("exception") or RuntimeError(context["message"])
        loop.stop()

    def mainloop(self):
        self._loop.run_forever()
        if self._error is not None:
            raise self._error

    def close(self):
        self._loop.close()


class Guest:
    """Starts guest runs on a host, and gives the host's thread to them until they have ended."""

    def __init__(self, host):
        self.host = host
        self.outcomes = []
        # How often the run has asked for a turn from its own thread, and from another.
        self.asked_from_here = 0
        self.asked_from_threads = 0
        self._host_thread = threading.current_thread()

    def _soon(self, fn):
        assert threading.current_thread() is self._host_thread
        self.asked_from_here += 1
        self.host.call_soon(fn)

    def _soon_threadsafe(self, fn):
        assert threading.current_thread() is not self._host_thread
        self.asked_from_threads += 1
        self.host.call_soon_threadsafe(fn)

    def _done(self, result):
        self.outcomes.append(result)
        self.host.quit()

    def start(self, async_fn, *args, **options):
        """Call `start_guest_run`, as the host would; the test calls `mainloop`."""
        lowlevel.start_guest_run(
            async_fn,
            *args,
            run_sync_soon_threadsafe=self._soon_threadsafe,
            run_sync_soon_not_threadsafe=self._soon,
            done_callback=self._done,
            **options,
        )

    def run(self, async_fn, *args, in_host=None, **options):
        """Run `async_fn(*args)` as a guest and return its result.

        Args:
            in_host: called by the host after the start.
        """

        def begin():
            self.start(async_fn, *args, **options)
            if in_host is not None:
                in_host()

        self.host.call_soon(begin)
        self.mainloop()
        return self.outcomes[-1].unwrap()

    def mainloop(self):
        """Be the host until a run has ended."""
        self.host.after(HOST_SECONDS_MAX, self._give_up)
        self.host.mainloop()

    @staticmethod
    def _give_up():
        raise AssertionError("the guest run does not end")


@pytest.fixture(params=[TkLikeHost, AsyncioHost], ids=["tk", "asyncio"])
def guest(request, monkeypatch, leftovers):
    """Guest runs on each kind of host, which must leave as little behind as other runs."""
    end = loop.Session.end

    def observed_end(session):
        leftovers.look_at(session.runner)
        end(session)

    monkeypatch.setattr(loop.Session, "end", observed_end)
    host = request.param()
    yield Guest(host)
    host.close()
    # A guest that has not ended fails its own test, and no other.
    CURRENT.runner = None
