"""Whole documents: the example of the format, what is inherited, named, refused and remembered."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from lmconf.caches.specs import DiskStore
from lmconf.compiler.inputs import CompilerInputs
from lmconf.compiler.pipeline import CompiledProfile, CompileResult, compile_documents
from lmconf.compiler.trust import check_documents
from lmconf.diagnostics.model import Diagnostic, Mark
from lmconf.diagnostics.render import to_text
from lmconf.document import Map, read_document
from lmconf.document.nodes import Document
from lmconf.document.operators import recognise_operators
from lmconf.secrets.references import Env
from lmconf.spec.build import change_lm
from lmconf.spec.lm import LMSpec, SoleLMSpec

WHOLE = Path(__file__).parents[2] / "schema/accept/whole.yaml"


def examined(text: str, path: str = "/srv/profiles/p.yaml", **inputs: Any) -> CompileResult:
    given = {"allow_imports": frozenset({"acme_lm.hooks"}), **inputs}
    return compile_documents(
        [read_document(text, "p.yaml", path=path)], CompilerInputs(name="p", **given)
    )


def profile(text: str, **inputs: Any) -> CompiledProfile:
    outcome = examined(text, **inputs)
    assert outcome.profile is not None, to_text(outcome.diagnostics)
    return outcome.profile


def refused(text: str, **inputs: Any) -> list[tuple[str, int]]:
    """Return code and line of each error."""
    outcome = examined(text, **inputs)
    assert outcome.profile is None
    return [(d.code, d.mark.line if d.mark else 0) for d in outcome.diagnostics]


# --- the example of the format ------------------------------------------------------------------


@pytest.fixture(scope="module")
def support() -> CompiledProfile:
    return profile(WHOLE.read_text(encoding="utf-8"), environment={"LMCONF_GPUS": "2"})


def test_the_example_has_its_lms(support: CompiledProfile) -> None:
    wanted = ["gpt", "claude", "dbx", "azure", "sage", "llama", "tiny", "house", "grader"]
    assert list(support.lms) == wanted
    assert support.spec.main == "gpt"
    assert support.lms["gpt"].spec.model == "openai/gpt-4o-mini"


def test_the_examples_defaults_lie_under_every_lm(support: CompiledProfile) -> None:
    for lm in support.lms.values():
        assert lm.spec.num_retries == 8
        assert lm.spec.retry.max == 20.0
        assert lm.spec.cache.ttl == 7 * 86400
        assert lm.spec.cache.store == DiskStore(path="~/.cache/lmconf", max_size=2**31)


def test_the_example_appends_names_and_resolves_them(support: CompiledProfile) -> None:
    gpt = support.lms["gpt"].spec
    uses = [getattr(callback, "use", callback) for callback in gpt.callbacks]
    assert uses == ["jsonl", "acme_lm.hooks:CostMeter"]
    assert isinstance(gpt.fallbacks[0], SoleLMSpec)
    assert gpt.fallbacks[0].model == "anthropic/claude-3-opus-20240229"
    assert support.spec.lms["gpt"].fallbacks == ("claude",)


def test_a_familys_rule_outranks_the_profiles_default(support: CompiledProfile) -> None:
    azure = support.lms["azure"].spec
    assert (azure.base_model, azure.temperature, azure.max_tokens) == ("openai/o3-mini", 1.0, 16000)
    assert azure.api_key == Env(name="AZURE_API_KEY")
    # Changing something else does not bring the forbidden default back.
    assert change_lm(support.lms["azure"], {"num_retries": 1}).spec.temperature == 1.0


def test_the_examples_server_and_variables(support: CompiledProfile) -> None:
    server = support.lms["llama"].spec.launch_kwargs
    assert server is not None
    assert (server.use, server.port, server.args["tp-size"]) == ("sglang", 7501, 2)
    assert support.lms["sage"].spec.aws_region_name == "us-east-1"
    assert support.spec.provenance == {"vars": {"gpus": "LMCONF_GPUS"}}


def test_a_role_extends_another_lm(support: CompiledProfile) -> None:
    grader, claude = support.lms["grader"].spec, support.lms["claude"].spec
    assert (grader.model, grader.api_key, grader.max_tokens) == (
        claude.model,
        claude.api_key,
        200,
    )


def test_a_place_is_remembered_for_every_value(support: CompiledProfile) -> None:
    lines = WHOLE.read_text(encoding="utf-8").splitlines()
    mark = support.lms["gpt"].place("api_key")
    assert mark is not None
    assert "OPENAI_API_KEY" in lines[mark.line - 1]
    inherited = support.lms["claude"].place("cache", "ttl")
    assert inherited is not None
    assert "ttl: 7d" in lines[inherited.line - 1]


# --- composing and names ------------------------------------------------------------------------


def test_a_template_may_spell_a_shorthand() -> None:
    flat = "vars: {cached: false, stop: END}\nmodel: openai/x\n"
    lm = profile(flat + 'cache: "{{ vars.cached }}"\nstop: "{{ vars.stop }}"\n').lms["main"].spec
    assert (lm.cache.mode, lm.stop) == ("disabled", ("END",))


def test_a_fallback_to_oneself_is_dropped_everywhere() -> None:
    text = "defaults: {fallbacks: [b]}\nlms: {a: {model: openai/a}, b: {model: openai/b}}\n"
    found = profile(text)
    assert found.lms["b"].spec.fallbacks == ()
    assert change_lm(found.lms["b"], {"seed": 1}).spec.fallbacks == ()
    assert len(found.lms["a"].spec.fallbacks) == 1


def test_a_fallback_in_place_may_name_what_the_profile_has() -> None:
    text = """
stores: {disk: {backend: disk, path: here}}
callbacks: {audit: {use: meter}}
lms:
  a:
    model: openai/a
    fallbacks: [{model: openai/b, cache: {store: disk}, callbacks: [audit]}]
    budget: {store: disk, tokens: 5, per: day}
"""
    lm = profile(text).lms["a"].spec
    (fallback,) = lm.fallbacks
    assert isinstance(fallback, SoleLMSpec)
    assert fallback.cache.store == DiskStore(path="/srv/profiles/here")
    assert fallback.callbacks[0] != "audit"
    assert lm.budget is not None
    assert lm.budget.store == DiskStore(path="/srv/profiles/here")


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("cache: {store: dsk}", "unknown-name"),
        ("callbacks: [adit]", "unknown-name"),
        ("fallbacks: [c]", "unknown-name"),
        ("fallbacks: [_base]", "unknown-name"),
        ("budget: {tokens: 1, per: day, store: dsk}", "unknown-name"),
        ("fallbacks: [{model: openai/x, cache: {store: dsk}}]", "unknown-name"),
        ("callbacks: [{use: nonsense}]", "unknown-kind"),
        ("callbacks: [{use: 'evil:code'}]", "import-not-allowed"),
        ("transport: nonsense", "unknown-kind"),
    ],
)
def test_a_name_without_a_meaning_is_told_at_its_line(line: str, code: str) -> None:
    text = f"stores: {{disk: {{backend: disk}}}}\nlms:\n  _base: {{}}\n  a:\n    model: openai/a\n    {line}\n"
    names = frozenset[str]()
    assert refused(text, callback_names=names, transport_names=names) == [(code, 6)]


def test_an_unknown_main_is_told() -> None:
    assert refused("main: gtp\nlms: {gpt: {model: openai/a}}\n") == [("unknown-name", 1)]


def test_a_credential_in_defaults_serves_one_provider_alone() -> None:
    lms = "lms:\n  a: {model: openai/a}\n  b: {model: groq/b}\n"
    assert refused(f"defaults: {{api_key: {{$env: K}}}}\n{lms}") == [("credential-crosses", 1)]
    same = profile(f"defaults: {{api_key: {{$env: K}}}}\n{lms.replace('groq', 'openai')}")
    assert same.lms["b"].spec.api_key == Env(name="K")


def test_a_credential_shared_in_a_mapping_made_in_code_is_told_too() -> None:
    from lmconf.diagnostics.model import Source
    from lmconf.document.nodes import from_plain

    content = {
        "defaults": {"api_key": {"$env": "K"}},
        "lms": {"a": {"model": "openai/a"}, "b": {"model": "groq/b"}},
    }
    source = Source("<mapping>")
    root = from_plain(content, Mark(source))
    assert isinstance(root, Map)
    outcome = compile_documents([Document(root, source)], CompilerInputs(name="p"))
    assert [each.code for each in outcome.diagnostics] == ["credential-crosses"]


def test_a_parent_in_another_profile_lies_under_its_heir() -> None:
    def foreign(name: str, mark: Mark) -> Map | None:
        assert name == "team:claude"
        return read_document("model: anthropic/c\nmax_tokens: 5\nseed: 1\n", "team.yaml").root

    text = "lms: {grader: {extends: 'team:claude', max_tokens: 9}}\n"
    lm = profile(text, foreign=foreign).lms["grader"].spec
    assert (lm.model, lm.max_tokens, lm.seed) == ("anthropic/c", 9, 1)


def test_relative_paths_belong_to_the_file_that_states_them() -> None:
    below = read_document(
        "callbacks: {a: {use: jsonl, path: a.jsonl}}\n", "base.yaml", path="/base/b.yaml"
    )
    above = read_document(
        "lms: {x: {model: openai/x, callbacks: [a], api_key: {$file: key.txt}}}\n",
        "p.yaml",
        path="/srv/p.yaml",
    )
    outcome = compile_documents([below, above], CompilerInputs(name="p"))
    assert outcome.profile is not None
    spec = outcome.profile.lms["x"].spec
    assert getattr(spec.callbacks[0], "path", None) == "/base/a.jsonl"
    assert getattr(spec.api_key, "path", None) == "/srv/key.txt"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("model: openai/x\nlms: {}\n", "mixed-forms"),
        ("temperature: 1\n", "no-lms"),
        ("lmconf: 2\nmodel: openai/x\n", "format-version"),
        ("lms: 5\n", "wrong-type"),
        ("lms: {a: 5}\n", "wrong-type"),
        ("defaults: {extends: b}\nlms: {b: {model: openai/b}}\n", "extends-in-defaults"),
        ("callbacks: null\nlms: {b: {model: openai/b}}\n", "wrong-type"),
        ("lms: {a: {extends: b}, b: {extends: a}}\n", "extends-cycle"),
        ("vars: 5\nmodel: openai/x\n", "wrong-type"),
    ],
)
def test_a_document_that_makes_no_sense_is_told(text: str, code: str) -> None:
    assert code in [each for each, _ in refused(text)]


def test_an_abstract_lm_is_checked_and_never_called() -> None:
    found = profile("lms: {_b: {seed: 5}, a: {extends: _b, model: openai/a}}\n")
    assert list(found.lms) == ["a"]
    assert found.lms["a"].spec.seed == 5
    assert refused("lms:\n  _b: {sed: 5}\n  a: {model: openai/a}\n") == [("unknown-key", 2)]


# --- trust --------------------------------------------------------------------------------------


def distrusted(text: str, allowed: Mapping[str, None] | tuple[str, ...] = ()) -> list[Diagnostic]:
    document = read_document(text, "p.yaml", path="/srv/untrusted/p.yaml")
    root = recognise_operators(document.root, [])
    return check_documents([Document(root, document.source)], frozenset(allowed))


@pytest.mark.parametrize(
    "line",
    [
        "callbacks: [{use: 'acme:Meter'}]",
        "launch_kwargs: {use: command, command: [rm]}",
        "train_kwargs: {use: command}",
        "provider: sglang",
        'provider: "{{ vars.p }}"',
        "api_base: https://evil.example",
        "api_base: {$env: OPENAI_API_BASE}",
        "api_key: {$env: OPENAI_API_KEY}",
        "api_key: {$file: /etc/passwd}",
        "api_key: {$given: api_key}",
        "headers: {X: {$env: HOME}}",
        "stop: {$append: [{$env: HOME}]}",
        "cache: {store: {backend: redis, url: 'redis://evil', namespace: a}}",
        "cache: {store: {backend: disk, path: ../../outside}}",
        "cache: {store: {backend: disk, path: ~/outside}}",
        "cache: {store: {backend: disk, path: /outside}}",
        'cache: {store: {backend: disk, path: "{{ vars.p }}"}}',
        "cache: {store: {backend: disk, path: ./inside}}",
        "callbacks: [{use: jsonl, path: runs/a.jsonl}]",
        "transport: acme",
        "allow_http: true",
    ],
)
def test_an_untrusted_document_is_data_only(line: str) -> None:
    found = distrusted(f"model: openai/x\n{line}\n")
    assert [(each.code, each.mark.line if each.mark else 0) for each in found] == [("untrusted", 2)]


def test_an_untrusted_document_may_say_what_is_data() -> None:
    text = """
model: openai/x
temperature: 0.5
cache: {ttl: 1d, store: {backend: memory, max_entries: 9}}
callbacks: [{use: log, level: debug}]
api_key: {$env: ALLOWED_KEY}
"""
    assert distrusted(text, ("ALLOWED_KEY",)) == []


def test_specs_of_a_profile_are_whole(support: CompiledProfile) -> None:
    for name, lm in support.lms.items():
        assert isinstance(lm.spec, LMSpec)
        assert lm.name == f"p:{name}"
        assert not isinstance(lm.spec.cache.store, str)
        assert not any(isinstance(each, str) for each in (*lm.spec.callbacks, *lm.spec.fallbacks))
