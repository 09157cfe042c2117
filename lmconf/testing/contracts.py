"""What every transport owes, as tests: a class to derive a test class from.

    class TestAcme(lmconf.testing.TransportContract):
        def make(self):
            return Acme(url=SERVER.url)

pytest runs the tests of the class that is derived. Only `make` must be given; the tests for which
nothing is given are skipped.
"""

from __future__ import annotations

import asyncio
import functools
import json
import threading
import time
import unittest
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from lmconf.errors import BadResponse, CallError
from lmconf.runtime import Assembly
from lmconf.transports import Connection, Json, Request, Transport
from lmconf.transports.custom import complete_transport

__all__ = ["TransportContract"]

T = TypeVar("T")

KEY = "sk-contract-0123456789abcdef"
"""The credential that the contract's requests carry: it may be sent, and never be told."""


class TransportContract:
    """Tests of one transport, to be inherited by a test class.

    Give `make`. Give `make_refused` and `make_cut` where the transport has a server that can
    fail, and `request_count` where it can be told how often that was asked. `text` is the answer's
    text where it is always the same.
    """

    text: str | None = None

    def make(self) -> object:
        """Return the transport, as its factory does; every request to it is answered."""
        raise NotImplementedError("give the contract `make`, which returns the transport")

    def make_refused(self) -> object | None:
        """Return the transport with a server that refuses every request (429, say)."""
        return None

    def make_cut(self) -> object | None:
        """Return the transport with a server whose streams break before their end."""
        return None

    def request_count(self) -> int | None:
        """Return how many requests the server has received so far; None: it cannot be told."""
        return None

    def request(self) -> Request:
        """Return the request that is sent."""
        return Request(
            route="chat",
            provider="openai",
            model="tiny",
            connection=Connection(base="https://contract.invalid", key=KEY),
            messages=({"role": "user", "content": "Say hello."},),
            name="contract",
        )

    def transport(self, own: object) -> Transport:
        """Return a complete transport, as lmconf uses it.

        Args:
            own: what `make` returned.
        """
        return complete_transport(own, type(self).__name__)

    # What it answers

    def test_a_response_is_plain_json_with_a_choice(self) -> None:
        transport = self.transport(self.make())
        for way in _whole(transport):
            response = way(self.request())
            assert json.loads(json.dumps(response)) == response, "it is not plain JSON"
            self._check(response)
        transport.close()

    def test_a_stream_is_put_together_to_a_whole_response(self) -> None:
        transport = self.transport(self.make())
        for way in _streams(transport):
            chunks = way(self.request())
            assert json.loads(json.dumps(chunks)) == chunks, "it is not plain JSON"
            assembly = Assembly()
            for chunk in chunks:
                assembly.add(chunk)
            self._check(assembly.response())
        transport.close()

    def test_a_response_belongs_to_its_caller(self) -> None:
        """What is done to one answer, or to a chunk, is not seen in the next."""
        transport = self.transport(self.make())
        for way in _whole(transport):
            response = way(self.request())
            for choice in response["choices"]:
                choice.clear()
            response.clear()
            self._check(way(self.request()))
        transport.close()

    def _check(self, response: Json) -> None:
        choices = response.get("choices")
        assert isinstance(choices, list) and choices, f"no choices: {response}"
        for choice in choices:
            assert choice.get("finish_reason"), f"no finish_reason: {choice}"
            message = choice.get("message", choice)
            text = message.get("content", message.get("text"))
            assert isinstance(text, str | None), f"the text is no text: {choice}"
            assert text or message.get("tool_calls"), f"it says nothing: {choice}"
            if self.text is not None:
                assert text == self.text, f"{text!r} is not {self.text!r}"
        usage = response.get("usage")
        assert usage is None or isinstance(usage, Mapping), f"usage is no mapping: {usage}"

    # How it is used

    def test_it_is_used_from_many_threads_at_once(self) -> None:
        transport = self.transport(self.make())
        for way in (*_whole(transport), *_streams(transport)):
            outcomes = _at_once(6, functools.partial(way, self.request()))
            failures = [each for each in outcomes if isinstance(each, BaseException)]
            assert not failures, f"of 6 at once, these failed: {failures!r}"
        transport.close()

    def test_it_is_used_from_many_tasks_at_once(self) -> None:
        transport = self.transport(self.make())

        async def ask() -> list[Json]:
            return await asyncio.gather(*(transport.acomplete(self.request()) for _ in range(6)))

        for response in asyncio.run(ask()):
            self._check(response)
        transport.close()

    def test_it_is_closed_more_than_once(self) -> None:
        transport = self.transport(self.make())
        transport.close()
        transport.close()
        other = self.transport(self.make())
        _whole(other)[0](self.request())
        other.close()
        other.close()

    def test_a_stream_that_is_left_early_holds_up_nothing(self) -> None:
        transport = self.transport(self.make())
        before = set(threading.enumerate())

        async def leave() -> None:
            chunks = transport.astream(self.request())
            await anext(chunks)
            close = getattr(chunks, "aclose", None)
            assert callable(close), "the stream has no aclose"
            await close()

        asyncio.run(leave())
        if _has_sync(transport):
            chunks = transport.stream(self.request())
            next(chunks)
            getattr(chunks, "close", lambda: None)()
        self._check(_whole(transport)[0](self.request()))
        transport.close()
        _wait(
            lambda: not list(_remaining_threads(before)),
            "a thread outlives the stream that it was for",
        )

    def test_a_task_can_be_cancelled(self) -> None:
        transport = self.transport(self.make())

        async def cancel() -> None:
            before = self.request_count()
            task = asyncio.ensure_future(transport.acomplete(self.request()))
            await asyncio.sleep(0)
            # Where it can be told, the request is on its way when the task is cancelled.
            while (  # noqa: ASYNC110
                before is not None and self.request_count() == before and not task.done()
            ):
                await asyncio.sleep(0.001)
            task.cancel()
            await asyncio.wait([task])
            assert task.cancelled() or task.exception() is None, f"it raised {task.exception()!r}"
            self._check(await transport.acomplete(self.request()))

        asyncio.run(cancel())
        transport.close()

    # How it fails

    def test_a_refusal_is_one_attempt_and_a_call_error(self) -> None:
        own = self.make_refused()
        if own is None:
            raise unittest.SkipTest("make_refused is not given")
        transport = self.transport(own)
        kinds = set()
        for way in (*_whole(transport), *_streams(transport)):
            before = self.request_count()
            error = _raised_error(functools.partial(way, self.request()))
            assert isinstance(error, CallError), f"not a CallError: {error!r}"
            kinds.add(type(error))
            for text in (str(error), repr(error), repr(error.__dict__)):
                assert KEY not in text, "the error contains the credential"
            after = self.request_count()
            if before is not None and after is not None:
                assert after - before == 1, f"{after - before} requests were sent for one"
        assert len(kinds) == 1, f"the same refusal is told in several ways: {kinds}"
        transport.close()

    def test_a_stream_that_is_cut_short_is_an_error(self) -> None:
        own = self.make_cut()
        if own is None:
            raise unittest.SkipTest("make_cut is not given")
        transport = self.transport(own)
        for way in _streams(transport):
            error = _raised_error(functools.partial(way, self.request()))
            assert isinstance(error, BadResponse), f"not a BadResponse: {error!r}"
        transport.close()


def _whole(transport: Transport) -> Sequence[Callable[[Request], Json]]:
    """Return the ways to a whole response: those of a transport that is async alone are async."""

    def asynchronous(request: Request) -> Json:
        return asyncio.run(_run_awaitable(transport.acomplete(request)))

    return (transport.complete, asynchronous) if _has_sync(transport) else (asynchronous,)


def _streams(transport: Transport) -> Sequence[Callable[[Request], list[Json]]]:
    def synchronous(request: Request) -> list[Json]:
        return list(transport.stream(request))

    def asynchronous(request: Request) -> list[Json]:
        return asyncio.run(_collect_chunks(transport.astream(request)))

    return (synchronous, asynchronous) if _has_sync(transport) else (asynchronous,)


def _has_sync(transport: Transport) -> bool:
    return getattr(transport, "has_sync", True)


async def _run_awaitable(coroutine: Coroutine[Any, Any, T]) -> T:
    return await coroutine


async def _collect_chunks(chunks: AsyncIterator[Json]) -> list[Json]:
    return [chunk async for chunk in chunks]


def _raised_error(call: Callable[[], object]) -> BaseException:
    try:
        result = call()
    except Exception as error:  # noqa: BLE001 - which it is, is what is tested
        return error
    raise AssertionError(f"nothing was raised; it returned {result!r}")


def _at_once(count: int, call: Callable[[], object]) -> list[object]:
    outcomes: list[object] = []

    def run() -> None:
        try:
            outcomes.append(call())
        except BaseException as error:  # noqa: BLE001 - told by the test
            outcomes.append(error)

    threads = [threading.Thread(target=run) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes


def _remaining_threads(before: set[threading.Thread]) -> Iterator[threading.Thread]:
    for thread in threading.enumerate():
        if thread not in before and thread.name.startswith("lmconf-"):
            yield thread


def _wait(holds: Callable[[], bool], otherwise: str) -> None:
    end = time.monotonic() + 5.0
    while not holds():
        assert time.monotonic() < end, otherwise
        time.sleep(0.01)
