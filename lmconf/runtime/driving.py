"""Carries out what the layers of a call ask for: with threads that wait, or on an event loop.

A failure is thrown into the generator outside of any `except` block, so that it leaves without a
context that would keep the frames of a client alive.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator

from lmconf.errors import BadResponse
from lmconf.frames import bare
from lmconf.runtime.assembling import has_begun
from lmconf.runtime.call import Command, Opened, Perform, Reply, Send, Sleep, Steps, Wait
from lmconf.transports import Json, Request, Transport

__all__ = ["adrive", "drive"]


def drive(steps: Steps) -> Reply:
    """Return the reply of a call, made in this thread.

    Raises:
        CallError: it failed.
    """
    outcome: object = None
    failure: BaseException | None = None
    while True:
        try:
            command = steps.send(outcome) if failure is None else steps.throw(failure)
        except StopIteration as stop:
            reply: Reply = stop.value
            return reply
        outcome = failure = None
        try:
            outcome = _carry_out(command)
        except Exception as error:  # noqa: BLE001 - the layers decide what becomes of it
            failure = error
        except BaseException as error:  # noqa: BLE001 - as above
            # An interrupt falls anywhere, and a client's frames hold the credential.
            failure = bare(error)


async def adrive(steps: Steps) -> Reply:
    """Return the reply of a call, made on the running event loop.

    Raises:
        CallError: it failed.
    """
    outcome: object = None
    failure: BaseException | None = None
    while True:
        try:
            command = steps.send(outcome) if failure is None else steps.throw(failure)
        except StopIteration as stop:
            reply: Reply = stop.value
            return reply
        outcome = failure = None
        try:
            outcome = await _acarry_out(command)
        except Exception as error:  # noqa: BLE001 - the layers decide what becomes of it
            failure = error
        except BaseException as error:  # noqa: BLE001 - as above
            # An interrupt falls anywhere, and a client's frames hold the credential.
            failure = bare(error)


def _carry_out(command: Command) -> object:
    match command:
        case Send(transport, request, stream):
            return _open(transport, request) if stream else transport.complete(request)
        case Sleep(seconds):
            time.sleep(seconds)
            return None
        case Perform(work):
            return work()
        case Wait(signal, seconds):
            return signal.wait(seconds)


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
            return await asyncio.to_thread(work)
        case Wait(signal, seconds):
            return await signal.awaited(seconds)


def _open(transport: Transport, request: Request) -> Opened:
    """Return a stream that has begun: until then, a failure may still be tried again."""
    chunks: Iterator[Json] = iter(transport.stream(request))
    begun: list[Json] = []
    for chunk in chunks:
        begun.append(chunk)
        if has_begun(chunk):
            return Opened(begun, chunks)
    raise BadResponse("the stream ended before an answer began")


async def _aopen(transport: Transport, request: Request) -> Opened:
    chunks: AsyncIterator[Json] = aiter(transport.astream(request))
    begun: list[Json] = []
    async for chunk in chunks:
        begun.append(chunk)
        if has_begun(chunk):
            return Opened(begun, chunks)
    raise BadResponse("the stream ended before an answer began")
