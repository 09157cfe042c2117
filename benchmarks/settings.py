"""What settings of a call cost: tools, stops and schemas, in calls and in answers from memory."""

from __future__ import annotations

import functools
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import lmconf
from benchmarks.server import serving
from benchmarks.timing import Row, in_process

MODEL = "openai/benchmark"
PROMPT = "What is the capital of Japan?"
PRICE = {"input": 0.15, "output": 0.6}


def rows() -> Iterator[Row]:
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    os.environ.setdefault("LITELLM_MODE", "PRODUCTION")
    with tempfile.TemporaryDirectory() as folder, serving() as base:
        os.environ.update(LMCONF_CACHE_DIR=folder, DSPY_CACHEDIR=folder)
        yield from _hits(base)
        yield from _calls(base)


def _hits(base: str) -> Iterator[Row]:
    """Yield what a hit with settings takes, beside a plain hit and the JSON of the settings."""
    with lmconf.LM(MODEL, api_base=base, api_key="") as lm:
        plain = _asker(lm, {})
        plain()
        for name, settings in SETTINGS.items():
            floor = functools.partial(_plain_and_dumped, plain, settings)
            mine, theirs = _timed(_asker(lm, settings), floor)
            peer = "a plain hit + json.dumps"
            yield Row(f"a hit with {name}", mine, "µs", peer, theirs, "<= 2 times")
        if find_spec("dspy") is not None:
            other = import_module("dspy").LM(MODEL, api_base=base, api_key="none")
            settings = SETTINGS["20 tools"]
            mine, theirs = _timed(_asker(lm, settings), _asker(other, settings))
            yield Row("a hit with 20 tools", mine, "µs", "dspy.LM", theirs)


def _calls(base: str) -> Iterator[Row]:
    with lmconf.LM(MODEL, api_base=base, api_key="", cache=False, pricing=PRICE) as lm:
        for name, settings in SETTINGS.items():
            mine, theirs = _timed(_asker(lm, settings), _asker(lm, {}), calls=100)
            yield Row(f"CPU of a call with {name}", mine, "µs", "the call without", theirs)


def _plain_and_dumped(plain: Callable[[], object], settings: object) -> None:
    plain()
    json.dumps(settings)


def _asker(lm: Any, settings: dict[str, Any]) -> Callable[[], object]:
    return lambda: lm(PROMPT, **settings)


def _timed(
    ours: Callable[[], object], theirs: Callable[[], object], *, calls: int = 300
) -> tuple[float, float]:
    ours()
    theirs()
    mine, other = in_process(ours, theirs, rounds=9, calls=calls)
    assert other is not None
    return mine * 1e6, other * 1e6


def _tool(number: int) -> dict[str, Any]:
    text = {"type": "string", "description": "The name of a city, as its people write it."}
    parameters = {
        "type": "object",
        "properties": dict.fromkeys(("city", "country", "day", "unit"), text),
        "required": ["city"],
        "additionalProperties": False,
    }
    about = "Look up the weather of a city, and say what it will be like on a day to come. " * 2
    function = {"name": f"weather_{number}", "description": about, "parameters": parameters}
    return {"type": "function", "function": function}


SETTINGS: dict[str, dict[str, Any]] = {
    "1 tool": {"tools": [_tool(0)]},
    "20 tools": {"tools": [_tool(number) for number in range(20)]},
    "stop": {"stop": ["\n", "END"]},
    "a schema": {
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "city", "schema": _tool(0)["function"]["parameters"]},
        }
    },
}
