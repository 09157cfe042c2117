"""What holds where code says nothing of its own: for the process, or for a block of code.

`configure` sets it for the whole process, every thread included. `context` sets it for a block of
code: for the thread or task that is inside the block, and for what copies its context there.
These do: tasks (`asyncio.create_task`, `gather`, …), `asyncio.to_thread`, and `LM.batch`. These do
not, and see what is set for the process: `threading.Thread`, and the threads of an executor. Carry
a block to them with `contextvars`, with a copy for each call:

    with lmconf.context(lm=other):
        pool.submit(contextvars.copy_context().run, work, item)

(Where Python itself lets threads inherit their starter's context, as builds without the GIL do
from 3.14 on, a plain thread sees the block that it was started in.)
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, TypeAlias, TypedDict, cast

from lmconf.diagnostics.suggest import did_you_mean
from lmconf.errors import UsageError
from lmconf.system.tracebacks import hide_frames

if TYPE_CHECKING:
    from contextlib import _GeneratorContextManager

    from typing_extensions import Unpack

    from lmconf.runtime.lm import LM

__all__ = ["Settings", "Values", "configure", "context", "settings"]


class Values(TypedDict, total=False):
    """What may be set; a name that is left out stays as it is.

    `lm` is the LM that is meant where none is named; None, the default, is none. With
    `disable_history` true (the default is false), calls are not added to `LM.history`.
    """

    lm: LM | None
    disable_history: bool


_Block: TypeAlias = Mapping[str, object]

_DEFAULTS: _Block = {"lm": None, "disable_history": False}


class Settings:
    """What `configure` and `context` have set, as it is seen from here."""

    __slots__ = ("_blocks", "_process")

    def __init__(self) -> None:
        # Changed by single calls of `update` alone, which no other thread can come between: a
        # lock could be held by another thread when the process forks.
        self._process: dict[str, object] = dict(_DEFAULTS)
        self._blocks: ContextVar[tuple[_Block, ...]] = ContextVar("lmconf_settings", default=())

    @property
    def lm(self) -> LM:
        """The LM of the innermost block that states one, else that of the process.

        Raises:
            UsageError: it is None, or was never set.
        """
        value = self._visible_values("lm")
        if value is None:
            raise UsageError("no LM is set: call lmconf.configure(lm=…) first")
        return cast("LM", value)

    @property
    def disable_history(self) -> bool:
        """Whether calls are kept out of `LM.history`; callbacks are told of them all the same."""
        return self._visible_values("disable_history") is True

    @hide_frames
    def configure(self, **values: Unpack[Values]) -> None:
        """Set `values` for the process, in every thread; what is not named stays as it is.

        `lm=None` takes the LM away again. Inside a `context` block, what the block states goes on
        to hold there.

        Raises:
            UsageError: a name is unknown or a value does not fit; nothing is set then.
        """
        self._process.update(_check_values(values))

    @hide_frames
    def context(self, **values: Unpack[Values]) -> _GeneratorContextManager[None]:
        """Set `values` for a block of code; what is not named stays as it is outside the block.

        Blocks nest, and the innermost that states a name decides. Inside `context(lm=None)` no LM
        is set. In a generator, a block is seen by whoever runs the generator on, from one `yield`
        to the next, too: leave the block before a `yield` to avoid that.

        Raises:
            UsageError: a name is unknown or a value does not fit.
        """
        return self._stating(_check_values(values))

    @contextlib.contextmanager
    def _stating(self, block: _Block) -> Iterator[None]:
        self._blocks.set((*self._blocks.get(), block))
        try:
            yield
        finally:
            # Taken out by identity: generators leave their blocks in any order, and one that is
            # closed late by the event loop leaves its block in another context.
            left = tuple(other for other in self._blocks.get() if other is not block)
            self._blocks.set(left)

    def _visible_values(self, name: str) -> object:
        for block in reversed(self._blocks.get()):
            if name in block:
                return block[name]
        return self._process[name]

    def __repr__(self) -> str:
        """Show every value, and which of them a block states."""
        block_names = {name for block in self._blocks.get() for name in block}
        parts = (
            f"{name}={_show_settings(self._visible_values(name))}"
            f"{' (in this block)' if name in block_names else ''}"
            for name in _DEFAULTS
        )
        return f"<lmconf.settings: {', '.join(parts)}>"


def _check_values(values: Values) -> dict[str, object]:
    """Return `values`, each of which is known and fits.

    Raises:
        UsageError: one is not.
    """
    result: dict[str, object] = dict(values)
    for name, value in result.items():
        check = _CHECKS.get(name)
        if check is None:
            near = did_you_mean(name, _DEFAULTS)
            hint = f"did you mean `{near}`?" if near else f"there are: {', '.join(_DEFAULTS)}"
            raise UsageError(f"there is no setting `{name}`: {hint}")
        check(value)
    return result


def _check_lm(lm: object) -> None:
    if lm is not None and (not callable(lm) or isinstance(lm, type)):
        what = f"the class {lm.__name__}" if isinstance(lm, type) else type(lm).__name__
        raise UsageError(f"lm must be an LM, not {what}")


def _check_disable_history(value: object) -> None:
    if not isinstance(value, bool):
        raise UsageError(f"disable_history must be true or false, not {type(value).__name__}")


_CHECKS: Mapping[str, Callable[[object], None]] = {
    "lm": _check_lm,
    "disable_history": _check_disable_history,
}


def _show_settings(value: object) -> str:
    # An LM of one's own may show anything, a key among it.
    masked = isinstance(value, bool | None) or getattr(type(value), "_MASKED", False)
    return repr(value) if masked else f"<{type(value).__name__}>"


# One a process by definition, as its docstring says.
settings = Settings()
configure = settings.configure
context = settings.context
