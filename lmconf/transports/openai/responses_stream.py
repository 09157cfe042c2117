"""From the events of a streamed response to chunks of a chat completion."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from lmconf.transports.openai.responses_response import (
    GAP,
    call_of,
    failure_of,
    head_of,
    response_of,
)
from lmconf.transports.transport import Json

__all__ = ["ResponsesStreamReader"]


_TEXTS = {
    "response.output_text.delta": "content",
    "response.refusal.delta": "refusal",
    "response.reasoning_summary_text.delta": "reasoning_content",
    "response.reasoning_text.delta": "reasoning_content",
}
_ARGUMENTS = {
    "response.function_call_arguments.delta": ("function", "arguments"),
    "response.custom_tool_call_input.delta": ("custom", "input"),
}
_ENDS = frozenset(f"response.{end}" for end in ("completed", "incomplete", "failed", "cancelled"))


class ResponsesStreamReader:
    """One answer as it is being streamed; `ended` says that the server said its end.

    What the chunks hold, put together, is what `response_of` reads from the whole response: the
    last chunk brings everything that the ones before it did not.
    """

    def __init__(self, limit: int | None, secrets: tuple[str, ...]) -> None:
        self.ended = self.over = False
        self._limit = limit
        self._secrets = secrets
        self._head: Json = {}
        self._said = {"content": "", "refusal": "", "reasoning_content": ""}
        self._thought: tuple[object, ...] | None = None
        self._calls: list[Json] = []
        self._keys: dict[object, int] = {}
        self._done: list[Json] = []
        self._role = {"role": "assistant"}

    def take(self, event: Json) -> Iterator[Json]:
        """Yield the chunks that `event` stands for.

        Raises:
            CallError: the event says that the answer failed.
        """
        kind = event.get("type")
        response = event.get("response")
        if isinstance(response, dict):
            self._head.update(head_of(response))
        if kind in _TEXTS:
            yield from self._text(_TEXTS[kind], event)
        elif kind in _ARGUMENTS:
            yield from self._argument(*_ARGUMENTS[kind], event)
        elif kind == "response.output_item.added":
            yield from self._begin(event)
        elif kind == "response.output_item.done" and isinstance(event.get("item"), dict):
            self._done.append(event["item"])
        elif kind in _ENDS and isinstance(response, dict):
            yield self._end({"status": kind.removeprefix("response."), **response})
        elif kind == "error" or isinstance(event.get("error"), Mapping):
            held = event.get("error")
            raise failure_of(held if isinstance(held, Mapping) else event, self._secrets)

    def _text(self, key: str, event: Json) -> Iterator[Json]:
        delta = event.get("delta")
        if not isinstance(delta, str) or not delta:
            return
        if key == "reasoning_content":
            names = ("type", "item_id", "output_index", "summary_index", "content_index")
            place = tuple(event.get(name) for name in names)
            if self._thought not in (None, place):
                delta = GAP + delta
            self._thought = place
        self._said[key] += delta
        yield self._chunk({key: delta})

    def _begin(self, event: Json) -> Iterator[Json]:
        item = event.get("item")
        call = call_of(item) if isinstance(item, dict) else None
        if call is None:
            return
        assert isinstance(item, dict)
        index = len(self._calls)
        self._calls.append(call)
        for key in (("at", event.get("output_index")), ("id", item.get("id"))):
            if key[1] is not None:
                self._keys[key] = index
        yield self._chunk({"tool_calls": [{"index": index, **_copy(call)}]})

    def _argument(self, kind: str, key: str, event: Json) -> Iterator[Json]:
        found = (("id", event.get("item_id")), ("at", event.get("output_index")))
        index = next((self._keys[at] for at in found if at in self._keys), None)
        delta = event.get("delta")
        if index is None or not isinstance(delta, str) or kind not in self._calls[index]:
            return  # the whole call comes with the end
        self._calls[index][kind][key] += delta
        yield self._chunk({"tool_calls": [{"index": index, kind: {key: delta}}]})

    def _end(self, response: Json) -> Json:
        if not response.get("output"):
            response = {**response, "output": self._done}
        whole = response_of(response, self._limit, self._secrets)
        (choice,) = whole.pop("choices")
        message = choice.pop("message")
        rest: Json = {}
        for key, said in self._said.items():
            final = message.pop(key, None) or ""
            if final.startswith(said) and final != said:
                rest[key] = final[len(said) :]
        message.pop("role")
        calls = list(self._missing(message.pop("tool_calls", [])))
        if calls:
            rest["tool_calls"] = calls
        self.ended = self.over = True
        self._head = {**whole, "object": "chat.completion.chunk"}
        chunk = self._chunk({**rest, **message})
        chunk["choices"][0].update(choice)
        return chunk

    def _missing(self, calls: list[Json]) -> Iterator[Json]:
        """Yield what of `calls` no chunk has brought yet."""
        begun = {call["id"]: index for index, call in enumerate(self._calls)}
        new = len(self._calls)
        for call in calls:
            index = begun.get(call["id"])
            if index is None:
                yield {"index": new, **call}
                new += 1
                continue
            kind, key = ("custom", "input") if "custom" in call else ("function", "arguments")
            said, final = self._calls[index].get(kind, {}).get(key, ""), call[kind][key]
            if final.startswith(said) and final != said:
                yield {"index": index, kind: {key: final[len(said) :]}}

    def _chunk(self, delta: Json) -> Json:
        role, self._role = self._role, {}
        choices = [{"index": 0, "delta": {**role, **delta}}]
        return {"object": "chat.completion.chunk", **self._head, "choices": choices}


def _copy(call: Json) -> Json:
    return {key: dict(held) if isinstance(held, dict) else held for key, held in call.items()}
