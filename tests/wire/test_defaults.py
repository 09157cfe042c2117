"""What nobody stated is never refused: one line for each model, at a server as strict as its own."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest

import lmconf
from lmconf.runtime import LM
from tests.loopback import Loopback, chat, serving
from tests.wire.providers import ask, stream
from tests.wire.strict import TABLE, rows, strict

AWS = {
    "aws_access_key_id": "AKIDOFTHEPROFILE",
    "aws_secret_access_key": "stated-secret",
    "aws_region_name": "eu-central-1",
}
VERTEX = {"api_key": "token", "vertex_project": "my-project", "vertex_location": "europe-west4"}

Line = tuple[str, dict[str, Any], dict[str, Any]]
"""A model as a profile names it, what its provider needs to be reached, and its row."""


def _unlike(lines: list[Line]) -> list[Line]:
    """Return one of those lines whose names differ in the region or in zeros alone."""
    seen: dict[str, Line] = {}
    for line in lines:
        name = line[0].split("/", 1)[1]
        key = name.split("anthropic.", 1)[-1].split("openai.", 1)[-1] if "." in name else name
        seen.setdefault(key, line)
    return list(seen.values())


def lines() -> dict[str, list[Line]]:
    """Every chat model of the table's families of models with rules, by provider."""
    found: dict[str, list[Line]] = {}
    found["openai"] = [(f"openai/{name}", {}, row) for name, row in rows("openai")]
    found["azure"] = [
        ("azure/deployment", {"base_model": name, "api_version": "2024-10-21"}, row)
        for name, row in rows("azure")
        if "/" not in name.removeprefix("azure/")
    ]
    found["anthropic"] = [(f"anthropic/{name}", {}, row) for name, row in rows("anthropic")]
    found["bedrock"] = _unlike(
        [
            (f"bedrock/{name}", AWS, row)
            for name, row in rows("bedrock_converse")
            if "claude" in name or "openai" in name
        ]
    )
    found["vertex_ai"] = [
        (name, VERTEX, row)
        for kind in ("vertex_ai-anthropic_models", "vertex_ai-language-models")
        for name, row in rows(kind)
        if name.startswith(("vertex_ai/claude", "vertex_ai/gemini-3"))
    ]
    found["gemini"] = [
        (name, {}, row) for name, row in rows("gemini") if name.startswith("gemini/gemini-3")
    ]
    found["databricks"] = [(name, {}, row) for name, row in rows("databricks")]
    found["azure_ai"] = [(name, {}, row) for name, row in rows("azure_ai") if "claude" in name]
    found["moonshot"] = [(name, {}, row) for name, row in rows("moonshot")]
    found["openrouter"] = [
        (f"openrouter/{house}/{name}", {}, {**row, "litellm_provider": "openrouter"})
        for house, provider in (("openai", "openai"), ("anthropic", "anthropic"))
        for name, row in rows(provider)
        if not name.startswith("ft:")
    ]
    return found


LINES = lines()
BASES = {
    "databricks": "/serving-endpoints",
    **dict.fromkeys(("openai", "openrouter", "moonshot"), "/v1"),
}
CASES = [(provider, line) for provider, found in LINES.items() for line in found]


def test_every_provider_has_its_lines() -> None:
    assert len(CASES) >= 300
    for provider, found in LINES.items():
        assert len(found) >= 5, provider


@pytest.fixture(scope="module")
def server() -> Iterator[Loopback]:
    with serving(chat()) as made:
        yield made


def reached(server: Loopback, provider: str, line: Line, **settings: Any) -> LM:
    model, needed, row = line
    server.script = strict(row)
    server.received.clear()
    base = server.url + BASES.get(provider, "")
    told: dict[str, Any] = {"api_base": base, "api_key": "k", "cache": False, "num_retries": 0}
    if "aws_region_name" in needed:
        del told["api_key"]
    return LM(model, **{**told, **needed, **settings})


@pytest.mark.parametrize("provider", LINES)
def test_no_model_refuses_what_nobody_stated(server: Loopback, provider: str) -> None:
    refused = []
    for line in LINES[provider]:
        for way in (ask, stream):
            lm = reached(server, provider, line)
            with contextlib.suppress(lmconf.Error):
                assert way(lm, {"prompt": "Hi"}).text == "Hello.", line[0]
                continue
            refused.append(f"{line[0]} {line[1].get('base_model', '')}")
    assert not refused, "\n".join(refused)


def row_of(name: str, **more: Any) -> dict[str, Any]:
    """The row of a model by the name that the table gives it; `more` where it has none."""
    return {**TABLE.get(name, {"litellm_provider": "openai"}), "name": name.lower(), **more}


OF_NO_TABLE = {
    "openai": (
        "gpt-7-nova",
        "gpt-5.9",
        "gpt-6.4-sol-2027-01-31",
        "o5",
        "o7-mini",
        "ft:o4-mini-2025-04-16:acme::x",
        "ft:gpt-5-mini-2025-08-07:acme:tone:abc",
    ),
    "anthropic": (
        "claude-opus-4-9",
        "claude-opus-6",
        "claude-sonnet-7-1-20280101",
        "claude-haiku-5.5",
        "claude-mythos-6",
    ),
    "bedrock": (
        "converse/anthropic.claude-opus-4-9-v1:0",
        "converse/eu.anthropic.claude-sonnet-6-20270101-v1:0",
        "us.openai.gpt-7-nova",
    ),
    "vertex_ai": ("claude-opus-6@20270101", "claude-sonnet-6"),
    "databricks": ("databricks-claude-opus-6", "databricks-gpt-5-9-mini"),
    "openrouter": (
        "openai/gpt-5-mini:nitro",
        "openai/gpt-7-nova:floor",
        "anthropic/claude-opus-4.7:beta",
        "anthropic/claude-4.7-opus",
        "anthropic/claude-opus-6:online",
    ),
}


@pytest.mark.parametrize(
    ("provider", "name"), [(each, name) for each, names in OF_NO_TABLE.items() for name in names]
)
def test_nor_does_one_that_no_table_knows_yet(server: Loopback, provider: str, name: str) -> None:
    needed = {"bedrock": AWS, "vertex_ai": VERTEX}.get(provider, {})
    by = provider if "claude" not in name and provider != "bedrock" else "anthropic"
    row = {"name": name, "litellm_provider": by, "supports_reasoning": True}
    for way in (ask, stream):
        lm = reached(server, provider, (f"{provider}/{name}", needed, row))
        assert way(lm, {"prompt": "Hi"}).text == "Hello."
        body = server.received[-1].json
        assert body.get("temperature") in (None, 1)
        assert "temperature" not in body.get("inferenceConfig", {})


CLAUDE: Line = ("anthropic/claude-sonnet-4-5", {}, row_of("claude-sonnet-4-5"))
BEDROCK: Line = (
    "bedrock/us.anthropic.claude-sonnet-4-5-20250929-v1:0",
    AWS,
    row_of("us.anthropic.claude-sonnet-4-5-20250929-v1:0"),
)
THINKING = {"thinking": {"type": "enabled", "budget_tokens": 2048}}
BESIDE: list[dict[str, Any]] = [
    {"top_p": 0.9},
    {"extra": {"top_p": 0.9}},
    THINKING,
    {"thinking": {"type": "enabled", "budget_tokens": 40_000}},
    {"extra": THINKING},
    {"thinking": {"type": "disabled"}},
    *({"reasoning_effort": effort} for effort in ("low", "medium", "high")),
]


@pytest.mark.parametrize("line", [CLAUDE, BEDROCK], ids=lambda line: line[0].split("/")[0])
@pytest.mark.parametrize("said", BESIDE, ids=str)
def test_a_default_gives_way_to_what_is_stated_beside_it(
    server: Loopback, line: Line, said: dict[str, Any]
) -> None:
    provider = line[0].split("/")[0]
    for way in (ask, stream):
        assert way(reached(server, provider, line, **said), {"prompt": "Hi"}).text == "Hello."
        by_profile = server.received[-1].json
        assert way(reached(server, provider, line), {"prompt": "Hi", **said}).text == "Hello."
        assert server.received[-1].json == by_profile


def written(folder: Path, text: str) -> str:
    """The path of a profile with `text`."""
    path = folder / "made.yaml"
    path.write_text(text, encoding="utf-8")
    return str(path)


TAKEN: list[tuple[str, dict[str, Any]]] = [
    ("gpt-5.1", {"reasoning_effort": "none", "temperature": 0.2}),
    ("gpt-5.1", {"temperature": 0.2}),
    ("gpt-5.4-mini", {"temperature": 0.2, "top_p": 0.5}),
    ("gpt-5.1", {"temperature": 1}),
    ("gpt-5-mini", {"max_tokens": 500}),
    ("o3", {"max_tokens": 1}),
    ("gpt-5-mini", {"extra": {"max_completion_tokens": 500}}),
    ("gpt-4o-mini", {"extra": {"max_completion_tokens": 500}}),
    *(
        ("gpt-5-mini", {"reasoning_effort": effort})
        for effort in ("none", "minimal", "low", "xhigh", "max", "default", "a-new-one")
    ),
]


@pytest.mark.parametrize(("name", "said"), TAKEN, ids=str)
def test_what_is_stated_and_taken_is_sent(
    server: Loopback, name: str, said: dict[str, Any]
) -> None:
    line: Line = (f"openai/{name}", {}, row_of(name))
    sent = {**said, **said.get("extra", {})}
    sent.pop("extra", None)
    if "max_tokens" in sent:
        sent["max_completion_tokens"] = sent.pop("max_tokens")
    for lm, given in (
        (reached(server, "openai", line, **said), {}),
        (reached(server, "openai", line), said),
    ):
        assert ask(lm, {"prompt": "Hi", **given}).text == "Hello."
        body = server.received[-1].json
        assert {key: body[key] for key in sent} == sent
        assert len({"max_tokens", "max_completion_tokens"} & body.keys()) == 1


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("openai/o3", {"temperature": 0.2}, "temperature"),
    ("openai/gpt-5", {"temperature": 0.0}, "temperature"),
    ("openai/gpt-5-mini", {"temperature": 0.5, "reasoning_effort": "low"}, "temperature"),
    ("openai/gpt-5.1", {"temperature": 0.5, "reasoning_effort": "low"}, "temperature"),
    ("openai/gpt-6.1-sol", {"temperature": 0.5}, "temperature"),
    ("openai/ft:o4-mini-2025-04-16:acme::x", {"temperature": 0.5}, "temperature"),
    ("anthropic/claude-opus-4-8", {"temperature": 0.5}, "temperature"),
    ("bedrock/us.anthropic.claude-opus-5", {"temperature": 0.5}, "temperature"),
    ("bedrock/us.openai.gpt-5.4", {"temperature": 0.5}, "temperature"),
    ("vertex_ai/claude-sonnet-5@default", {"temperature": 0.5}, "temperature"),
    ("databricks/databricks-claude-opus-4-8", {"temperature": 0.5}, "temperature"),
    ("anthropic/claude-sonnet-5-5", {"top_p": 0.5}, "top_p"),
    ("anthropic/claude-sonnet-4-5", {"temperature": 0.5, "top_p": 0.5}, "top_p"),
    ("anthropic/claude-sonnet-4-5", {"temperature": 0.5, **THINKING}, "temperature"),
    ("anthropic/claude-sonnet-4-5", {"max_tokens": 2048, **THINKING}, "max_tokens"),
]


ALONE = [(model, said) for model, said, _ in REFUSED] + [
    ("openai/gpt-5-mini", {"temperature": 0.5})
]
"""What is refused by itself, and so cannot be an LM's own beside which a call states more."""


@pytest.mark.parametrize(("model", "said", "field"), REFUSED, ids=str)
def test_what_is_stated_and_refused_is_told_at_its_line(
    model: str, said: dict[str, Any], field: str, tmp_path: Path
) -> None:
    lines = [f"model: {model}", *(f"{name}: {json.dumps(value)}" for name, value in said.items())]
    with pytest.raises(lmconf.ProfileError) as caught:
        lmconf.load(written(tmp_path, "\n".join(lines)))
    (only,) = caught.value.diagnostics
    assert (only.code, only.path[-1]) == ("family-rule", field)
    assert only.mark is not None
    assert only.mark.line == 2 + list(said).index(field)
    assert "(" in (only.help or "")  # the source of the rule
    # The same in a call: at a setting of the call, whichever of them the LM states.
    for name, value in said.items():
        rest = {key: item for key, item in said.items() if key != name}
        if (model, rest) in ALONE:
            continue
        with pytest.raises(lmconf.ProfileError, match="family-rule") as in_call:
            LM(model, **rest).ask("Hi", **{name: value})
        assert in_call.value.diagnostics[0].path == (name,)


def test_gateways_leave_out_what_the_model_behind_them_does_not_take(server: Loopback) -> None:
    line: Line = ("openrouter/anthropic/claude-opus-4.8", {}, row_of("claude-3-haiku-20240307"))
    ask(reached(server, "openrouter", line, temperature=0.5, top_p=0.5), {"prompt": "Hi"})
    assert server.received[-1].json["temperature"] == 0.5


def test_a_default_of_the_profile_gives_way_and_stays_away(tmp_path: Path) -> None:
    profile = lmconf.load(
        written(
            tmp_path,
            """
        defaults: {temperature: 0.2, max_tokens: 900, top_p: 0.9}
        lms:
          old: {model: openai/gpt-4o}
          new: {model: anthropic/claude-opus-4-8}
          one: {model: anthropic/claude-sonnet-4-5}
          own: {model: anthropic/claude-sonnet-4-5, temperature: 0.5}
        """,
        )
    )
    assert {
        name: (lm.spec.temperature, lm.spec.top_p) for name in profile for lm in [profile[name]]
    } == {
        "old": (0.2, 0.9),
        "new": (None, None),
        "one": (None, 0.9),
        "own": (0.5, None),
    }
    styles: tuple[Literal["resolved", "minimal"], ...] = ("resolved", "minimal")
    for style in styles:
        state = profile.dump_state(style)
        again = lmconf.load_state(state)
        assert isinstance(again, lmconf.Profile)
        assert again.dump_state(style) == state
        assert [again[name].spec for name in again] == [profile[name].spec for name in profile]


def test_a_state_shows_what_will_be_sent() -> None:
    state = LM("anthropic/claude-opus-4-8").dump_state()
    assert (state["temperature"], state["max_tokens"]) == (None, 16_000)
    assert lmconf.load_state(state).dump_state() == state
