"""What callbacks are told, and what a callback is: any object with one or more of these methods.

    class CostMeter:
        def on_end(self, event: End) -> None: ...

`on_start`, `on_attempt`, `on_retry`, `on_cache_hit`, `on_cache_miss`, `on_first_token`,
`on_limit_wait`, `on_fallback`, `on_end` and `on_error` each hear one kind of event, `on_event`
hears all. They may be plain or async. Each call has one `Start`, then what happens to it, then
one `End` or one `Failure`. `flush()`, plain or async, is called when nothing more will come: the
LM is closed, nobody has it any more, or the program ends; it may be called more than once.
`close()`, plain or async, is called when the LM is closed.
Events never hold a secret: `request` is what the cache's key is made of, without headers and keys,
and an `origin` is an address without user, password, path and query.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeAlias

from msgspec import Struct

from lmconf.errors import Cause
from lmconf.system.fork import Mutex

__all__ = [
    "METHODS",
    "Attempt",
    "CacheHit",
    "CacheMiss",
    "Callback",
    "CallbackWarning",
    "Deferred",
    "End",
    "Event",
    "Failure",
    "Fallback",
    "FirstToken",
    "HearsEnd",
    "HearsEvents",
    "HearsFailure",
    "HearsStart",
    "LimitWait",
    "Retry",
    "Start",
]


class CallbackWarning(UserWarning):
    """A callback raised, or is too slow for its events: calls went on, and so do later ones."""


class Event(Struct, frozen=True, kw_only=True):
    """Something that happens to a call.

    `call_id` is the same in all events of a call; `lm` is the LM's name, and `model` its model: in
    the events of a fallback's attempts, those of the fallback. `time` is seconds since 1970.
    """

    call_id: str
    lm: str
    model: str
    time: float


class Start(Event, frozen=True, kw_only=True):
    """A call begins.

    `provider` is the model's provider, `model_type` what is asked for (`chat`, `text`,
    `responses`), and `stream` whether the answer is to come piece by piece.
    """

    request: Mapping[str, object]
    provider: str = ""
    model_type: str = "chat"
    stream: bool = False


class Attempt(Event, frozen=True, kw_only=True):
    """The request is about to be sent: for the `number`th time, of at most `of` times.

    `origin` is the server's scheme, host and port; None where its SDK finds the server.
    """

    number: int
    of: int
    origin: str | None


class Retry(Event, frozen=True, kw_only=True):
    """Attempt number `after` failed, and the next follows in `wait` seconds.

    `reason` is one of those that `retry.when` lists; `error` is the failure's class, and `status`
    the server's, None if it gave none.
    """

    after: int
    wait: float
    reason: str
    error: str
    status: int | None


class CacheHit(Event, frozen=True, kw_only=True):
    """A store had the answer. `store` names it, and `key` is the beginning of the answer's key."""

    store: str
    key: str


class CacheMiss(Event, frozen=True, kw_only=True):
    """None of the stores had the answer. `store` names them, near to far, parted by commas."""

    store: str
    key: str


class FirstToken(Event, frozen=True, kw_only=True):
    """A streamed answer has begun, `seconds` after the call did. A stored answer has none."""

    seconds: float


class LimitWait(Event, frozen=True, kw_only=True):
    """The call waited for `seconds` until the limit that `limit` names let it pass."""

    seconds: float
    limit: str


class Fallback(Event, frozen=True, kw_only=True):
    """The LM `source` could not answer, and `target` is asked instead.

    `reason` says why in a word; `error` is the failure's class, and `status` the server's.
    """

    source: str
    target: str
    reason: str
    error: str = ""
    status: int | None = None


class End(Event, frozen=True, kw_only=True):
    """A call was answered.

    `time` is when it ended and `duration` how long it took, in seconds; `attempts` is how often
    the request was sent (0 for a cache hit) and `waited` the seconds between attempts;
    `first_token` is as in `FirstToken`, None if there was none. `usage` counts tokens; `cost` is
    in US dollars, None where no price is known; `response` is the answer as plain data. `causes`
    tell of the attempts that failed; `lm` and `model` are those that answered, a fallback's where
    one did.
    """

    duration: float
    cache_hit: bool
    attempts: int
    usage: Mapping[str, object] | None
    cost: float | None
    response: object
    request: Mapping[str, object]
    waited: float = 0.0
    first_token: float | None = None
    request_id: str | None = None
    causes: tuple[Cause, ...] = ()


class Failure(Event, frozen=True, kw_only=True):
    """A call failed with `error`, which is also raised to the caller."""

    duration: float
    attempts: int
    error: BaseException
    request: Mapping[str, object]
    waited: float = 0.0
    first_token: float | None = None


METHODS: dict[type[Event], str] = {
    Start: "on_start",
    Attempt: "on_attempt",
    Retry: "on_retry",
    CacheHit: "on_cache_hit",
    CacheMiss: "on_cache_miss",
    FirstToken: "on_first_token",
    LimitWait: "on_limit_wait",
    Fallback: "on_fallback",
    End: "on_end",
    Failure: "on_error",
}
"""The method of a callback that hears each kind of event."""


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


class HearsEvents(Protocol):
    """A callback that wants to know of everything."""

    def on_event(self, event: Any, /) -> object:
        """Take note of an event."""


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


Callback: TypeAlias = HearsStart | HearsEnd | HearsFailure | HearsEvents | Deferred
