"""Asks the LM beneath: for a whole answer, or for one that DSPy shows piece by piece.

The answer is taken as it is, whatever `response_format` asks for: DSPy's adapters read it, mend
what is nearly right, and ask in another way if it is not.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import TYPE_CHECKING, Any, cast

import anyio.from_thread

from lmconf.dspy.call_arguments import CallPlan
from lmconf.dspy.response_shapes import Shape, to_shape
from lmconf.runtime import LM, Answer, AsyncStream, Steps, Stream, adrive, drive, warn_if_truncated

if TYPE_CHECKING:
    from lmconf.spec.keywords import CallSettings

__all__ = [
    "aask",
    "achunks",
    "aopen_stream",
    "ask",
    "astream_answer",
    "chunk_of",
    "chunks",
    "open_stream",
    "stream_answer",
]

Show = Callable[[dict[str, Any]], Any]


def ask(lm: LM, plan: CallPlan) -> Answer:
    """Return the answer of `lm`."""
    reply = drive(_steps(lm, plan))
    warn_if_truncated(reply)
    assert reply.answer is not None
    return reply.answer


def _steps(lm: LM, plan: CallPlan, *, stream: bool = False) -> Steps:
    settings = cast("CallSettings", dict(plan.settings))  # the LM checks them
    return lm._steps(plan.prompt, plan.messages, settings, stream=stream)


async def aask(lm: LM, plan: CallPlan) -> Answer:
    """Return the answer of `lm`, from an event loop."""
    reply = await adrive(_steps(lm, plan))
    warn_if_truncated(reply)
    assert reply.answer is not None
    return reply.answer


def open_stream(lm: LM, plan: CallPlan) -> Stream:
    """Return the answer of `lm` as a stream."""
    steps = _steps(lm, plan, stream=True)
    return Stream(lambda: drive(steps))


def aopen_stream(lm: LM, plan: CallPlan) -> AsyncStream:
    """Return the answer of `lm` as a stream, for an event loop."""
    steps = _steps(lm, plan, stream=True)
    return AsyncStream(lambda: adrive(steps))


def stream_answer(lm: LM, plan: CallPlan, stream: Any, show: Show) -> Answer:
    """Return the answer, having sent each chunk of it to `stream` in the form that `show` gives.

    This runs in a worker thread of anyio, as all ordinary code that DSPy streams.
    """
    with open_stream(lm, plan) as pieces:
        for chunk in chunks(pieces):
            anyio.from_thread.run(stream.send, show(chunk))
        return pieces.answer


async def astream_answer(lm: LM, plan: CallPlan, stream: Any, show: Show) -> Answer:
    """Return what `stream_answer` returns, from an event loop."""
    async with aopen_stream(lm, plan) as pieces:
        async for chunk in achunks(pieces):
            await stream.send(show(chunk))
        return pieces.answer


def chunks(pieces: Stream) -> Iterator[dict[str, Any]]:
    """Yield the chunks of an answer that comes from a server; of a stored one DSPy shows none."""
    for chunk in pieces.chunks():
        if chunk["choices"] and not _is_stored(pieces):
            yield chunk


async def achunks(pieces: AsyncStream) -> AsyncIterator[dict[str, Any]]:
    """Yield what `chunks` yields, on an event loop."""
    async for chunk in pieces.chunks():
        if chunk["choices"] and not _is_stored(pieces):
            yield chunk


def _is_stored(pieces: Stream | AsyncStream) -> bool:
    """Say whether the stream, of which a chunk has come, is an answer from the cache."""
    reply = pieces._reading.reply
    return reply is not None and reply.cache_hit


def chunk_of(chunk: dict[str, Any], listener: int | None) -> Shape:
    """Return `chunk` as DSPy's listeners read it; `listener` is the id of who asked."""
    shape = to_shape(chunk)
    for choice in shape["choices"]:
        delta = choice.setdefault("delta", Shape(content=choice.get("text")))
        delta.setdefault("content", None)
    return Shape({**shape, "predict_id": listener})
