"""What every error says of itself, and that all of it survives pickling and copying."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Iterator
from typing import Any

import pytest

import lmconf
from lmconf import errors
from lmconf.diagnostics.model import Diagnostic, Mark, Source
from lmconf.errors import CallError, Error, ProfileError

SECRET = "Zq7vR-unseen-marker-93kd"
TEXT = f"lms:\n  gpt:\n    model: openai/x\n    api_key: {SECRET}\n"
SOURCE = Source("support.yaml", TEXT, ((TEXT.index(SECRET), TEXT.index(SECRET) + len(SECRET)),))
PLACE = Mark(SOURCE, 4, 14, 38)


def subclasses(kind: type[Error]) -> Iterator[type[Error]]:
    yield kind
    for below in kind.__subclasses__():
        if below.__module__ == errors.__name__:
            yield from subclasses(below)


KINDS = list(dict.fromkeys(subclasses(Error)))
CALL_KINDS = [kind for kind in KINDS if issubclass(kind, CallError)]
FACTS: dict[str, Any] = {
    "lm": "support:gpt",
    "attempts": 3,
    "waited": 1.25,
    "status": 429,
    "request_id": "req-7",
    "retry_after": 2.5,
    "retryable": True,
    "place": PLACE,
    "help": "wait",
    "partial": "Hel",
    "setting": "max_tokens",
}


def made(kind: type[Error]) -> Error:
    if issubclass(kind, CallError):
        return kind("it failed", **FACTS)
    if issubclass(kind, ProfileError):
        return kind([Diagnostic(code="no", message="it does not fit", mark=PLACE)])
    return kind("it failed")


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_pickles_and_copies_say_the_same(kind: type[Error]) -> None:
    error = made(kind)
    error.add_note("while testing") if hasattr(error, "add_note") else None
    for other in (
        *(pickle.loads(pickle.dumps(error, protocol)) for protocol in (2, 4, 5)),
        copy.copy(error),
        copy.deepcopy(error),
    ):
        assert type(other) is kind
        assert repr(other) == repr(error)
        assert vars(other).keys() == vars(error).keys()
        if isinstance(error, CallError) and isinstance(other, CallError):
            assert str(other) == str(error)
            assert other.to_dict() == error.to_dict()
            assert other.partial == "Hel"
            assert other.place is not None
            assert other.place.key == PLACE.key
    assert SECRET.encode() not in pickle.dumps(error)
    assert SECRET not in repr(error)


def test_the_public_tree_is_the_whole_tree() -> None:
    assert {kind.__name__ for kind in KINDS} <= set(lmconf.__all__)


@pytest.mark.parametrize("kind", CALL_KINDS, ids=lambda kind: kind.__name__)
def test_every_failure_of_a_call_has_a_next_step_of_its_own(kind: type[CallError]) -> None:
    if kind is not CallError:
        assert kind("x").help == kind.default_help
        assert "default_help" in vars(kind)
    assert not kind.default_help.endswith(".")


def test_a_failure_is_told_in_one_way() -> None:
    error = errors.RateLimited("slow down", **FACTS)
    assert str(error) == (
        "support:gpt: slow down (status 429, 3 attempts, waited 1.25s, request id req-7)\n"
        "  at support.yaml:4:14\n"
        "  help: wait"
    )
    assert repr(error) == "RateLimited('slow down')"
    assert str(errors.Closed("the LM was closed", help="open it")) == (
        "the LM was closed\n  help: open it"
    )
    assert str(CallError("it failed")) == "it failed"
    assert str(errors.ServerError("down", status=500, attempts=1)) == (
        "down (status 500, 1 attempt)\n  help: try again later, or see the provider's status page"
    )


def test_a_failure_as_plain_json() -> None:
    told = errors.RateLimited("slow down", **FACTS).to_dict()
    assert told == {
        "type": "RateLimited",
        "message": "slow down",
        "lm": "support:gpt",
        "attempts": 3,
        "waited": 1.25,
        "status": 429,
        "request_id": "req-7",
        "retry_after": 2.5,
        "retryable": True,
        "setting": "max_tokens",
        "place": "support.yaml:4:14",
        "help": "wait",
        "causes": [],
        "fallbacks": [],
    }
    assert json.loads(json.dumps(told)) == told


def test_the_message_and_the_arguments_are_one() -> None:
    error = errors.BadRequest("first")
    error.message = "second"
    assert (error.args, str(pickle.loads(pickle.dumps(error)))) == (("second",), str(error))
