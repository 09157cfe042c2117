"""Providers for which litellm takes no client: it is lent lmconf's, and only while a call lasts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from lmconf.errors import BadResponse, ConnectionFailed
from lmconf.transports import Transport, make
from lmconf.transports.specs import TransportSpec
from tests.clouds import STREAMED, WHOLE, Way, asking, text_of
from tests.loopback import Reply, cohere, serving

KEY = "the-key-of-the-profile"
EVENTS: list[Any] = [
    {"type": "message-start", "id": "x", "delta": {"message": {"role": "assistant"}}},
    {"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": "Hel"}}}},
    {"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": "lo."}}}},
    {
        "type": "message-end",
        "delta": {
            "finish_reason": "COMPLETE",
            "usage": {"tokens": {"input_tokens": 5, "output_tokens": 2}},
        },
    },
]


@pytest.fixture
def transport() -> Iterator[Transport]:
    made = make(TransportSpec())
    yield made
    made.close()


def events(*said: Any) -> list[bytes]:
    """Server-sent events with their names, in pieces that end anywhere."""
    whole = b"".join(
        b"event: %b\ndata: %b\n\n" % (each["type"].encode(), json.dumps(each).encode())
        for each in said
    )
    return [whole[at : at + 50] for at in range(0, len(whole), 50)]


def lines(*said: Any) -> list[bytes]:
    return [json.dumps(each).encode() + b"\n" for each in said]


@pytest.mark.parametrize("way", STREAMED)
@pytest.mark.parametrize("provider", ["cohere", "cohere_chat"])
@pytest.mark.parametrize(
    ("written", "kind"), [(events, "text/event-stream"), (lines, "application/stream+json")]
)
def test_coheres_stream_is_read_as_events_and_as_lines(
    written: Any, kind: str, provider: str, way: Way, transport: Transport
) -> None:
    reply = Reply(pieces=written(*EVENTS), headers={"content-type": kind})
    with serving(reply) as server:
        answer = way(transport, asking(server, provider, "command-r", key=KEY))
        assert text_of(answer) == "Hello."
        [received] = server.received
    assert received.path == "/v2/chat"
    assert received.json["stream"] is True
    assert received.header("authorization") == f"Bearer {KEY}"
    cut = Reply(pieces=written(*EVENTS[:3]), headers={"content-type": kind})
    with serving(cut) as server, pytest.raises(BadResponse, match="truncated") as raised:
        way(transport, asking(server, provider, "command-r", key=KEY))
    assert raised.value.partial.startswith("Hel")


@pytest.mark.parametrize("way", [*WHOLE, *STREAMED])
def test_the_rules_of_the_wire_hold_for_a_lent_client(way: Way, transport: Transport) -> None:
    with serving(cohere()) as elsewhere, serving() as server:
        server.answers(Reply(status=307, headers={"location": elsewhere.url}, json={}))
        with pytest.raises(ConnectionFailed, match="307"):
            way(transport, asking(server, "cohere", "command-r", key=KEY))
        assert elsewhere.received == []
        server.answers(Reply(body=b" " * 2**12))
        with pytest.raises(BadResponse, match="larger than"):
            way(transport, asking(server, "cohere", "command-r", key=KEY, max_body=2**10))


def test_litellms_own_clients_are_its_own_again_after_a_call(transport: Transport) -> None:
    with serving(cohere()) as server:
        transport.complete(asking(server, "cohere", "command-r", key=KEY))
        from litellm.llms.custom_httpx.http_handler import (
            _get_httpx_client,
        )

        own = _get_httpx_client()
        answer = own.post(f"{server.url}/own", json={})
        assert answer.status_code == 200
        assert server.received[-1].path == "/own"
        assert KEY not in server.received[-1].text
        assert _get_httpx_client() is own
