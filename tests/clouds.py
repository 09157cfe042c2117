"""What the clouds send over a socket, and the ways in which a transport is asked."""

from __future__ import annotations

import asyncio
import base64
import json
import struct
import zlib
from collections.abc import Callable
from typing import Any

from lmconf.runtime.connection import PLACES
from lmconf.transports import Connection, Request, Transport
from tests.loopback import Loopback, Reply

EVENT_STREAM = {"content-type": "application/vnd.amazon.eventstream"}
CONVERSED = {
    "output": {"message": {"role": "assistant", "content": [{"text": "Hello."}]}},
    "stopReason": "end_turn",
    "usage": {"inputTokens": 5, "outputTokens": 2, "totalTokens": 7},
    "metrics": {"latencyMs": 1},
}

Way = Callable[[Transport, Request], Any]


def complete(transport: Transport, request: Request) -> Any:
    return transport.complete(request)


def acomplete(transport: Transport, request: Request) -> Any:
    return asyncio.run(transport.acomplete(request))


def stream(transport: Transport, request: Request) -> Any:
    return list(transport.stream(request))


def astream(transport: Transport, request: Request) -> Any:
    async def read() -> list[Any]:
        return [chunk async for chunk in transport.astream(request)]

    return asyncio.run(read())


WHOLE = (complete, acomplete)
STREAMED = (stream, astream)


def text_of(answer: Any) -> str:
    """The text of an answer, or of the chunks of one."""
    if isinstance(answer, list):
        return "".join(
            choice.get("delta", choice).get("content") or choice.get("text") or ""
            for chunk in answer
            for choice in chunk["choices"]
        )
    choice = answer["choices"][0]
    return str(choice["message"]["content"] if "message" in choice else choice["text"])


def frame(payload: bytes, headers: dict[str, str]) -> bytes:
    """One frame of AWS's event stream."""
    packed = b""
    for name, value in headers.items():
        packed += bytes([len(name)]) + name.encode()
        packed += b"\x07" + struct.pack(">H", len(value)) + value.encode()
    prelude = struct.pack(">II", 12 + len(packed) + len(payload) + 4, len(packed))
    message = prelude + struct.pack(">I", zlib.crc32(prelude)) + packed + payload
    return message + struct.pack(">I", zlib.crc32(message))


def event(kind: str, body: Any) -> bytes:
    """A frame with an event of Bedrock's."""
    headers = {":event-type": kind, ":content-type": "application/json", ":message-type": "event"}
    return frame(json.dumps(body).encode(), headers)


def exception(kind: str, message: str) -> bytes:
    """A frame that says that the server failed."""
    headers = {":exception-type": kind, ":message-type": "exception"}
    return frame(json.dumps({"message": message}).encode(), headers)


def conversation(*texts: str) -> list[bytes]:
    """The frames of a streamed conversation; its end is said in the last but one."""
    said = [
        event("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": text}})
        for text in texts
    ]
    usage = {"inputTokens": 5, "outputTokens": 2, "totalTokens": 7}
    return [
        event("messageStart", {"role": "assistant"}),
        *said,
        event("contentBlockStop", {"contentBlockIndex": 0}),
        event("messageStop", {"stopReason": "end_turn"}),
        event("metadata", {"usage": usage, "metrics": {"latencyMs": 1}}),
    ]


def invoked(*bodies: Any) -> list[bytes]:
    """The frames of an invoked model's stream: JSON in base64 in JSON."""
    packed = (base64.b64encode(json.dumps(body).encode()).decode() for body in bodies)
    return [event("chunk", {"bytes": text}) for text in packed]


def parts(*payloads: bytes) -> list[bytes]:
    """The frames of a SageMaker endpoint's stream."""
    headers = {":event-type": "PayloadPart", ":message-type": "event"}
    return [frame(payload, headers) for payload in payloads]


def framed(pieces: list[bytes]) -> Reply:
    return Reply(pieces=pieces, headers=EVENT_STREAM)


def asking(
    server: Loopback | str, provider: str, model: str, route: str = "chat", **changes: Any
) -> Request:
    """A request to `provider` at `server`; `other` are the connection's further fields."""
    base = server if isinstance(server, str) else server.url
    given: dict[str, Any] = {
        "route": route,
        "provider": provider,
        "model": model,
        "connection": Connection(
            base=base or None,
            key=changes.pop("key", None),
            other=changes.pop("other", {}),
            places=PLACES,
        ),
        "settings": {"temperature": 0.5, "max_tokens": 9},
    }
    if route == "text":
        given["prompt"] = "Say hello."
    else:
        given["messages"] = [{"role": "user", "content": "Say hello."}]
    return Request(**{**given, **changes})
