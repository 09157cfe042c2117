"""Plain data of the OpenAI API's shape, readable by key and by attribute as DSPy reads it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lmconf.runtime import Answer

__all__ = ["Response", "Shape", "outputs_of", "plain", "response_of", "to_shape"]


class Shape(dict[str, Any]):
    """A mapping whose keys are attributes, too."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None

    def model_dump(self, **_: object) -> dict[str, Any]:
        """Return the plain data, by the name that pydantic gives this."""
        data: dict[str, Any] = plain(self)
        return data


class Response(Shape):
    """A whole response; beside its data, `cache_hit` and the price, where DSPy looks for them."""

    cache_hit: bool
    _hidden_params: dict[str, Any]


def to_shape(value: Any) -> Any:
    """Return `value` with every mapping in it a `Shape`."""
    if isinstance(value, Mapping):
        return Shape({key: to_shape(item) for key, item in value.items()})
    if isinstance(value, list | tuple):
        return [to_shape(item) for item in value]
    return value


def plain(value: Any) -> Any:
    """Return `value` as plain data; models of pydantic in it are taken for their fields."""
    if isinstance(value, str | int | float | None):
        return value
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    dump = getattr(value, "model_dump", None)
    return plain(dump()) if callable(dump) and not isinstance(value, type) else value


def response_of(answer: Answer) -> Response:
    """Return the response of `answer`: with the usage that was paid for, and its price."""
    response = Response(to_shape(answer.response))
    response["usage"] = to_shape(answer.usage)
    response["model"] = answer.model
    for choice in response["choices"]:
        choice.setdefault("logprobs", None)
    response.cache_hit = answer.cache_hit
    # The name is litellm's, and DSPy reads the price there.
    response._hidden_params = {"response_cost": answer.cost}  # noqa: SLF001
    return response


def outputs_of(response: Response, *, logprobs: bool) -> list[Any]:
    """Return what calling a `dspy.LM` returns: texts, or mappings where there is more than text."""
    outputs = [_output(choice, logprobs) for choice in response["choices"]]
    if all(len(output) == 1 for output in outputs):
        return [output["text"] for output in outputs]
    return outputs


def _output(choice: Shape, logprobs: bool) -> dict[str, Any]:
    message = choice.get("message")
    if message is None:
        message = Shape(content=choice.get("text"))
    output: dict[str, Any] = {"text": message.get("content")}
    if message.get("reasoning_content"):
        output["reasoning_content"] = message["reasoning_content"]
    if logprobs:
        output["logprobs"] = choice.get("logprobs")
    if message.get("tool_calls"):
        output["tool_calls"] = message["tool_calls"]
    citations = (message.get("provider_specific_fields") or {}).get("citations")
    if isinstance(citations, list) and citations:
        groups = (group if isinstance(group, list) else [group] for group in citations)
        output["citations"] = [citation for group in groups for citation in group]
    return output
