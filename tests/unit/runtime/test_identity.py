"""Which fields tell answers apart: read from their declared roles, so a new field is covered."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from lmconf.errors import CallError
from lmconf.loader.api import load
from lmconf.retries.specs import RetryPolicy
from lmconf.runtime.identity import file_digest, identity_digest, identity_facts, may_change
from lmconf.schema import Choice, Duration, Flag, Integer, Json, ListOf, MapOf, Number, Text
from lmconf.schema.declaration import fields
from lmconf.schema.frozen import FrozenMap, freeze
from lmconf.secrets.references import Env, File
from lmconf.spec.build import make_lm
from lmconf.spec.lm import LMSpec
from lmconf.trainers.specs import TrainSpec

BASE = make_lm({"model": "openai/gpt-4o-mini", "api_key": "", "api_base": "http://localhost:1/v1"})


def digest(spec: LMSpec) -> bytes:
    return identity_digest(spec, identity_facts(spec, BASE))


def changed(**settings: Any) -> bytes:
    return digest(msgspec.structs.replace(BASE.spec, **settings))


def another(name: str) -> Any:
    """Some value of a field's shape that is not its default."""
    special: dict[str, Any] = {
        "cache": msgspec.structs.replace(BASE.spec.cache, namespace="b"),
        "launch_kwargs": make_lm(
            {"model": "openai/x", "launch_kwargs": {"use": "llama_cpp", "weights": "w"}}
        ).spec.launch_kwargs,
        "logprobs": True,
        "tool_choice": "auto",
        "rollout_id": 3,
        "model_type": "text",
    }
    if name in special:
        return special[name]
    shape = fields(LMSpec)[name].shape
    options = getattr(shape, "options", (shape,))
    match options[0]:
        case Text() | Choice():
            return "low"
        case Integer() | Number() | Duration():
            return 2
        case Flag():
            return True
        case ListOf(item=Json()):
            return freeze([{"type": "function"}])
        case ListOf():
            return ("a",)
        case MapOf():
            return FrozenMap({"5": 1.0})
        case Json():
            return FrozenMap({"a": 1})
        case unknown:
            raise AssertionError(f"{name}: {unknown}")


IDENTITY = [name for name, field in fields(LMSpec).items() if field.role == "identity"]


@pytest.mark.parametrize("name", [*IDENTITY, "launch_kwargs", "cache"])
def test_every_identity_field_counts(name: str) -> None:
    assert changed(**{name: another(name)}) != digest(BASE.spec)


@pytest.mark.parametrize(
    "settings",
    [
        {"num_retries": 1},
        {"retry": RetryPolicy(initial=9.0)},
        {"deadline": 1.0},
        {"cache_in_memory": False},
        {"user": "someone"},
        {"metadata": FrozenMap({"a": "b"})},
        {"api_key": Env(name="OTHER")},
        {"azure_ad_token": Env(name="OTHER")},
        {"headers": FrozenMap({"TraceParent": "1"})},
        {"provenance": FrozenMap({"a": 1})},
        {"train_kwargs": TrainSpec(n_epochs=1)},
        {"allow_http": True},
    ],
    ids=lambda settings: next(iter(settings)),
)
def test_secrets_and_operations_never_count(settings: dict[str, Any]) -> None:
    assert changed(**settings) == digest(BASE.spec)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("http://localhost:1/v1", "http://localhost:1/v1/", True),
        ("http://localhost:1/v1", "http://localhost:2/v1", False),
        ("http://localhost:1/v1", "http://localhost:1/v2", False),
    ],
)
def test_an_address_counts_by_origin_and_path(one: str, other: str, same: bool) -> None:
    assert (changed(api_base=one) == changed(api_base=other)) is same


def test_a_reference_counts_by_what_it_leads_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BASE", "http://localhost:1/v1")
    assert changed(api_base=Env(name="BASE")) == digest(BASE.spec)


def test_a_named_endpoint_stands_for_the_address() -> None:
    one = changed(endpoint="house", api_base="http://localhost:1/v1")
    assert one == changed(endpoint="house", api_base="http://localhost:2/v1")


def test_headers_count_by_name_without_case() -> None:
    assert changed(headers=FrozenMap({"X-A": "1"})) == changed(headers=FrozenMap({"x-a": "1"}))
    assert changed(headers=FrozenMap({"X-A": "1"})) != changed(headers=FrozenMap({"X-A": "2"}))


STEERS: dict[str, dict[str, Any]] = {
    "a header": {"headers": FrozenMap({"X-Tenant": Env(name="TENANT")})},
    "a header that is formatted": {
        "headers": FrozenMap({"X-Tenant": Env(name="TENANT", format="of {}")})
    },
    "the body": {"extra": FrozenMap({"top_k": Env(name="TENANT")})},
    "deep in the body": {"extra": freeze({"a": [{"b": Env(name="TENANT")}]})},
    "a tool": {"tools": freeze([{"type": "function", "description": Env(name="TENANT")}])},
    "a form": {"response_format": freeze({"type": Env(name="TENANT")})},
    "a server": {
        "launch_kwargs": make_lm(
            {
                "model": "openai/x",
                "launch_kwargs": {
                    "use": "llama_cpp",
                    "weights": "w",
                    "args": {"ctx-size": {"$env": "TENANT"}},
                },
            }
        ).spec.launch_kwargs
    },
}


@pytest.mark.parametrize("settings", STEERS.values(), ids=STEERS)
def test_a_reference_that_steers_answers_counts_by_what_it_leads_to(
    settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    found: dict[str, set[bytes]] = {}
    for value in ("acme-1", "acme-2", "acme-1"):
        monkeypatch.setenv("TENANT", value)
        found.setdefault(value, set()).add(changed(**settings))
        spec = msgspec.structs.replace(BASE.spec, **settings)
        assert value not in str(identity_facts(spec, BASE)), "the value itself is not kept"
    assert [len(digests) for digests in found.values()] == [1, 1]
    assert found["acme-1"] != found["acme-2"]
    assert may_change(msgspec.structs.replace(BASE.spec, **settings))
    monkeypatch.delenv("TENANT")
    with pytest.raises(CallError, match="TENANT"):
        changed(**settings)


def test_a_file_counts_by_what_it_says(tmp_path: Path) -> None:
    note = tmp_path / "note"
    headers = FrozenMap({"X-Tenant": File(path=str(note))})
    found = set()
    for text in ("one", "two"):
        note.write_text(text)
        found.add(changed(headers=headers))
    assert len(found) == 2


SECRETS: dict[str, dict[str, Any]] = {
    "a header by its name": {"headers": FrozenMap({"Authorization": Env(name="ACME")})},
    "a header by its variable": {"headers": FrozenMap({"X-Team": Env(name="TEAM_TOKEN")})},
    "a header by its file": {"headers": FrozenMap({"X-Team": File(path="/run/team_token")})},
    "the body by its name": {"extra": freeze({"tool": {"access_token": Env(name="ACME")}})},
}


@pytest.mark.parametrize("settings", SECRETS.values(), ids=SECRETS)
def test_a_reference_to_a_secret_counts_by_its_name(
    settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = set()
    for value in ("one", "two"):
        monkeypatch.setenv("ACME", value)
        monkeypatch.setenv("TEAM_TOKEN", value)
        found.add(changed(**settings))
    assert len(found) == 1
    assert found != {digest(BASE.spec)}


def test_a_pool_counts_what_its_own_references_lead_to(monkeypatch: pytest.MonkeyPatch) -> None:
    members = [{"model": "openai/x", "api_key": "", "api_base": "http://localhost:1/v1"}]
    found = set()
    for named in ({}, {"endpoint": "house"}):
        pooled = {"pool": members, "extra": {"top_k": {"$env": "TOPK"}}, **named}
        with load(pooled).lm as lm:
            for value in ("1", "2"):
                monkeypatch.setenv("TOPK", value)
                found.add(lm._parts().identity.digest_of(lm.spec))
    assert len(found) == 4


def test_data_that_spells_a_reference_is_no_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOPK", "1")
    found = [
        changed(extra=freeze({"x": value}))
        for value in (
            Env(name="TOPK"),
            Env(name="A_TOKEN"),
            {"$env": "TOPK"},
            {"$env": "A_TOKEN"},
            {"$value": {"$env": "A_TOKEN"}},
        )
    ]
    assert len(set(found)) == len(found)


def launched(weights: Path, **server: Any) -> bytes:
    settings = {"use": "llama_cpp", "weights": str(weights), **server}
    return digest(make_lm({"model": "openai/x", "launch_kwargs": settings}).spec)


def test_a_launched_server_counts_by_its_files_content_and_arguments(tmp_path: Path) -> None:
    one, same, other = (tmp_path / name for name in ("one", "same", "other"))
    one.write_bytes(b"a")
    same.write_bytes(b"a")
    other.write_bytes(b"b")
    assert launched(one) == launched(same)
    assert launched(one) == launched(one, port=7501, auto="manual")
    assert launched(one) != launched(other)
    assert launched(one) != launched(one, args={"ctx-size": 5})
    assert launched(tmp_path / "absent") != launched(one)


def test_a_file_is_read_again_only_when_it_changed(tmp_path: Path) -> None:
    path = tmp_path / "weights"
    path.write_bytes(b"a")
    first = file_digest(str(path), 1, 1)
    path.write_bytes(b"b")
    assert file_digest(str(path), 1, 1) == first
    assert file_digest(str(path), 2, 1) != first


def test_digests_are_the_same_in_every_process() -> None:
    """Pinned: whoever changes this makes every answer that was ever kept unreachable."""
    assert digest(BASE.spec).hex() == PINNED


PINNED = "a70ed173698bf201e42ca19660bc47247627c1191d6d449f991b7c5798f3c61f"
