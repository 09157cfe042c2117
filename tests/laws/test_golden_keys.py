"""The key of a call is what `golden_keys.json` says, on every Python, by every way of calling.

A difference there makes answers unreachable that somebody has kept. `LMCONF_GOLDEN=write` writes
the file anew; then read the diff.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lmconf.caches import request_key
from lmconf.runtime import LM
from lmconf.runtime.identity import identity_digest, identity_facts
from lmconf.spec.build import make_lm
from tests.loopback import Loopback, Reply, chat, chat_chunks, serving, sse

GOLDEN = Path(__file__).with_name("golden_keys.json")
WRITES = os.environ.get("LMCONF_GOLDEN") == "write"
PLAIN: dict[str, Any] = {"model": "openai/gpt-4o-mini", "api_key": ""}
HI = [{"role": "user", "content": "Hi \U0001f600 ä\n"}]

CASES: dict[str, tuple[dict[str, Any], list[dict[str, Any]]]] = {
    "plain": (PLAIN, HI),
    "other model": ({**PLAIN, "model": "openai/gpt-4o"}, HI),
    "other provider": ({"model": "anthropic/claude-3-opus-20240229", "api_key": ""}, HI),
    "older api": ({**PLAIN, "model_type": "text"}, HI),
    "endpoint": ({**PLAIN, "api_base": "http://localhost:1/v1"}, HI),
    "path": ({**PLAIN, "api_base": "http://localhost:1/v2"}, HI),
    "named endpoint": ({**PLAIN, "endpoint": "house"}, HI),
    "organization": ({**PLAIN, "organization": "a"}, HI),
    "project": ({**PLAIN, "project": "a"}, HI),
    "namespace": ({**PLAIN, "cache": {"namespace": "a"}}, HI),
    "header": ({**PLAIN, "headers": {"X-Beta": "1"}}, HI),
    "temperature": ({**PLAIN, "temperature": 0.7}, HI),
    "small temperature": ({**PLAIN, "temperature": 1e-7}, HI),
    "no temperature": ({**PLAIN, "temperature": None}, HI),
    "stop": ({**PLAIN, "stop": ["\n", "ß"]}, HI),
    "extra": ({**PLAIN, "extra": {"top_k": 40, "min_p": 0.05}}, HI),
    "extra in another order": ({**PLAIN, "extra": {"min_p": 0.05, "top_k": 40}}, HI),
    "seed": ({**PLAIN, "seed": 2**53 + 1}, HI),
    "tools": ({**PLAIN, "tools": [{"type": "function", "function": {"name": "f"}}]}, HI),
    "schema": ({**PLAIN, "response_format": {"type": "json_object"}}, HI),
    "rollout": ({**PLAIN, "rollout_id": 1}, HI),
    "rollout as text": ({**PLAIN, "rollout_id": "1"}, HI),
    "two messages": (PLAIN, [{"role": "system", "content": ""}, *HI]),
    "parts": (PLAIN, [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}]),
}

SAME: dict[str, dict[str, Any]] = {
    "time": {"timeout": "5s", "deadline": "1min"},
    "retries": {"num_retries": 1, "retry": {"initial": "9s"}},
    "key": {"api_key": {"$env": "SOME_KEY"}},
    "tracing": {"headers": {"traceparent": "00-1-1-01", "X-Request-Id": "7"}},
    "zero": {"temperature": 0},
    "zero with a point": {"temperature": 0.0},
    "what is kept": {"cache": {"ttl": "7d", "keep": ["truncated"], "mode": "read_only"}},
    "where it is kept": {"cache": {"store": {"backend": "memory"}}, "cache_in_memory": False},
    "labels": {"user": "someone", "metadata": {"a": "b"}},
}


def key_of(settings: dict[str, Any], messages: list[dict[str, Any]]) -> str:
    compiled = make_lm(settings)
    return request_key(
        identity_digest(compiled.spec, identity_facts(compiled.spec, compiled)), messages, {}
    )


def test_keys_are_what_they_were() -> None:
    found = {name: key_of(*case) for name, case in CASES.items()}
    if WRITES:
        GOLDEN.write_text(json.dumps(found, indent=2) + "\n")
    assert found == json.loads(GOLDEN.read_text())


def test_no_two_of_them_are_alike() -> None:
    golden = json.loads(GOLDEN.read_text())
    assert len(set(golden.values())) == len(CASES)


@pytest.mark.parametrize("name", SAME)
def test_what_steers_no_answer_splits_none(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_KEY", "k")
    assert key_of({**PLAIN, **SAME[name]}, HI) == json.loads(GOLDEN.read_text())["plain"]


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Loopback]:
    monkeypatch.setenv("LMCONF_CACHE_DIR", str(tmp_path))
    with serving(chat()) as made:
        yield made


@pytest.mark.parametrize("first", ["call", "acall", "stream", "astream", "batch"])
def test_every_way_of_calling_finds_what_another_kept(server: Loopback, first: str) -> None:
    if "stream" in first:
        headers = {"content-type": "text/event-stream"}
        server.answers(Reply(pieces=sse(*chat_chunks("Hel", "lo.")), headers=headers))
    lm = LM("openai/tiny", api_base=server.v1, api_key="", cache={"namespace": first})

    async def streamed() -> None:
        async with lm.astream("hi") as stream:
            async for _ in stream:
                pass

    def read() -> None:
        with lm.stream("hi") as stream:
            list(stream)

    ways = {
        "call": lambda: lm("hi"),
        "acall": lambda: asyncio.run(lm.acall("hi")),
        "stream": read,
        "astream": lambda: asyncio.run(streamed()),
        "batch": lambda: lm.batch(["hi"]),
    }
    ways[first]()  # type: ignore[no-untyped-call, unused-ignore]
    assert len(server.received) == 1
    for way in ways.values():
        way()  # type: ignore[no-untyped-call, unused-ignore]
    assert len(server.received) == 1
