"""The generated schemas: fresh, well-formed, good for an editor, and honest."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from jsonschema import Draft202012Validator
from referencing import Registry

from lmconf import testing
from lmconf.compiler.inputs import CompilerInputs
from lmconf.compiler.pipeline import compile_documents
from lmconf.document import Plain, read_document, read_value, to_plain, write
from lmconf.spec.document_schemas import authored_schema, resolved_schema
from lmconf.spec.state import dump_profile

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
ACCEPT = sorted((HERE / "accept").glob("*.yaml"))
REJECT = sorted((HERE / "reject").glob("*.yaml"))
SCHEMAS = {
    name: json.loads((ROOT / "schemas" / name).read_text(encoding="utf-8"))
    for name in ("lmconf.v1.json", "lmconf.resolved.v1.json")
}


def judge(schema: dict[str, Any]) -> Draft202012Validator:
    registry: Registry[Any] = Registry()
    return Draft202012Validator(schema, registry=registry)


AUTHORED = judge(SCHEMAS["lmconf.v1.json"])
RESOLVED = judge(SCHEMAS["lmconf.resolved.v1.json"])


def plain(path: Path) -> Plain:
    return to_plain(read_value(path.read_text(encoding="utf-8"), path.name))


@pytest.fixture
def generate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "tools/generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_generated_files_are_fresh(generate: ModuleType) -> None:
    assert generate.stale() == []


def test_a_stale_file_is_named(
    generate: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "schemas").mkdir()
    (tmp_path / "schemas/lmconf.v1.json").write_text("{}")
    assert generate.stale(tmp_path) == list(generate.GENERATED)
    assert generate.main(["--check"], tmp_path) == 1
    assert "schemas/lmconf.v1.json is stale" in capsys.readouterr().err
    assert (tmp_path / "schemas/lmconf.v1.json").read_text() == "{}"
    assert generate.main([], tmp_path) == 0
    assert generate.stale(tmp_path) == []


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_schema_is_valid_and_its_name_is_no_host(name: str) -> None:
    schema = SCHEMAS[name]
    Draft202012Validator.check_schema(schema)
    assert schema["$id"].startswith("urn:lmconf:")
    hosts = json.dumps({key: value for key, value in schema.items() if key != "$schema"})
    assert "json-schema.org" not in hosts


def test_the_corpora_are_large_enough() -> None:
    assert len(ACCEPT) >= 25
    assert len(REJECT) >= 25


@pytest.mark.parametrize("path", ACCEPT, ids=lambda path: path.stem)
def test_a_right_document_is_accepted(path: Path) -> None:
    assert [(list(e.absolute_path), e.message) for e in AUTHORED.iter_errors(plain(path))] == []


@pytest.mark.parametrize("path", REJECT, ids=lambda path: path.stem)
def test_a_wrong_document_is_rejected_at_its_own_place(path: Path) -> None:
    wanted = path.read_text(encoding="utf-8").splitlines()[0].removeprefix("# at ")
    places = {"/" + "/".join(map(str, e.absolute_path)) for e in AUTHORED.iter_errors(plain(path))}
    assert places
    assert any(place.startswith(wanted) or place == _parent(wanted) for place in places), places


def _parent(place: str) -> str:
    # An unknown key is reported at the mapping that holds it.
    return place.rpartition("/")[0] or "/"


@given(testing.documents())
@settings(max_examples=60, suppress_health_check=list(HealthCheck))
def test_whatever_compiles_is_accepted_by_the_schemas(document: dict[str, Any]) -> None:
    assert [e.message for e in AUTHORED.iter_errors(document)] == []
    inputs = CompilerInputs(
        name="drawn",
        callback_names=testing.NAMES,
        transport_names=testing.NAMES,
        allow_imports=testing.IMPORTS,
    )
    outcome = compile_documents(
        [read_document(write(document), "d.yaml", path="/srv/d.yaml")], inputs
    )
    assert outcome.profile is not None
    for style in ("resolved", "minimal"):
        state = dump_profile(outcome.profile.spec, outcome.profile.stated, style)
        assert [e.message for e in AUTHORED.iter_errors(state)] == []
        assert [e.message for e in RESOLVED.iter_errors(state)] == []


def every_field(schema: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for type_, definition in schema["$defs"].items():
        for name, field in definition.get("properties", {}).items():
            if "x-lmconf-class" in field:
                yield type_, name, field


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_field_is_described_with_class_and_right_examples(name: str) -> None:
    schema = SCHEMAS[name]
    fields = list(every_field(schema))
    assert len(fields) > 100
    for type_, field_name, field in fields:
        assert field["description"], (type_, field_name)
        assert field["x-lmconf-class"] in ("identity", "connection", "operations", "secret")
        alone = {**field, "$defs": schema["$defs"], "$id": "urn:lmconf:field"}
        # Examples are written as a person writes them, with shorthands.
        for example in field.get("examples", ()) if name == "lmconf.v1.json" else ():
            assert judge(alone).is_valid(example), (type_, field_name, example)
        if "default" in field:
            assert judge(alone).is_valid(field["default"]), (type_, field_name)


def reachable(schema: dict[str, Any], root: dict[str, Any], seen: set[str]) -> Iterator[Any]:
    """Yield what an editor can offer: values of `enum` and `const`, and names of properties."""
    yield from schema.get("enum", ())
    yield from schema.get("properties", ())
    for tag in ("backend", "use"):
        if tag in schema.get("properties", {}):
            yield from reachable(schema["properties"][tag], root, seen)
    for key in ("then", "else"):
        if isinstance(schema.get(key), dict):
            yield from reachable(schema[key], root, seen)
    for key in ("allOf", "anyOf"):
        for part in schema.get(key, ()):
            yield from reachable(part, root, seen)
    target = schema.get("$ref")
    if target is not None and target not in seen:
        found: Any = root
        for step in target.removeprefix("#/").split("/"):
            found = found[step]
        yield from reachable(found, root, {*seen, target})


@pytest.mark.parametrize(
    ("type_", "field", "wanted"),
    [
        ("SoleLMSpec", "model_type", {"chat", "text", "responses"}),
        ("SoleLMSpec", "cache", {"mode", "store", "ttl"}),
        ("SoleLMSpec", "api_key", {"$env", "$file"}),
        ("CachePolicy", "mode", {"read_write", "disabled"}),
        ("CachePolicy", "store", {"disk", "memory", "redis", "max_entries", "path"}),
        ("LaunchSpec", "use", {"llama_cpp", "sglang"}),
        ("TransportSpec", "use", {"auto", "litellm"}),
        ("SoleLMSpec", "verbosity", {"low", "high"}),
    ],
)
def test_an_editor_can_offer_values_and_keys(type_: str, field: str, wanted: set[str]) -> None:
    schema = SCHEMAS["lmconf.v1.json"]
    found = set(reachable(schema["$defs"][type_]["properties"][field], schema, set()))
    assert wanted <= found


def test_an_editor_can_offer_both_forms_in_an_empty_document() -> None:
    schema = SCHEMAS["lmconf.v1.json"]
    assert {"model", "temperature", "lms", "stores"} <= set(reachable(schema, schema, set()))


def test_schemas_are_made_the_same_every_time() -> None:
    assert authored_schema() == authored_schema()
    assert resolved_schema() == resolved_schema()
