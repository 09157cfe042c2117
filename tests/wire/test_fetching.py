"""Nobody here fetches what messages name: not lmconf, and not LiteLLM on its behalf."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from lmconf.errors import BadRequest, CallError
from lmconf.providers.catalogue import PROVIDERS
from lmconf.providers.routes import client_of, is_foreign
from lmconf.transports import Transport, make
from lmconf.transports.specs import TransportSpec
from tests.loopback import serving
from tests.wire.test_every_route import answer_of, request_to

HOST = "files.evil.example"
_AWS = {
    "key": None,
    "other": {
        "aws_region_name": "eu-west-1",
        "aws_access_key_id": "an-id",
        "aws_secret_access_key": "a-secret",
    },
}
_GOOGLE = {"other": {"vertex_project": "a", "vertex_location": "us-east1"}, "key": "a-token"}
CLOUD_MODELS: list[tuple[str, str, dict[str, Any]]] = [
    ("vertex_ai", "gemini-2.0-flash", _GOOGLE),
    ("vertex_ai", "claude-3-5", _GOOGLE),
    ("bedrock", "anthropic.claude-v2:1", _AWS),
    ("sagemaker_chat", "tiny", _AWS),
]
CLOUDS = {name for name, _, _ in CLOUD_MODELS} | {"sagemaker", "sagemaker_nova", "vertex_ai_beta"}
SHAPED = [p for p in PROVIDERS if client_of(p, "chat") in ("http", "lent") and p not in CLOUDS]
FOREIGN = [p for p in PROVIDERS if is_foreign(p, "chat") and is_foreign(p, "text")]
ASKED = [*((p, "tiny", {}) for p in (*SHAPED, "perplexity", "deepinfra", *FOREIGN)), *CLOUD_MODELS]


def parts(address: str) -> list[dict[str, Any]]:
    return [
        {"type": "file", "file": {"file_id": address}},
        {"type": "file", "file": {"file_data": address, "filename": "a.pdf"}},
        {"type": "image_url", "image_url": {"url": address}},
        {"type": "image_url", "image_url": address},
        {"type": "video_url", "video_url": {"url": address}},
    ]


@pytest.fixture(scope="module")
def transport() -> Iterator[Transport]:
    made = make(TransportSpec())
    yield made
    made.close()


@pytest.fixture
def looked_up(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the hosts of others that somebody looks up; none of them is found."""
    found: list[str] = []
    real = socket.getaddrinfo

    def getaddrinfo(host: Any, *args: Any, **kwargs: Any) -> Any:
        if HOST in str(host):
            found.append(str(host))
            raise socket.gaierror("not found")
        return real(host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return found


@pytest.mark.parametrize(
    ("provider", "model", "connection"),
    [pytest.param(*each, id="-".join(each[:2])) for each in ASKED],
)
def test_no_part_of_a_message_is_fetched(
    transport: Transport,
    looked_up: list[str],
    provider: str,
    model: str,
    connection: dict[str, Any],
) -> None:
    for address in (f"https://{HOST}/a.pdf", f"HTTP://{HOST}/a", f"https://{HOST}/a.png?b=c"):
        for part in parts(address):
            messages = [{"role": "user", "content": [{"type": "text", "text": "hi"}, part]}]
            given: dict[str, Any] = {"model": model, "connection": connection, "messages": messages}
            with serving(answer_of(provider)) as server, contextlib.suppress(CallError):
                transport.complete(request_to(server, provider, **given))
            assert looked_up == [], part


@pytest.mark.parametrize("provider", ["gemini", "mistral", "xai", "cohere", "databricks"])
@pytest.mark.parametrize("name", ["file_id", "file_data"])
def test_a_file_at_an_address_is_refused_by_name(
    transport: Transport, provider: str, name: str
) -> None:
    part = {"type": "file", "file": {name: f"https://{HOST}/a.pdf"}}
    messages = [{"role": "user", "content": [part]}]
    with serving(answer_of(provider)) as server:
        with pytest.raises(BadRequest, match="fetched on its behalf"):
            transport.complete(request_to(server, provider, messages=messages))
        assert not server.received
