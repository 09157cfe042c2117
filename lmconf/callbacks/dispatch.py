"""Tells an LM's callbacks of its calls, in their order; none of them can harm a call."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from typing import NamedTuple, ParamSpec

from lmconf.callbacks.contract import (
    METHODS,
    Callback,
    CallbackWarning,
    Deferred,
    Event,
    Start,
)
from lmconf.errors import UsageError
from lmconf.forking import Mutex

__all__ = ["Dispatcher"]

P = ParamSpec("P")
_Hearing = tuple[tuple[int, Callable[[Event], object]], ...]


class _Opened(NamedTuple):
    callbacks: tuple[object, ...]
    hearing: dict[type[Event], _Hearing]


class Dispatcher:
    """Hands events to `callbacks`; false when there are none, so that no event need be made.

    A callback that raises is warned of once (`CallbackWarning`, with the type of what it raised).
    """

    def __init__(self, callbacks: Iterable[Callback]) -> None:
        self._callbacks = tuple(callbacks)
        self._opened: _Opened | None = None
        self._warned: set[int] = set()
        self._lock = Mutex()

    def __bool__(self) -> bool:
        return bool(self._callbacks)

    def open(self) -> None:
        """Make the callbacks that wait to be made; `start` does it before its first event.

        Raises:
            ProfileError: an import path leads nowhere, or to what is not allowed.
            UsageError: something is no callback: it has none of the methods, or they are async.
        """
        self._open()

    def start(self, event: Start) -> None:
        """Tell of a call that begins.

        Raises:
            ProfileError, UsageError: as `open`, before anything is sent.
        """
        self._open()
        self.tell(event)

    def tell(self, event: Event) -> None:
        """Tell of `event`, of a call whose start was told."""
        if self._opened is not None:
            for index, hear in self._opened.hearing[type(event)]:
                self._guard(index, hear, event)

    def close(self) -> None:
        """Close the callbacks that can be closed."""
        if self._opened is not None:
            for index, callback in enumerate(self._opened.callbacks):
                close = getattr(callback, "close", None)
                if callable(close):
                    self._guard(index, close)

    def _open(self) -> _Opened:
        with self._lock:
            if self._opened is None:
                made = tuple(
                    callback.open() if isinstance(callback, Deferred) else callback
                    for callback in self._callbacks
                )
                for callback in made:
                    _check(callback)
                self._opened = _Opened(
                    made, {kind: tuple(_hearing(made, name)) for kind, name in METHODS.items()}
                )
            return self._opened

    def _guard(
        self, index: int, call: Callable[P, object], *args: P.args, **kwargs: P.kwargs
    ) -> None:
        try:
            call(*args, **kwargs)
        except Exception as error:  # noqa: BLE001 - whatever a callback raises, the call goes on
            if index not in self._warned:
                self._warned.add(index)
                assert self._opened is not None
                name = type(self._opened.callbacks[index]).__name__
                # Its text is left out: who knows what a stranger's exception quotes.
                warnings.warn(
                    f"callback {name} raised {type(error).__name__}; calls go on",
                    CallbackWarning,
                    stacklevel=4,
                )


def _check(callback: object) -> None:
    import inspect

    methods = [getattr(callback, name, None) for name in (*METHODS.values(), "on_event")]
    name = type(callback).__name__
    if not any(map(callable, methods)):
        raise UsageError(
            f"{name} is no callback: it has none of {', '.join(METHODS.values())} and on_event"
        )
    if any(map(inspect.iscoroutinefunction, methods)):
        raise UsageError(f"{name} is no callback: its methods must not be async")


def _hearing(
    callbacks: tuple[object, ...], method: str
) -> Iterable[tuple[int, Callable[[Event], object]]]:
    for index, callback in enumerate(callbacks):
        for name in (method, "on_event"):
            hear = getattr(callback, name, None)
            if callable(hear):
                yield index, hear
