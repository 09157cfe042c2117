"""An HTTP server on loopback that answers by a script and keeps the bytes that it was sent."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

USAGE = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}


@dataclass
class Received:
    """One request as it came over the socket."""

    method: str
    path: str
    headers: list[tuple[str, str]]
    body: bytes
    at: float = field(default_factory=time.monotonic)

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    def header(self, name: str) -> str | None:
        found = [value for key, value in self.headers if key.lower() == name.lower()]
        assert len(found) <= 1, found
        return found[0] if found else None

    @property
    def text(self) -> str:
        """Everything that was received, for "this word is nowhere in it"."""
        lines = [f"{key}: {value}" for key, value in self.headers]
        return "\n".join([self.path, *lines, self.body.decode("utf-8", "replace")])


@dataclass
class Reply:
    """One answer: JSON, bytes, or pieces written one after the other.

    `cut` closes the connection before the promised length is reached; `pause` sleeps before the
    answer and `gap` between pieces; `drop` closes without any answer.
    """

    status: int = 200
    json: Any = None
    body: bytes | None = None
    pieces: Iterable[bytes] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    pause: float = 0.0
    gap: float = 0.0
    cut: int = 0
    drop: bool = False


def chat(text: str | None = "Hello.", **message: Any) -> dict[str, Any]:
    """A response of the chat completions API."""
    finish = message.pop("finish_reason", "stop")
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "tiny",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": text, **message},
                "finish_reason": finish,
            }
        ],
        "usage": USAGE,
    }


def completion(text: str = "Hello.") -> dict[str, Any]:
    """A response of the completions API."""
    return {
        "id": "cmpl-1",
        "object": "text_completion",
        "created": 1,
        "model": "tiny",
        "choices": [{"index": 0, "text": text, "logprobs": None, "finish_reason": "stop"}],
        "usage": USAGE,
    }


def anthropic(text: str = "Hello.") -> dict[str, Any]:
    """A response of Anthropic's messages API."""
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "tiny",
        "content": [{"type": "text", "text": text}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 5, "output_tokens": 2},
    }


def ollama(text: str = "Hello.") -> dict[str, Any]:
    """A response of Ollama's chat API, and of its generate API."""
    return {
        "model": "tiny",
        "created_at": "2024-01-01T00:00:00Z",
        "message": {"role": "assistant", "content": text},
        "response": text,
        "done_reason": "stop",
        "done": True,
        "prompt_eval_count": 5,
        "eval_count": 2,
    }


def gemini(text: str = "Hello.") -> dict[str, Any]:
    """A response of Google's generateContent API."""
    return {
        "candidates": [
            {"content": {"role": "model", "parts": [{"text": text}]}, "finishReason": "STOP"}
        ],
        "usageMetadata": {"promptTokenCount": 5, "candidatesTokenCount": 2, "totalTokenCount": 7},
    }


def cohere(text: str = "Hello.") -> dict[str, Any]:
    """A response of version 2 of Cohere's chat API."""
    return {
        "id": "c1",
        "message": {"role": "assistant", "content": [{"type": "text", "text": text}]},
        "finish_reason": "COMPLETE",
        "usage": {"tokens": {"input_tokens": 5, "output_tokens": 2}},
    }


def sse(*events: Any, done: bool = True) -> list[bytes]:
    """Server-sent events, one piece each."""
    pieces = [b"data: " + json.dumps(event).encode() + b"\n\n" for event in events]
    return [*pieces, b"data: [DONE]\n\n"] if done else pieces


def chat_chunks(
    *texts: str, finish: str | None = "stop", usage: bool = True
) -> list[dict[str, Any]]:
    """The chunks of a streamed chat completion."""

    def chunk(delta: dict[str, Any], reason: str | None = None) -> dict[str, Any]:
        return {
            "id": "chatcmpl-1",
            "object": "chat.completion.chunk",
            "created": 1,
            "model": "tiny",
            "choices": [{"index": 0, "delta": delta, "finish_reason": reason}],
        }

    chunks = [chunk({"role": "assistant", "content": texts[0] if texts else ""})]
    chunks += [chunk({"content": text}) for text in texts[1:]]
    if finish is not None:
        chunks.append(chunk({}, finish))
    if usage:
        chunks.append({**chunk({}), "choices": [], "usage": USAGE})
    return chunks


def output_text(text: str = "Hello.", **more: Any) -> dict[str, Any]:
    """A message among the output items of the Responses API."""
    part = {"type": "output_text", "text": text, "annotations": [], "logprobs": [], **more}
    return {
        "type": "message",
        "id": "msg_1",
        "role": "assistant",
        "status": "completed",
        "content": [part],
    }


def responses(*output: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A response of the Responses API."""
    details = {"cached_tokens": 3, "cache_write_tokens": 0}, {"reasoning_tokens": 1}
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 1,
        "model": "tiny",
        "status": "completed",
        "error": None,
        "incomplete_details": None,
        "output": list(output or [output_text()]),
        "usage": {
            "input_tokens": 5,
            "input_tokens_details": details[0],
            "output_tokens": 2,
            "output_tokens_details": details[1],
            "total_tokens": 7,
        },
        **more,
    }


def response_events(response: Mapping[str, Any], size: int = 3) -> list[dict[str, Any]]:
    """The events of a streamed response, with its texts in pieces of `size` letters."""
    begun = {**response, "status": "in_progress", "output": [], "usage": None}
    events = [{"type": "response.created", "response": begun}]
    for index, item in enumerate(response["output"]):
        place = {"output_index": index, "item_id": item.get("id")}
        bare = {**item, "status": "in_progress"}
        bare |= {key: [] for key in ("content", "summary") if key in item}
        bare |= {key: "" for key in ("arguments", "input") if key in item}
        events.append({"type": "response.output_item.added", **place, "item": bare})
        for kind, where, text in _texts_of(item):
            for at in range(0, len(text), size):
                delta = text[at : at + size]
                events.append({"type": f"response.{kind}.delta", **place, **where, "delta": delta})
            events.append({"type": f"response.{kind}.done", **place, **where})
        events.append({"type": "response.output_item.done", **place, "item": item})
    events.append({"type": f"response.{response['status']}", "response": dict(response)})
    return [{**event, "sequence_number": number} for number, event in enumerate(events)]


def _texts_of(item: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any], str]]:
    for index, part in enumerate(item.get("summary") or ()):
        yield "reasoning_summary_text", {"summary_index": index}, part["text"]
    for index, part in enumerate(item.get("content") or ()):
        kind = part["type"]
        where: dict[str, Any] = {"content_index": index} | (
            {"logprobs": []} if kind == "output_text" else {}
        )
        yield kind, where, part["refusal" if kind == "refusal" else "text"]
    if "arguments" in item:
        yield "function_call_arguments", {}, item["arguments"]
    if item["type"] == "custom_tool_call":
        yield "custom_tool_call_input", {}, item["input"]


def named_sse(events: Iterable[Mapping[str, Any]]) -> list[bytes]:
    """Server-sent events with their names, as the Responses API sends them: without `[DONE]`."""
    return [f"event: {e['type']}\ndata: {json.dumps(e)}\n\n".encode() for e in events]


Script = Callable[[Received], Reply]


class Loopback:
    """A running server: `script` answers, `received` keeps what came."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.received: list[Received] = []
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.loopback = self
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        )
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def v1(self) -> str:
        return f"{self.url}/v1"

    def answers(self, *replies: Reply | dict[str, Any]) -> None:
        """Answer with each of `replies` in turn, and with the last one ever after."""
        left = [reply if isinstance(reply, Reply) else Reply(json=reply) for reply in replies]
        lock = threading.Lock()

        def script(_: Received) -> Reply:
            with lock:
                return left.pop(0) if len(left) > 1 else left[0]

        self.script = script

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128  # a batch connects many times at once
    loopback: Loopback

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away early is part of many a test."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        received = Received(self.command, self.path, list(self.headers.items()), body)
        self.server.loopback.received.append(received)
        reply = self.server.loopback.script(received)
        time.sleep(reply.pause)
        if reply.drop:
            self.close_connection = True
            return
        self._answer(reply)

    do_GET = do_POST  # noqa: N815 - named by http.server

    def _answer(self, reply: Reply) -> None:
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        if reply.pieces is not None:
            # Without a length, the end of the connection is the end of the body.
            self.send_header("content-type", "text/event-stream")
            self.send_header("connection", "close")
            self.end_headers()
            try:
                for piece in reply.pieces:
                    self.wfile.write(piece)
                    self.wfile.flush()
                    time.sleep(reply.gap)
            finally:
                self.close_connection = True
                getattr(reply.pieces, "close", lambda: None)()
            return
        body = reply.body if reply.body is not None else json.dumps(reply.json).encode()
        if "content-type" not in {name.lower() for name in reply.headers}:
            self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) - reply.cut])
        self.close_connection = bool(reply.cut)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def serving(*replies: Reply | dict[str, Any]) -> Iterator[Loopback]:
    """A server that answers with each of `replies` in turn, then with the last for ever."""
    server = Loopback(lambda _: Reply(json=chat()))
    if replies:
        server.answers(*replies)
    try:
        yield server
    finally:
        server.close()
