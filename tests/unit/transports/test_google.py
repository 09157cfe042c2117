"""Vertex AI at a socket: each publisher's models by their own API, with a token of the profile's."""

from __future__ import annotations

import functools
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from lmconf.errors import (
    AuthenticationFailed,
    BadRequest,
    BadResponse,
    CallError,
    ConnectionFailed,
    NotCarriedOut,
    Timeout,
)
from lmconf.transports import Phases, Transport, make
from lmconf.transports.clouds import google
from lmconf.transports.specs import TransportSpec
from tests.clouds import STREAMED, WHOLE, Way, asking, text_of
from tests.loopback import (
    Loopback,
    Received,
    Reply,
    anthropic,
    chat,
    chat_chunks,
    gemini,
    serving,
    sse,
)

AMBIENT = "ambient-secret-of-the-machine"
PLACE = "/v1/projects/proj/locations/europe-west4"
BEGUN = {"candidates": [{"content": {"role": "model", "parts": [{"text": "Hel"}]}}]}
CLAUDE: list[Any] = [
    {"type": "message_start", "message": {"id": "x", "role": "assistant", "usage": {}}},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hel"}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "lo."}},
    {"type": "content_block_stop", "index": 0},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 2}},
    {"type": "message_stop"},
]
GEMINI = (gemini(), [BEGUN, gemini("lo.")], 1)
OPENAI = (chat(), chat_chunks("Hel", "lo."), 2)
# model: (whole answer, stream's events, how many of them come before the end), paths of both
ROUTES: dict[str, tuple[tuple[Any, list[Any], int], str, str]] = {
    "gemini-2.0-flash": (
        GEMINI,
        "/publishers/google/models/gemini-2.0-flash:generateContent",
        "/publishers/google/models/gemini-2.0-flash:streamGenerateContent?alt=sse",
    ),
    "123456789": (
        GEMINI,
        "/endpoints/123456789:generateContent",
        "/endpoints/123456789:streamGenerateContent?alt=sse",
    ),
    "claude-3-5-sonnet@20240620": (
        (anthropic(), CLAUDE, 4),
        "/publishers/anthropic/models/claude-3-5-sonnet@20240620:rawPredict",
        "/publishers/anthropic/models/claude-3-5-sonnet@20240620:streamRawPredict",
    ),
    "mistral-large@2407": (
        OPENAI,
        "/publishers/mistralai/models/mistral-large@2407:rawPredict",
        "/publishers/mistralai/models/mistral-large@2407:streamRawPredict",
    ),
    "meta/llama-3.1-70b-instruct-maas": (
        OPENAI,
        "/endpoints/openapi/chat/completions",
        "/endpoints/openapi/chat/completions",
    ),
}


@pytest.fixture
def transport() -> Iterator[Transport]:
    made = make(TransportSpec())
    yield made
    made.close()


@pytest.fixture(autouse=True)
def hostile(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine with keys and an account of its own, whose variables lead elsewhere."""
    for name in "GEMINI_API_KEY GOOGLE_API_KEY PALM_API_KEY VERTEXAI_CREDENTIALS".split():
        monkeypatch.setenv(name, AMBIENT)
    for name in ("GEMINI_API_BASE", "VERTEXAI_API_BASE", "GOOGLE_GEMINI_BASE_URL"):
        monkeypatch.setenv(name, "http://127.0.0.1:9/elsewhere")
    monkeypatch.setenv("VERTEXAI_PROJECT", "project-of-the-machine")
    monkeypatch.setenv("VERTEXAI_LOCATION", "moon-east1")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "none.json"))
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    # The machine gives ports out again: an issuer may have the address of an earlier test's.
    google._account_cache.cache_clear()


@functools.cache
def private_key() -> str:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()


def key_file(issuer: Loopback, **changes: str) -> str:
    """A service account's key file, whose tokens `issuer` gives out."""
    return json.dumps(
        {
            "type": "service_account",
            "project_id": "proj",
            "private_key_id": "k1",
            "private_key": private_key(),
            "client_email": "someone@proj.iam.gserviceaccount.com",
            "client_id": "1",
            "token_uri": f"{issuer.url}/token",
            **changes,
        }
    )


@contextmanager
def issuing(seconds: int = 3600, pause: float = 0.0) -> Iterator[Loopback]:
    """A server that gives out tokens, each another one, that last for `seconds`."""
    with serving() as issuer:

        def token(_: Received) -> Reply:
            number = len(issuer.received)
            said = {"access_token": f"token-{number}", "expires_in": seconds}
            return Reply(json={**said, "token_type": "Bearer"}, pause=pause)

        issuer.script = token
        yield issuer


def account(issuer: Loopback, **changes: str) -> dict[str, str]:
    return {"vertex_credentials": key_file(issuer), "vertex_location": "europe-west4", **changes}


@pytest.mark.parametrize("way", [*WHOLE, *STREAMED])
@pytest.mark.parametrize("model", ROUTES)
def test_each_publishers_model_is_asked_at_its_own_place_with_a_token(
    model: str, way: Way, transport: Transport
) -> None:
    (whole, events, _), path, streamed = ROUTES[model]
    reply = Reply(pieces=sse(*events, done=False)) if way in STREAMED else Reply(json=whole)
    with issuing() as issuer, serving(reply) as server:
        request = asking(server, "vertex_ai", model, other=account(issuer), extra={"top_k": 40})
        assert text_of(way(transport, request)) == "Hello."
        [received] = server.received
    assert received.path == PLACE + (streamed if way in STREAMED else path)
    assert received.header("authorization") == "Bearer token-1"
    assert received.json["top_k"] == 40
    assert AMBIENT not in received.text
    assert "lmconf-places" not in received.text
    assert received.header("x-goog-api-key") is None
    assert received.header("x-api-key") is None
    if model.startswith("claude"):
        assert received.json["anthropic_version"] == "vertex-2023-10-16"
        assert "model" not in received.json


@pytest.mark.parametrize("way", STREAMED)
@pytest.mark.parametrize("model", ROUTES)
def test_a_stream_that_is_cut_is_no_whole_answer(
    model: str, way: Way, transport: Transport
) -> None:
    (_, events, cut), _, _ = ROUTES[model]
    reply = Reply(pieces=sse(*events[:cut], done=False))
    with issuing() as issuer, serving(reply) as server, pytest.raises(BadResponse) as raised:
        way(transport, asking(server, "vertex_ai", model, other=account(issuer)))
    assert "truncated" in str(raised.value)
    assert raised.value.partial.startswith("Hel")


@pytest.mark.parametrize("way", [*WHOLE, *STREAMED])
@pytest.mark.parametrize("model", ROUTES)
def test_redirects_are_not_followed(model: str, way: Way, transport: Transport) -> None:
    with issuing() as issuer, serving(chat()) as elsewhere, serving() as server:
        server.answers(Reply(status=307, headers={"location": elsewhere.url}, json={}))
        with pytest.raises(ConnectionFailed, match="307"):
            way(transport, asking(server, "vertex_ai", model, other=account(issuer)))
        assert elsewhere.received == []


def test_a_token_is_fetched_once_while_it_lasts_and_anew_when_it_does_not(
    transport: Transport,
) -> None:
    for seconds, expected in ((3600, ["1", "1", "1"]), (1, ["1", "2", "3"])):
        with issuing(seconds) as issuer, serving(gemini()) as server:
            for _ in range(3):
                transport.complete(
                    asking(server, "vertex_ai", "gemini-2.0-flash", other=account(issuer))
                )
            said = [str(received.header("authorization"))[-1] for received in server.received]
        assert said == expected


def test_many_threads_share_one_token(transport: Transport) -> None:
    with issuing(pause=0.2) as issuer, serving(gemini()) as server:
        request = asking(server, "vertex_ai", "gemini-2.0-flash", other=account(issuer))
        threads = [threading.Thread(target=transport.complete, args=(request,)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(server.received) == 8
        assert len(issuer.received) == 1


@pytest.mark.parametrize("way", WHOLE)
def test_fetching_a_token_takes_no_longer_than_the_attempt_may(
    way: Way, transport: Transport
) -> None:
    with issuing(pause=1.5) as issuer, serving(gemini()) as server:
        before = time.monotonic()
        with pytest.raises(Timeout, match="no credential"):
            way(
                transport,
                asking(
                    server,
                    "vertex_ai",
                    "gemini-2.0-flash",
                    other=account(issuer),
                    timeout=Phases(total=0.3),
                ),
            )
        assert time.monotonic() - before < 1.2
        assert server.received == []


async def test_fetching_a_token_does_not_hold_up_the_event_loop(transport: Transport) -> None:
    import asyncio

    beats = 0

    async def beat() -> None:
        nonlocal beats
        while True:
            await asyncio.sleep(0.02)
            beats += 1

    with issuing(pause=0.4) as issuer, serving(gemini()) as server:
        await transport.acomplete(
            asking(server, "vertex_ai", "gemini-2.0-flash", key="k", other={"vertex_project": "p"})
        )  # what is imported first
        beating = asyncio.create_task(beat())
        await transport.acomplete(
            asking(server, "vertex_ai", "gemini-2.0-flash", other=account(issuer))
        )
        beating.cancel()
    assert beats >= 10


@pytest.mark.parametrize(
    ("credentials", "said"),
    [
        ("nothing", "is no JSON object"),
        ('{"type": "service_account"}', "no credential"),
        ('{"type": "external_account", "credential_source": {"executable": {}}}', "not taken"),
    ],
)
def test_credentials_that_are_none_are_told_with_a_next_step(
    credentials: str, said: str, transport: Transport
) -> None:
    with serving(gemini()) as server, pytest.raises(AuthenticationFailed, match=said) as raised:
        other = {"vertex_credentials": credentials, "vertex_project": "p"}
        transport.complete(asking(server, "vertex_ai", "gemini-2.0-flash", other=other))
    assert "$file" in str(raised.value)
    assert raised.value.__context__ is None


def test_a_refused_account_fails_without_its_secret(transport: Transport) -> None:
    refusing = serving(Reply(status=401, json={"error": "invalid_grant"}))
    with refusing as issuer, pytest.raises(AuthenticationFailed, match="invalid_grant") as raised:
        transport.complete(asking(issuer, "vertex_ai", "gemini-2.0-flash", other=account(issuer)))
    error: CallError = raised.value
    said = f"{error!r} {error} {vars(error)}"
    assert "PRIVATE KEY" not in said
    trace = error.__traceback__
    while trace is not None:
        if "test_google" not in trace.tb_frame.f_code.co_filename:
            for value in trace.tb_frame.f_locals.values():
                assert "PRIVATE KEY" not in repr(value)
        trace = trace.tb_next


def test_the_machines_own_account_never_goes_to_an_address_of_the_profile(
    transport: Transport, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with issuing() as issuer, serving(gemini()) as server:
        (tmp_path / "adc.json").write_text(key_file(issuer))
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "adc.json"))
        with pytest.raises(AuthenticationFailed, match=r"is not stated|does not state"):
            transport.complete(asking(server, "vertex_ai", "gemini-2.0-flash"))
        assert (issuer.received, server.received) == ([], [])


@pytest.mark.parametrize(
    ("location", "host"),
    [
        ("europe-west4", "europe-west4-aiplatform.googleapis.com"),
        ("global", "https://aiplatform.googleapis.com"),
        ("eu", "aiplatform.eu.rep.googleapis.com"),
    ],
)
def test_the_location_decides_the_host_and_the_machines_account_is_asked(
    location: str,
    host: str,
    transport: Transport,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    with issuing() as issuer, serving(chat()) as proxy:
        (tmp_path / "adc.json").write_text(key_file(issuer))
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "adc.json"))
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        monkeypatch.delenv("NO_PROXY", raising=False)
        with pytest.raises(ConnectionFailed) as raised:
            transport.complete(
                asking("", "vertex_ai", "gemini-2.0-flash", other={"vertex_location": location})
            )
        assert len(issuer.received) == 1
    assert host in str(raised.value)


def test_a_key_takes_the_place_of_the_token(transport: Transport) -> None:
    with serving(gemini()) as server:
        other = {"vertex_project": "p", "vertex_location": "global"}
        transport.complete(
            asking(server, "vertex_ai", "gemini-2.0-flash", key="the-key", other=other)
        )
        [received] = server.received
    assert received.header("x-goog-api-key") == "the-key"
    assert received.header("authorization") is None


def test_what_vertex_ai_cannot_be_asked_is_refused(transport: Transport) -> None:
    with serving() as server:
        other = {"vertex_project": "p"}
        with pytest.raises(NotCarriedOut, match="cannot be asked"):
            transport.complete(asking(server, "vertex_ai", "agent_engine/7", key="k", other=other))
        with pytest.raises(BadRequest, match="model_type: text"):
            transport.complete(
                asking(server, "vertex_ai", "gemini-2.0-flash", "text", key="k", other=other)
            )
        with pytest.raises(BadRequest, match="project"):
            transport.complete(asking(server, "vertex_ai", "gemini-2.0-flash", key="k"))
        assert server.received == []


def test_a_missing_sdk_is_told_with_what_to_install(
    transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "google.auth", None)
    with serving() as server, pytest.raises(NotCarriedOut, match="google-auth") as raised:
        other = {"vertex_credentials": '{"another": "account"}'}
        transport.complete(asking(server, "vertex_ai", "gemini-2.0-flash", other=other))
    assert "lmconf-runtime[google]" in str(raised.value)
