"""An answer that comes piece by piece, read with a `for` or an `async for` loop."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from types import TracebackType
from typing import Any

from lmconf.errors import CallError, Closed
from lmconf.runtime.answer import Answer
from lmconf.runtime.assembling import Assembly, text_of
from lmconf.runtime.call import Reply, warn_if_truncated
from lmconf.transports import Json, chunks_of

__all__ = ["AsyncStream", "Stream"]

_EARLY = "the stream was closed before its end"


class _Read:
    """What both kinds of stream share: the reply, and what was read of it."""

    def __init__(self) -> None:
        self._reply: Reply | None = None
        self._assembly = Assembly()

    @property
    def answer(self) -> Answer:
        """The whole answer, once the stream has been read to its end.

        Raises:
            Closed: it has not been.
            BadResponse: it has not the form that `response_format` asks for.
        """
        if self._reply is None or self._reply.answer is None:
            raise Closed("the answer is there when the stream was read to its end")
        return self._reply.in_form()

    def _complete(self) -> None:
        assert self._reply is not None
        if self._reply.opened is not None:
            self._reply.complete(self._assembly.response())
        warn_if_truncated(self._reply, depth=5)

    def _failed(self, error: BaseException) -> None:
        """Note what ended the stream; a whole answer can no longer come of it."""
        if isinstance(error, CallError):
            error.retryable = False
            error.partial = error.partial or self._assembly.text
        if self._reply is not None:
            self._reply.fail(error)


class Stream(_Read, Iterator[str]):
    """The pieces of an answer's text; use it in a `with` block, or read it to its end.

        with lm.stream("…") as stream:
            for piece in stream:
                print(piece, end="")
        stream.answer.usage

    The request is sent when the first piece is asked for. What fails before the answer begins is
    tried again like any call; what fails later raises with the text so far as `partial`.
    """

    def __init__(self, start: Callable[[], Reply]) -> None:
        super().__init__()
        self._start = start
        self._chunks = self._read()

    def __next__(self) -> str:
        for chunk in self._chunks:
            if piece := text_of(chunk):
                return piece
        raise StopIteration

    def chunks(self) -> Iterator[dict[str, Any]]:
        """Return what is left of the stream as the chunks that the OpenAI API writes.

        They hold what is no text as well: reasoning, tool calls, log probabilities, the usage.
        """
        return self._chunks

    def _read(self) -> Iterator[Json]:
        self._reply = reply = self._start()
        opened = reply.opened
        if opened is None:
            assert reply.response is not None
            yield from chunks_of(reply.response)
            self._complete()
            return
        assert isinstance(opened.rest, Iterator)
        try:
            for chunk in itertools.chain(opened.begun, opened.rest):
                self._assembly.add(chunk)
                yield chunk
            self._complete()
        except GeneratorExit:
            self._failed(Closed(_EARLY))
            raise
        except BaseException as error:
            self._failed(error)
            raise
        finally:
            _close(opened.rest)

    def close(self) -> None:
        """Stop reading; the connection is freed, and what was read so far is not kept."""
        self._chunks.close()  # type: ignore[attr-defined]

    def __enter__(self) -> Stream:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class AsyncStream(_Read, AsyncIterator[str]):
    """The pieces of an answer's text, as `Stream`, for `async with` and `async for`."""

    def __init__(self, start: Callable[[], Coroutine[Any, Any, Reply]]) -> None:
        super().__init__()
        self._start = start
        self._chunks = self._read()

    async def __anext__(self) -> str:
        async for chunk in self._chunks:
            if piece := text_of(chunk):
                return piece
        raise StopAsyncIteration

    def chunks(self) -> AsyncIterator[dict[str, Any]]:
        """Return what is left of the stream as chunks, as `Stream.chunks` does."""
        return self._chunks

    async def _read(self) -> AsyncIterator[Json]:
        self._reply = reply = await self._start()
        opened = reply.opened
        if opened is None:
            assert reply.response is not None
            for chunk in chunks_of(reply.response):
                yield chunk
            self._complete()
            return
        assert isinstance(opened.rest, AsyncIterator)
        try:
            for chunk in opened.begun:
                self._assembly.add(chunk)
                yield chunk
            async for chunk in opened.rest:
                self._assembly.add(chunk)
                yield chunk
            self._complete()
        except GeneratorExit:
            self._failed(Closed(_EARLY))
            raise
        except BaseException as error:
            self._failed(error)
            raise
        finally:
            await _aclose(opened.rest)

    async def aclose(self) -> None:
        """Stop reading; the connection is freed, and what was read so far is not kept."""
        await self._chunks.aclose()  # type: ignore[attr-defined]

    async def __aenter__(self) -> AsyncStream:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()


def _close(chunks: object) -> None:
    close = getattr(chunks, "close", None)
    if callable(close):
        close()


async def _aclose(chunks: object) -> None:
    close = getattr(chunks, "aclose", None)
    if callable(close):
        await close()
