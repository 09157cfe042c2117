"""Messages of every kind: turns with calls of tools, images, sound, and who speaks."""

from __future__ import annotations

from typing import Any

import pytest

from lmconf.errors import BadRequest
from tests.loopback import serving
from tests.wire import apis
from tests.wire.providers import WHOLE, WIRES, Way, Wire, ask
from tests.wire.settings import TOOL

pytestmark = pytest.mark.usefixtures("hostile")

ROWS = pytest.mark.parametrize("wire", [pytest.param(w, id=name) for name, w in WIRES.items()])
EXACT = {name for name, wire in WIRES.items() if wire.asks == "openai"}

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
CALL = {
    "id": "call_1",
    "type": "function",
    "function": {"name": "weather", "arguments": '{"city": "Oslo"}'},
}
TURNS: list[dict[str, Any]] = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "How is Oslo?"},
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "call_1", "content": "4 degrees"},
    {"role": "assistant", "content": "Cold."},
    {"role": "user", "content": "Thanks."},
]
WITHOUT_NULL = [
    {key: value for key, value in turn.items() if value is not None or key != "content"}
    for turn in TURNS
]
SPELT_TURNS: dict[str, dict[str, Any]] = {
    "databricks": {"messages": WITHOUT_NULL},
    "mistral": {"messages": WITHOUT_NULL},
    "anthropic": {
        "system": [{"type": "text", "text": "Be brief."}],
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "How is Oslo?"}]},
            {
                "role": "assistant",
                "content": [
                    {"type": "tool_use", "id": "call_1", "name": "weather", "input": apis.ARGUMENTS}
                ],
            },
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "call_1", "content": "4 degrees"}
                ],
            },
            {"role": "assistant", "content": [{"type": "text", "text": "Cold."}]},
            {"role": "user", "content": [{"type": "text", "text": "Thanks."}]},
        ],
    },
    "ollama": {
        "messages": [
            {"role": "system", "content": "Be brief.", "images": []},
            {"role": "user", "content": "How is Oslo?", "images": []},
            {
                "role": "assistant",
                "content": "",
                "images": [],
                "tool_calls": [{"function": {"name": "weather", "arguments": apis.ARGUMENTS}}],
            },
            {"role": "tool", "content": "4 degrees", "images": [], "tool_call_id": "call_1"},
            {"role": "assistant", "content": "Cold.", "images": []},
            {"role": "user", "content": "Thanks.", "images": []},
        ]
    },
}


def sent(wire: Wire, messages: list[dict[str, Any]], way: Way = ask, **settings: Any) -> Any:
    """Return the body that `messages` make, after the one request that there is."""
    with serving(apis.said(wire.speaks)) as server:
        way(wire.lm(server, **settings), {"messages": messages})
        (received,) = server.received
    return received.json


def image(address: str) -> list[dict[str, Any]]:
    url = {"url": address, "detail": "low"}
    parts = [{"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": url}]
    return [{"role": "user", "content": parts}]


@ROWS
@pytest.mark.parametrize("way", WHOLE)
def test_turns_with_calls_of_tools(way: Way, wire: Wire) -> None:
    body = sent(wire, TURNS, way, tools=[TOOL])
    expected = SPELT_TURNS.get(wire.asks, {"messages": TURNS})
    assert {key: body[key] for key in expected} == expected


def test_anthropic_is_not_told_of_tools_that_nobody_stated() -> None:
    with serving() as server:
        with pytest.raises(BadRequest, match="`tools` is missing"):
            ask(WIRES["anthropic"].lm(server), {"messages": TURNS})
        assert server.received == []


@ROWS
@pytest.mark.parametrize("way", WHOLE)
def test_an_image(way: Way, wire: Wire) -> None:
    messages = image(f"data:image/png;base64,{PNG}")
    source = {"type": "base64", "media_type": "image/png", "data": PNG}
    text = {"type": "text", "text": "What is this?"}
    expected = {
        "anthropic": [{"role": "user", "content": [text, {"type": "image", "source": source}]}],
        "ollama": [{"role": "user", "content": "What is this?", "images": [PNG]}],
    }
    assert sent(wire, messages, way)["messages"] == expected.get(wire.asks, messages)


@ROWS
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_an_image_at_an_address_is_never_fetched_from_here(scheme: str, wire: Wire) -> None:
    with serving() as elsewhere:
        address = f"{scheme}://127.0.0.1:{elsewhere.port}/image.png"
        if wire.asks == "ollama" or (wire.asks == "anthropic" and scheme == "http"):
            with pytest.raises(BadRequest, match="none are fetched"):
                sent(wire, image(address))
        else:
            assert address in str(sent(wire, image(address))["messages"])
        assert elsewhere.received == []


@ROWS
@pytest.mark.parametrize("way", WHOLE)
def test_sound_is_sent_as_it_is_or_refused(way: Way, wire: Wire) -> None:
    sound = {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}}
    messages = [{"role": "user", "content": [{"type": "text", "text": "Who speaks?"}, sound]}]
    if wire.asks in ("anthropic", "mistral", "ollama"):
        with pytest.raises(BadRequest, match="no parts of the type 'input_audio'"):
            sent(wire, messages, way)
    else:
        assert sent(wire, messages, way)["messages"] == messages


@ROWS
def test_who_speaks_is_said_or_refused(wire: Wire) -> None:
    messages = [{"role": "user", "name": "ada", "content": "Hello."}]
    if wire.asks in ("anthropic", "mistral", "ollama"):
        with pytest.raises(BadRequest, match="does not support `name`"):
            sent(wire, messages)
    else:
        assert sent(wire, messages)["messages"] == messages


@pytest.mark.parametrize("name", sorted(EXACT))
def test_a_server_that_speaks_the_openai_api_is_sent_messages_as_they_stand(name: str) -> None:
    messages: list[dict[str, Any]] = [
        {"role": "developer", "content": "Be brief."},
        {
            "role": "user",
            "content": [{"type": "text", "text": "Hi.", "cache_control": {"type": "ephemeral"}}],
        },
        {"role": "assistant", "content": None, "tool_calls": [CALL], "reasoning_content": "Hm."},
        {"role": "tool", "tool_call_id": "call_1", "content": [{"type": "text", "text": "4"}]},
    ]
    assert sent(WIRES[name], messages)["messages"] == messages


@pytest.mark.parametrize("name", sorted(set(WIRES) - EXACT))
def test_elsewhere_what_developers_say_is_said_by_the_system(name: str) -> None:
    said = [{"role": "developer", "content": "Be brief."}, {"role": "user", "content": "Hi."}]
    system = [{"role": "system", "content": "Be brief."}, said[1]]
    assert sent(WIRES[name], said) == sent(WIRES[name], system)


def test_ollamas_generate_api_is_told_of_no_tools() -> None:
    wire = Wire("ollama", "llama3.2", {}, base="", speaks="ollama", asks="ollama")
    with serving() as server:
        with pytest.raises(BadRequest, match="write `ollama_chat/`"):
            ask(wire.lm(server, tools=[TOOL]), {"messages": TURNS[:2]})
        assert server.received == []
