"""Which models follow the rules of reasoning models, and what follows from that."""

from __future__ import annotations

import pytest

from lmconf.profile.families import FAMILIES, family_of, wire_max_tokens

REASONING = """
    o1 o1-mini o1-preview o1-pro o3 o3-mini o3-mini-2025-01-31 o3-deep-research o4-mini
    o4-mini-deep-research gpt-5 gpt-5-mini gpt-5-nano gpt-5-pro-2025-10-06 gpt-5-2025-08-07
    gpt-5-codex gpt-5.1 gpt-5.1-codex gpt-5.1-codex-mini gpt-5.1-codex-max gpt-5.2-pro
""".split()
ORDINARY = """
    gpt-4o gpt-4o-mini gpt-4.1 gpt-5-chat-latest gpt-5.1-chat-latest o2 o1-like o3-minimal o10
    go1 gpt-5x gpt-50 gpt-55 my-gpt-5 o1mini claude-3-opus-20240229
""".split()


@pytest.mark.parametrize("name", REASONING)
def test_a_reasoning_model_is_known_by_its_whole_name(name: str) -> None:
    family = family_of(f"openai/{name}")
    assert (family.temperature, family.max_tokens) == (1.0, 16_000)
    assert (family.temperatures, family.token_floor) == ((1.0,), 5_000)
    assert wire_max_tokens(f"openai/{name}") == "max_completion_tokens"


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
        assert family.temperatures is None or family.temperature in family.temperatures
        assert family.max_tokens >= family.token_floor
