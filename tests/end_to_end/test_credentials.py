"""Law 9 with real calls: only what a profile names leaves for an address of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from lmconf.errors import ConnectionFailed
from lmconf.runtime import LM
from tests.artefacts import MARK, WAYS, ask
from tests.loopback import Reply, anthropic, chat, gemini, ollama, serving

AMBIENT = "ambient-secret-of-this-machine"
PROVIDERS = ["openai", "anthropic", "groq", "mistral", "ollama_chat", "azure", "nebius", "gemini"]
OWN_SHAPES = {
    "groq": {**chat(), "service_tier": "on_demand"},
    "anthropic": anthropic(),
    "ollama_chat": ollama(),
    "gemini": gemini(),
}


@pytest.fixture
def ambient(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with every usual variable set, and with a password for loopback in `.netrc`."""
    for name in (
        "OPENAI_API_KEY OPENAI_ORG_ID OPENAI_ORGANIZATION OPENAI_PROJECT_ID OPENAI_ADMIN_KEY"
        " ANTHROPIC_API_KEY ANTHROPIC_AUTH_TOKEN AZURE_API_KEY AZURE_OPENAI_API_KEY AZURE_AD_TOKEN"
        " AZURE_CLIENT_SECRET GROQ_API_KEY MISTRAL_API_KEY NEBIUS_API_KEY OLLAMA_API_KEY"
        " GEMINI_API_KEY GOOGLE_API_KEY HF_TOKEN AWS_SESSION_TOKEN"
    ).split():
        monkeypatch.setenv(name, AMBIENT)
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", f"X-Ambient: {AMBIENT}")
    for name in ("OPENAI", "ANTHROPIC", "AZURE", "GROQ", "MISTRAL", "NEBIUS", "OLLAMA", "GEMINI"):
        for suffix in ("API_BASE", "BASE_URL"):
            monkeypatch.setenv(f"{name}_{suffix}", "http://127.0.0.1:9/elsewhere")
    netrc = machine / ".netrc"
    netrc.write_text(
        f"machine 127.0.0.1 login me password {AMBIENT}\ndefault login me password x\n"
    )
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))


@pytest.mark.parametrize("key", ["", MARK])
@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.usefixtures("ambient")
def test_only_what_the_profile_names_is_sent_to_an_address_of_its_own(
    provider: str, key: str
) -> None:
    v1 = provider in ("openai", "groq", "mistral", "nebius")
    with serving(OWN_SHAPES.get(provider, chat())) as server:
        base = server.v1 if v1 else server.url
        lm = LM(f"{provider}/tiny", api_base=base, api_key=key, cache=False, num_retries=0)
        for way in ("sync", "async"):
            ask(lm, way)
        assert len(server.received) == 2
        for received in server.received:
            assert received.text.count(MARK) == (1 if key else 0)
            assert AMBIENT not in received.text
            assert "Basic" not in received.text


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.usefixtures("ambient")
def test_a_redirect_is_told_and_never_followed(status: int) -> None:
    with serving(chat()) as elsewhere, serving(chat()) as server:
        server.answers(Reply(status=status, headers={"location": f"{elsewhere.v1}/x"}, json={}))
        for number, way in enumerate(WAYS):
            lm = LM("openai/tiny", api_base=server.v1, api_key=MARK, cache=False)
            with pytest.raises(ConnectionFailed, match="redirects are not followed"):
                ask(lm, way)
            assert len(server.received) == number + 1
        assert elsewhere.received == []
