"""`fake`: an LM's server for tests, that answers from a script: no network, no key, no cost."""

from __future__ import annotations

import asyncio
import itertools
import os
import re
import threading
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from lmconf.errors import Timeout, UsageError
from lmconf.providers.catalogue import NOWHERE
from lmconf.runtime import LM, Answer
from lmconf.schema.frozen import thaw
from lmconf.secrets.redaction import mask_secrets, mask_texts
from lmconf.spec.generation_fields import ModelType
from lmconf.spec.rules.pools import OF_MEMBERS
from lmconf.system.durations import format_duration
from lmconf.testing.scripts import Answers, Asked, Script, fresh_error, text_of
from lmconf.transports import (
    REQUEST_ID,
    Json,
    Request,
    register_transport,
    unregister_transport,
)
from lmconf.transports.custom import chunks_of, make_response

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from lmconf.spec.keywords import LMSettings

__all__ = ["Fake", "fake"]

# What would look up a variable or a file, start a server, keep a test waiting for what earlier ones
# sent, or charge what costs nothing to a budget.
_UNSET = OF_MEMBERS - {"allow_http", "transport"} | {"budget"}
_OWN: dict[str, Any] = {
    # What is stated is not looked up.
    "api_key": "",
    "api_base": NOWHERE,
    "cache": {"mode": "disabled"},
    "retry": {"initial": 0, "max": 0},
}


def fake(
    answers: Answers,
    *,
    cycle: bool = False,
    latency: float | Sequence[float] = 0.0,
    gap: float = 0.0,
    chunk: int | None = None,
    usage: bool = True,
) -> Fake:
    """Return a fake that answers from `answers` while its `with` block lasts.

        with lmconf.testing.fake(["Paris", lmconf.RateLimited("slow down"), "Rome"]) as fake:
            lm = fake.lm()
            lm("What is the capital of France?")  # -> ['Paris']
            lm("And of Italy?")  # -> ['Rome']
            fake.requests[-1].text  # -> 'And of Italy?'

    Args:
        answers: a list, whose entries answer one request each; a mapping, whose keys are what was
            asked (the text of the last message, or a compiled pattern that is searched for in
            it); or one entry, which answers every request. An entry is a text, a list of texts
            (one for each of `n`), a message or a response of the OpenAI API's shape, an `Answer`,
            `answer(…)`, an exception, which is raised, or a function that is given what was asked
            (`Asked`) and returns one of these.
        cycle: begin a list anew at its end; else a request beyond it raises `UsageError`.
        latency: seconds until an answer comes, or a list of them, taken in turn. The LM's
            `timeout` holds.
        gap: seconds between two pieces of a stream.
        chunk: characters in a piece of a stream; None is one word.
        usage: count tokens: one for each word, of all messages and of all answers.

    Raises:
        UsageError: an argument does not fit.
    """
    return Fake(answers, cycle=cycle, latency=latency, gap=gap, chunk=chunk, usage=usage)


class _Plan(Struct, frozen=True, eq=False):
    """What comes of one request."""

    response: Json
    latency: float
    error: BaseException | None
    then: BaseException | None


class Fake:
    """Answers from a script, and keeps what it was asked; see `fake`.

    The LMs of a fake keep no answers (`cache`) and do not wait between attempts; both may be
    stated otherwise. It may be asked from many threads and event loops at once.
    """

    def __init__(
        self,
        answers: Answers,
        *,
        cycle: bool = False,
        latency: float | Sequence[float] = 0.0,
        gap: float = 0.0,
        chunk: int | None = None,
        usage: bool = True,
    ) -> None:
        self._script = Script(answers, cycle=cycle)
        seconds = (latency,) if isinstance(latency, int | float) else tuple(latency)
        if not seconds or any(second < 0 for second in (*seconds, gap)):
            raise UsageError("`latency` and `gap` are seconds: 0 or more")
        if chunk is not None and chunk < 1:
            raise UsageError("`chunk` is a number of characters: 1 or more")
        self._latencies = itertools.cycle(map(float, seconds))
        self._gap = gap
        self._chunk = chunk
        self._usage = usage
        self._lock = threading.Lock()
        self._requests: list[Asked] = []
        self._is_over = False
        # Stores of answers outlive a process, so no two fakes may ever have one name.
        self.name = f"fake-{os.urandom(6).hex()}"

    @property
    def requests(self) -> Sequence[Asked]:
        """What was asked so far, the oldest first."""
        with self._lock:
            return tuple(self._requests)

    @property
    def left(self) -> int | None:
        """How many answers of a list were not given yet; None where there is no end."""
        return self._script.left

    @property
    def overrides(self) -> dict[str, Any]:
        """What has every LM of a profile answer from this fake: `lmconf.load(…, overrides=…)`.

        Keys, addresses and headers are taken out, so that no variable need be set, and no server
        is started; `limits` and `budget` are, too. What steers an answer stays.
        """
        unset: dict[str, Any] = {name: {"$unset": True} for name in _UNSET}
        # One address for several providers has to be declared to be no secret.
        base = {"$public": NOWHERE}
        own = {**_OWN, "api_base": base, "transport": {"use": self.name}}
        return {"lms": {"*": {**unset, **own}}, "budget": {"$unset": True}}

    def lm(
        self,
        model: str = "fake/fake",
        model_type: ModelType | None = None,
        **settings: Unpack[LMSettings],
    ) -> LM:
        """Return an LM that answers from this fake.

        Args:
            model: the model of the LM.
            model_type: the API of the LM: `chat`, `text` or `responses`.
            settings: further fields of the spec.

        Raises:
            ProfileError: the settings do not fit.
        """
        return LM(model, model_type, **{**_OWN, "transport": {"use": self.name}, **settings})

    def __enter__(self) -> Fake:
        self._is_over = False
        register_transport(self.name, lambda: self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._is_over = True
        unregister_transport(self.name)

    def __repr__(self) -> str:
        return f"<{self.name}, asked {len(self._requests)} times>"

    # What makes it a transport

    def complete(self, request: Request) -> Json:
        """Return the next answer, or raise the next exception.

        Args:
            request: the request, which the fake records.
        """
        plan = self._plan(request, stream=False)
        time.sleep(_clamp(plan.latency, request.timeout.total))
        return _whole(plan, request)

    async def acomplete(self, request: Request) -> Json:
        """Return the next answer, or raise the next exception.

        Args:
            request: the request, which the fake records.
        """
        plan = self._plan(request, stream=False)
        await asyncio.sleep(_clamp(plan.latency, request.timeout.total))
        return _whole(plan, request)

    def stream(self, request: Request) -> Iterator[Json]:
        """Yield the next answer piece by piece, or raise the next exception.

        Args:
            request: the request, which the fake records.
        """
        for seconds, chunk in self._pieces(self._plan(request, stream=True), request):
            time.sleep(seconds)
            if chunk is not None:
                yield chunk

    async def astream(self, request: Request) -> AsyncIterator[Json]:
        """Yield the next answer piece by piece, or raise the next exception.

        Args:
            request: the request, which the fake records.
        """
        for seconds, chunk in self._pieces(self._plan(request, stream=True), request):
            await asyncio.sleep(seconds)
            if chunk is not None:
                yield chunk

    def _pieces(self, plan: _Plan, request: Request) -> Iterator[tuple[float, Json | None]]:
        """Yield the seconds to wait, and what comes then."""
        phases = request.timeout
        first = phases.total if phases.first_byte is None else phases.first_byte
        yield _clamp(plan.latency, first), None
        if plan.latency > first:
            raise Timeout(f"no answer began within {format_duration(first)}")
        if plan.error is not None:
            raise fresh_error(plan.error)
        left = phases.total - plan.latency
        idle = phases.total if phases.idle is None else phases.idle
        for number, chunk in enumerate(chunks_of(plan.response, self._split)):
            if plan.then is not None and _is_last(chunk):
                raise fresh_error(plan.then)
            wait = self._gap if number else 0.0
            yield _clamp(wait, min(left, idle)), None
            if wait > min(left, idle):
                raise Timeout(f"no further piece came within {format_duration(min(left, idle))}")
            left -= wait
            yield 0.0, chunk

    def _split(self, text: str) -> Sequence[str]:
        if self._chunk is None:
            return re.findall(r"\S+\s*|^\s+", text)
        return [text[at : at + self._chunk] for at in range(0, len(text), self._chunk)]

    def _plan(self, request: Request, *, stream: bool) -> _Plan:
        if self._is_over:
            raise UsageError(f"{self.name} was asked after its `with` block had ended")
        fake_request = _fake_request(request, stream=stream)
        with self._lock:
            self._requests.append(fake_request)
            number = len(self._requests)
            latency = next(self._latencies)
        script_answer = self._script.next(fake_request)
        content = script_answer.content
        latency = latency if script_answer.latency is None else script_answer.latency
        if isinstance(content, BaseException):
            return _Plan({}, latency, content, None)
        if isinstance(content, Answer):
            content = content.response
        response = make_response(content, request, "fake")
        response.setdefault("id", f"fake-{number}")
        response.setdefault(REQUEST_ID, f"fake-{number}")
        if self._usage and "usage" not in response:
            response["usage"] = _add_usage(fake_request, response)
        return _Plan(response, latency, None, script_answer.then)


def _whole(plan: _Plan, request: Request) -> Json:
    if plan.latency > request.timeout.total:
        raise Timeout(f"no answer came within {format_duration(request.timeout.total)}")
    for error in (plan.error, plan.then):
        if error is not None:
            raise fresh_error(error)
    return plan.response


def _clamp(seconds: float, most: float) -> float:
    return max(min(seconds, most), 0.0)


def _is_last(chunk: Json) -> bool:
    return any("finish_reason" in choice for choice in chunk["choices"])


def _fake_request(request: Request, *, stream: bool) -> Asked:
    secrets = request.connection.secrets()

    def mask(text: str) -> str:
        return mask_secrets(text, secrets)

    return Asked(
        lm=request.name,
        model=f"{request.provider}/{request.model}" if request.provider else request.model,
        route=request.route,
        messages=thaw(request.messages),
        prompt=request.prompt,
        settings=mask_texts(request.settings, mask),
        extra=mask_texts(request.extra, mask),
        stream=stream,
    )


def _add_usage(request: Asked, response: Json) -> Json:
    prompt = (
        request.prompt if request.prompt is not None else " ".join(map(text_of, request.messages))
    )
    texts = (
        choice["text"] if "text" in choice else text_of(choice["message"])
        for choice in response["choices"]
    )
    prompt_words, answer_words = (
        len(prompt.split()),
        sum(len((text or "").split()) for text in texts),
    )
    return {
        "prompt_tokens": prompt_words,
        "completion_tokens": answer_words,
        "total_tokens": prompt_words + answer_words,
    }
