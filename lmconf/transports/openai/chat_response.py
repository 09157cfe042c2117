"""Answers of servers that speak the OpenAI API: nearly right, and here brought into one form."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lmconf.errors import BadResponse
from lmconf.transports.response_checks import check_chunk, check_response, complete_calls, plain
from lmconf.transports.transport import Json

__all__ = ["ChatStreamReader", "response_of"]


def response_of(body: Json) -> Json:
    """Return the response that `body` holds.

    Raises:
        BadResponse: it holds none.
    """
    response = complete_calls(check_response(plain(body)))
    for choice in response["choices"]:
        _tidy(choice, "message")
    return response


class ChatStreamReader:
    """One answer as it is being streamed; each choice says how it ends."""

    def __init__(self) -> None:
        self.over = False
        self._ended: dict[int, bool] = {}

    @property
    def ended(self) -> bool:
        """Whether every choice that has begun has ended."""
        return bool(self._ended) and all(self._ended.values())

    def take(self, event: Json) -> Iterator[Json]:
        """Yield the chunk that `event` is; an error in a stream is none, and is told elsewhere.

        Raises:
            BadResponse: it is none.
        """
        if event.get("error"):
            return
        event.pop("type", None)
        chunk = check_chunk(plain(event))
        for choice in chunk["choices"]:
            _tidy(choice, "delta")
            index = choice.setdefault("index", 0)
            ended = choice.get("finish_reason") is not None
            self._ended[index] = ended or self._ended.get(index, False)
        yield chunk


def _tidy(choice: Json, part: str) -> None:
    """Bring one choice into the form of OpenAI's API.

    Raises:
        BadResponse: what it says is neither text nor parts of one.
    """
    message = choice.get(part)
    if message is None:
        said = choice.setdefault("text", "") if part == "delta" else choice.get("text")
        _check_text(said)
        return
    if not isinstance(message, dict):
        raise BadResponse("a choice of the answer holds no message")
    # OpenRouter, Groq and newer servers of open models call it so.
    if isinstance(message.get("reasoning"), str):
        message.setdefault("reasoning_content", message.pop("reasoning"))
    if isinstance(message.get("content"), list):
        message.update(_join_parts(message.pop("content")))
    _check_text(message.get("content"))


def _check_text(said: object) -> None:
    if said is not None and not isinstance(said, str):
        raise BadResponse(f"the text of the answer is {type(said).__name__} and no text")


def _join_parts(parts: list[Any]) -> Json:
    """Return the text, and the thoughts, of an answer that came in parts."""
    texts: list[str] = []
    thoughts: list[str] = []
    for part in parts:
        if not isinstance(part, dict):
            raise BadResponse("a part of the answer is no object")
        if isinstance(part.get("text"), str):
            texts.append(part["text"])
        thought = part.get("thinking")
        if isinstance(thought, list):
            thoughts += [x["text"] for x in thought if isinstance(x, dict) and "text" in x]
        elif isinstance(thought, str):
            thoughts.append(thought)
    joined: Json = {"content": "".join(texts)}
    if thoughts:
        joined["reasoning_content"] = "".join(thoughts)
    return joined
