"""An answer that comes piece by piece, read with a `for` or an `async for` loop."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from types import TracebackType
from typing import Any

from lmconf.errors import CallError, Closed
from lmconf.runtime.answer import Answer, texts_of
from lmconf.runtime.assembling import Assembly, text_of
from lmconf.runtime.call import Reply
from lmconf.transports import Json

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
        """
        if self._reply is None or self._reply.answer is None:
            raise Closed("the answer is there when the stream was read to its end")
        return self._reply.answer

    def _take(self, chunk: Json) -> str:
        self._assembly.add(chunk)
        return text_of(chunk)

    def _complete(self) -> None:
        assert self._reply is not None
        if self._reply.opened is not None:
            self._reply.complete(self._assembly.response())

    def _failed(self, error: BaseException) -> None:
        """Note what ended the stream; a whole answer can no longer come of it."""
        if isinstance(error, CallError):
            error.retryable = False
            error.partial = error.partial or self._assembly.text
        if self._reply is not None:
            self._reply.fail(error)

    def _whole(self) -> str | None:
        """Return the text of an answer that came in one piece: a stored one."""
        assert self._reply is not None
        response = self._reply.response
        return texts_of(response)[0] if response is not None else None


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
        self._pieces = self._read()

    def __next__(self) -> str:
        return next(self._pieces)

    def _read(self) -> Iterator[str]:
        self._reply = reply = self._start()
        opened = reply.opened
        if opened is None:
            yield self._whole() or ""
            return
        assert isinstance(opened.rest, Iterator)
        try:
            for chunk in opened.begun:
                if piece := self._take(chunk):
                    yield piece
            for chunk in opened.rest:
                if piece := self._take(chunk):
                    yield piece
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
        self._pieces.close()  # type: ignore[attr-defined]

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
        self._pieces = self._read()

    async def __anext__(self) -> str:
        return await anext(self._pieces)

    async def _read(self) -> AsyncIterator[str]:
        self._reply = reply = await self._start()
        opened = reply.opened
        if opened is None:
            yield self._whole() or ""
            return
        assert isinstance(opened.rest, AsyncIterator)
        try:
            for chunk in opened.begun:
                if piece := self._take(chunk):
                    yield piece
            async for chunk in opened.rest:
                if piece := self._take(chunk):
                    yield piece
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
        await self._pieces.aclose()  # type: ignore[attr-defined]

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
