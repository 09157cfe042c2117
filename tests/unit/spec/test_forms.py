"""What a JSON Schema refers to costs bounded time, and ends in an error of the call, if in any."""

from __future__ import annotations

import time
from typing import Any

import pytest

import lmconf
from tests.loopback import Loopback, Reply, chat, serving

_DOUBLING = {
    "$defs": {
        **{
            f"a{i}": {"anyOf": [{"$ref": f"#/$defs/a{i + 1}"}, {"$ref": f"#/$defs/a{i + 1}"}]}
            for i in range(40)
        },
        "a40": {"type": "string"},
    },
    "$ref": "#/$defs/a0",
}


@pytest.fixture
def server() -> Any:
    with serving() as running:
        running.script = lambda received: Reply(json=chat('{"a": {"a": 1}}'))
        yield running


def lm(server: Loopback, schema: object) -> lmconf.LM:
    form = {"type": "json_schema", "json_schema": {"name": "form", "schema": schema}}
    return lmconf.LM(
        "openai/x", api_base=server.v1, api_key="", cache=False, response_format=form, num_retries=0
    )


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#"},
        {"allOf": [{"$ref": "#"}]},
        {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}},
        {"$ref": "#/$defs/nope"},
        _DOUBLING,
    ],
    ids=["itself", "itself within", "circle", "nothing", "doubling"],
)
def test_a_form_that_cannot_be_followed_is_an_error_of_the_call(
    server: Loopback, schema: object
) -> None:
    begun = time.process_time()
    with pytest.raises(lmconf.BadResponse, match="does not have the form"):
        lm(server, schema).ask("x")
    assert time.process_time() - begun < 10


@pytest.mark.parametrize("ref", ["http://127.0.0.1:1/x.json", "file:///etc/passwd", "other.json"])
def test_a_form_elsewhere_is_refused_before_anything_is_sent(server: Loopback, ref: str) -> None:
    with pytest.raises(lmconf.UsageError, match="leads out of its JSON Schema"):
        lm(server, {"properties": {"a": {"$ref": ref}}}).ask("x")
    assert not server.received


def test_a_form_that_holds_itself_is_followed(server: Loopback) -> None:
    schema = {
        "type": "object",
        "properties": {"a": {"anyOf": [{"$ref": "#"}, {"type": "integer"}]}},
        "additionalProperties": False,
    }
    assert lm(server, schema).ask("x").text == '{"a": {"a": 1}}'
