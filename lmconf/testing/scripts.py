"""What a fake answers: its script, and what one entry of it may be."""

from __future__ import annotations

import copy
import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from msgspec import Struct

from lmconf.diagnostics.suggest import did_you_mean
from lmconf.errors import CallError, UsageError
from lmconf.runtime import Answer
from lmconf.transports.transport import Route

__all__ = ["Answers", "Asked", "Said", "Script", "ScriptedAnswer", "answer"]


class Asked(Struct, frozen=True, eq=False, kw_only=True):
    """One request as a fake received it. No credential, header or address is in it.

    `lm` is the LM's name and `model` its whole model. `messages` are given for chats, `prompt` for
    `model_type: text`. `settings` are the parameters under the names that are sent, `extra` what
    is merged into the body; what a reference in them led to is masked. `stream` says whether a
    stream was asked for.
    """

    lm: str
    model: str
    route: Route
    messages: Sequence[Mapping[str, Any]] = ()
    prompt: str | None = None
    settings: Mapping[str, Any]
    extra: Mapping[str, Any]
    stream: bool

    @property
    def text(self) -> str:
        """What was said last: the prompt, or the text of the last message."""
        if self.prompt is not None:
            return self.prompt
        return text_of(self.messages[-1]) if self.messages else ""


class ScriptedAnswer(Struct, frozen=True, eq=False, kw_only=True):
    """One answer with what is to be said of it; see `answer`."""

    content: object
    latency: float | None = None
    then: BaseException | None = None


Said: TypeAlias = (
    str
    | Sequence[str]
    | Mapping[str, Any]
    | Answer
    | ScriptedAnswer
    | BaseException
    | Callable[[Asked], object]
)
"""One entry of a script: what one request is answered with."""

Answers: TypeAlias = Said | Sequence[Said] | Iterator[Said] | Mapping[Any, Any]
"""A whole script; the keys of a mapping are texts and compiled patterns."""


def answer(
    text: str | None = None,
    *,
    tool_calls: Sequence[Mapping[str, Any] | tuple[str, Mapping[str, Any]]] = (),
    reasoning: str | None = None,
    logprobs: object = None,
    finish_reason: str | None = None,
    usage: Mapping[str, Any] | None = None,
    latency: float | None = None,
    then: BaseException | None = None,
) -> ScriptedAnswer:
    """Return an answer of a fake with more to it than a text.

    Args:
        text: what is said.
        tool_calls: as the OpenAI API has them, or as pairs of a name and arguments.
        reasoning: what is said before the answer.
        logprobs: the log probabilities, as the OpenAI API has them.
        finish_reason: left out, it is `tool_calls` where there are some, else `stop`.
        usage: the tokens; left out, words are counted.
        latency: seconds until it comes, in place of the fake's own.
        then: the error that a stream ends with after the text; a call without a stream just fails.
    """
    message: dict[str, Any] = {"role": "assistant", "content": text}
    if reasoning is not None:
        message["reasoning_content"] = reasoning
    if tool_calls:
        message["tool_calls"] = [_tool_call(index, call) for index, call in enumerate(tool_calls)]
    choice: dict[str, Any] = {"index": 0, "message": message}
    if logprobs is not None:
        choice["logprobs"] = logprobs
    if finish_reason is not None:
        choice["finish_reason"] = finish_reason
    response: dict[str, Any] = {"choices": [choice]}
    if usage is not None:
        response["usage"] = dict(usage)
    return ScriptedAnswer(content=response, latency=latency, then=then)


def _tool_call(
    index: int, call: Mapping[str, Any] | tuple[str, Mapping[str, Any]]
) -> Mapping[str, Any]:
    if isinstance(call, Mapping):
        return call
    name, arguments = call
    function = {"name": name, "arguments": json.dumps(arguments)}
    return {"id": f"call_{index + 1}", "type": "function", "function": function}


class Script:
    """Says what each request is answered with; it may be asked from many threads.

    Raises:
        UsageError: `answers` is nothing that a fake can answer with.
    """

    def __init__(self, answers: Answers, *, cycle: bool) -> None:
        self._lock = threading.Lock()
        self._answers: list[object] | None = None
        self._coming: Iterator[object] | None = None
        self._cases: list[tuple[str | re.Pattern[str], object]] | None = None
        self._always: object = None
        self._position = 0
        self._cycle = cycle
        if isinstance(answers, list | tuple):
            self._answers = list(answers)
            if not self._answers:
                raise UsageError("a fake needs at least one answer")
        elif isinstance(answers, Mapping):
            self._cases = list(answers.items())
            for key, _ in self._cases:
                if not isinstance(key, str | re.Pattern):
                    raise UsageError(
                        "a fake's answers are found by a text or a compiled pattern, not by"
                        f" {type(key).__name__}"
                    )
        elif isinstance(answers, Iterator):
            self._coming = answers
        else:
            _check(answers)
            self._always = answers
        if cycle and self._answers is None:
            raise UsageError("`cycle` is for a list of answers")
        for entry in (
            *(self._answers or ()),
            *(case_answer for _, case_answer in self._cases or ()),
        ):
            _check(entry)

    @property
    def left(self) -> int | None:
        """How many answers of a list are left; None where there is no end."""
        if self._answers is None or self._cycle:
            return None
        return max(len(self._answers) - self._position, 0)

    def next(self, request: Asked) -> ScriptedAnswer:
        """Return the answer to `request`.

        Raises:
            UsageError: there is none.
        """
        content = self._pick(request)
        _check(content)
        if not isinstance(content, BaseException) and callable(content):
            content = content(request)
            _check(content)
        return content if isinstance(content, ScriptedAnswer) else ScriptedAnswer(content=content)

    def _pick(self, request: Asked) -> object:
        if self._cases is not None:
            return _matching(self._cases, request.text)
        with self._lock:
            number, self._position = self._position, self._position + 1
            if self._answers is not None:
                if self._cycle or number < len(self._answers):
                    return self._answers[number % len(self._answers)]
            elif self._coming is not None:
                for content in self._coming:
                    return content
            else:
                return self._always
        raise UsageError(
            f"the fake has no answer left: request {number + 1} asks {_short(request.text)!r};"
            " give it more answers, or `cycle=True`"
        )


def _matching(cases: Sequence[tuple[str | re.Pattern[str], object]], text: str) -> object:
    for key, content in cases:
        if isinstance(key, str) and key == text:
            return content
    for key, content in cases:
        if isinstance(key, re.Pattern) and key.search(text):
            return content
    near = did_you_mean(text, [key for key, _ in cases if isinstance(key, str)])
    suggestion = f"; did you mean {near!r}?" if near else ""
    raise UsageError(f"the fake has no answer to {_short(text)!r}{suggestion}")


def _check(content: object) -> None:
    if isinstance(content, type) and issubclass(content, BaseException):
        raise UsageError(f"a fake raises an exception, not a class: write {content.__name__}(…)")
    texts = (
        isinstance(content, list | tuple)
        and content
        and all(isinstance(text, str) for text in content)
    )
    is_answer = isinstance(
        content, str | Mapping | Answer | ScriptedAnswer | BaseException
    ) or callable(content)
    if not texts and not is_answer:
        raise UsageError(
            f"a fake cannot answer with {type(content).__name__}: give a text, a list of texts, a"
            " message or a response, an exception, a function, or lmconf.testing.answer(…)"
        )


def fresh_error(error: BaseException) -> BaseException:
    """Return `error` anew: what raising it adds to it must not be there the next time."""
    if not isinstance(error, CallError):
        return error
    fresh = copy.copy(error)
    fresh.__cause__, fresh.__context__ = error.__cause__, error.__context__
    return fresh.with_traceback(None)


def text_of(message: Mapping[str, Any]) -> str:
    """Return the text of a message, whose content may be a list of parts."""
    content = message.get("content")
    if content is None or isinstance(content, str):
        return content or ""
    return "".join(str(part.get("text", "")) for part in content if part.get("type") == "text")


def _short(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:79]}…"
