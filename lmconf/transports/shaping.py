"""What a transport of one's own may return, brought into the OpenAI API's shape."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from lmconf.errors import BadResponse
from lmconf.transports.answers import check_chunk, check_response, plain
from lmconf.transports.contract import Json, Request

__all__ = ["Pieces", "as_response", "chunks_of"]

_MESSAGE = frozenset(("content", "tool_calls"))
_SPOKEN = ("reasoning_content", "content", "refusal")
_TOLD = frozenset((*_SPOKEN, "role", "tool_calls"))


def as_response(said: object, request: Request, name: str) -> Json:
    """Return the whole response that `said` stands for, as new plain JSON.

    `said` is a text, a list of texts (one for each of `n`), a message (`{"content": …}`), or a
    whole response, as a mapping or an object of a client library (with `model_dump`). What is not
    said of a choice is filled in: its index, the role `assistant`, and its `finish_reason`.

    Raises:
        BadResponse: it is none of these. What no further attempt mends is not retryable.
    """
    if isinstance(said, str):
        said = [said]
    if isinstance(said, list | tuple) and said and all(isinstance(text, str) for text in said):
        return {**_head(request), "choices": [_spoken(request, i, x) for i, x in enumerate(said)]}
    if not isinstance(said, Mapping) and not callable(getattr(said, "model_dump", None)):
        raise _unusable(name, f"`complete` returned {_kind(said)}")
    response = plain(said)
    if "choices" not in response:
        if not _MESSAGE & response.keys():
            raise _unusable(name, "`complete` returned a mapping without `choices`")
        response = {"choices": [{"message": response}]}
    check_response(response)
    for index, choice in enumerate(response["choices"]):
        _fill_in(choice, index, name)
    return {**_head(request), **response}


def _fill_in(choice: Json, index: int, name: str) -> None:
    choice.setdefault("index", index)
    message = choice.get("message")
    said = choice.get("text") if message is None else message
    if message is not None and isinstance(message, dict):
        message.setdefault("role", "assistant")
        said = message["content"]
    if said is not None and not isinstance(said, str):
        raise _unusable(name, f"a choice's text is {_kind(said)}")
    calls = isinstance(message, dict) and message.get("tool_calls")
    choice.setdefault("finish_reason", "tool_calls" if calls else "stop")


def chunks_of(
    response: Json, split: Callable[[str], Iterable[str]] = lambda text: (text,)
) -> Iterator[Json]:
    """Yield a whole response as the chunks of a stream: role, text, tool calls, finish, usage.

    `split` cuts a choice's text into pieces.
    """
    apart = ("choices", "usage", "object")
    head = {key: value for key, value in response.items() if key not in apart}
    text = any("text" in choice for choice in response["choices"])
    head["object"] = "text_completion" if text else "chat.completion.chunk"
    for choice in response["choices"]:
        for piece in _parts(choice, split):
            yield {**head, "choices": [{"index": choice.get("index", 0), **piece}]}
    if response.get("usage") is not None:
        yield {**head, "choices": [], "usage": response["usage"]}


def _parts(choice: Json, split: Callable[[str], Iterable[str]]) -> Iterator[Json]:
    last: Json = {key: choice[key] for key in ("logprobs", "finish_reason") if key in choice}
    if "message" not in choice:
        yield from ({"text": piece} for piece in split(choice["text"] or ""))
        yield {"text": "", **last}
        return
    message = choice["message"]
    yield {"delta": {"role": message.get("role", "assistant")}}
    for key in _SPOKEN:
        if message.get(key) is not None:
            yield from ({"delta": {key: piece}} for piece in split(message[key]))
    for index, call in enumerate(message.get("tool_calls") or ()):
        yield {"delta": {"tool_calls": [{"index": index, **call}]}}
    rest = {key: value for key, value in message.items() if key not in _TOLD}
    yield {"delta": rest, **last}


class Pieces:
    """Takes what a stream of one's own yields, one after the other: texts, or whole chunks."""

    def __init__(self, request: Request, name: str) -> None:
        self._request = request
        self._name = name
        self._texts = False
        self._ended: dict[int, bool] = {}

    def check(self, told: object) -> Iterable[object]:
        """Return what `stream` returned if it can be read piece by piece.

        Raises:
            BadResponse: it cannot.
        """
        if isinstance(told, Iterable) and not isinstance(told, str | Mapping):
            return told
        raise self._unknown(f"`stream` returned {_kind(told)}")

    def take(self, piece: object) -> Json:
        """Return the chunk that `piece` stands for.

        Raises:
            BadResponse: it is neither a text nor a chunk.
        """
        if isinstance(piece, str):
            first, self._texts = not self._texts, True
            self._ended.setdefault(0, False)
            if self._request.route == "text":
                return self._chunk({"text": piece})
            role = {"role": "assistant"} if first else {}
            return self._chunk({"delta": {**role, "content": piece}})
        if not isinstance(piece, Mapping) and not callable(getattr(piece, "model_dump", None)):
            raise self._unknown(f"`stream` yielded {_kind(piece)}")
        chunk = check_chunk(plain(piece))
        for choice in chunk["choices"]:
            if "text" not in choice:
                choice.setdefault("delta", {})
            index = choice.setdefault("index", 0)
            ended = choice.get("finish_reason") is not None
            self._ended[index] = self._ended.get(index, False) or ended
        return chunk

    def end(self) -> Iterator[Json]:
        """Yield what is still to come when the stream is over: texts need no end of their own.

        Raises:
            BadResponse: the stream was cut short: a choice has no `finish_reason`, or none came.
        """
        if self._texts and not self._ended[0]:
            self._ended[0] = True
            piece: Json = {"text": ""} if self._request.route == "text" else {"delta": {}}
            yield self._chunk({**piece, "finish_reason": "stop"})
        if not self._ended or not all(self._ended.values()):
            raise BadResponse("the stream was cut short: it ended without a `finish_reason`")

    def _unknown(self, why: str) -> BadResponse:
        return BadResponse(
            f"the transport `{self._name}` cannot be understood: {why}",
            retryable=False,
            help="yield texts, or chunks of the OpenAI API's shape"
            " (`{'choices': [{'delta': {'content': …}}]}`)",
        )

    def _chunk(self, piece: Json) -> Json:
        text = "text" in piece
        return {
            "object": "text_completion" if text else "chat.completion.chunk",
            "model": self._request.model,
            "choices": [{"index": 0, **piece}],
        }


def _head(request: Request) -> Json:
    kind = "text_completion" if request.route == "text" else "chat.completion"
    return {"object": kind, "model": request.model}


def _spoken(request: Request, index: int, text: str) -> Json:
    if request.route == "text":
        return {"index": index, "text": text, "finish_reason": "stop"}
    message = {"role": "assistant", "content": text}
    return {"index": index, "message": message, "finish_reason": "stop"}


def _unusable(name: str, why: str) -> BadResponse:
    return BadResponse(
        f"the transport `{name}` cannot be understood: {why}",
        retryable=False,
        help="return a text, a list of texts, a message (`{'content': …}`) or a response of the"
        " OpenAI API's shape (`{'choices': [{'message': {'content': …}}]}`)",
    )


def _kind(value: object) -> str:
    if isinstance(value, list | tuple):
        return "a list that holds more than texts" if value else "an empty list"
    return "None" if value is None else f"{type(value).__name__}"
