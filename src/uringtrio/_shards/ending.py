"""Ending: how a shard ended, also as bytes, for those that are processes."""

from __future__ import annotations

import pickle
import traceback
from dataclasses import dataclass
from typing import Any

from uringtrio._errors import ShardError


@dataclass(frozen=True, slots=True)
class Ending:
    """What became of one shard.

    Attributes:
        value: what its main function returned; None if it did not.
        error: what it raised; None if it did not.
        was_cancelled: whether it ended because it was cancelled.
    """

    value: Any = None
    error: BaseException | None = None
    was_cancelled: bool = False


def to_bytes(ending: Ending, index: int) -> bytes:
    """Return the ending of shard `index` in a form that `from_bytes` surely understands."""
    if ending.error is not None:
        text = "".join(traceback.format_exception(ending.error))
        return pickle.dumps((_portable_error(ending.error, index), text, None, False))
    try:
        return pickle.dumps((None, "", _checked(ending.value), ending.was_cancelled))
    except Exception as exc:  # noqa: BLE001  # whatever the value's own methods raise
        error = ShardError(
            index,
            f"returned a {type(ending.value).__qualname__} that cannot be sent to the process "
            f"that called run_sharded(): {exc}. Return something that can be pickled",
        )
        return pickle.dumps((error, "", None, False))


def _checked(value: Any) -> Any:
    """Return `value` if it survives the journey, or raise."""
    pickle.loads(pickle.dumps(value))
    return value


def _portable_error(error: BaseException, index: int) -> BaseException:
    try:
        return _checked(error)  # type: ignore[no-any-return]  # what it was given
    except Exception as exc:  # noqa: BLE001  # as above
        summary = "".join(traceback.format_exception_only(error)).strip()
        return ShardError(
            index, f"raised {summary}\nThe exception itself cannot be sent to this process: {exc}"
        )


def from_bytes(data: bytes) -> Ending:
    """Return the ending that `to_bytes` was given, with the traceback in a note of the error."""
    error, text, value, was_cancelled = pickle.loads(data)
    if text:
        error.add_note(f"In the shard:\n{text.rstrip()}")
    return Ending(value, error, was_cancelled)
