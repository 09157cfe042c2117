"""The LM that is meant where none is named: for the process, or for a block of code.

`configure` sets it for the whole process, every thread included. `context` sets it for a block:
only the thread or task that is inside the block, and the tasks it starts there, see it.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from contextvars import ContextVar
from typing import TYPE_CHECKING

from lmconf.errors import UsageError

if TYPE_CHECKING:
    from lmconf.runtime.lm import LM

__all__ = ["Settings", "configure", "context", "settings"]


class Settings:
    """What `configure` and `context` have set, as it is seen from here."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: LM | None = None
        self._block: ContextVar[LM | None] = ContextVar("lmconf_settings_lm", default=None)

    @property
    def lm(self) -> LM:
        """The LM of the innermost `context` block, else that of `configure`.

        Raises:
            UsageError: neither was set.
        """
        found = self._block.get() or self._process
        if found is None:
            raise UsageError("no LM is set: call lmconf.configure(lm=…) first")
        return found

    def configure(self, *, lm: LM) -> None:
        """Make `lm` the LM of the process."""
        _check(lm)
        with self._lock:
            self._process = lm

    @contextlib.contextmanager
    def context(self, *, lm: LM) -> Iterator[LM]:
        """Make `lm` the LM of a block of code."""
        _check(lm)
        token = self._block.set(lm)
        try:
            yield lm
        finally:
            self._block.reset(token)


def _check(lm: object) -> None:
    if not callable(lm):
        raise UsageError(f"lm must be an LM, not {type(lm).__name__}")


# One a process by definition, as its docstring says.
settings = Settings()
configure = settings.configure
context = settings.context
