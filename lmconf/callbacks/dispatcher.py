"""Hands the events of an LM's calls to its callbacks."""

from __future__ import annotations

import warnings
import weakref
from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

from lmconf.callbacks.delivery import Delivery, Hear, delivery_to, methods_of
from lmconf.callbacks.events import (
    METHODS,
    Callback,
    CallbackWarning,
    Deferred,
    End,
    Event,
    Failure,
    Start,
)
from lmconf.errors import UsageError
from lmconf.system.fork import Mutex

__all__ = ["Dispatcher"]


class _Opened(NamedTuple):
    deliveries: tuple[Delivery, ...]
    hearing: dict[type[Event], tuple[tuple[Delivery, Hear], ...]]


class Dispatcher:
    """Hands events to `callbacks`; false when there are none, so that no event need be made.

    A callback that raises is warned of once (`CallbackWarning`, with the type of what it raised),
    and so is one that is too slow for its events.
    """

    def __init__(self, callbacks: Iterable[Callback]) -> None:
        self._callbacks = tuple(callbacks)
        self._opened: _Opened | None = None
        self._unsaid: deque[str] = deque()
        self._lock = Mutex()

    def __bool__(self) -> bool:
        return bool(self._callbacks)

    def open(self) -> None:
        """Make the callbacks that wait to be made; `start` does it before its first event.

        Raises:
            ProfileError: an import path leads nowhere, or to what is not allowed.
            UsageError: something is not a callback: it has none of the methods.
        """
        with self._lock:
            if self._opened is None:
                self._opened = self._open()

    def start(self, event: Start) -> None:
        """Tell of a call that begins.

        Raises:
            ProfileError, UsageError: as `open`, before anything is sent.
        """
        if self._opened is None:
            self.open()
        self.tell(event)

    def tell(self, event: Event) -> None:
        """Tell of `event`, of a call whose start was told; its end waits for the callbacks."""
        if self._opened is None:
            return
        last = isinstance(event, End | Failure)
        for delivery, hear in self._opened.hearing[type(event)]:
            if last:
                delivery.deliver(hear, event)
            else:
                delivery.post(hear, event)
        if self._unsaid:
            self._say()

    def close(self) -> None:
        """Close the callbacks that can be closed, after what they have yet to hear."""
        if self._opened is not None:
            for delivery in self._opened.deliveries:
                delivery.close()
            self._say()

    def _open(self) -> _Opened:
        made = [each.open() if isinstance(each, Deferred) else each for each in self._callbacks]
        for callback in made:
            _check(callback)
        # None of them knows this dispatcher, whose end is theirs.
        deliveries = tuple(delivery_to(callback, self._unsaid) for callback in made)
        weakref.finalize(self, _end_all, deliveries).atexit = False
        hearing = {
            kind: tuple(
                (delivery, hear)
                for callback, delivery in zip(made, deliveries, strict=True)
                for hear in methods_of(callback, (method, "on_event"))
            )
            for kind, method in METHODS.items()
        }
        return _Opened(deliveries, hearing)

    def _say(self) -> None:
        """Warn, in the thread of a call, of what callbacks have done."""
        while self._unsaid:
            try:
                text = self._unsaid.popleft()
            except IndexError:
                return  # another thread said it
            warnings.warn(text, CallbackWarning, stacklevel=4)


def _end_all(deliveries: Iterable[Delivery]) -> None:
    for delivery in deliveries:
        delivery.end()


def _check(callback: object) -> None:
    if not any(methods_of(callback, (*METHODS.values(), "on_event"))):
        raise UsageError(
            f"{type(callback).__name__} is not a callback: it has none of"
            f" {', '.join(METHODS.values())} and on_event"
        )
