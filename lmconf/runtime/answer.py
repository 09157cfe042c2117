"""`Answer`: what came back from one call, as a frozen value."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from lmconf.secrets.references import Masked

__all__ = ["Answer", "TruncatedWarning", "is_truncated", "outputs_of", "texts_of"]


class TruncatedWarning(UserWarning):
    """An answer was cut short by `max_tokens`; it is returned all the same."""


class Answer(Masked, Struct, frozen=True, kw_only=True):
    """What an LM answered.

    `text` is the first answer's text and `texts` those of all `n`. `usage` counts the tokens that
    were paid for and `cost` is in US dollars: a cache hit has `{}` and None. `model` is the name
    that the server gave, `lm` the name of the LM that answered. `attempts` is how often the
    request was sent: 0 for a cache hit. `response` is the whole response of the OpenAI API's
    shape, as plain data.

    `parsed` is what the text says in the form that `response_format` asked for: an object of the
    class, or JSON data. It is None where no form was asked for, where only tools are called, and
    where the model refused and said so in `refusal`. `citations` are the sources that the
    provider names, as it writes them.
    """

    text: str
    texts: tuple[str, ...]
    parsed: Any = None
    tool_calls: tuple[Mapping[str, Any], ...] = ()
    reasoning: str | None = None
    refusal: str | None = None
    citations: tuple[Any, ...] = ()
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
        parsed: object = None,
    ) -> Answer:
        """Return the answer that a response of the OpenAI API's shape holds.

        Args:
            response: the response as plain JSON.
            lm: the name of the LM that answered.
            model: the model of that LM.
            cost: the cost in dollars; None if the price is not known.
            cache_hit: whether the response comes from the cache.
            attempts: how many requests were sent.
            request_id: the server's id of the request.
            parsed: the object or data that `response_format` asked for.
        """
        choices = response["choices"]
        first = choices[0]
        message = first.get("message") or {}
        texts = texts_of(response)
        return cls(
            text=texts[0],
            texts=texts,
            parsed=parsed,
            tool_calls=tuple(message.get("tool_calls") or ()),
            reasoning=message.get("reasoning_content"),
            refusal=message.get("refusal") or _own(message, "refusal"),
            citations=_citations(response, message),
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

    @property
    def truncated(self) -> bool:
        """Whether one of the answers was cut short by `max_tokens`."""
        return is_truncated(self.response)

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
    outputs: list[dict[str, Any]] = []
    for choice in response["choices"]:
        output: dict[str, Any] = {"text": _text(choice)}
        if choice.get("logprobs") is not None:
            output["logprobs"] = choice["logprobs"]
        calls = (choice.get("message") or {}).get("tool_calls")
        if calls:
            output["tool_calls"] = calls
        outputs.append(output)
    if any(len(output) > 1 for output in outputs):
        return outputs
    return [output["text"] for output in outputs]


def is_truncated(response: Mapping[str, Any]) -> bool:
    """Say whether a choice of `response` was cut short by `max_tokens`."""
    return any(choice.get("finish_reason") == "length" for choice in response["choices"])


def _own(message: Mapping[str, Any], name: str) -> Any:
    """Return what LiteLLM keeps of a provider's answer where it has no place of its own for it."""
    return (message.get("provider_specific_fields") or {}).get(name)


def _citations(response: Mapping[str, Any], message: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return the sources of an answer.

    OpenAI has them as annotations of the message, Anthropic as a list for each block of text
    (LiteLLM's `provider_specific_fields`), and Perplexity beside the choices.
    """
    sources = message.get("annotations") or _own(message, "citations") or response.get("citations")
    if not isinstance(sources, list | tuple):
        return ()
    flat: list[Any] = []
    for item in sources:
        flat.extend(item if isinstance(item, list | tuple) else [item])
    return tuple(flat)


def _text(choice: Mapping[str, Any]) -> Any:
    message = choice.get("message")
    return choice.get("text") if message is None else message.get("content")
