"""Law 9 with real calls: only what a profile names leaves for an address of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import lmconf
from lmconf.cli import run
from lmconf.errors import ConnectionFailed, ProfileError, TrainError
from lmconf.runtime import LM
from tests.artefacts import MARK, WAYS, ask
from tests.loopback import Loopback, Reply, anthropic, chat, gemini, ollama, serving

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


# Addresses of one provider: `first` is the one beside which the credential was stated.


@pytest.fixture
def servers(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Loopback, Loopback]]:
    """Two servers, and the variables that hold their addresses and the first one's credential."""
    with serving(chat()) as first, serving(chat()) as second:
        for name, value in (("SECOND_BASE", second.v1), ("TEAM_KEY", MARK)):
            monkeypatch.setenv(name, value)
        yield first, second


KEY = {"$env": "TEAM_KEY"}
OTHER_KEY = {"$env": "OTHER_KEY"}
PAIRED = {"model": "openai/tiny", "api_base": "FIRST", "api_key": KEY}
CREDENTIALS: list[dict[str, Any]] = [
    {"api_key": KEY},
    {"api_key": OTHER_KEY, "headers": {"X-Team": {**KEY, "format": "team {}"}}},
    {"api_key": OTHER_KEY, "headers": {"Authorization": {**KEY, "format": "Bearer {}"}}},
    {"api_key": OTHER_KEY, "extra": {"session": {"token": KEY}}},
    {"api_key": OTHER_KEY, "extra": {"tokens": [KEY]}},
    {"api_key": OTHER_KEY, "metadata": {"tenant": KEY}},
]
ELSEWHERE: list[Any] = ["SECOND", {"$env": "SECOND_BASE"}]


def with_addresses(value: Any, servers: tuple[Loopback, Loopback]) -> Any:
    """`value` with the servers' addresses for their names."""
    if isinstance(value, dict):
        return {key: with_addresses(item, servers) for key, item in value.items()}
    if isinstance(value, list):
        return [with_addresses(item, servers) for item in value]
    return {"FIRST": servers[0].v1, "SECOND": servers[1].v1}.get(value, value)


def call_all(profile: lmconf.Profile) -> None:
    for name in profile:
        lm = profile[name].copy(cache=False, num_retries=0, history=False)
        assert lm("Hello?") == ["Hello."]


def documents(credential: dict[str, Any], base: Any) -> dict[str, dict[str, Any]]:
    """Profiles of one LM that was told the credential, and one that would take it elsewhere."""
    first = {"model": "openai/tiny", "api_base": "FIRST", **credential}
    second = {"model": "openai/tiny", "api_base": base}
    key = {"api_key": ""} if credential["api_key"] is not KEY else {}
    return {
        "a parent": {"lms": {"a": first, "b": {"extends": "a", "api_base": base, **key}}},
        "a grandparent": {
            "lms": {
                "a": first,
                "_b": {"extends": "a", **key},
                "c": {"extends": "_b", "api_base": base},
            }
        },
        "defaults": {"defaults": {**credential, "api_base": "FIRST"}, "lms": {"b": second | key}},
        "defaults without an address": {"defaults": credential, "lms": {"b": second | key}},
        "two parents": {
            "lms": {
                "_k": credential,
                "_a": {"api_base": base},
                "b": {"extends": ["_a", "_k"], "model": "openai/tiny"},
            }
        },
        "a fallback": {
            "lms": {
                "a": {**first, "fallbacks": ["b"]},
                "b": {"extends": "a", "api_base": base, "fallbacks": [], **key},
            }
        },
        "a member": {
            "lms": {
                "a": first,
                "b": {"extends": "a", "api_base": base, **key},
                "both": {"pool": ["a", "b"], "pick": "round_robin"},
            }
        },
    }


@pytest.mark.parametrize("base", ELSEWHERE)
@pytest.mark.parametrize("credential", CREDENTIALS)
@pytest.mark.parametrize("way", documents(CREDENTIALS[0], "SECOND"))
def test_no_profile_takes_a_credential_to_another_address(
    way: str,
    credential: dict[str, Any],
    base: Any,
    servers: tuple[Loopback, Loopback],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OTHER_KEY", "another-key")
    document = with_addresses(documents(credential, base)[way], servers)
    with pytest.raises(ProfileError, match="credential-crosses"):
        call_all(lmconf.load(document))
    assert all(MARK not in received.text for received in servers[1].received)


def test_what_is_restated_beside_an_address_is_sent_there_and_the_rest_is_not(
    servers: tuple[Loopback, Loopback], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = servers
    monkeypatch.setenv("OTHER_KEY", "another-key")
    document = {
        "defaults": {"api_base": "FIRST", "api_key": KEY, "headers": {"X-Team": KEY, "X-A": "a"}},
        "lms": {
            "a": {"model": "openai/tiny"},
            "b": {"model": "openai/small", "extra": {"token": KEY}},
            "c": {
                "model": "openai/tiny",
                "api_base": "SECOND",
                "api_key": OTHER_KEY,
                "headers": {"X-Team": {"$unset": True}},
            },
            "d": {"extends": "c", "api_key": "", "max_tokens": 7},
        },
    }
    call_all(lmconf.load(with_addresses(document, servers)))
    assert [received.text.count(MARK) for received in first.received] == [2, 3]
    assert [received.header("authorization") for received in second.received] == [
        "Bearer another-key",
        None,
    ]
    assert all(MARK not in received.text for received in second.received)
    assert [received.header("x-a") for received in second.received] == ["a", "a"]


@pytest.mark.parametrize("base", ELSEWHERE)
def test_no_override_and_no_copy_takes_a_key_to_another_address(
    base: Any, servers: tuple[Loopback, Loopback]
) -> None:
    first, second = servers
    there = with_addresses(base, servers)
    document = with_addresses({"lms": {"a": PAIRED, "b": {"extends": "a"}}}, servers)
    for name in ("lms.a.api_base", "lms.b.api_base", "lms.*.api_base"):
        with pytest.raises(ProfileError, match="credential-crosses"):
            call_all(lmconf.load(document, overrides={name: there}))
    profile = lmconf.load(document)
    given = LM("openai/tiny", api_base=first.v1, api_key=MARK)
    again = lmconf.load_state(given.dump_state())
    assert isinstance(again, LM)
    state = again.copy(api_key=MARK)
    for lm in (profile["b"], given, state, given.copy(max_tokens=3)):
        for settings in ({"api_base": there}, {"api_base": None}, {"api_base": {"$unset": True}}):
            with pytest.raises(ProfileError, match="credential-crosses") as caught:
                lm.copy(**settings)
            assert MARK not in str(caught.value)
        lm.copy(api_base=f"{first.url}/v1/", cache=False)("Hello?")
        lm.copy(api_base=there, api_key="", cache=False)("Hello?")
        lm.copy(api_base=there, api_key="another", cache=False)("Hello?")
    assert [MARK in received.text for received in first.received] == [True] * 4
    assert [MARK in received.text for received in second.received] == [False] * 8


def test_no_setting_of_the_command_line_takes_a_key_to_another_address(
    servers: tuple[Loopback, Loopback], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "p.yaml"
    file.write_text(
        f"model: openai/tiny\napi_base: {servers[0].v1}\napi_key: {{$env: TEAM_KEY}}\n",
        encoding="utf-8",
    )
    call = ["call", str(file), "--no-cache", "Hello?"]
    assert run([*call, "--set", f"api_base={servers[1].v1}"]) != 0
    assert "credential-crosses" in capsys.readouterr().err
    assert run([*call, "--set", f"api_base={servers[1].v1}", "--set", "api_key="]) == 0
    assert run(call) == 0
    assert [MARK in received.text for received in servers[1].received] == [False]
    assert [MARK in received.text for received in servers[0].received] == [True]


def test_a_state_has_each_key_beside_its_address(servers: tuple[Loopback, Loopback]) -> None:
    document = {
        "defaults": {"api_base": "FIRST", "api_key": KEY},
        "lms": {
            "a": {"model": "openai/tiny", "fallbacks": ["b"]},
            "b": {"model": "openai/tiny", "api_base": "SECOND", "api_key": ""},
            "both": {"pool": ["a", "b"], "pick": "round_robin"},
        },
    }
    profile = lmconf.load(with_addresses(document, servers))
    for form in ("resolved", "minimal"):
        state = profile.dump_state(form)
        again = lmconf.load(state)
        assert again.dump_state(form) == state
        for name in profile:
            lm = profile[name].dump_state(form)
            assert lmconf.load_state(lm).dump_state(form) == lm


def test_the_key_of_a_server_that_is_launched_goes_to_no_training_api(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TEAM_KEY", MARK)
    lm = LM(
        "openai/tiny",
        launch_kwargs={"use": "command", "command": ["serve"], "port": 7501},
        api_key=lmconf.Env("TEAM_KEY"),
        finetuning_model="openai/gpt-4o-mini",
        train_kwargs={"use": "openai"},
    )
    message = {"messages": [{"role": r, "content": "x"} for r in ("user", "assistant")]}
    with pytest.raises(TrainError, match="has a server of its own"):
        lm.finetune([message] * 10).result()
