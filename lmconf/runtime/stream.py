"""An answer that comes piece by piece, read with a `for` or an `async for` loop."""

from __future__ import annotations

import bisect
import itertools
import json
from collections.abc import (
    AsyncIterator,
    Callable,
    Coroutine,
    Generator,
    Iterable,
    Iterator,
    Mapping,
)
from types import TracebackType
from typing import Any

from lmconf.errors import BadResponse, CallError, Closed
from lmconf.runtime.answer import Answer
from lmconf.runtime.call import Reply, warn_if_truncated
from lmconf.system.tracebacks import hide_frames, is_interrupt
from lmconf.transports import Json, chunks_of

__all__ = ["Assembly", "AsyncStream", "Stream", "has_begun", "text_of"]


class Assembly:
    """Takes chunks of the OpenAI API's shape, one after the other."""

    def __init__(self) -> None:
        self._head: Json = {}
        self._choices: dict[int, Json] = {}
        self._calls: dict[int, _ToolCalls] = {}

    def add(self, chunk: Json) -> None:
        """Take the next chunk."""
        for key, value in chunk.items():
            if key != "choices" and value is not None:
                self._head[key] = value
        for choice in chunk["choices"]:
            self._take(choice)

    def _take(self, piece: Json) -> None:
        choice = self._choices.setdefault(piece.get("index", 0), {"index": piece.get("index", 0)})
        if piece.get("finish_reason") is not None:
            choice["finish_reason"] = piece["finish_reason"]
        if isinstance(piece.get("logprobs"), dict):
            _extend(choice.setdefault("logprobs", {}), piece["logprobs"])
        delta = piece.get("delta")
        if delta is None:
            choice["text"] = choice.get("text", "") + (piece.get("text") or "")
            return
        message = choice.setdefault("message", {"role": "assistant", "content": None})
        for key in ("content", "reasoning_content", "refusal"):
            if isinstance(delta.get(key), str):
                message[key] = (message.get(key) or "") + delta[key]
        for key in ("annotations", "reasoning_items", "output_items"):
            if isinstance(delta.get(key), list):
                message.setdefault(key, []).extend(delta[key])
        pieces = delta.get("tool_calls")
        if pieces:
            index = choice["index"]
            calls = self._calls.setdefault(index, _ToolCalls())
            calls.add(pieces)
            message["tool_calls"] = calls.made
        own = delta.get("provider_specific_fields")
        if isinstance(own, dict):
            _add_own(message.setdefault("provider_specific_fields", {}), own)

    @property
    def text(self) -> str:
        """The text of the first choice so far."""
        choice = self._choices.get(0, {})
        return choice.get("text") or (choice.get("message") or {}).get("content") or ""

    def response(self) -> Json:
        """Return the whole response.

        Raises:
            BadResponse: no choice ever came.
        """
        if not self._choices:
            raise BadResponse("the stream holds no answer")
        kind = "text_completion" if "text" in next(iter(self._choices.values())) else None
        choices = [self._choices[index] for index in sorted(self._choices)]
        return {**self._head, "object": kind or "chat.completion", "choices": choices}


def text_of(chunk: Json) -> str:
    """Return the text that `chunk` adds to the first choice."""
    for choice in chunk["choices"]:
        if choice.get("index", 0) == 0:
            delta = choice.get("delta")
            said = choice.get("text") if delta is None else delta.get("content")
            return said if isinstance(said, str) else ""
    return ""


def has_begun(chunk: Json) -> bool:
    """Say whether `chunk` holds any part of an answer: from here on nothing is tried again."""
    for choice in chunk["choices"]:
        delta = choice.get("delta") or {}
        texts = ("content", "reasoning_content", "refusal")
        told = (choice.get("text"), *(delta.get(key) for key in texts))
        if any(told) or delta.get("tool_calls") or choice.get("finish_reason"):
            return True
    return False


class _ToolCalls:
    """The tool calls of one choice, put together from what streams say of them piece by piece.

    OpenAI tells calls apart by `index`. Other servers leave it out, or give every call the same;
    there another `id`, or a name where the arguments of the last call are whole, begins a call.
    Names come whole once, in pieces, or again with each piece.
    """

    def __init__(self) -> None:
        self.made: list[Json] = []
        self._places: list[int] = []
        self._said: list[int | None] = []

    def add(self, pieces: Iterable[Json]) -> None:
        """Add what one chunk says, whose pieces are given the index of their own call."""
        for position, piece in enumerate(pieces):
            at = self._continued(piece, position)
            if at is None:
                at = self._begin(piece.get("index"))
            _fill(self.made[at], piece)
            piece["index"] = self._places[at]

    def _continued(self, piece: Json, position: int) -> int | None:
        """Return which of the calls `piece` continues, None where it begins one."""
        id_, index, name = piece.get("id"), piece.get("index"), _name_of(piece)
        at = self._last(lambda at: self._said[at] == index) if index is not None else None
        if at is None and id_:
            at = self._last(
                lambda at: self.made[at].get("id") == id_ and None in (index, self._said[at])
            )
        if at is None and index is None and self.made:
            at = len(self.made) - 1
        if at is None:
            return None
        call, more = self.made[at], _text_of(piece).strip()
        known = call.get("id")
        if id_ and known and id_ != known:
            # Some servers make up an id for each piece: what continues a call has no name.
            return None if name or (more and _is_whole(call)) else at
        if id_ and id_ == known and more and _is_whole(call):
            # Said again, or another call: nothing can be added to what is whole.
            return at if _says_again(_text_of(call), more) else None
        if not name or (id_ and id_ == known):
            return at
        before = _name_of(call)
        if index is None and before and (position or name != before):
            return None
        return None if _is_whole(call) and (more or name != before) else at

    def _last(self, fits: Callable[[int], bool]) -> int | None:
        return next((at for at in reversed(range(len(self.made))) if fits(at)), None)

    def _begin(self, index: int | None) -> int:
        """Put a new call where its index belongs; one that has none, or a taken one, comes last."""
        place = index
        if place is None or place in self._places:
            place = max(self._places, default=-1) + 1
        at = bisect.bisect(self._places, place)
        self._places.insert(at, place)
        self._said.insert(at, index)
        self.made.insert(at, {})
        return at


def _fill(call: Json, piece: Mapping[str, Any]) -> None:
    """Add to `call` what `piece` says of it; empty values say nothing."""
    for key, value in piece.items():
        if key == "id":
            if value and not call.get("id"):
                call["id"] = value
        elif key in ("function", "custom"):
            if isinstance(value, Mapping):
                _fill_in(call.setdefault(key, {}), value)
        elif key != "index" and value not in (None, ""):
            call[key] = value
    kind = next((kind for kind in ("custom", "function") if kind in call), "function")
    call.setdefault("type", kind)
    called = call.setdefault(kind, {})
    called.setdefault("name", "")
    called.setdefault(_SAID[kind], "")


_SAID = {"function": "arguments", "custom": "input"}
"""Where what a tool is called with stands, by the kind of the tool."""


def _fill_in(called: Json, piece: Mapping[str, Any]) -> None:
    for key, value in piece.items():
        if key in _SAID.values():
            said, more = called.get(key, ""), _text(value)
            # Some servers begin with `{}`, and some end with the whole once more.
            again = key == "arguments" and _says_again(said, more)
            called[key] = more if again else said + more
        elif key == "name":
            before = called.get("name", "")
            if value and value != before:
                # In pieces, unless it is told again as far as it goes.
                called["name"] = value if value.startswith(before) else before + value
        elif value is not None:
            called[key] = value


def _name_of(call: Mapping[str, Any]) -> str:
    called = call.get("custom") or call.get("function") or {}
    return called.get("name") or ""


def _text_of(call: Mapping[str, Any]) -> str:
    called = call.get("custom") or call.get("function") or {}
    return _text(called.get("arguments", called.get("input")))


def _text(value: object) -> str:
    """Return arguments as text: some servers send the object itself."""
    if value is None or isinstance(value, str):
        return value or ""
    return json.dumps(value, ensure_ascii=False)


def _says_again(said: str, more: str) -> bool:
    """Say whether `more` is no continuation of the arguments `said`, but takes their place."""
    known, told = said.strip(), more.strip()
    if not told.startswith("{") or not known.startswith("{") or not known.endswith("}"):
        return False
    return known == told or not known[1:-1].strip()


def _is_whole(call: Mapping[str, Any]) -> bool:
    """Say whether the arguments of `call` are a whole JSON object, to which nothing can be added."""
    text = _text_of(call).strip()
    if not (text.startswith("{") and text.endswith("}")):
        return False
    try:
        json.loads(text)
    except (ValueError, RecursionError) as error:
        if is_interrupt(error):
            raise
        return False
    return True


def _add_own(fields: Json, piece: Mapping[str, Any]) -> None:
    """Add what only one provider has; Anthropic's citations come one by one."""
    for key, value in piece.items():
        if key == "citation":
            fields.setdefault("citations", []).append(value)
        elif isinstance(value, list) and isinstance(fields.get(key), list):
            fields[key].extend(value)
        else:
            fields[key] = value


def _extend(logprobs: Json, piece: Mapping[str, Any]) -> None:
    for key, value in piece.items():
        if isinstance(value, list):
            logprobs.setdefault(key, []).extend(value)


_EARLY = "the stream was closed before its end"


class _StreamReader:
    """What was read of a stream, and what became of it.

    It knows neither the stream nor what reads it, so that these are gone as soon as nobody has
    them any more; whoever drops a stream gives its connection back at once.
    """

    def __init__(self) -> None:
        self.reply: Reply | None = None
        self.assembly = Assembly()

    @property
    def answer(self) -> Answer:
        if self.reply is None or self.reply.answer is None:
            raise Closed("the answer is there when the stream was read to its end")
        return self.reply.in_form()

    def complete(self) -> None:
        """Note that the stream was read to its end."""
        assert self.reply is not None
        if self.reply.opened is not None:
            self.reply.complete(self.assembly.response())
        warn_if_truncated(self.reply, depth=6)

    def fail(self, error: BaseException) -> None:
        """Note what ended the stream; a whole answer can no longer come of it."""
        if self.reply is None:
            return  # nothing began: what it says of trying again holds
        if isinstance(error, CallError):
            error.retryable = False
            error.partial = error.partial or self.assembly.text
        self.reply.fail(error)


class Stream(Iterator[str]):
    """The pieces of an answer's text; use it in a `with` block, or read it to its end.

        with lm.stream("…") as stream:
            for piece in stream:
                print(piece, end="")
        stream.answer.usage

    The request is sent when the first piece is asked for. What fails before the answer begins is
    tried again like any call; what fails later raises with the text so far as `partial`.
    """

    def __init__(self, start: Callable[[], Reply]) -> None:
        self._reading = _StreamReader()
        self._read = _read_chunks(start, self._reading)

    @property
    @hide_frames
    def answer(self) -> Answer:
        """The whole answer, once the stream has been read to its end.

        Raises:
            Closed: it has not been.
            BadResponse: it has not the form that `response_format` asks for.
        """
        return self._reading.answer

    @hide_frames
    def __next__(self) -> str:
        for chunk in self._read:
            if piece := text_of(chunk):
                return piece
        raise StopIteration

    def chunks(self) -> Iterator[dict[str, Any]]:
        """Return what is left of the stream as the chunks that the OpenAI API writes.

        They hold what is no text as well: reasoning, tool calls, log probabilities, the usage.
        """
        return _Chunks(self._read)

    @hide_frames
    def close(self) -> None:
        """Stop reading; the connection is freed, and what was read so far is not kept."""
        self._read.close()

    def __enter__(self) -> Stream:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class _Chunks(Iterator[Json]):
    """What is left of the chunks of one answer."""

    def __init__(self, read: Generator[Json, None, None]) -> None:
        self._read = read

    @hide_frames
    def __next__(self) -> Json:
        return next(self._read)

    @hide_frames
    def close(self) -> None:
        """Stop reading."""
        self._read.close()


def _read_chunks(start: Callable[[], Reply], reading: _StreamReader) -> Generator[Json, None, None]:
    reading.reply = reply = start()
    opened = reply.opened
    if opened is None:
        assert reply.response is not None
        yield from chunks_of(reply.response)
        reading.complete()
        return
    assert isinstance(opened.rest, Iterator)
    try:
        for chunk in itertools.chain(opened.begun, opened.rest):
            reading.assembly.add(chunk)
            yield chunk
        reading.complete()
    except GeneratorExit:
        reading.fail(Closed(_EARLY))
        raise
    except BaseException as error:
        reading.fail(error)
        raise
    finally:
        _close(opened.rest)


class AsyncStream(AsyncIterator[str]):
    """The pieces of an answer's text, as `Stream`, for `async with` and `async for`."""

    def __init__(self, start: Callable[[], Coroutine[Any, Any, Reply]]) -> None:
        self._reading = _StreamReader()
        self._chunks = _AsyncChunks(start, self._reading)

    @property
    @hide_frames
    def answer(self) -> Answer:
        """The whole answer, once the stream has been read to its end.

        Raises:
            Closed: it has not been.
            BadResponse: it has not the form that `response_format` asks for.
        """
        return self._reading.answer

    @hide_frames
    async def __anext__(self) -> str:
        while (chunk := await self._chunks.read()) is not None:
            if piece := text_of(chunk):
                return piece
        raise StopAsyncIteration

    def chunks(self) -> AsyncIterator[dict[str, Any]]:
        """Return what is left of the stream as chunks, as `Stream.chunks` does."""
        return self._chunks

    @hide_frames
    async def aclose(self) -> None:
        """Stop reading; the connection is freed, and what was read so far is not kept."""
        await self._chunks.end_early()

    async def __aenter__(self) -> AsyncStream:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()


class _AsyncChunks(AsyncIterator[Json]):
    """The chunks of one answer.

    It is no asynchronous generator: an event loop that shuts down closes all generators at once,
    and one that closes another one meanwhile fails.
    """

    def __init__(
        self, start: Callable[[], Coroutine[Any, Any, Reply]], reading: _StreamReader
    ) -> None:
        self._start = start
        self._reading = reading
        self._begun: Iterator[Json] | None = None
        self._rest: AsyncIterator[Json] | None = None
        self._over = False

    @hide_frames
    async def __anext__(self) -> Json:
        chunk = await self.read()
        if chunk is None:
            raise StopAsyncIteration
        return chunk

    async def read(self) -> Json | None:
        """Return the next chunk; None at the end."""
        if self._over:
            return None
        try:
            chunk = await self._next()
            if chunk is None:
                self._reading.complete()
        except BaseException as error:
            self._reading.fail(error)
            await self._end()
            raise
        if chunk is None:
            await self._end()
        return chunk

    async def _next(self) -> Json | None:
        if self._begun is None:
            self._reading.reply = reply = await self._start()
            if reply.opened is None:
                assert reply.response is not None
                self._begun = iter(chunks_of(reply.response))
            else:
                assert isinstance(reply.opened.rest, AsyncIterator)
                self._begun, self._rest = iter(reply.opened.begun), reply.opened.rest
        chunk = next(self._begun, None)
        if self._rest is not None:
            if chunk is None:
                chunk = await anext(self._rest, None)
            if chunk is not None:
                self._reading.assembly.add(chunk)
        return chunk

    @hide_frames
    async def aclose(self) -> None:
        """Stop reading."""
        await self.end_early()

    async def end_early(self) -> None:
        """Stop reading, if the end has not come."""
        if not self._over:
            self._reading.fail(Closed(_EARLY))
            await self._end()

    async def _end(self) -> None:
        self._over = True
        rest, self._rest = self._rest, None
        close = getattr(rest, "aclose", None)
        if callable(close):
            await close()

    def __del__(self) -> None:
        # The event loop closes what is left, a generator, by itself.
        if not self._over and self._rest is not None:
            self._over = True
            self._reading.fail(Closed(_EARLY))


def _close(chunks: object) -> None:
    close = getattr(chunks, "close", None)
    if callable(close):
        close()
