"""Where a value was stated, and to which provider and address it belongs from there."""

from __future__ import annotations

from typing import Any

import pytest

from lmconf.compiler.inputs import CompilerInputs
from lmconf.compiler.pipeline import CompileResult, compile_documents
from lmconf.diagnostics.model import Diagnostic, Mark
from lmconf.document.nodes import Map
from lmconf.document.overrides import from_mapping
from lmconf.document.yaml.reader import read_document
from tests.watching import processor_seconds

A = "api_base: https://a.example/v1"
B = "api_base: https://b.example/v1"
KEY = "api_key: {$env: K}"
MODEL = "model: openai/x"
HOUSE = f"house: {{{MODEL}, {A}, {KEY}}}"


def outcome(
    *texts: str, overrides: dict[str, Any] | None = None, foreign: str | None = None
) -> CompileResult:
    found: list[Diagnostic] = []
    documents = [
        read_document(text, f"{place}.yaml", path=f"/srv/{place}.yaml")
        for place, text in enumerate(texts)
    ]

    def elsewhere(name: str, mark: Mark) -> Map | None:
        assert foreign is not None
        other = outcome(foreign).profile
        assert other is not None
        lm = other.nodes.entries["lms"]
        assert isinstance(lm, Map)
        whole = lm.entries[name.partition(":")[2]]
        assert isinstance(whole, Map)
        return whole

    return compile_documents(
        documents,
        CompilerInputs(
            name="p",
            assignments=tuple(from_mapping(overrides or {}, found)),
            foreign=None if foreign is None else elsewhere,
        ),
    )


def crossed(*texts: str, **given: Any) -> list[tuple[str, str]]:
    """The paths of what would go astray, and what is said of it."""
    found = outcome(*texts, **given).diagnostics
    assert {each.code for each in found} <= {"credential-crosses"}
    return [(".".join(map(str, each.path)), each.message) for each in found]


def belongs(path: str, was: str, now: str) -> list[tuple[str, str]]:
    name = path.split(".", 2)[2] if path.startswith("lms.") else path
    return [(path, f"`{name}` belongs to {was} and would be sent to {now}")]


# Providers


def test_a_key_inherited_by_another_model_belongs_to_its_own() -> None:
    text = f"lms: {{a: {{{MODEL}, {KEY}}}, b: {{extends: a, model: groq/y}}, c: {{extends: a}}}}"
    assert crossed(text) == belongs("lms.b.api_key", "openai", "groq")


def test_a_parent_that_a_later_file_changes_sends_what_its_heirs_have_elsewhere() -> None:
    below = f"lms: {{_a: {{{MODEL}, {KEY}}}, b: {{extends: _a}}}}"
    assert crossed(below, "lms: {_a: {model: groq/y}}") == belongs(
        "lms.b.api_key", "openai", "groq"
    )
    own = f"lms: {{_a: {{{MODEL}}}, b: {{extends: _a, {KEY}}}}}"
    assert crossed(own, "lms: {_a: {model: groq/y}}") == belongs("lms.b.api_key", "openai", "groq")


def test_a_key_that_is_restated_or_whose_model_comes_back_goes_nowhere_else() -> None:
    text = f"""
    lms:
      _a: {{{MODEL}, {KEY}}}
      _b: {{extends: _a, model: groq/y}}
      c: {{extends: _b, api_key: {{$env: L}}}}
      d: {{extends: _b, model: openai/z}}
      e: {{extends: _b, model: mistral/z}}
    """
    assert crossed(text) == belongs("lms.e.api_key", "openai", "mistral")


def test_the_model_of_defaults_is_changed_for_every_lm() -> None:
    below = f"{{defaults: {{{MODEL}, {KEY}}}, lms: {{a: {{max_tokens: 5}}}}}}"
    assert crossed(below, "defaults: {model: groq/y}") == belongs("lms.a.api_key", "openai", "groq")


def test_parts_of_headers_belong_by_themselves_literals_too() -> None:
    below = f"{{{MODEL}, headers: {{A: one, B: two, C: {{$env: C}}}}}}"
    assert crossed(below, "{model: groq/y, headers: {B: three}}") == [
        *belongs("headers.A", "openai", "groq"),
        *belongs("headers.C", "openai", "groq"),
    ]


@pytest.mark.parametrize(
    "above",
    [
        "{model: groq/y, api_key: {$env: L}}",
        '{model: groq/y, api_key: ""}',
        "{model: groq/y, api_key: {$unset: true}}",
        "{model: openai/y}",
        "{max_tokens: 2}",
    ],
)
def test_a_restated_key_or_the_same_provider_is_right(above: str) -> None:
    assert crossed(f"{{{MODEL}, {KEY}}}", above) == []


def test_a_model_that_changes_twice_is_told_from_its_first_to_its_last() -> None:
    below = f"{{{MODEL}, {KEY}}}"
    assert crossed(below, "model: groq/y", "model: mistral/z") == belongs(
        "api_key", "openai", "mistral"
    )
    assert crossed(below, "model: groq/y", "model: openai/z") == []


def test_secrets_of_the_body_do_not_go_to_another_provider_either() -> None:
    below = f"{{{MODEL}, extra: {{login: {{token: {{$env: T}}}}, top_k: 4}}}}"
    assert crossed(below, "model: groq/y") == belongs("extra.login.token", "openai", "groq")
    both = "lms: {a: {model: openai/x}, b: {model: groq/y}}\ndefaults: {extra: {token: {$env: T}}}"
    assert [path for path, _ in crossed(both)] == ["lms.b.extra.token"]


# Addresses: the law is in tests/laws; here is what it does not draw

OWN = "openai's own address"


@pytest.mark.parametrize(
    ("text", "right"),
    [
        # Key and address of two parents, of which neither knows the other
        (f"_k: {{{KEY}}}, _a: {{{A}}}, x: {{extends: [_k, _a], {MODEL}}}", False),
        (f"_k: {{{KEY}}}, _a: {{{A}}}, x: {{extends: [_a, _k], {MODEL}}}", False),
        (f"_a: {{{A}}}, _k: {{extends: _a, {KEY}}}, x: {{extends: [_a, _k], {MODEL}}}", True),
        # What is copied by YAML
        (f"x: &x {{{MODEL}, {A}, {KEY}}}, y: {{<<: *x, {B}}}", False),
        (f"x: &x {{{MODEL}, {A}, {KEY}}}, y: {{<<: *x, max_tokens: 5}}", True),
        (f"_a: {{{A}}}, x: &x {{extends: _a, {MODEL}, {KEY}}}, y: {{<<: *x, seed: 5}}", True),
        (f"_a: {{{A}}}, x: &x {{extends: _a, {MODEL}, {KEY}}}, y: {{<<: *x, {B}}}", False),
        (f"x: {{{MODEL}, api_key: &k {{$env: K}}}}, y: {{{MODEL}, {B}, api_key: *k}}", True),
        # The provider's own address, stated
        (f"x: {{{MODEL}, {KEY}}}, y: {{extends: x, api_base: 'https://api.openai.com/v1'}}", True),
        (
            "x: {model: azure/x, api_key: {$env: K}}, y: {extends: x, api_base: {$env: AZURE_API_BASE}}",
            True,
        ),
        ("x: {model: azure/x, api_key: {$env: K}}, y: {extends: x, api_base: {$env: EAST}}", False),
        # References are alike when they are the same
        (
            f"x: {{{MODEL}, {KEY}, api_base: {{$env: U}}}}, y: {{extends: x, api_base: {{$env: U}}}}",
            True,
        ),
        (
            f"x: {{{MODEL}, {KEY}, api_base: {{$env: U}}}}, y: {{extends: x, api_base: {{$env: U, default: 'https://b.example'}}}}",
            False,
        ),
        (
            f"x: {{{MODEL}, {KEY}, api_base: {{$file: u}}}}, y: {{extends: x, api_base: {{$file: ./u}}}}",
            True,
        ),
        # Servers that are launched
        (f"x: {{{MODEL}, {KEY}}}, y: {{extends: x, launch_kwargs: {{use: vllm}}}}", False),
        (f"x: {{{MODEL}, {KEY}}}, y: {{extends: x, provider: vllm}}", False),
        (
            f"x: {{{MODEL}, {KEY}, launch_kwargs: {{use: vllm}}}}, y: {{extends: x, model: openai/y}}",
            False,
        ),
        (f"x: {{{MODEL}, {KEY}, provider: vllm}}, y: {{extends: x, model: openai/y}}", True),
        # Places of a cloud are the provider's own, addresses are not
        (
            "x: {model: bedrock/x, aws_profile_name: p}, y: {extends: x, aws_region_name: us-east-1}",
            True,
        ),
        ("x: {model: bedrock/x, aws_profile_name: p}, y: {extends: x, model: sagemaker/y}", True),
        (
            "x: {model: bedrock/x, aws_profile_name: p}, y: {extends: x, api_base: 'https://b.example'}",
            False,
        ),
        (
            "x: {model: vertex_ai/x, vertex_credentials: {$env: V}}, y: {extends: x, vertex_location: europe-west1}",
            True,
        ),
        (
            "x: {model: vertex_ai/x, vertex_credentials: {$env: V}}, y: {extends: x, api_base: 'https://b.example'}",
            False,
        ),
        # What is no credential
        (f"x: {{{MODEL}, {KEY}, headers: {{X-A: a}}}}, y: {{extends: x, {B}, api_key: ''}}", True),
        (
            f"x: {{{MODEL}, {KEY}, extra: {{top_k: {{$env: N, type: int}}}}}}, y: {{extends: x, {B}, api_key: ''}}",
            True,
        ),
        (f"x: {{{MODEL}, api_key: {{$public: none}}}}, y: {{extends: x, {B}}}", True),
        (
            f"x: {{{MODEL}, {KEY}, headers: {{X-A: {{$env: T}}}}}}, y: {{extends: x, {B}, api_key: ''}}",
            False,
        ),
        (
            f"x: {{{MODEL}, {KEY}, extra: {{t: [{{$env: T}}]}}}}, y: {{extends: x, {B}, api_key: ''}}",
            False,
        ),
        (
            "x: {model: azure/x, azure_ad_token: {$env: T}}, y: {extends: x, api_base: 'https://b.example'}",
            False,
        ),
    ],
)
def test_where_a_credential_may_go(text: str, right: bool) -> None:
    assert (crossed(f"lms: {{{text}}}") == []) is right


def test_what_is_copied_from_parked_maps_belongs_where_they_say() -> None:
    parked = f"x-k: &k {{{KEY}}}\nx-a: &a {{<<: *k, {A}}}\nx-b: &b {{<<: *k, {B}}}\n"
    told = belongs("lms.x.api_key", "https://a.example", "https://b.example")
    assert crossed(f"{parked}lms: {{x: {{<<: *k, {MODEL}, {B}}}}}") == []
    assert crossed(f"x-k: &k {{{KEY}}}\nlms: {{x: {{<<: *k, {MODEL}, {B}}}}}") == []
    assert crossed(f"{parked}lms: {{x: {{<<: *b, {MODEL}}}, y: {{<<: *b, {MODEL}}}}}") == []
    once = f"x-k: &k {{{KEY}}}\nx-a: &a {{<<: *k, {A}}}\n"
    assert crossed(f"{once}lms: {{x: {{<<: *a, {MODEL}, {B}}}}}") == told
    assert [path for path, _ in crossed(f"{once}<<: *a\n{MODEL}\n{B}")] == ["api_key"]


def test_an_operator_on_no_list_is_the_only_mistake_told() -> None:
    texts = [f"{{{MODEL}, {KEY}, extra: {{a: 1}}}}", "{extra: {a: {$append: [x]}}}"]
    assert [each.code for each in outcome(*texts).diagnostics] == ["append-no-list"]
    both = [f"lms: {{x: {text}}}" for text in texts]
    assert [each.code for each in outcome(*both).diagnostics] == ["append-no-list"]


def test_lists_that_grow_keep_whose_each_item_is() -> None:
    below = f"lms: {{x: {{{MODEL}, {KEY}, extra: {{t: [{{$env: T}}]}}}}}}"
    above = f"lms: {{x: {{{B}, api_key: '', extra: {{t: {{$append: [{{$env: U}}]}}}}}}}}"
    assert crossed(below, above) == [
        *belongs("lms.x.extra.t.0", OWN, "https://b.example"),
    ]


def test_an_empty_pool_is_none() -> None:
    text = f"lms: {{x: {{{MODEL}, {KEY}}}, y: {{extends: x, pool: [], {B}}}}}"
    assert crossed(text) == belongs("lms.y.api_key", OWN, "https://b.example")


def test_a_large_body_takes_no_longer_than_its_size() -> None:
    items = ", ".join(f"k{number}: {{$env: T{number}}}" for number in range(2000))
    text = f"lms: {{x: {{{MODEL}, {KEY}, extra: {{{items}}}}}, y: {{extends: x, max_tokens: 5}}}}"
    assert processor_seconds(lambda: crossed(text)) < 20


def test_a_template_stands_for_what_it_gives() -> None:
    text = """
    vars: {host: a}
    defaults: {api_base: "https://{{ vars.host }}.example", api_key: {$env: K}}
    lms:
      x: {model: openai/x}
      y: {model: openai/x, api_base: https://a.example/v2}
      z: {model: openai/x, api_base: "https://{{ vars.host }}b.example"}
    """
    assert crossed(text) == belongs("lms.z.api_key", "https://a.example", "https://ab.example")


def test_what_a_lower_document_cannot_render_is_told_nowhere_else() -> None:
    below = f"lms: {{x: {{{MODEL}, {KEY}, api_base: '{{{{ vars.gone }}}}'}}}}"
    assert crossed(below, f"lms: {{x: {{{A}, api_key: {{$env: L}}}}}}") == []


def test_no_address_is_like_one_that_cannot_be_known() -> None:
    below = f"lms: {{x: {{{MODEL}, {KEY}, api_base: '{{{{ vars.gone }}}}'}}}}"
    said = belongs("lms.x.api_key", "an address that is not known", "https://a.example")
    assert crossed(below, f"lms: {{x: {{{A}}}}}") == said
    # A parent that the lower document has not: its key is paired with the provider's own address.
    orphan = f"lms: {{x: {{extends: _p, {MODEL}, {KEY}}}}}"
    said = belongs("lms.x.api_key", OWN, "https://a.example")
    assert crossed(orphan, f"lms: {{_p: {{{A}}}}}") == said
    assert (
        crossed(orphan.replace("_p,", "_p, api_base: {$unset: true},"), f"lms: {{_p: {{{A}}}}}")
        == []
    )
    unset = f"lms: {{x: {{extends: _p, {MODEL}, {KEY}, api_base: {{$unset: true}}}}}}"
    assert crossed(unset, f"lms: {{_p: {{seed: 1}}, x: {{{A}}}}}") == said


def test_a_whole_parent_of_another_profile_keeps_its_key_to_its_own_address() -> None:
    team = f"lms: {{a: {{{MODEL}, {KEY}}}, b: {{{MODEL}, {KEY}, {A}}}}}"
    said = belongs("lms.x.api_key", OWN, "https://b.example")
    assert crossed(f"lms: {{x: {{extends: 'team:a', {B}}}}}", foreign=team) == said
    under = f"defaults: {{{B}}}\nlms: {{x: {{extends: 'team:a'}}}}"
    assert crossed(under, foreign=team) == said
    assert crossed(f"defaults: {{{B}}}\nlms: {{x: {{extends: 'team:b'}}}}", foreign=team) == []


def test_an_override_of_an_address_asks_for_the_key() -> None:
    base = {"lms.house.api_base": "https://b.example"}
    said = belongs("lms.house.api_key", "https://a.example", "https://b.example")
    assert crossed(f"lms: {{{HOUSE}}}", overrides=base) == said
    both = {**base, "lms.house.api_key": {"$env": "L"}}
    assert crossed(f"lms: {{{HOUSE}}}", overrides=both) == []
    assert crossed(f"lms: {{{HOUSE}}}", overrides={"lms.house.api_key": {"$env": "L"}}) == []
    # One key for addresses that differ is asked for in each LM, as one for two providers is.
    many = f"lms: {{{HOUSE}, gpt: {{{MODEL}}}}}"
    assert [path for path, _ in crossed(many, overrides={"lms.*.api_key": {"$env": "L"}})] == [
        "lms.gpt.api_key"
    ]


def test_what_several_lms_would_send_elsewhere_is_told_once() -> None:
    text = f"defaults: {{{KEY}}}\nlms: {{a: {{{MODEL}, {A}}}, b: {{{MODEL}, {B}}}, c: {{{MODEL}}}}}"
    (said,) = outcome(text).diagnostics
    assert said.mark is not None
    assert (said.mark.line, [note.message for note in said.notes]) == (
        1,
        ["this leads to https://a.example", "this leads to https://b.example"],
    )


def test_a_password_in_an_address_is_not_told() -> None:
    text = f"lms: {{x: {{{MODEL}, {KEY}}}, y: {{extends: x, api_base: 'https://u:pw@b.example'}}}}"
    said = [each for each in outcome(text).diagnostics if each.code == "credential-crosses"]
    assert ["pw" in each.message for each in said] == [False]
