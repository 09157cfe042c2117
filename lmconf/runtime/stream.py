"""An answer that comes piece by piece, read with a `for` or an `async for` loop."""

from __future__ import annotations

import itertools
from collections.abc import (
    AsyncIterator,
    Callable,
    Coroutine,
    Generator,
    Iterator,
)
from types import TracebackType
from typing import Any

from lmconf.errors import CallError, Closed
from lmconf.runtime.answer import Answer
from lmconf.runtime.assembly import Assembly, text_of
from lmconf.runtime.call import Reply, warn_if_truncated
from lmconf.system.tracebacks import hide_frames
from lmconf.transports import Json, chunks_of

__all__ = ["AsyncStream", "Stream"]

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
            raise Closed("the answer is available after the stream was read to its end")
        return self.reply.in_form()

    def complete(self) -> None:
        """Note that the stream was read to its end."""
        assert self.reply is not None
        if self.reply.open_stream is not None:
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
    open_stream = reply.open_stream
    if open_stream is None:
        assert reply.response is not None
        yield from chunks_of(reply.response)
        reading.complete()
        return
    assert isinstance(open_stream.rest, Iterator)
    try:
        for chunk in itertools.chain(open_stream.first_chunks, open_stream.rest):
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
        _close(open_stream.rest)


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
        self._first_chunks: Iterator[Json] | None = None
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
        if self._first_chunks is None:
            self._reading.reply = reply = await self._start()
            if reply.open_stream is None:
                assert reply.response is not None
                self._first_chunks = iter(chunks_of(reply.response))
            else:
                assert isinstance(reply.open_stream.rest, AsyncIterator)
                self._first_chunks, self._rest = (
                    iter(reply.open_stream.first_chunks),
                    reply.open_stream.rest,
                )
        chunk = next(self._first_chunks, None)
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
