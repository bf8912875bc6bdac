"""What can be run as a task, and what to say of what cannot."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

AsyncFn = Callable[..., Awaitable[Any]]


def as_coroutine(result: Any, async_fn: AsyncFn) -> Coroutine[Any, Any, Any]:
    """Turn what `async_fn(*args)` returned into a coroutine, or explain why it is none."""
    if isinstance(result, Coroutine):
        # A coroutine of another kind, as compilers make them: one of ours around it.
        return _await(result)
    name = getattr(async_fn, "__qualname__", None) or repr(async_fn)
    if inspect.isasyncgen(result):
        raise TypeError(
            f"expected an async function but got an async generator: {name} contains `yield`; "
            "iterate over it with `async for` in an async function"
        )
    if hasattr(result, "_asyncio_future_blocking") or type(result).__name__ == "Future":
        raise TypeError(
            f"expected an async function, but {name} returned {result!r}: uringtrio runs neither "
            "asyncio's nor other libraries' futures"
        )
    if inspect.isawaitable(result):
        return _await(result)
    raise TypeError(
        f"expected an async function, but {name} is a sync function that returned {result!r}; "
        "define it with `async def`, or run it in a thread"
    )


async def _await(awaitable: Awaitable[Any]) -> Any:
    return await awaitable


def check_async_fn(async_fn: object, call: str) -> None:
    """Refuse what is plainly no async function, before it is called.

    Args:
        async_fn: what the user passed.
        call: how it was passed, such as "uringtrio.run".

    Raises:
        TypeError: it is a coroutine object, or cannot be called.
    """
    if inspect.iscoroutine(async_fn):
        name = async_fn.__qualname__
        async_fn.close()  # It will never be awaited, and that is not worth a second message.
        raise TypeError(
            f"{call} was expecting an async function, but instead it got a coroutine object "
            f"<{name}>.\nProbably you wrote `{call}({name}(...))`; "
            f"it should be `{call}({name}, ...)`, without the parentheses"
        )
    if inspect.isasyncgen(async_fn):
        raise TypeError(
            f"{call} was expecting an async function, not the async generator {async_fn!r}"
        )
    if not callable(async_fn):
        raise TypeError(f"{call} was expecting an async function, not {async_fn!r}")
