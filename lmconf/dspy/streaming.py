"""Answers that DSPy shows piece by piece: chunks go to its stream as they come."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import anyio.from_thread

from lmconf.dspy.planning import Plan
from lmconf.dspy.shapes import Shape, shaped
from lmconf.runtime.answer import Answer
from lmconf.runtime.lm import LM
from lmconf.runtime.streams import AsyncStream, Stream

__all__ = ["achunks", "astreamed", "chunk_of", "chunks", "streamed"]

Show = Callable[[dict[str, Any]], Any]


def streamed(lm: LM, plan: Plan, stream: Any, show: Show) -> Answer:
    """Return the answer, having sent each chunk of it to `stream` in the form that `show` gives.

    This runs in a worker thread of anyio, as all ordinary code that DSPy streams.
    """
    with lm.stream(plan.prompt, plan.messages, **plan.settings) as pieces:
        for chunk in chunks(pieces):
            anyio.from_thread.run(stream.send, show(chunk))
        return pieces.answer


async def astreamed(lm: LM, plan: Plan, stream: Any, show: Show) -> Answer:
    """Return what `streamed` returns, from an event loop."""
    async with lm.astream(plan.prompt, plan.messages, **plan.settings) as pieces:
        async for chunk in achunks(pieces):
            await stream.send(show(chunk))
        return pieces.answer


def chunks(pieces: Stream) -> Iterator[dict[str, Any]]:
    """Yield the chunks of an answer that comes from a server, and none of a stored one.

    DSPy shows no pieces of a stored answer. Which it is shows when the first chunk is the last.
    """
    rest = pieces.chunks()
    begun = [chunk for chunk in (next(rest, None), next(rest, None)) if chunk is not None]
    if len(begun) < 2 and pieces.answer.cache_hit:
        return
    yield from (chunk for chunk in begun if chunk["choices"])
    yield from (chunk for chunk in rest if chunk["choices"])


async def achunks(pieces: AsyncStream) -> AsyncIterator[dict[str, Any]]:
    """Yield what `chunks` yields, on an event loop."""
    rest = pieces.chunks()
    begun = [chunk async for chunk in _first_two(rest)]
    if len(begun) < 2 and pieces.answer.cache_hit:
        return
    for chunk in begun:
        if chunk["choices"]:
            yield chunk
    async for chunk in rest:
        if chunk["choices"]:
            yield chunk


async def _first_two(rest: AsyncIterator[dict[str, Any]]) -> AsyncIterator[dict[str, Any]]:
    count = 0
    async for chunk in rest:
        yield chunk
        count += 1
        if count == 2:
            return


def chunk_of(chunk: dict[str, Any], listener: int | None) -> Shape:
    """Return `chunk` as DSPy's listeners read it; `listener` is the id of who asked."""
    seen = shaped(chunk)
    for choice in seen["choices"]:
        delta = choice.setdefault("delta", Shape(content=choice.get("text")))
        delta.setdefault("content", None)
    return Shape({**seen, "predict_id": listener})
