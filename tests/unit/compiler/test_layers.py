"""What wins over what: built-in defaults, parents, the file, overrides, and an LM's own parents."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import lmconf
from lmconf.caches import live_store
from lmconf.caches.specs import DiskStore
from lmconf.compiler.inputs import CompilerInputs
from lmconf.compiler.pipeline import CompiledProfile, CompileResult, compile_documents
from lmconf.diagnostics.model import Diagnostic
from lmconf.diagnostics.render import to_text
from lmconf.document import Document, Plain, read_document, write
from lmconf.document.overrides import from_mapping
from lmconf.schema.declaration import fields
from lmconf.spec.lm import LMSpec


def compiled(*texts: str, overrides: dict[str, Any] | None = None, **inputs: Any) -> CompileResult:
    """Return what documents, the lowest first, compile to; each has a folder of its own."""
    found: list[Diagnostic] = []
    assignments = tuple(from_mapping(overrides or {}, found))
    assert found == []
    documents: list[Document] = [
        read_document(text, f"{number}.yaml", path=f"/srv/{number}/{number}.yaml")
        for number, text in enumerate(texts)
    ]
    return compile_documents(documents, CompilerInputs(name="p", assignments=assignments, **inputs))


def profile(*texts: str, **inputs: Any) -> CompiledProfile:
    outcome = compiled(*texts, **inputs)
    assert outcome.profile is not None, to_text(outcome.diagnostics)
    return outcome.profile


def spec(*texts: str, lm: str = "a", **inputs: Any) -> LMSpec:
    return profile(*texts, **inputs).lms[lm].spec


# --- the order ----------------------------------------------------------------------------------

NAMES = ("temperature", "max_tokens", "num_retries", "seed", "n")
SETTINGS = st.dictionaries(st.sampled_from(NAMES), st.integers(1, 2), max_size=len(NAMES))


@given(st.lists(SETTINGS, min_size=6, max_size=6))
def test_each_layer_wins_over_those_below_it(layers: list[dict[str, int]]) -> None:
    """Built-in defaults < `defaults` < the LM's parent < the LM, each by file, < overrides."""
    default, late_default, parent, late_parent, own, override = layers
    below: dict[str, Any] = {"defaults": default, "lms": {"_p": {"model": "openai/a", **parent}}}
    above: dict[str, Any] = {
        "defaults": late_default,
        "lms": {"_p": late_parent, "a": {"extends": "_p", **own}},
    }
    given = {f"lms.a.{name}": value for name, value in override.items()}
    found = spec(write(below), write(above), overrides=given)
    for name in NAMES:
        wanted: object = fields(LMSpec)[name].default
        for layer in layers:
            wanted = layer.get(name, wanted)
        assert getattr(found, name) == wanted, name


@given(st.permutations(["defaults", "_p", "a"]), st.sets(st.sampled_from(NAMES[1:])))
def test_an_override_stands_where_it_is_laid(order: list[str], said: set[str]) -> None:
    """One of `defaults` or of a parent reaches what inherits, under what an LM says itself."""
    text = "defaults: {}\nlms: {_p: {model: openai/a}, a: {extends: _p}, b: {extends: _p}}\n"
    overrides = {}
    for value, where in enumerate(order, start=1):
        for name in said:
            overrides[f"{where if where == 'defaults' else f'lms.{where}'}.{name}"] = value
    lms = profile(text, overrides=overrides).lms
    for name in said:
        assert getattr(lms["a"].spec, name) == order.index("a") + 1
        assert getattr(lms["b"].spec, name) == order.index("_p") + 1


def test_an_override_of_every_lm_lies_over_what_each_says() -> None:
    text = "lms: {a: {model: openai/a, seed: 1}, b: {extends: a, seed: 2}, _c: {seed: 3}}\n"
    lms = profile(text, overrides={"lms.*.seed": 9, "lms.*.cache.mode": "disabled"}).lms
    assert {(lm.spec.seed, lm.spec.cache.mode) for lm in lms.values()} == {(9, "disabled")}


def test_the_last_override_of_a_value_wins() -> None:
    first = {"lms.*.seed": 1, "lms.a.seed": 2}
    text = "lms: {a: {model: openai/a}}\n"
    assert spec(text, overrides=first).seed == 2
    assert spec(text, overrides=dict(reversed(first.items()))).seed == 1


def test_an_override_of_one_lm_needs_no_name() -> None:
    found = spec("model: openai/a\n", lm="main", overrides={"seed": 1, "lms.*.n": 2})
    assert (found.seed, found.n) == (1, 2)


def test_operators_in_overrides_work_on_what_is_there() -> None:
    text = "callbacks: {x: {use: log}}\nlms: {a: {model: openai/a, callbacks: [x], seed: 1}}\n"
    overrides = {"lms.a.callbacks": {"$append": [{"use": "log"}]}, "lms.a.seed": {"$unset": True}}
    found = spec(text, overrides=overrides)
    assert (len(found.callbacks), found.seed) == (2, None)


# --- defaults -----------------------------------------------------------------------------------


def test_defaults_lie_under_the_root_of_a_chain_once() -> None:
    text = """
defaults: {stop: [d], seed: 1}
lms:
  _root: {model: openai/a, stop: {$append: [r]}, seed: 2}
  mid: {extends: _root, stop: {$append: [m]}}
  a: {extends: mid, stop: {$append: [a]}}
"""
    found = spec(text)
    assert found.stop == ("d", "r", "m", "a")
    assert found.seed == 2


def test_a_default_that_a_family_forbids_gives_way_and_a_statement_is_a_mistake() -> None:
    text = "defaults: {temperature: 0.0, max_tokens: 200}\nlms: {a: {model: openai/o3-mini}}\n"
    found = spec(text)
    assert (found.temperature, found.max_tokens) == (1.0, 16_000)
    for said in ("temperature: 0.0", "max_tokens: 200"):
        outcome = compiled(text.replace("o3-mini", f"o3-mini, {said}"))
        assert [each.code for each in outcome.diagnostics] == ["family-rule"]


def test_a_statement_in_a_mapping_is_not_taken_for_a_default() -> None:
    """All of a mapping's values have one place: they are told apart all the same."""
    document = {"defaults": {"temperature": 0.0}, "lms": {"a": {"model": "openai/o3-mini"}}}
    assert lmconf.load(document)["a"].spec.temperature == 1.0
    stated = {**document, "lms": {"a": {"model": "openai/o3-mini", "temperature": 0.5}}}
    with pytest.raises(lmconf.ProfileError, match="family-rule"):
        lmconf.load(stated)


def test_a_default_that_a_template_gives_gives_way_as_well() -> None:
    document: dict[str, Plain] = {
        "vars": {"cold": 0.0},
        "defaults": {"temperature": "{{ vars.cold }}"},
        "lms": {"a": {"model": "openai/o3-mini"}, "b": {"model": "openai/gpt-4o"}},
    }
    for loaded in (lmconf.load(document)._compiled, profile(write(document))):
        assert [lm.spec.temperature for lm in loaded.lms.values()] == [1.0, 0.0]


def test_a_default_that_gave_way_is_not_in_what_was_said() -> None:
    text = "defaults: {temperature: 0.0, seed: 1}\nlms: {a: {model: openai/o3-mini}}\n"
    assert profile(text).lms["a"].stated == {"model": "openai/o3-mini", "seed": 1}


# --- in-file parents ----------------------------------------------------------------------------


def test_another_model_than_the_parents_resets_what_is_bound_to_it() -> None:
    text = """
lms:
  base:
    model: azure/reasoner
    base_model: openai/o3
    pricing: {input: 1, output: 2}
    finetuning_model: openai/ft
    train_kwargs: {n_epochs: 3}
    api_version: "1"
    seed: 4
  a: {extends: base, model: azure/writer}
  b: {extends: a, model: azure/writer, base_model: openai/gpt-4o}
  c: {extends: b, seed: 5}
"""
    found = {name: lm.spec for name, lm in profile(text).lms.items()}
    assert (found["a"].base_model, found["a"].pricing, found["a"].finetuning_model) == (
        None,
        None,
        None,
    )
    assert (found["a"].train_kwargs, found["a"].api_version, found["a"].seed) == (None, "1", 4)
    assert (found["a"].temperature, found["base"].temperature) == (0.0, 1.0)
    assert (found["c"].base_model, found["c"].seed) == ("openai/gpt-4o", 5)


def test_a_model_given_by_an_override_resets_what_is_bound_too() -> None:
    text = "lms: {a: {model: azure/r, base_model: openai/o3}, b: {extends: a}}\n"
    lms = profile(text, overrides={"lms.a.model": "azure/w"}).lms
    assert [lm.spec.base_model for lm in lms.values()] == [None, None]


@pytest.mark.parametrize(
    ("below", "above", "server"),
    [
        ("use: vllm, port: 1", "port: 2", ("vllm", 2, {"seed": 1})),
        ("use: vllm, port: 1", "use: sglang", ("sglang", 0, {})),
    ],
)
def test_a_block_merges_until_its_kind_changes(
    below: str, above: str, server: tuple[str, int, dict[str, int]]
) -> None:
    text = f"""
lms:
  base: {{model: openai/a, launch_kwargs: {{{below}, args: {{seed: 1}}}}}}
  a: {{extends: base, launch_kwargs: {{{above}}}}}
"""
    found = spec(text).launch_kwargs
    assert found is not None
    assert (found.use, found.port, found.args) == server


def test_shorthands_merge_with_what_is_written_in_full() -> None:
    base = "lms: {a: {model: openai/a, cache: {ttl: 1d, namespace: x}, timeout: {connect: 3}}}\n"
    for short, mode in (("false", "disabled"), ("true", "read_write")):
        found = spec(base, f"lms: {{a: {{cache: {short}, timeout: 5s}}}}\n")
        assert (found.cache.mode, found.cache.ttl, found.cache.namespace) == (mode, 86400.0, "x")
        assert (found.timeout.total, found.timeout.connect) == (5.0, 3.0)


# --- variables ----------------------------------------------------------------------------------


def test_what_was_read_from_the_environment_is_kept_in_the_state_of_each_lm() -> None:
    text = """
vars:
  region: {$env: MY_REGION, default: here}
  unused: {$env: OTHER, default: x}
  plain: 5
lms: {a: {model: sagemaker/x, aws_region_name: "{{ vars.region }}", provenance: {by: me}}}
"""
    found = profile(text, environment={"MY_REGION": "there"})
    assert found.lms["a"].spec.aws_region_name == "there"
    baked = found.spec.provenance["vars"]
    assert baked["region"] == "MY_REGION"
    assert found.lms["a"].spec.provenance == {"by": "me", "vars": baked}
    state = lmconf.LM.of(found.lms["a"]).dump_state("minimal")
    assert state["provenance"] == {"by": "me", "vars": baked}
    again = lmconf.load_state(state)
    assert again.spec == found.lms["a"].spec


def test_given_variables_win_and_leave_nothing_of_the_environment() -> None:
    text = "vars: {tier: {$env: TIER}}\nmodel: 'openai/{{ vars.tier }}'\n"
    found = profile(text, environment={"TIER": "env"}, variables={"tier": "given"})
    assert found.lms["main"].spec.model == "openai/given"


# --- stores -------------------------------------------------------------------------------------


def test_equal_stores_are_one_live_store_wherever_they_are_written(tmp_path: Path) -> None:
    named = f"""
stores: {{one: {{backend: disk, path: {tmp_path}, max_size: 1MiB}}}}
lms:
  a: {{model: openai/a, cache: {{store: one}}}}
  b: {{model: openai/b, cache: {{store: {{backend: disk, path: {tmp_path}, max_size: 1048576}}}}}}
  c: {{model: openai/c, cache: {{store: {{backend: disk, path: {tmp_path}/c, max_size: 1MiB}}}}}}
"""
    stores = []
    for lm in profile(named).lms.values():
        assert isinstance(lm.spec.cache.store, DiskStore)
        stores.append(live_store(lm.spec.cache.store))
    assert stores[0] is stores[1]
    assert stores[0] is not stores[2]
    for store in stores:
        store.close()


# --- places -------------------------------------------------------------------------------------

PLACED = """\
defaults:
  num_retries: 3
lms:
  base:
    model: openai/a
    seed: 1
  a:
    extends: base
    cache:
      ttl: 1d
    stop: [x, y]
"""


LINES: list[tuple[tuple[str | int, ...], int]] = [
    (("num_retries",), 2),
    (("model",), 5),
    (("seed",), 6),
    (("cache",), 10),
    (("cache", "ttl"), 10),
    (("stop",), 11),
    (("stop", 1), 11),
]


@pytest.mark.parametrize(("path", "line"), LINES)
def test_a_place_is_the_line_that_says_a_value(path: tuple[str | int, ...], line: int) -> None:
    mark = profile(PLACED).lms["a"].place(*path)
    assert mark is not None
    assert (mark.source.name, mark.line) == ("0.yaml", line)


def test_what_nobody_said_has_the_place_of_its_lm() -> None:
    mark = profile(PLACED).lms["a"].place("temperature")
    assert mark is not None
    assert mark.source.name == "0.yaml"


def test_each_field_of_an_lm_made_of_two_files_knows_its_own() -> None:
    lm = profile("lms: {a: {model: openai/a, seed: 1, n: 1}}\n", "lms: {a: {seed: 2}}\n").lms["a"]
    places = {name: lm.place(name) for name in ("model", "seed", "n")}
    names = {name: mark.source.name for name, mark in places.items() if mark is not None}
    assert names == {"model": "0.yaml", "seed": "1.yaml", "n": "0.yaml"}


# --- the two forms ------------------------------------------------------------------------------


def test_one_lm_is_a_profile_with_that_lm_as_its_main() -> None:
    found = profile("model: openai/a\n")
    assert (found.flat, [*found.lms], found.spec.main) == (True, ["main"], "main")
    assert found.lms["main"].name == "p"
    assert profile("lms: {a: {model: openai/a}}\n").lms["a"].name == "p:a"


def test_the_only_lm_and_one_called_main_need_no_main() -> None:
    assert profile("lms: {a: {model: openai/a}, _b: {seed: 1}}\n").spec.main == "a"
    two = "lms: {a: {model: openai/a}, {}: {model: openai/b}}\n"
    assert profile(two.replace("{}:", "main:")).spec.main == "main"
    assert profile(two.replace("{}:", "b:")).spec.main is None


def test_the_order_of_layers_does_not_change_the_order_of_lms() -> None:
    texts = ["lms: {b: {model: openai/b}, a: {model: openai/a}}\n", "lms: {c: {model: openai/c}}\n"]
    assert [*profile(*texts).lms] == ["b", "a", "c"]
    for below, above in itertools.permutations(texts):
        assert {*profile(below, above).lms} == {"a", "b", "c"}
