"""Every field that a document can state is either allowed to untrusted documents, or refused."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import pytest
from msgspec import Struct

import lmconf
from lmconf.compiler.trust import allows, allows_block, check_documents
from lmconf.diagnostics.model import Mark, Source
from lmconf.document.nodes import Document, Map, from_plain
from lmconf.document.operators import recognise_operators
from lmconf.errors import ProfileError
from lmconf.schema import (
    Either,
    Integer,
    Kinds,
    ListOf,
    MapOf,
    Record,
    Shape,
)
from lmconf.schema.declaration import Spec, fields, operations
from lmconf.spec.lm import LMSpec, SoleLMSpec
from lmconf.spec.profile import LMDocument, LMEntry, ProfileDocument
from tests.loopback import chat, serving

Way = tuple[tuple[type[Struct], str], ...]


def blocks_of(shape: Shape) -> Iterator[tuple[type[Struct], Any]]:
    """Yield each type of block in `shape`, and what makes of such a block a value of the shape."""
    match shape:
        case Record(type=type_):
            yield type_, lambda block: block
        case Kinds(tag=tag, table=table):
            for kind, type_ in table.items():
                named = "acme" if kind == "*" else kind
                yield type_, lambda block, tag=tag, named=named: {tag: named, **block}
        case ListOf(item=item):
            for type_, made in blocks_of(item):
                yield type_, lambda block, made=made: [made(block)]
        case MapOf(value=value):
            for type_, made in blocks_of(value):
                yield type_, lambda block, made=made: {"a": made(block)}
        case Either(options=options):
            for option in options:
                yield from blocks_of(option)
        case _:
            return


def ways(type_: type[Struct], above: Way = ()) -> Iterator[tuple[Way, Any]]:
    """Yield every field path below a block of `type_`, with a block that states it."""
    for name, declared in fields(type_).items():
        way = (*above, (type_, name))
        yield way, {name: declared.shape.example()}
        for inner, made in blocks_of(declared.shape):
            if inner in {each for each, _ in above} or len(above) > 4:
                continue
            for longer, block in ways(inner, way):
                yield longer, {name: made(block)}


def whole(root: type[Struct], block: dict[str, Any]) -> dict[str, Any]:
    return {"model": "openai/tiny", **block} if root is LMDocument else {"lms": {}, **block}


ALL = [(way, whole(r, block)) for r in (LMDocument, ProfileDocument) for way, block in ways(r)]
TYPES = {type_ for way, _ in ALL for type_, _ in way}


def refusals(plain: dict[str, Any]) -> list[tuple[str | int, ...]]:
    mark = Mark(Source("p.yaml"))
    root = from_plain(plain, mark)
    assert isinstance(root, Map)
    root = recognise_operators(root, [])
    return [each.path for each in check_documents([Document(root, mark.source)], frozenset())]


def test_every_field_is_declared_as_allowed_or_says_what_it_could_do() -> None:
    """A new field fails here until somebody has decided what it could do."""
    assert len(ALL) > 400
    for type_ in TYPES:
        for name, field in fields(type_).items():
            whole_block = bool(getattr(type_, "__risk__", ""))
            whole_block = whole_block or type_.__name__ in _BELOW_REFUSED
            decided = bool(field.untrusted) + bool(field.risk) + whole_block
            assert decided == 1, (type_.__name__, name)
            assert allows(type_, name) is bool(field.untrusted)


def test_a_block_with_a_risk_is_refused_as_a_whole() -> None:
    refused = {type_ for type_ in TYPES if getattr(type_, "__risk__", "")}
    assert {type_.__name__ for type_ in refused} == {
        "CustomCallback",
        "DiskStore",
        "JsonlCallback",
        "LiteLLMLogger",
        "MeterCallback",
        "OtelCallback",
        "RedisStore",
    }
    assert not any(map(allows_block, refused))


# They stand below fields and blocks that are refused as wholes.
_BELOW_REFUSED = frozenset(
    "BreakerPolicy LaunchSpec LiteLLMLoggerArgs Limits Pricing Ready ServerLog TransportSpec".split()
) | {type_.__name__ for type_ in TYPES if type_.__module__ == "lmconf.trainers.specs"}


def test_what_may_only_be_lowered_has_a_default_to_be_compared_with() -> None:
    lowered = [
        field for type_ in TYPES for field in fields(type_).values() if field.untrusted == "lower"
    ]
    assert len(lowered) > 5
    assert all(type(field.default) in (int, float) for field in lowered)


def test_a_field_that_is_declared_with_nothing_said_is_refused() -> None:
    class Later(LMSpec, frozen=True, kw_only=True):
        anything: Annotated[int, operations(Integer(), "Something new.")] = 0

    assert not allows(Later, "anything")
    assert allows(Later, "temperature")


def test_no_field_is_both_allowed_and_a_risk() -> None:
    class Both(Spec, frozen=True, kw_only=True):
        field: Annotated[int, operations(Integer(), "A field.", untrusted=True, risk="leak")] = 0

    with pytest.raises(TypeError, match=r"Both\.field is allowed in spite of its risk"):
        fields(Both)


@pytest.mark.parametrize(
    ("way", "document"), [pytest.param(w, d, id=".".join(n for _, n in w)) for w, d in ALL]
)
def test_a_document_may_state_what_is_on_the_list_and_nothing_else(
    way: Way, document: dict[str, Any]
) -> None:
    allowed = all(allows(type_, name) for type_, name in way)
    assert (not refusals(document)) is allowed, document


@pytest.mark.parametrize("root", [LMSpec, SoleLMSpec, LMEntry])
def test_an_lm_is_held_to_the_same_wherever_it_stands(root: type[Struct]) -> None:
    for name in fields(root):
        at_the_top = (
            bool(refusals({"model": "openai/tiny", name: {}})) if name != "extends" else False
        )
        documents: list[dict[str, Any]] = [
            {"lms": {"a": {name: {}}}},
            {"lms": {"_a": {name: {}}}},
            {"defaults": {name: {}}, "lms": {}},
            {"lms": {"a": {"fallbacks": [{name: {}}]}}},
            {"lms": {"a": {"fallbacks": {name: {}}}}},
            {"lms": {"a": {"fallbacks": {"$append": [{name: {}}]}}}},
            {"lms": {"a": {"pool": [{"$value": {name: {}}}]}}},
            {"lms": {"$value": {"a": {name: {}}}}},
        ]
        for document in documents:
            assert bool(refusals(document)) is at_the_top, document


# The attack as it was: a record that a later start of the service runs


ATTACK = "model: openai/$(touch ran)\nmodel_type: chat\n"
PLACES = {
    "entrypoint.sh": (["sh", "entrypoint.sh"], "echo started\n"),
    "Makefile": (["make", "-f", "Makefile"], "start:\n\t@echo started\n"),
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("untrusted", [True, False])
def test_nothing_that_a_service_runs_is_written_by_an_untrusted_document(
    place: str, untrusted: bool, tmp_path: Path
) -> None:
    command, text = PLACES[place]
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    (tmp_path / place).write_text(text)
    document = tmp_path / "p.yaml"
    stated = ATTACK if place.endswith(".sh") else ATTACK.replace("$(", "$(shell ")
    document.write_text(f"{stated}callbacks: [{{use: jsonl, path: {place}}}]\n")
    with serving(chat()) as server:
        own = {"api_base": server.v1, "api_key": ""}
        if untrusted:
            with pytest.raises(ProfileError, match="may not write files"):
                lmconf.load(document, untrusted=True, overrides=own)
            assert not server.received
        else:
            # So that it is seen to be an attack: what is trusted may write where it says.
            lmconf.load(document, overrides=own).lm("hi", cache=False)
    started = subprocess.run(
        command, cwd=tmp_path, env=os.environ, capture_output=True, timeout=60, check=False
    )
    assert (tmp_path / "ran").exists() is not untrusted, started
    assert ((tmp_path / place).read_text() == text) is untrusted


@pytest.mark.parametrize("place", [*PLACES, "conftest.py", "p.yaml"])
@pytest.mark.parametrize(
    "block",
    [
        "callbacks: [{{use: jsonl, path: {0}}}]",
        "callbacks: [{{use: meter, path: {0}}}]",
        "cache: {{store: {{backend: disk, path: {0}}}}}",
        "budget: {{tokens: 9, per: day, store: {{backend: disk, path: {0}}}}}",
        "launch_kwargs: {{use: llama_cpp, log: {{path: {0}}}}}",
        "train_kwargs: {{use: local, output: {0}}}",
    ],
)
def test_an_untrusted_document_writes_nowhere(place: str, block: str, tmp_path: Path) -> None:
    folder = tmp_path / "documents"
    folder.mkdir()
    document = folder / "p.yaml"
    document.write_text(f"model: openai/tiny\n{block.format(place)}\n")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(ProfileError, match="untrusted"):
        lmconf.load(document, untrusted=True)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
