"""Specs made live: `LM`, its calls, and the LM that is meant where none is named."""

from __future__ import annotations

from lmconf.runtime.answer import Answer
from lmconf.runtime.history import History
from lmconf.runtime.lm import LM
from lmconf.runtime.settings import configure, context, settings
from lmconf.runtime.stream import AsyncStream, Stream

__all__ = [
    "LM",
    "Answer",
    "AsyncStream",
    "History",
    "Stream",
    "configure",
    "context",
    "settings",
]
