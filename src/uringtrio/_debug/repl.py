"""The prompt of `python -m uringtrio`: each line runs in one run, and may `await`.

The prompt waits in a worker thread, so that tasks go on while somebody types; each line is sent
back to the main task. SIGINT comes to the main thread, which cannot end the `input` of another
one. So Ctrl-C at the prompt makes the terminal send the end of the line, where the kernel allows
that (sysctl dev.tty.legacy_tiocsti), and else asks for it.
"""

from __future__ import annotations

import ast
import code
import contextlib
import fcntl
import inspect
import signal
import sys
import termios
from types import CodeType, FrameType, FunctionType
from typing import TYPE_CHECKING

import outcome

from uringtrio._scheduler.entry import current_trio_token
from uringtrio._scheduler.loop import run
from uringtrio._scheduler.traps import checkpoint_if_cancelled
from uringtrio._threads import from_thread, to_thread

with contextlib.suppress(ImportError):
    # For the editing of lines. Not every Python has it.
    import readline
    import rlcompleter

if TYPE_CHECKING:
    from uringtrio._signals import Handler


class Console(code.InteractiveConsole):
    """A prompt in a worker thread of `to_thread.run_sync`, whose lines run in the main task."""

    def __init__(self, namespace: dict[str, object]) -> None:
        super().__init__(locals=namespace)
        self._namespace = namespace
        self.compile.compiler.flags |= ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        # From a SIGINT at the prompt until it is shown.
        self._is_interrupted = False

    def runcode(self, code: CodeType) -> None:
        """Run one input in the run, and show what it raises."""
        fn = FunctionType(code, self._namespace)
        result: outcome.Outcome[object]
        if inspect.iscoroutinefunction(fn):
            result = from_thread.run(outcome.acapture, fn)
        else:
            result = from_thread.run_sync(outcome.capture, fn)
        if isinstance(result, outcome.Error):
            if isinstance(result.error, SystemExit):
                raise result.error
            _show(result.error)
        # An interrupt that came after the end of the input is not for the next one.
        from_thread.run(checkpoint_if_cancelled)

    def raw_input(self, prompt: str = "") -> str:
        """Read a line; KeyboardInterrupt if SIGINT came meanwhile."""
        previous = from_thread.run_sync(self._take_interrupts)
        try:
            line = input(prompt)
        finally:
            from_thread.run_sync(signal.signal, signal.SIGINT, previous)
        if self._is_interrupted:
            raise KeyboardInterrupt
        return line

    def _take_interrupts(self) -> Handler:
        token = current_trio_token()

        def handle(_signum: int, _frame: FrameType | None) -> None:
            self._is_interrupted = True
            token.run_sync_soon(end_line, idempotent=True)

        return signal.signal(signal.SIGINT, handle)

    def write(self, data: str) -> None:
        """Write a message to standard error."""
        if self._is_interrupted:
            # The line has been ended already.
            self._is_interrupted = False
            data = data.lstrip("\n")
        sys.stderr.write(data)
        sys.stderr.flush()


def end_line() -> None:
    """End the line that is being typed, or ask for it."""
    try:
        fcntl.ioctl(sys.stdin, termios.TIOCSTI, b"\n")
    except OSError:
        print("\ninterrupted: press Enter for a new line", end="", flush=True)  # noqa: T201


def _show(error: BaseException) -> None:
    # What the interpreter itself does; `traceback` and debuggers look for these names.
    sys.last_type, sys.last_value, sys.last_traceback = type(error), error, error.__traceback__
    if sys.version_info >= (3, 12):
        sys.last_exc = error
    sys.excepthook(type(error), error, error.__traceback__)


async def interact(console: Console) -> None:
    """Show the banner, then run what is typed, until the end of the input or SystemExit."""
    banner = (
        f"uringtrio REPL, Python {sys.version} on {sys.platform}\n"
        'Use "await" directly instead of "uringtrio.run()".\n'
        'Type "help", "copyright", "credits" or "license" for more information.\n'
        f"{getattr(sys, 'ps1', '>>> ')}import uringtrio"
    )
    await to_thread.run_sync(console.interact, banner, "")


def main(namespace: dict[str, object]) -> None:
    """Run a prompt in a run of its own; return at the end of the input.

    Args:
        namespace: the names that what is typed finds, and adds to.
    """
    if "rlcompleter" in globals():
        readline.set_completer(rlcompleter.Completer(namespace).complete)
        readline.parse_and_bind("tab: complete")
    run(interact, Console(namespace))
