"""A transport of one's own with what it lacks: it needs `complete` (or `acomplete`) alone."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from typing import Any, Protocol, TypeAlias

from lmconf.errors import BadResponse, UsageError
from lmconf.system.fork import Mutex
from lmconf.transports.response_checks import check_chunk, check_response, plain
from lmconf.transports.transport import Json, Request, Transport

__all__ = [
    "CustomTransport",
    "Own",
    "StreamPieces",
    "check_methods",
    "chunks_of",
    "complete_transport",
    "make_response",
]

_MESSAGE = frozenset(("content", "tool_calls"))
_SPOKEN = ("reasoning_content", "content", "refusal")
_TOLD = frozenset((*_SPOKEN, "role", "tool_calls"))


def make_response(said: object, request: Request, name: str) -> Json:
    """Return the whole response that `said` stands for, as new plain JSON.

    `said` is a text, a list of texts (one for each of `n`), a message (`{"content": …}`), or a
    whole response, as a mapping or an object of a client library (with `model_dump`). What is not
    said of a choice is filled in: its index, the role `assistant`, and its `finish_reason`.

    Raises:
        BadResponse: it is none of these. What no further attempt mends is not retryable.
    """
    if isinstance(said, str):
        said = [said]
    if isinstance(said, list | tuple) and said and all(isinstance(text, str) for text in said):
        return {
            **_head(request),
            "choices": [_text_chunk(request, i, x) for i, x in enumerate(said)],
        }
    if not isinstance(said, Mapping) and not callable(getattr(said, "model_dump", None)):
        raise _unusable(name, f"`complete` returned {_kind(said)}")
    response = plain(said)
    if "choices" not in response:
        if not _MESSAGE & response.keys():
            raise _unusable(name, "`complete` returned a mapping without `choices`")
        response = {"choices": [{"message": response}]}
    check_response(response)
    for index, choice in enumerate(response["choices"]):
        _fill_in(choice, index, name)
    return {**_head(request), **response}


def _fill_in(choice: Json, index: int, name: str) -> None:
    choice.setdefault("index", index)
    message = choice.get("message")
    said = choice.get("text") if message is None else message
    if message is not None and isinstance(message, dict):
        message.setdefault("role", "assistant")
        said = message["content"]
    if said is not None and not isinstance(said, str):
        raise _unusable(name, f"a choice's text is {_kind(said)}")
    calls = isinstance(message, dict) and message.get("tool_calls")
    choice.setdefault("finish_reason", "tool_calls" if calls else "stop")


def chunks_of(
    response: Json, split: Callable[[str], Iterable[str]] = lambda text: (text,)
) -> Iterator[Json]:
    """Yield a whole response as the chunks of a stream: role, text, tool calls, finish, usage.

    `split` cuts a choice's text into pieces.
    """
    apart = ("choices", "usage", "object")
    head = {key: value for key, value in response.items() if key not in apart}
    text = any("text" in choice for choice in response["choices"])
    head["object"] = "text_completion" if text else "chat.completion.chunk"
    for choice in response["choices"]:
        for piece in _parts(choice, split):
            yield {**head, "choices": [{"index": choice.get("index", 0), **piece}]}
    if response.get("usage") is not None:
        yield {**head, "choices": [], "usage": response["usage"]}


def _parts(choice: Json, split: Callable[[str], Iterable[str]]) -> Iterator[Json]:
    last: Json = {key: choice[key] for key in ("logprobs", "finish_reason") if key in choice}
    if "message" not in choice:
        yield from ({"text": piece} for piece in split(choice["text"] or ""))
        yield {"text": "", **last}
        return
    message = choice["message"]
    yield {"delta": {"role": message.get("role", "assistant")}}
    for key in _SPOKEN:
        if message.get(key) is not None:
            yield from ({"delta": {key: piece}} for piece in split(message[key]))
    for index, call in enumerate(message.get("tool_calls") or ()):
        yield {"delta": {"tool_calls": [{"index": index, **call}]}}
    rest = {key: value for key, value in message.items() if key not in _TOLD}
    yield {"delta": rest, **last}


class StreamPieces:
    """Takes what a stream of one's own yields, one after the other: texts, or whole chunks."""

    def __init__(self, request: Request, name: str) -> None:
        self._request = request
        self._name = name
        self._texts = False
        self._ended: dict[int, bool] = {}

    def check(self, told: object) -> Iterable[object]:
        """Return what `stream` returned if it can be read piece by piece.

        Raises:
            BadResponse: it cannot.
        """
        if isinstance(told, Iterable) and not isinstance(told, str | Mapping):
            return told
        raise self._unknown(f"`stream` returned {_kind(told)}")

    def take(self, piece: object) -> Json:
        """Return the chunk that `piece` stands for.

        Raises:
            BadResponse: it is neither a text nor a chunk.
        """
        if isinstance(piece, str):
            first, self._texts = not self._texts, True
            self._ended.setdefault(0, False)
            if self._request.route == "text":
                return self._chunk({"text": piece})
            role = {"role": "assistant"} if first else {}
            return self._chunk({"delta": {**role, "content": piece}})
        if not isinstance(piece, Mapping) and not callable(getattr(piece, "model_dump", None)):
            raise self._unknown(f"`stream` yielded {_kind(piece)}")
        chunk = check_chunk(plain(piece))
        for choice in chunk["choices"]:
            if "text" not in choice:
                choice.setdefault("delta", {})
            index = choice.setdefault("index", 0)
            ended = choice.get("finish_reason") is not None
            self._ended[index] = self._ended.get(index, False) or ended
        return chunk

    def end(self) -> Iterator[Json]:
        """Yield what is still to come when the stream is over: texts need no end of their own.

        Raises:
            BadResponse: the stream was cut short: a choice has no `finish_reason`, or none came.
        """
        if self._texts and not self._ended[0]:
            self._ended[0] = True
            piece: Json = {"text": ""} if self._request.route == "text" else {"delta": {}}
            yield self._chunk({**piece, "finish_reason": "stop"})
        if not self._ended or not all(self._ended.values()):
            raise BadResponse("the stream was truncated: it ended without a `finish_reason`")

    def _unknown(self, why: str) -> BadResponse:
        return BadResponse(
            f"the transport `{self._name}` cannot be understood: {why}",
            retryable=False,
            help="yield texts, or chunks of the OpenAI API's shape"
            " (`{'choices': [{'delta': {'content': …}}]}`)",
        )

    def _chunk(self, piece: Json) -> Json:
        text = "text" in piece
        return {
            "object": "text_completion" if text else "chat.completion.chunk",
            "model": self._request.model,
            "choices": [{"index": 0, **piece}],
        }


def _head(request: Request) -> Json:
    kind = "text_completion" if request.route == "text" else "chat.completion"
    return {"object": kind, "model": request.model}


def _text_chunk(request: Request, index: int, text: str) -> Json:
    if request.route == "text":
        return {"index": index, "text": text, "finish_reason": "stop"}
    message = {"role": "assistant", "content": text}
    return {"index": index, "message": message, "finish_reason": "stop"}


def _unusable(name: str, why: str) -> BadResponse:
    return BadResponse(
        f"the transport `{name}` cannot be understood: {why}",
        retryable=False,
        help="return a text, a list of texts, a message (`{'content': …}`) or a response of the"
        " OpenAI API's shape (`{'choices': [{'message': {'content': …}}]}`)",
    )


def _kind(value: object) -> str:
    if isinstance(value, list | tuple):
        return "a list that holds more than texts" if value else "an empty list"
    return "None" if value is None else f"{type(value).__name__}"


class CompletionTransport(Protocol):
    """The least that carries a request: its answer, whole."""

    def complete(self, request: Request, /) -> object:
        """Send `request` once and return the answer; see `lmconf.transports.custom`."""


class AsyncCompletionTransport(Protocol):
    """The least that carries a request on an event loop."""

    async def acomplete(self, request: Request, /) -> object:
        """Send `request` once and return the answer; see `lmconf.transports.custom`."""


Own: TypeAlias = CompletionTransport | AsyncCompletionTransport
"""A transport of one's own."""


def complete_transport(own: object, name: str) -> Transport:
    """Return `own` as a whole transport; `name` is what messages call it.

    Raises:
        UsageError: it has neither `complete` nor `acomplete`, or one of its methods is async
            where it must not be.
    """
    return CustomTransport(own, name)


def check_methods(own: object, name: str) -> None:
    """Refuse what cannot carry a request: an object, or the class of one.

    Raises:
        UsageError: as `complete_transport`.
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


class CustomTransport:
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
        return make_response(self._complete(request), request, self._name)

    async def acomplete(self, request: Request) -> Json:
        """Send `request` once and return the response."""
        said: object
        if self._acomplete is not None:
            said = self._acomplete(request)
            if isinstance(said, Awaitable):
                said = await said
        else:
            from lmconf.system.threads import run_in_thread  # it brings in asyncio

            complete = self._complete
            assert complete is not None
            said = await run_in_thread(lambda: complete(request))
        return make_response(said, request, self._name)

    def stream(self, request: Request) -> Iterator[Json]:
        """Send `request` once and yield the chunks of the response as they come.

        Raises:
            UsageError: the transport has async methods alone.
        """
        if self._stream is None:
            yield from chunks_of(self.complete(request))
            return
        pieces = StreamPieces(request, self._name)
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
        pieces = StreamPieces(request, self._name)
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
        from lmconf.system.threads import iterate_in_thread

        stream = self._stream
        assert stream is not None
        check = StreamPieces(request, self._name).check
        return iterate_in_thread(lambda: check(stream(request)))

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
            from lmconf.system.threads import run_in_thread

            await run_in_thread(close)

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
