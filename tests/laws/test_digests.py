"""Law 6: spelling and secrets never change what an LM's answers are kept under; identity does."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lmconf import testing
from lmconf.compiler.inputs import CompilerInputs
from lmconf.compiler.pipeline import compile_documents
from lmconf.document import read_document, write
from lmconf.runtime.identity import identity_digest, identity_facts
from lmconf.schema.declaration import fields
from lmconf.spec.build import change_lm, make_from_stated
from lmconf.spec.compiled import CompiledLM
from lmconf.spec.lm import LMSpec


def digest(lm: CompiledLM) -> bytes:
    return identity_digest(lm.spec, identity_facts(lm.spec, lm))


def digest_of_text(text: str) -> bytes:
    document = read_document(text, "p.yaml", path="/srv/p.yaml")
    inputs = CompilerInputs(
        name="p",
        callback_names=testing.NAMES,
        transport_names=testing.NAMES,
        allow_imports=testing.IMPORTS,
    )
    outcome = compile_documents([document], inputs)
    assert outcome.profile is not None
    return digest(outcome.profile.lms["main"])


# What leads to a place outside is found when a call is sent, and launched files are read.
PLACED = frozenset(
    "api_base organization project api_version aws_region_name vertex_project vertex_location"
    " launch_kwargs provider".split()
)


@given(testing.settings().filter(lambda said: not PLACED & said.keys()), st.randoms())
@settings(max_examples=60, suppress_health_check=list(HealthCheck))
def test_spelling_never_changes_a_digest(said: dict[str, Any], random: Any) -> None:
    if not str(said.get("model")).startswith(("openai/", "groq/", "anthropic/")):
        return
    wanted = digest(make_from_stated(said))
    shuffled = {key: said[key] for key in random.sample(list(said), len(said))}
    assert digest_of_text(write(shuffled)) == wanted
    assert digest_of_text(f"# a comment\n\n{write(said)}\n# another\n") == wanted
    assert digest_of_text(json.dumps(said)) == wanted


OTHERS: dict[str, Any] = {
    "model": "openai/gpt-4o",
    "model_type": "text",
    "base_model": "openai/gpt-4.1",
    "temperature": 0.5,
    "max_tokens": 7,
    "stop": ["x"],
    "n": 2,
    "top_p": 0.5,
    "seed": 3,
    "frequency_penalty": 0.5,
    "presence_penalty": 0.5,
    "logprobs": True,
    "logit_bias": {"5": 1},
    "response_format": {"type": "json_object"},
    "tools": [{"type": "function", "function": {"name": "f"}}],
    "tool_choice": "auto",
    "parallel_tool_calls": True,
    "reasoning_effort": "low",
    "thinking": {"type": "enabled"},
    "verbosity": "low",
    "modalities": ["text"],
    "extra": {"top_k": 1},
    "endpoint": "elsewhere",
}
APART = frozenset({"rollout_id", "top_logprobs"})
"""Fields of the class identity that count in a call's key, or only beside another field."""

PLAIN = {"model": "openai/gpt-4o-mini"}


def test_every_identity_field_is_tried() -> None:
    declared = {name for name, field in fields(LMSpec).items() if field.role == "identity"}
    assert declared == set(OTHERS) | APART


@pytest.mark.parametrize("name", OTHERS)
def test_an_identity_field_changes_the_digest(name: str) -> None:
    assert digest(make_from_stated({**PLAIN, name: OTHERS[name]})) != digest(
        make_from_stated(PLAIN)
    )


@pytest.mark.parametrize(
    "operation",
    [
        {"num_retries": 1},
        {"timeout": "3s"},
        {"deadline": "1min"},
        {"retry": {"initial": "2s"}},
        {"cache": {"ttl": "1d"}},
        {"cache_in_memory": False},
        {"callbacks": [{"use": "meter"}]},
        {"user": "me"},
        {"provenance": {"a": 1}},
        {"api_key": {"$env": "ANOTHER_KEY"}},
        {"api_key": ""},
        {"headers": {"traceparent": "00-1"}},
    ],
    ids=str,
)
def test_operations_and_secrets_do_not_change_the_digest(operation: dict[str, Any]) -> None:
    assert digest(make_from_stated({**PLAIN, **operation})) == digest(make_from_stated(PLAIN))


def test_a_secrets_value_does_not_change_the_digest(monkeypatch: pytest.MonkeyPatch) -> None:
    lm = make_from_stated({**PLAIN, "headers": {"Authorization": {"$env": "TOKEN"}}})
    digests = set()
    for value in ("one", "two"):
        monkeypatch.setenv("TOKEN", value)
        monkeypatch.setenv("OPENAI_API_KEY", value)
        digests.add(digest(lm))
    assert len(digests) == 1
    given = [digest(change_lm(lm, {"api_key": value})) for value in ("sk-1", "sk-2")]
    assert given[0] == given[1]


def test_order_inside_tools_formats_and_extra_counts() -> None:
    one = make_from_stated({**PLAIN, "extra": {"a": 1, "b": 2}})
    other = make_from_stated({**PLAIN, "extra": {"b": 2, "a": 1}})
    assert one.spec == other.spec
    assert digest(one) != digest(other)
