"""Tells an LM's callbacks of its calls, in their order; none of them can harm a call."""

from __future__ import annotations

import functools
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

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
from lmconf.errors import Error, UsageError
from lmconf.system.fork import Mutex
from lmconf.system.interrupts import is_interrupt

if TYPE_CHECKING:
    from lmconf.callbacks.worker import CallbackWorker

__all__ = ["Dispatcher"]

_Hear = Callable[..., object]


class _Hearer(NamedTuple):
    """A callback that hears one kind of event, and who brings it there; None is the call itself."""

    place: int
    hear: _Hear
    courier: CallbackWorker | None


class _OpenCallback(NamedTuple):
    callbacks: tuple[object, ...]
    couriers: tuple[CallbackWorker | None, ...]
    hearing: dict[type[Event], tuple[_Hearer, ...]]


class Dispatcher:
    """Hands events to `callbacks`; false when there are none, so that no event need be made.

    A callback hears in a thread of its own (`lmconf.callbacks.worker`), unless its `inline` is
    true: then in that of the call. One that raises is warned of once (`CallbackWarning`, with the
    type of what it raised), and so is one that is too slow for its events.
    """

    def __init__(self, callbacks: Iterable[Callback]) -> None:
        self._callbacks = tuple(callbacks)
        self._opened: _OpenCallback | None = None
        self._warned: set[tuple[int, bool]] = set()
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
        self._open()

    def start(self, event: Start) -> None:
        """Tell of a call that begins.

        Raises:
            ProfileError, UsageError: as `open`, before anything is sent.
        """
        self._open()
        self.tell(event)

    def tell(self, event: Event) -> None:
        """Tell of `event`, of a call whose start was told; its end waits for the callbacks."""
        if self._opened is None:
            return
        last = isinstance(event, End | Failure)
        for index, hear, courier in self._opened.hearing[type(event)]:
            if courier is None:
                self._guard(index, hear, event)
            elif last:
                courier.deliver(hear, event)
            else:
                courier.post(hear, event)
        if self._unsaid:
            self._say()

    def close(self) -> None:
        """Close the callbacks that can be closed, after what they have yet to hear."""
        if self._opened is None:
            return
        _, couriers, _ = self._opened
        for index, courier in enumerate(couriers):
            close = next(_methods(self._opened.callbacks[index], ("close",)), None)
            if courier is not None:
                courier.close(close)
            elif close is not None:
                self._guard(index, close)
        self._say()

    def _open(self) -> _OpenCallback:
        if self._opened is not None:
            return self._opened
        with self._lock:
            if self._opened is None:
                made = tuple(
                    callback.open() if isinstance(callback, Deferred) else callback
                    for callback in self._callbacks
                )
                self._opened = self._with(made)
            return self._opened

    def _with(self, made: tuple[object, ...]) -> _OpenCallback:
        from lmconf.callbacks.worker import LEAVING, CallbackWorker  # it brings in asyncio

        for callback in made:
            _check(callback)
        # What a courier knows must not keep this dispatcher alive, whose end is the courier's.
        note = functools.partial(_note, made, self._warned, self._unsaid)
        couriers = tuple(
            None
            if getattr(callback, "inline", False) is True
            else CallbackWorker(
                functools.partial(note, index),
                looping=_is_async(callback),
                flush=next(_methods(callback, ("flush",)), None),
                leaving=getattr(callback, "leaving", LEAVING),
            )
            for index, callback in enumerate(made)
        )
        hearing = {
            kind: tuple(
                _Hearer(index, hear, couriers[index])
                for index, callback in enumerate(made)
                for hear in _methods(callback, (method, "on_event"))
            )
            for kind, method in METHODS.items()
        }
        return _OpenCallback(made, couriers, hearing)

    def _guard(self, index: int, call: _Hear, *events: object) -> None:
        try:
            call(*events)
        except Exception as error:
            # Whatever a callback raises, the call goes on; but not after an interrupt of it.
            if is_interrupt(error):
                raise
            assert self._opened is not None
            _note(self._opened.callbacks, self._warned, self._unsaid, index, error)

    def _say(self) -> None:
        """Warn, in the thread of a call, of what callbacks have done."""
        while self._unsaid:
            try:
                text = self._unsaid.popleft()
            except IndexError:
                return  # another thread said it
            warnings.warn(text, CallbackWarning, stacklevel=4)


def _note(
    callbacks: tuple[object, ...],
    warned: set[tuple[int, bool]],
    unsaid: deque[str],
    index: int,
    error: BaseException | None,
) -> None:
    key = (index, error is None)
    if key in warned:
        return
    warned.add(key)
    name = type(callbacks[index]).__name__
    if error is None:
        from lmconf.callbacks.worker import MOST_WAITING

        text = (
            f"callback {name} is too slow: of {MOST_WAITING} waiting events, the oldest are dropped"
        )
    else:
        # The text of others is left out: who knows what a stranger's exception quotes.
        why = f": {error}" if isinstance(error, Error) else ""
        text = f"callback {name} raised {type(error).__name__}{why}; calls continue"
    unsaid.append(text)


def _check(callback: object) -> None:
    if not any(_methods(callback, (*METHODS.values(), "on_event"))):
        raise UsageError(
            f"{type(callback).__name__} is not a callback: it has none of"
            f" {', '.join(METHODS.values())} and on_event"
        )


def _is_async(callback: object) -> bool:
    import inspect

    names = (*METHODS.values(), "on_event", "flush", "close")
    return any(map(inspect.iscoroutinefunction, _methods(callback, names)))


def _methods(callback: object, names: Iterable[str]) -> Iterator[_Hear]:
    for name in names:
        method = getattr(callback, name, None)
        if callable(method):
            yield method
