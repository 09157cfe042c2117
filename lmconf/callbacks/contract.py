"""What callbacks are told, and what a callback is: any object with one of three methods.

    class CostMeter:
        def on_end(self, event: End) -> None: ...

`on_start`, `on_end` and `on_error` are plain methods, called in the thread of the call; each call
has one `Start` and then one `End` or one `Failure`. `close()` is called when the LM is closed.
Events never hold a secret: `request` is what the cache's key is made of, without headers and keys.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol, TypeAlias

from msgspec import Struct

from lmconf.forking import Mutex

__all__ = [
    "Callback",
    "CallbackWarning",
    "Deferred",
    "End",
    "Event",
    "Failure",
    "HearsEnd",
    "HearsFailure",
    "HearsStart",
    "Start",
]


class CallbackWarning(UserWarning):
    """A callback raised: the call went on, and so do later ones."""


class Start(Struct, frozen=True, kw_only=True):
    """A call begins.

    `call_id` is the same in all events of a call; `lm` is the LM's name; `time` is seconds since
    1970.
    """

    call_id: str
    lm: str
    model: str
    time: float
    request: Mapping[str, object]


class End(Struct, frozen=True, kw_only=True):
    """A call was answered.

    `time` is when it ended and `duration` how long it took, in seconds; `attempts` is how often
    the request was sent (0 for a cache hit); `usage` counts tokens; `cost` is in US dollars, None
    where no price is known; `response` is the answer as plain data.
    """

    call_id: str
    lm: str
    model: str
    time: float
    duration: float
    cache_hit: bool
    attempts: int
    usage: Mapping[str, object] | None
    cost: float | None
    response: object
    request: Mapping[str, object]


class Failure(Struct, frozen=True, kw_only=True):
    """A call failed with `error`, which is also raised to the caller."""

    call_id: str
    lm: str
    model: str
    time: float
    duration: float
    attempts: int
    error: BaseException
    request: Mapping[str, object]


Event: TypeAlias = Start | End | Failure


class HearsStart(Protocol):
    """A callback that wants to know when calls begin."""

    def on_start(self, event: Start, /) -> object:
        """Take note of a call's beginning."""


class HearsEnd(Protocol):
    """A callback that wants to know of answers."""

    def on_end(self, event: End, /) -> object:
        """Take note of an answer."""


class HearsFailure(Protocol):
    """A callback that wants to know of failures."""

    def on_error(self, event: Failure, /) -> object:
        """Take note of a failure."""


class Deferred:
    """A callback that is made when the first call begins, not when the profile is compiled.

    `make` returns the callback; what it raises reaches the caller of that first call.
    """

    def __init__(self, name: str, make: Callable[[], object]) -> None:
        self.name = name
        self._make = make
        self._made: object = None
        self._lock = Mutex()

    def open(self) -> object:
        """Return the callback, made when this is first called."""
        with self._lock:
            if self._made is None:
                self._made = self._make()
            return self._made

    def __repr__(self) -> str:
        return f"Deferred({self.name!r})"


Callback: TypeAlias = HearsStart | HearsEnd | HearsFailure | Deferred
