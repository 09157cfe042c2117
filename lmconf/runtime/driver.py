"""Carries out what the layers of a call ask for: with threads that wait, or on an event loop.

A failure is thrown into the generator outside of any `except` block, so that it leaves without a
context that would keep the frames of a client alive. An interrupt is thrown into it as well, also
one that falls between two commands: the layers let go of what they hold.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from contextvars import ContextVar

from lmconf.errors import BadResponse, Closed
from lmconf.runtime.assembly import has_begun
from lmconf.runtime.call import Command, OpenStream, Perform, Reply, Send, Sleep, Steps, Wait
from lmconf.system.interrupts import bare_interrupt, is_interrupt
from lmconf.system.signal import OneShotEvent
from lmconf.system.tracebacks import strip_frames
from lmconf.transports import Json, Request, Transport

__all__ = ["abandon_calls_on", "adrive", "drive"]


_ABANDONED = "the call was cancelled before it was sent"

_abandonment: ContextVar[OneShotEvent | None] = ContextVar("lmconf_abandonment", default=None)


def abandon_calls_on(signal: OneShotEvent) -> None:
    """Let calls that are made in this context end when `signal` is given; nothing is sent then."""
    _abandonment.set(signal)


def drive(steps: Steps) -> Reply:
    """Return the reply of a call, made in this thread.

    Raises:
        CallError: it failed.
    """
    outcome: object = None
    failure: BaseException | None = None
    try:
        while True:
            try:
                command = steps.send(outcome) if failure is None else steps.throw(failure)
                outcome = failure = None
                outcome = _carry_out(command)
            except StopIteration as stop:
                if _has_ended(steps):
                    reply: Reply = stop.value
                    return reply
                failure = stop
            except BaseException as error:  # noqa: BLE001 - the layers decide what becomes of it
                failure = _bare_failure(error)
            if failure is not None and _has_ended(steps):
                raise failure
    finally:
        failure = None
        steps.close()  # it has ended, unless an interrupt fell in between


async def adrive(steps: Steps) -> Reply:
    """Return the reply of a call, made on the running event loop: `drive`, but for one `await`.

    Raises:
        CallError: it failed.
    """
    outcome: object = None
    failure: BaseException | None = None
    try:
        while True:
            try:
                command = steps.send(outcome) if failure is None else steps.throw(failure)
                outcome = failure = None
                outcome = await _acarry_out(command)
            except StopIteration as stop:
                if _has_ended(steps):
                    reply: Reply = stop.value
                    return reply
                failure = stop
            except BaseException as error:  # noqa: BLE001 - the layers decide what becomes of it
                failure = _bare_failure(error)
            if failure is not None and _has_ended(steps):
                raise failure
    finally:
        failure = None
        steps.close()  # it has ended, unless an interrupt fell in between


def _bare_failure(error: BaseException) -> BaseException:
    """Return what is thrown into the layers for `error`, or raised where they have ended."""
    if not isinstance(error, Exception):
        # An interrupt falls anywhere, and a client's frames hold the credential.
        return strip_frames(error)
    return bare_interrupt(error) if is_interrupt(error) else error


def _has_ended(steps: Steps) -> bool:
    # `inspect.getgeneratorstate` would bring in `inspect`.
    return getattr(steps, "gi_frame", None) is None


def _carry_out(command: Command) -> object:
    over = _abandonment.get()
    if over is not None and over.given:
        raise Closed(_ABANDONED)
    match command:
        case Send(transport, request, stream):
            return _open(transport, request) if stream else transport.complete(request)
        case Sleep(seconds):
            if over is None:
                time.sleep(seconds)
            else:
                over.wait(seconds)
            return None
        case Perform(work):
            return work()
        case Wait(signal, seconds):
            return signal.wait(seconds, over)


async def _acarry_out(command: Command) -> object:
    import asyncio

    match command:
        case Send(transport, request, stream):
            if stream:
                return await _aopen(transport, request)
            return await transport.acomplete(request)
        case Sleep(seconds):
            await asyncio.sleep(seconds)
            return None
        case Perform(work):
            from lmconf.system.threads import run_in_thread

            # Not by the loop's own executor: `asyncio.run` waits for its threads when it is
            # interrupted, and for a store that does not answer as long as that takes.
            return await run_in_thread(work)
        case Wait(signal, seconds):
            return await signal.await_given(seconds)


def _open(transport: Transport, request: Request) -> OpenStream:
    """Return a stream that has begun: until then, a failure may still be tried again."""
    chunks: Iterator[Json] = iter(transport.stream(request))
    first_chunks: list[Json] = []
    for chunk in chunks:
        first_chunks.append(chunk)
        if has_begun(chunk):
            return OpenStream(first_chunks, chunks)
    raise BadResponse("the stream ended before an answer began")


async def _aopen(transport: Transport, request: Request) -> OpenStream:
    chunks: AsyncIterator[Json] = aiter(transport.astream(request))
    first_chunks: list[Json] = []
    async for chunk in chunks:
        first_chunks.append(chunk)
        if has_begun(chunk):
            return OpenStream(first_chunks, chunks)
    raise BadResponse("the stream ended before an answer began")
