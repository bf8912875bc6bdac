"""RunVar: variables that have one value for each run."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar, final

from uringtrio._abc import Sealed

from .current import CURRENT

if TYPE_CHECKING:
    from .runner import Runner

T = TypeVar("T")


class _Missing(enum.Enum):
    """What stands for no value: any object may be one."""

    MISSING = "MISSING"


_MISSING: Final = _Missing.MISSING


def _runner() -> Runner:
    runner = CURRENT.runner
    if runner is None:
        raise RuntimeError(
            "Cannot be used outside of a run context: a RunVar has a value only inside a function "
            "that uringtrio.run() started, in the same thread"
        )
    return runner


@final
class RunVarToken(Generic[T], Sealed):  # noqa: PYI059  # Sealed does not call Generic's __init_subclass__
    """What a `RunVar` was before a call of `RunVar.set`, for `RunVar.reset`; good for one use."""

    __slots__ = ("__weakref__", "_is_used", "_previous", "_var")

    def __init__(
        self,
        var: RunVar[T] | None = None,
        previous: T | _Missing = _MISSING,
    ) -> None:
        if var is None:
            raise TypeError(
                "uringtrio.lowlevel.RunVarToken has no public constructor: use RunVar.set()"
            )
        self._var = var
        self._previous = previous
        self._is_used = False


@final
class RunVar(Generic[T], Sealed):  # noqa: PYI059  # Sealed does not call Generic's __init_subclass__
    """A variable with one value for each run, which all its tasks share.

    For a value of each task and its children use `contextvars`. Every run starts without the
    values of other runs.

    Args:
        name: for `repr`.
        default: the value in runs that have not set one; without it, `get` raises LookupError.
    """

    __slots__ = ("__weakref__", "_default", "_name")

    def __init__(self, name: str, default: T | _Missing = _MISSING) -> None:
        self._name = name
        self._default = default

    def __repr__(self) -> str:
        return f"<RunVar name={self._name!r}>"

    def get(self, default: T | _Missing = _MISSING) -> T:
        """Return the value in this run.

        Args:
            default: what to return if there is none; goes before the variable's own default.

        Raises:
            LookupError: there is no value, and no default.
            RuntimeError: called outside of a run.
        """
        values: dict[RunVar[Any], Any] = _runner().run_vars
        value: T | _Missing = values.get(self, default)
        if value is _MISSING:
            value = self._default
        if value is _MISSING:
            raise LookupError(self)
        return value

    def set(self, value: T) -> RunVarToken[T]:
        """Change the value in this run.

        Returns:
            What `reset` takes to bring the old value back.

        Raises:
            RuntimeError: called outside of a run.
        """
        values = _runner().run_vars
        # Without a value of its own the variable has none to go back to but its default.
        token = RunVarToken(self, values.get(self, _MISSING))
        values[self] = value
        return token

    def reset(self, token: RunVarToken[T]) -> None:
        """Bring back the value from before the call of `set` that returned `token`.

        Raises:
            TypeError: `token` is no token.
            ValueError: it was used already, or is another variable's.
            RuntimeError: called outside of a run.
        """
        if not isinstance(token, RunVarToken):
            raise TypeError(f"RunVar.reset takes what RunVar.set returned, not {token!r}")
        if token._is_used:
            raise ValueError("token has already been used")
        if token._var is not self:
            raise ValueError("token is not for us")
        values = _runner().run_vars
        if token._previous is _MISSING:
            values.pop(self, None)
        else:
            values[self] = token._previous
        token._is_used = True
