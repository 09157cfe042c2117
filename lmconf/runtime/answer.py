"""`Answer`: what came back from one call, as a frozen value."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

__all__ = ["Answer", "outputs_of", "texts_of"]


class Answer(Struct, frozen=True, kw_only=True):
    """What an LM answered.

    `text` is the first answer's text and `texts` those of all `n`. `usage` counts the tokens that
    were paid for and `cost` is in US dollars: a cache hit has `{}` and None. `model` is the name
    that the server gave, `lm` the name of the LM that answered. `attempts` is how often the
    request was sent: 0 for a cache hit. `response` is the whole response of the OpenAI API's
    shape, as plain data. `parsed` is None until response formats are parsed.
    """

    text: str
    texts: tuple[str, ...]
    parsed: object | None = None
    tool_calls: tuple[Mapping[str, Any], ...] = ()
    reasoning: str | None = None
    usage: Mapping[str, Any]
    cost: float | None
    finish_reason: str | None
    cache_hit: bool
    lm: str
    model: str
    request_id: str | None = None
    attempts: int
    response: Mapping[str, Any]
    logprobs: object | None = None

    @classmethod
    def of(
        cls,
        response: Mapping[str, Any],
        *,
        lm: str,
        model: str,
        cost: float | None,
        cache_hit: bool,
        attempts: int,
        request_id: str | None,
    ) -> Answer:
        """Return the answer that a response of the OpenAI API's shape holds."""
        choices = response["choices"]
        first = choices[0]
        message = first.get("message") or {}
        texts = texts_of(response)
        return cls(
            text=texts[0],
            texts=texts,
            tool_calls=tuple(message.get("tool_calls") or ()),
            reasoning=message.get("reasoning_content"),
            usage={} if cache_hit else response.get("usage") or {},
            cost=cost,
            finish_reason=first.get("finish_reason"),
            cache_hit=cache_hit,
            lm=lm,
            model=response.get("model") or model,
            request_id=request_id,
            attempts=attempts,
            response=response,
            logprobs=first.get("logprobs"),
        )

    def __repr__(self) -> str:
        """Show what a person asks for first: the response alone would fill a screen."""
        return f"Answer({self.text!r}, lm={self.lm!r}, cache_hit={self.cache_hit})"


def texts_of(response: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the text of every choice; a choice that only calls tools has the text `""`."""
    return tuple(_text(choice) or "" for choice in response["choices"])


def outputs_of(response: Mapping[str, Any]) -> list[Any]:
    """Return what calling an LM returns: texts, or mappings where there is more than text.

    A choice with log probabilities or tool calls is a mapping with `text` and `logprobs` or
    `tool_calls`; if one choice is a mapping, all are.
    """
    found: list[dict[str, Any]] = []
    for choice in response["choices"]:
        output: dict[str, Any] = {"text": _text(choice)}
        if choice.get("logprobs") is not None:
            output["logprobs"] = choice["logprobs"]
        calls = (choice.get("message") or {}).get("tool_calls")
        if calls:
            output["tool_calls"] = calls
        found.append(output)
    if any(len(output) > 1 for output in found):
        return found
    return [output["text"] for output in found]


def _text(choice: Mapping[str, Any]) -> Any:
    message = choice.get("message")
    return choice.get("text") if message is None else message.get("content")
