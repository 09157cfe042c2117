"""One thing that a server may do wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from lmconf.errors import CallError
from tests.faults.dialects import DIALECTS
from tests.faults.server import Act

ALL = tuple(DIALECTS)
CHATS = ("openai", "mistral")
RETRIES = 2


@dataclass(frozen=True)
class Fault:
    """What a server does, and the law of what becomes of a call to it.

    `asks` is the least wait between two attempts; `ways` are those that the fault is a fault in,
    and `routes` the APIs. `said` says that the answer names a request id, `partial` is the text
    that came before a stream broke. `transient` says that the fault is tried once more with a
    right answer after it.
    """

    act: Act
    kind: type[CallError]
    retried: bool = True
    status: int | None = 200
    asks: float = 0.0
    ways: Literal["all", "whole", "streamed"] = "all"
    routes: tuple[str, ...] = ALL
    said: bool = True
    partial: str = ""
    retries: int = RETRIES
    retryable: bool | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def attempts(self) -> int:
        return self.retries + 1 if self.retried else 1
