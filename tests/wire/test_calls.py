"""One call to each provider, byte by byte: where it goes, what it carries, what is read back."""

from __future__ import annotations

from typing import Any

import pytest

from tests.loopback import USAGE, Received, serving
from tests.wire import apis
from tests.wire.environment import marks_in
from tests.wire.providers import STREAMED, WHOLE, WIRES, Way, Wire

pytestmark = pytest.mark.usefixtures("hostile")

SAID = {"role": "user", "content": "Say hello."}
SETTINGS = {"temperature": 0.5, "max_tokens": 9}
USAGE_TOO = {"stream_options": {"include_usage": True}}

# The whole body of one call, by the language of the request; a stream adds the second.
BODIES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "openai": (
        {"messages": [SAID], **SETTINGS},
        {"stream": True, **USAGE_TOO},
    ),
    "mistral": (
        {"messages": [SAID], **SETTINGS},
        {"stream": True},
    ),
    "databricks": (
        {"messages": [SAID], **SETTINGS},
        {"stream": True},
    ),
    "anthropic": (
        {
            "messages": [{"role": "user", "content": [{"type": "text", "text": "Say hello."}]}],
            **SETTINGS,
        },
        {"stream": True},
    ),
    "ollama": (
        {
            "messages": [{**SAID, "images": []}],
            "options": {"temperature": 0.5, "num_predict": 9},
            "stream": False,
        },
        {"stream": True},
    ),
}

ROWS = pytest.mark.parametrize("wire", [pytest.param(w, id=name) for name, w in WIRES.items()])
TEXT_ROWS = pytest.mark.parametrize(
    "wire", [pytest.param(w, id=name) for name, w in WIRES.items() if "text" in w.paths]
)


def headers_of(received: Received) -> dict[str, str]:
    """Return the headers that were received; none of them came twice."""
    named = [(name.lower(), value) for name, value in received.headers]
    assert len(dict(named)) == len(named), named
    return dict(named)


def check_envelope(received: Received, wire: Wire, path: str, key: str) -> None:
    """Assert method, path and query, and every header; nothing of the environment is in it."""
    headers = headers_of(received)
    assert (received.method, received.path) == ("POST", path)
    assert headers.pop("user-agent").startswith(wire.agent)
    assert headers.pop("host").startswith("127.0.0.1:")
    assert headers.pop("accept") in ("application/json", "*/*")
    assert headers.pop("connection", "keep-alive") == "keep-alive"
    name, form = wire.credential
    assert headers == {
        "accept-encoding": "identity",
        "content-length": str(len(received.body)),
        "content-type": "application/json",
        **wire.headers,
        name: form.format(key),
    }
    assert marks_in(received.text) <= {key.removeprefix("mark-of-")}


@ROWS
@pytest.mark.parametrize("way", [*WHOLE, *STREAMED])
def test_a_chat(way: Way, wire: Wire) -> None:
    streamed = way in STREAMED
    with serving((apis.STREAMED if streamed else apis.WHOLE)[wire.speaks]) as server:
        answer = way(wire.lm(server, **SETTINGS), {"messages": [SAID]})
        (received,) = server.received
    check_envelope(received, wire, wire.paths["chat"], "stated-key")
    whole, more = BODIES[wire.asks]
    assert received.json == {"model": wire.model, **whole, **(more if streamed else {})}
    assert answer.text == apis.TEXT
    assert answer.reasoning == apis.THOUGHT
    assert answer.finish_reason == "tool_calls"
    (call,) = answer.tool_calls
    assert call["function"] == apis.CALL["function"]
    if wire.speaks != "ollama":  # whose calls have no ids
        assert call["id"] == "call_1"
    assert {name: answer.usage[name] for name in USAGE} == USAGE
    # litellm keeps the name that Ollama gives in a whole answer to itself.
    kept = wire.speaks == "ollama" and not streamed
    assert answer.model == (wire.model if kept else "tiny-2024")


@TEXT_ROWS
@pytest.mark.parametrize("way", [*WHOLE, *STREAMED])
def test_a_completion(way: Way, wire: Wire) -> None:
    streamed = way in STREAMED
    with serving(apis.COMPLETION_STREAMED if streamed else apis.COMPLETION) as server:
        lm = wire.lm(server, model_type="text", **SETTINGS)
        answer = way(lm, {"prompt": "Once upon"})
        (received,) = server.received
    check_envelope(received, wire, wire.paths["text"], "stated-key")
    more = {"stream": True, **USAGE_TOO} if streamed else {}
    assert received.json == {"model": wire.model, "prompt": "Once upon", **SETTINGS, **more}
    assert answer.text == apis.TEXT
    assert answer.finish_reason == "stop"
    assert {name: answer.usage[name] for name in USAGE} == USAGE


@pytest.mark.parametrize("way", [*WHOLE, *STREAMED])
def test_a_completion_of_ollamas(way: Way) -> None:
    streamed = way in STREAMED
    wire = Wire("ollama", "llama3.2", {"text": "/api/generate"}, base="", agent="python-httpx/")
    with serving(apis.GENERATED[streamed]) as server:
        answer = way(wire.lm(server, model_type="text", **SETTINGS), {"prompt": "Once upon"})
        (received,) = server.received
    check_envelope(received, wire, wire.paths["text"], "stated-key")
    assert received.json == {
        "model": "llama3.2",
        "prompt": "Once upon",
        "options": {"temperature": 0.5, "num_predict": 9},
        "stream": streamed,
    }
    assert answer.text == apis.TEXT
    assert answer.finish_reason == "stop"
    assert {name: answer.usage[name] for name in USAGE} == USAGE
