"""A transport of one's own with what it lacks: it needs `complete` (or `acomplete`) alone."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from typing import Any, Protocol, TypeAlias

from lmconf.errors import UsageError
from lmconf.forking import Mutex
from lmconf.transports.contract import Json, Request, Transport
from lmconf.transports.shaping import Pieces, as_response, chunks_of

__all__ = ["Completed", "Own", "check_methods", "completed"]


class Completes(Protocol):
    """The least that carries a request: its answer, whole."""

    def complete(self, request: Request, /) -> object:
        """Send `request` once and return the answer; see `lmconf.transports.shaping`."""


class Acompletes(Protocol):
    """The least that carries a request on an event loop."""

    async def acomplete(self, request: Request, /) -> object:
        """Send `request` once and return the answer; see `lmconf.transports.shaping`."""


Own: TypeAlias = Completes | Acompletes
"""A transport of one's own."""


def completed(own: object, name: str) -> Transport:
    """Return `own` as a whole transport; `name` is what messages call it.

    Raises:
        UsageError: it has neither `complete` nor `acomplete`, or one of its methods is async
            where it must not be.
    """
    return Completed(own, name)


def check_methods(own: object, name: str) -> None:
    """Refuse what cannot carry a request: an object, or the class of one.

    Raises:
        UsageError: as `completed`.
    """
    import inspect  # it takes 10 ms

    kind = own.__name__ if isinstance(own, type) else type(own).__name__
    declared = getattr(own, "__annotations__", {}) if isinstance(own, type) else {}
    if not any(hasattr(own, way) or way in declared for way in ("complete", "acomplete")):
        raise UsageError(
            f"the transport `{name}` carries nothing: {kind} has neither `complete` nor `acomplete`"
        )
    for way in ("complete", "stream"):
        method = getattr(own, way, None)
        if inspect.iscoroutinefunction(method) or inspect.isasyncgenfunction(method):
            raise UsageError(
                f"the transport `{name}` cannot be used: {kind}.{way} is async; call it `a{way}`"
            )


class Completed:
    """A whole transport around one of one's own.

    An own method is used where there is one. `acomplete` and `astream` are made from `complete`
    and `stream` in a thread of their own, streams from the whole answer. Its exceptions pass
    through as they are.
    """

    def __init__(self, own: object, name: str) -> None:
        check_methods(own, name)
        self._name = name
        self._complete: Callable[[Request], object] | None = getattr(own, "complete", None)
        self._acomplete: Callable[[Request], object] | None = getattr(own, "acomplete", None)
        self._stream: Callable[[Request], Iterable[object]] | None = getattr(own, "stream", None)
        self._astream: Callable[[Request], Any] | None = getattr(own, "astream", None)
        self._cost: Callable[..., float | None] | None = getattr(own, "cost", None)
        self._close: Callable[[], object] | None = getattr(own, "close", None)
        self._aclose: Callable[[], object] | None = getattr(own, "aclose", None)
        self._lock = Mutex()

    def __repr__(self) -> str:
        """Name it alone: what one's own class shows may be its arguments."""
        return f"<transport {self._name!r}>"

    @property
    def has_sync(self) -> bool:
        """Whether it can be used without an event loop: it has `complete`."""
        return self._complete is not None

    def complete(self, request: Request) -> Json:
        """Send `request` once and return the response.

        Raises:
            UsageError: the transport has async methods alone.
        """
        if self._complete is None:
            raise self._only_async()
        return as_response(self._complete(request), request, self._name)

    async def acomplete(self, request: Request) -> Json:
        """Send `request` once and return the response."""
        said: object
        if self._acomplete is not None:
            said = self._acomplete(request)
            if isinstance(said, Awaitable):
                said = await said
        else:
            from lmconf.transports.threads import in_thread  # it brings in asyncio

            complete = self._complete
            assert complete is not None
            said = await in_thread(lambda: complete(request))
        return as_response(said, request, self._name)

    def stream(self, request: Request) -> Iterator[Json]:
        """Send `request` once and yield the chunks of the response as they come.

        Raises:
            UsageError: the transport has async methods alone.
        """
        if self._stream is None:
            yield from chunks_of(self.complete(request))
            return
        pieces = Pieces(request, self._name)
        told = pieces.check(self._stream(request))
        try:
            for piece in told:
                yield pieces.take(piece)
        finally:
            close = getattr(told, "close", None)
            if callable(close):
                close()
        yield from pieces.end()

    async def astream(self, request: Request) -> AsyncIterator[Json]:
        """Send `request` once and yield the chunks of the response as they come."""
        if self._astream is None and self._stream is None:
            for chunk in chunks_of(await self.acomplete(request)):
                yield chunk
            return
        pieces = Pieces(request, self._name)
        told = await self._told(request)
        try:
            async for piece in told:
                yield pieces.take(piece)
        finally:
            close = getattr(told, "aclose", None)
            if callable(close):
                await close()
        for chunk in pieces.end():
            yield chunk

    async def _told(self, request: Request) -> AsyncIterator[object]:
        if self._astream is not None:
            told = self._astream(request)
            found: AsyncIterator[object] = await told if isinstance(told, Awaitable) else told
            return found
        from lmconf.transports.threads import each_in_thread

        stream = self._stream
        assert stream is not None
        check = Pieces(request, self._name).check
        return each_in_thread(lambda: check(stream(request)))

    def cost(
        self, provider: str, model: str, base_model: str | None, response: Json
    ) -> float | None:
        """Return the US dollars that `response` cost, None if that is unknown."""
        return None if self._cost is None else self._cost(provider, model, base_model, response)

    def close(self) -> None:
        """Free what the transport holds; its own `close` is called once."""
        close, _ = self._closing()
        if close is not None:
            close()

    async def aclose(self) -> None:
        """Free what the transport holds, by its own `aclose` if it has one; once."""
        close, aclose = self._closing()
        if aclose is not None:
            closed = aclose()
            if isinstance(closed, Awaitable):
                await closed
        elif close is not None:
            from lmconf.transports.threads import in_thread

            await in_thread(close)

    def _closing(self) -> tuple[Callable[[], object] | None, Callable[[], object] | None]:
        with self._lock:
            found = self._close, self._aclose
            self._close = self._aclose = None
            return found

    def _only_async(self) -> UsageError:
        return UsageError(
            f"the transport `{self._name}` has async methods alone: use `acall`, `aask` or"
            " `astream`, or give it `complete`"
        )
