"""Law 5, for everything before a call: a secret's value stands in no dump, message or pickle."""

from __future__ import annotations

import importlib
import inspect
import pickle
import pkgutil
import traceback
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from rich.pretty import pretty_repr

import lmconf
import lmconf.runtime.stream
from lmconf.compiler.inputs import CompilerInputs
from lmconf.compiler.pipeline import compile_documents
from lmconf.diagnostics.render import to_json, to_text
from lmconf.document import read_document, write
from lmconf.errors import ProfileError, UsageError
from lmconf.schema.declaration import fields
from lmconf.secrets.references import HiddenValues, Masked
from lmconf.spec.build import change_lm, make_from_stated, make_lm, spec_for_call
from lmconf.spec.lm import LMSpec
from lmconf.spec.state import Style, dump_lm
from lmconf.transports import Connection, Request

MARKER = "Kq7-marker-of-a-secret"
SECRET_FIELDS = [name for name, field in fields(LMSpec).items() if field.role == "secret"]
PLACES: list[dict[str, Any]] = [
    *({name: MARKER} for name in SECRET_FIELDS),
    {"headers": {"Authorization": f"Bearer {MARKER}"}},
    {"headers": {"X-Api-Key": MARKER, "X-Team": "open"}},
    {"extra": {"deep": [{"password": MARKER}]}},
    {"extra": {"clientSecret": {"a": [MARKER]}}},
    {"train_kwargs": {"use": "local", "env": {"HF_TOKEN": MARKER}}},
    {"metadata": {"session token": MARKER}},
    {"launch_kwargs": {"use": "sglang", "env": {"HF_TOKEN": MARKER}}},
    {"transport": {"use": "acme", "args": {"secret": MARKER}}},
    {"callbacks": [{"use": "acme", "args": {"dsn": MARKER}}]},
]


def base(place: dict[str, Any]) -> dict[str, Any]:
    return {"model": "openai/gpt-4o-mini", **place}


@pytest.mark.parametrize("place", PLACES, ids=lambda place: next(iter(place)))
def test_a_secret_given_in_code_stays_beside_the_spec(place: dict[str, Any]) -> None:
    lm = make_lm(base(place))
    assert any(MARKER in value for value in lm.given.values())
    changed = change_lm(lm, {"num_retries": 2})
    assert changed.given == lm.given
    artefacts = [repr(lm), str(lm), repr(lm.spec), repr(lm.stated), repr(changed)]
    artefacts += [write(dump_lm(each, style)) for each in (lm, changed) for style in STYLES]
    artefacts.append(repr(pickle.dumps(lm.spec)))
    assert not [text for text in artefacts if MARKER in text]


STYLES: tuple[Style, ...] = ("resolved", "minimal")


@pytest.mark.parametrize("place", PLACES, ids=lambda place: next(iter(place)))
def test_a_literal_secret_in_a_document_is_refused_without_being_shown(
    place: dict[str, Any],
) -> None:
    text = write(base(place))
    inputs = CompilerInputs(
        name="p", callback_names=frozenset({"acme"}), transport_names=frozenset({"acme"})
    )
    outcome = compile_documents([read_document(text, "p.yaml", path="/srv/p.yaml")], inputs)
    assert outcome.profile is None
    assert "literal-secret" in {each.code for each in outcome.diagnostics}
    shown = to_text(outcome.diagnostics) + str(to_json(outcome.diagnostics)) + repr(outcome)
    assert MARKER not in shown
    with pytest.raises(ProfileError) as caught:
        make_from_stated(base(place))
    assert MARKER not in told(caught.value)


def told(error: BaseException) -> str:
    shown = "".join(traceback.format_exception(error)) + repr(error) + repr(error.args)
    return shown + repr(pickle.dumps(str(error)))


@pytest.mark.parametrize("name", SECRET_FIELDS)
@pytest.mark.parametrize("wrong", [[MARKER], {"a": MARKER}, {"$env": MARKER}, {"$evn": MARKER}])
def test_a_secret_in_the_wrong_form_is_not_shown(name: str, wrong: Any) -> None:
    document = read_document(write(base({name: wrong})), "p.yaml", path="/srv/p.yaml")
    outcome = compile_documents([document], CompilerInputs(name="p"))
    assert outcome.profile is None
    assert MARKER not in to_text(outcome.diagnostics) + str(to_json(outcome.diagnostics))


def test_a_secret_in_a_call_is_refused_without_being_shown() -> None:
    lm = make_lm({"model": "openai/gpt-4o-mini"})
    with pytest.raises(UsageError) as caught:
        spec_for_call(lm, {"headers": {"Authorization": MARKER}})
    assert MARKER not in told(caught.value)


def test_a_number_under_a_secrets_name_is_a_literal_too() -> None:
    with pytest.raises(ProfileError, match="literal-secret"):
        make_from_stated(base({"extra": {"password": 12345}}))


def test_a_secret_that_was_replaced_is_let_go() -> None:
    lm = make_lm(base({"api_key": MARKER}))
    assert change_lm(lm, {"api_key": {"$env": "OPENAI_API_KEY"}}).given == {}
    assert change_lm(lm, {"api_key": ""}).given == {}
    assert change_lm(lm, {"api_key": None}).given == {}


def test_a_key_never_goes_to_another_provider_by_a_copy() -> None:
    lm = make_lm(base({"api_key": MARKER}))
    with pytest.raises(ProfileError, match="credential-crosses") as caught:
        change_lm(lm, {"model": "groq/llama"})
    assert MARKER not in told(caught.value)
    assert change_lm(lm, {"model": "groq/llama", "api_key": "other"}).given == {"api_key": "other"}


def classes() -> Iterator[type]:
    for found in pkgutil.walk_packages(lmconf.__path__, "lmconf."):
        if not found.name.endswith(("__main__", "local_worker")):
            module = importlib.import_module(found.name)
            for value in list(vars(module).values()):
                if inspect.isclass(value) and value.__module__ == found.name:
                    yield value


def test_what_hides_in_its_repr_hides_from_every_tool() -> None:
    """A Struct shows its fields to rich, and to structlog by rich, whatever its repr says."""
    hiding = [each for each in classes() if "__repr__" in vars(each)]
    assert {Request, Connection} <= set(hiding)
    bare = [
        each for each in hiding if issubclass(each, msgspec.Struct) and not issubclass(each, Masked)
    ]
    assert bare == []


def test_a_request_shows_no_part_of_itself() -> None:
    connection = Connection(
        base=None,
        key=MARKER,
        headers=HiddenValues({"X": MARKER}),
        other=HiddenValues({"a": MARKER}),
    )
    request = Request(
        route="chat",
        provider="openai",
        model="m",
        connection=connection,
        messages=({"role": "user", "content": MARKER},),
        settings={"user": MARKER},
        extra={"token": MARKER},
    )
    for thing in (request, connection, connection.headers, connection.other):
        shown = [repr(thing), str(thing), f"{thing}", format(thing), pretty_repr([{"a": (thing,)}])]
        shown += [repr(getattr(thing, name, None)) for name in ("_repr_html_", "_repr_pretty_")]
        assert not [text for text in shown if MARKER in text]


HARMLESS = {"infer_provider", "inspect_history", "infer_adapter", "of"}
"""Public methods that touch no document, request, environment or file."""


@pytest.mark.parametrize(
    "kind",
    [
        lmconf.LM,
        lmconf.Profile,
        lmconf.TrainingJob,
        lmconf.runtime.stream.Stream,
        lmconf.runtime.stream.AsyncStream,
    ],
)
def test_every_public_method_leaves_its_frames_behind(kind: type) -> None:
    methods = {
        name: getattr(value, "__func__", value)
        for each in kind.__mro__
        if each.__module__.startswith("lmconf.")
        for name, value in vars(each).items()
        if inspect.isfunction(getattr(value, "__func__", value))
        and (not name.startswith("_") or name in ("__init__", "__call__", "__next__", "__anext__"))
    }
    methods.pop("chunks", None)  # which makes an iterator
    if kind is not lmconf.LM:
        methods.pop("__init__", None)  # no one else calls these
    assert methods
    kept = [name for name, value in methods.items() if not hasattr(value, "__wrapped__")]
    assert sorted({*kept} - HARMLESS) == []


@pytest.mark.parametrize(
    "name", ["load", "lm", "load_state", "dump", "dumps", "job", "configure", "context"]
)
def test_so_does_every_public_function(name: str) -> None:
    assert hasattr(getattr(lmconf, name), "__wrapped__")
