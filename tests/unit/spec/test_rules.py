"""Families, providers, and the rules between the fields of one LM: one test each."""

from __future__ import annotations

from typing import Any

import pytest

from lmconf.errors import ProfileError
from lmconf.providers.catalogue import PROVIDERS, is_address, is_loopback, origin, provider_of
from lmconf.providers.families import family_of, wire_max_tokens
from lmconf.secrets.references import Env
from lmconf.secrets.secret_names import is_secret_name
from lmconf.spec.build import make_from_stated
from lmconf.spec.rules.consistency import check_lm, complete_lm

GPT = "openai/gpt-4o-mini"


@pytest.mark.parametrize(
    ("model", "base", "family"),
    [
        ("openai/gpt-4o", None, "ordinary"),
        ("openai/o3-mini", None, "openai-reasoning"),
        ("openai/o1-2024-12-17", None, "openai-reasoning"),
        ("azure/prod", "openai/o3-mini", "openai-reasoning"),
        ("openai/o3-mini", "openai/gpt-4o", "ordinary"),
        ("openai/gpt-5", None, "openai-reasoning"),
        ("openai/gpt-5-mini", None, "openai-reasoning"),
        ("openai/gpt-5.1-codex", None, "openai-reasoning"),
        ("openai/gpt-5-chat-latest", None, "gpt-5-chat"),
        ("openrouter/openai/O3", None, "openai-reasoning"),
        ("openai/o3-house-tune", None, "ordinary"),
        ("together_ai/solo1", None, "ordinary"),
    ],
)
def test_a_family_follows_from_the_model(model: str, base: str | None, family: str) -> None:
    found = family_of(model, base)
    assert found.name == family
    wire = "max_completion_tokens" if family == "openai-reasoning" else "max_tokens"
    assert wire_max_tokens(model, base) == wire


def test_unset_fields_take_the_familys_defaults() -> None:
    ordinary, reasoning = (make_from_stated({"model": m}).spec for m in (GPT, "openai/o3"))
    assert (ordinary.temperature, ordinary.max_tokens) == (0.0, 1000)
    assert (reasoning.temperature, reasoning.max_tokens) == (1.0, 16_000)
    stated = make_from_stated({"model": "openai/o3", "temperature": None, "max_tokens": None}).spec
    assert (stated.temperature, stated.max_tokens) == (None, None)


def test_a_soft_value_gives_way_where_a_rule_forbids_it() -> None:
    data = {"model": "openai/o3", "temperature": 0.0, "max_tokens": 9000}
    full = complete_lm(data, frozenset(data))
    assert (full["temperature"], full["max_tokens"]) == (1.0, 9000)
    assert complete_lm(data)["temperature"] == 0.0


def test_a_fallback_in_place_is_completed_and_judged_too() -> None:
    lm = make_from_stated({"model": GPT, "fallbacks": [{"model": "openai/o3"}]})
    fallback = lm.spec.fallbacks[0]
    assert not isinstance(fallback, str)
    assert (fallback.temperature, fallback.api_key) == (1.0, Env(name="OPENAI_API_KEY"))
    with pytest.raises(ProfileError) as caught:
        make_from_stated({"model": GPT, "fallbacks": [{"model": "openai/o3", "temperature": 0}]})
    (only,) = caught.value.diagnostics
    assert (only.code, only.path) == ("family-rule", ("fallbacks", 0, "temperature"))


@pytest.mark.parametrize("provider", PROVIDERS.values(), ids=lambda provider: provider.name)
def test_a_providers_row_is_consistent(provider: Any) -> None:
    assert provider.base is None or is_address(provider.base)
    if provider.base is not None and provider.base.startswith("http:"):
        assert is_loopback(provider.base)
    if provider.key_env is not None:
        assert is_secret_name(provider.key_env)
        assert provider.credentials == "key"
    assert not (provider.base and provider.base_env)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("HTTPS://Api.OpenAI.com/v1", "https://api.openai.com"),
        ("http://user:pw@host:80/x", "http://host:80"),
        ("http://[::1]:8080/v1", "http://[::1]:8080"),
        ("http://[", ""),
        ("https://host:port", ""),
        ("https://", ""),
    ],
)
def test_an_origin_has_neither_credentials_nor_path(address: str, expected: str) -> None:
    assert origin(address) == expected


@pytest.mark.parametrize(
    ("address", "here"),
    [
        ("http://localhost:1", True),
        ("http://127.9.9.9", True),
        ("http://[::1]/", True),
        ("http://a.localhost", True),
        ("http://localhost.example", False),
        ("http://10.0.0.1", False),
        ("http://[", False),
    ],
)
def test_loopback_is_this_machine_alone(address: str, here: bool) -> None:
    assert is_loopback(address) is here


def test_a_model_is_split_at_its_first_slash() -> None:
    assert provider_of("openai/meta/llama") == ("openai", "meta/llama")
    assert provider_of("gpt-4o") == ("", "gpt-4o")


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"model": GPT}, Env(name="OPENAI_API_KEY")),
        ({"model": GPT, "api_base": "https://api.openai.com/v2"}, Env(name="OPENAI_API_KEY")),
        ({"model": "anthropic/claude-x"}, Env(name="ANTHROPIC_API_KEY")),
        ({"model": "ollama_chat/x"}, ""),
        ({"model": "hosted_vllm/x", "api_base": "https://x.example"}, ""),
        ({"model": "bedrock/x"}, None),
        ({"model": "azure/x"}, Env(name="AZURE_API_KEY")),
        ({"model": "azure/x", "azure_ad_token": {"$env": "T"}}, None),
        ({"model": "openai/x", "provider": "sglang"}, ""),
        ({"model": "x", "transport": "acme"}, None),
    ],
)
def test_the_usual_key_goes_to_the_providers_own_address(
    settings: dict[str, Any], key: object
) -> None:
    assert make_from_stated(settings).spec.api_key == key


def test_a_provider_of_many_addresses_takes_its_usual_variable() -> None:
    assert make_from_stated({"model": "azure/x"}).spec.api_base == Env(name="AZURE_API_BASE")


WRONG: list[tuple[dict[str, Any], str, str]] = [
    ({"model": "gpt-4o"}, "model", "no-provider"),
    ({"model": "opnai/gpt-4o"}, "model", "unknown-provider"),
    ({"model": "openai/"}, "model", "no-model"),
    ({"model": "replicate/x"}, "model", "no-credential"),
    ({"model": GPT, "api_base": "https://x.example"}, "api_base", "no-credential"),
    ({"model": GPT, "api_base": "http://x.example", "api_key": ""}, "api_base", "plain-http"),
    ({"model": GPT, "api_base": "https://u:p@x", "api_key": ""}, "api_base", "literal-secret"),
    ({"model": GPT, "api_base": "http://[", "api_key": ""}, "api_base", "bad-address"),
    ({"model": GPT, "api_base": "https://x:y", "api_key": ""}, "api_base", "bad-address"),
    ({"model": GPT, "headers": {"X": "a\r\nY: b"}}, "headers.X", "control-character"),
    ({"model": GPT, "headers": {"X Y": "a"}}, "headers.X Y", "bad-name"),
    ({"model": GPT, "organization": "a\nb"}, "organization", "control-character"),
    ({"model": "openai/o3", "temperature": 0.5}, "temperature", "family-rule"),
    ({"model": "anthropic/claude-opus-4-8", "top_p": 0.5}, "top_p", "family-rule"),
    ({"model": GPT, "provider": "sglan"}, "provider", "unknown-value"),
    ({"model": GPT, "launch_kwargs": {"port": 1}}, "launch_kwargs", "missing-key"),
    ({"model": GPT, "launch_kwargs": {"use": "command"}}, "launch_kwargs", "missing-key"),
    (
        {"model": GPT, "launch_kwargs": {"use": "sglang", "command": ["x"]}},
        "launch_kwargs.command",
        "contradiction",
    ),
    (
        {"model": GPT, "provider": "vllm", "api_base": "http://localhost"},
        "api_base",
        "contradiction",
    ),
    ({"model": GPT, "top_logprobs": 2}, "top_logprobs", "contradiction"),
    ({"model": GPT, "cache": {"store": "disk"}}, "cache.store", "unknown-name"),
    (
        {"model": GPT, "budget": {"tokens": 1, "per": "day", "store": "disk"}},
        "budget.store",
        "unknown-name",
    ),
    ({"model": GPT, "budget": {"per": "day"}}, "budget", "missing-key"),
    (
        {"model": GPT, "budget": {"tokens": 1, "store": {"backend": "disk"}}},
        "budget.store",
        "contradiction",
    ),
    ({"model": "openai/own", "budget": {"cost_usd": 1}}, "budget.cost_usd", "no-price"),
    ({"model": GPT, "callbacks": ["audit"]}, "callbacks.0", "unknown-name"),
    ({"model": GPT, "fallbacks": ["b"]}, "fallbacks.0", "unknown-name"),
]


@pytest.mark.parametrize(("settings", "path", "code"), WRONG, ids=lambda each: str(each)[:40])
def test_a_broken_rule_is_told_at_its_field(settings: Any, path: str, code: str) -> None:
    with pytest.raises(ProfileError) as caught:
        make_from_stated(settings)
    told = [(d.code, ".".join(map(str, d.path))) for d in caught.value.diagnostics]
    assert told == [(code, path)]


def test_http_may_be_allowed_and_loopback_always_is() -> None:
    house = {"model": GPT, "api_key": "", "api_base": "http://x.example", "allow_http": True}
    assert make_from_stated(house).spec.allow_http
    here = {"model": GPT, "api_key": "", "api_base": "http://localhost:1"}
    assert make_from_stated(here).spec.api_base == "http://localhost:1"


def test_rules_pass_over_what_was_already_reported() -> None:
    from lmconf.schema.fault import UnreadableValue

    assert check_lm({"model": UnreadableValue()}) == []
    assert (
        check_lm(
            {
                "model": GPT,
                "api_key": "",
                "api_base": UnreadableValue(),
                "headers": UnreadableValue(),
            }
        )
        == []
    )
