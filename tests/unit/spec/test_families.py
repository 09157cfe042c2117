"""Which models follow the rules of reasoning models, and what follows from that."""

from __future__ import annotations

import pytest

from lmconf.providers import model_table
from lmconf.providers.families import FAMILIES, family_of, wire_max_tokens

REASONING = """
    o1 o1-mini o1-preview o1-pro o3 o3-mini o3-mini-2025-01-31 o3-deep-research o4-mini
    o4-mini-deep-research gpt-5 gpt-5-mini gpt-5-nano gpt-5-pro-2025-10-06 gpt-5-2025-08-07
    gpt-5-codex gpt-5.1 gpt-5.1-codex gpt-5.1-codex-mini gpt-5.1-codex-max gpt-5.2-pro
""".split()
ORDINARY = """
    gpt-4o gpt-4o-mini gpt-4.1 gpt-5-chat-latest o2 o1-like o3-minimal o10
    go1 gpt-5x gpt-50 gpt-55 my-gpt-5 o1mini claude-3-opus-20240229
""".split()


@pytest.mark.parametrize("name", REASONING)
def test_a_reasoning_model_is_known_by_its_whole_name(name: str) -> None:
    family = family_of(f"openai/{name}")
    assert (family.temperature, family.max_tokens) == (1.0, 16_000)
    assert (family.temperatures, family.token_floor) == ((1.0,), 5_000)
    assert wire_max_tokens(f"openai/{name}") == "max_completion_tokens"


NEWER = """
    gpt-5.6-terra gpt-6-sol gpt-6.1-sol-2026-09-29 gpt-7 gpt-5-search-api gpt-5.1-chat-latest o5
    o6-mini ft:o4-mini-2025-04-16:acme::x ft:o4-mini gpt-5-mini:nitro us.openai.gpt-6-sol
    openai.gpt-5.4 databricks-gpt-5-4-mini openai-o3 gpt-10 gpt-12.1-mini ft:gpt-10-mini:acme::x
""".split()
CLAUDES = {
    (0.0, False): "claude-3-opus-20240229 claude-instant-v1 claude-3-7-sonnet-latest"
    " claude-sonnet-4-20250514 claude-4-opus anthropic.claude-v2:1 us.anthropic.claude-3-5-haiku-v1:0",
    (0.0, True): "claude-opus-4-1-20250805 claude-sonnet-4-5 claude-sonnet-4.5 claude-4.5-sonnet"
    " eu.anthropic.claude-haiku-4-5-20251001-v1:0 claude-opus-4-6@default databricks-claude-opus-4-6",
    (None, True): "claude-opus-4-7-20260416 claude-opus-4.8 claude-4.7-opus claude-sonnet-5"
    " claude-haiku-5-5 claude-fable-5 claude-mythos-preview us.anthropic.claude-opus-5-v1:0"
    " claude-sonnet-5-5@default databricks-claude-opus-4-8 claude-opus-10 claude-newfamily-6-1",
}


@pytest.mark.parametrize("name", NEWER)
def test_a_newer_reasoning_model_is_known_whatever_stands_around_its_name(name: str) -> None:
    family = family_of(f"openrouter/{name}")
    assert (family.temperature, family.max_tokens) == (None, 16_000)
    assert wire_max_tokens(f"openrouter/{name}") == "max_completion_tokens"


@pytest.mark.parametrize(
    ("temperature", "one", "name"),
    [(*rules, name) for rules, names in CLAUDES.items() for name in names.split()],
)
def test_a_claude_is_known_by_its_version(temperature: float | None, one: bool, name: str) -> None:
    family = family_of(f"anthropic/{name}")
    assert (family.claude, family.temperature, family.one_of_two) == (True, temperature, one)
    assert family.max_tokens == (16_000 if temperature is None else 1000)


@pytest.mark.parametrize(
    "name", ["claude-opus-latest", "claude-sonnet", "us.anthropic.claude-opus", "claude-newfamily"]
)
def test_a_claude_of_no_version_is_sent_nothing_that_some_version_refuses(name: str) -> None:
    family = family_of(f"anthropic/{name}")
    assert (family.claude, family.temperature, family.one_of_two) == (True, None, True)
    assert family.temperatures is None  # what is stated is sent: nobody knows better
    assert family.max_tokens == 1000


def test_the_table_is_read_only_for_what_a_name_does_not_tell(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[tuple[str, ...]] = []
    monkeypatch.setattr(model_table, "model_row", lambda *names: asked.append(names))
    family_of.cache_clear()
    for name in (*REASONING, *NEWER, "gpt-4o-mini", "gpt-3.5-turbo", *CLAUDES[0.0, True].split()):
        family_of(f"openai/{name}")
    family_of("hosted_vllm/house-70b")
    assert asked == []
    family_of("openai/house-70b")
    assert len(asked) == 1
    family_of("openai/house-70b")
    assert len(asked) == 1
    family_of.cache_clear()


@pytest.mark.parametrize("name", ORDINARY)
def test_a_name_that_only_looks_alike_follows_the_ordinary_rules(name: str) -> None:
    family = family_of(f"openai/{name}")
    assert (family.temperature, family.max_tokens) == (0.0, 1000)
    assert family.temperatures is None
    assert wire_max_tokens(f"openai/{name}") == "max_tokens"


def test_the_model_counts_and_not_what_its_path_holds() -> None:
    assert family_of("openrouter/openai/o3-mini").name == "openai-reasoning"
    assert family_of("foo/o1-like").name == "ordinary"
    assert family_of("openai/o1/finetuned").name == "ordinary"
    assert family_of("o3-mini").name == "openai-reasoning"


def test_a_name_counts_in_either_case() -> None:
    assert family_of("azure/GPT-5-Mini").name == "openai-reasoning"


def test_the_model_behind_a_deployment_decides_whatever_the_deployment_is_called() -> None:
    assert family_of("azure/reasoner", "openai/o3-mini").name == "openai-reasoning"
    assert family_of("azure/o3-mini", "openai/gpt-4o").name == "ordinary"
    assert wire_max_tokens("azure/reasoner", "o3-mini") == "max_completion_tokens"
    assert wire_max_tokens("azure/reasoner") == "max_tokens"


def test_every_familys_own_defaults_keep_its_rules() -> None:
    for family in FAMILIES:
        assert family.temperatures is None or family.temperature in (None, *family.temperatures)
        assert family.max_tokens >= family.token_floor
