"""`lmconf plan`: every attempt, wait and fallback of one call, and the worst that may come."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

import lmconf as package
from lmconf.errors import ServerError
from lmconf.runtime.forecast import forecast_call
from lmconf.spec.build import make_lm
from tests.loopback import Reply, serving
from tests.unit.cli.running import Lmconf

PROFILE = """\
defaults: {timeout: 20s, retry: {initial: 1s, max: 3s}}
main: gpt
lms:
  gpt:
    model: openai/house
    api_base: {$env: HOUSE_BASE}
    api_key: {$env: HOUSE_KEY}
    num_retries: 3
    max_tokens: 500
    deadline: 100s
    pricing: {input: 2, output: 10}
    cache: {store: {backend: memory}}
    fallbacks: [mine, {model: groq/llama3, num_retries: 0, limits: {rpm: 5}, max_tokens: null}]
    fallback_on: [server_error, timeout]
  mine:
    model: openai/weights
    num_retries: 0
    launch_kwargs: {use: llama_cpp, ready: {timeout: 1min}}
    cache: false
"""

TOLD = """\
plans:gpt (openai/house) at the address in $HOUSE_BASE
  looks in the cache: memory
  attempt 1 of 4     up to 20s      begins within 0s
  wait               up to 1s
  attempt 2 of 4     up to 20s      begins within 21s
  wait               up to 2s
  attempt 3 of 4     up to 20s      begins within 43s
  wait               up to 3s
  attempt 4 of 4     up to 20s      begins within 66s
  - tries again after rate_limit, timeout, server_error, connection, bad_response
  - waits longer if the server requests it, within the deadline
  - all calls to this server share a retry budget of 500: 100 attempts in an outage
  - after 5 failures in a row the circuit breaker opens for 30s
  - up to $0.0070 an attempt

then, after server_error, timeout:
plans:mine (openai/weights) at a server of its own
  start its server   up to 60s      begins within 86s
  attempt 1 of 1     up to 20s      only if earlier attempts fail sooner: the deadline may pass first
  - after 5 failures in a row the circuit breaker opens for 30s
  - no price is known: state `pricing` (of zeros where it costs nothing)

then, after server_error, timeout:
groq/llama3 at https://api.groq.com
  looks in the cache: memory, then disk
  attempt 1 of 1     up to 20s      only if earlier attempts fail sooner: the deadline may pass first
  - may wait for its turn under `limits` before each attempt, within the deadline
  - `max_tokens` is null: the length of the answer is not limited

worst case
  time      100s (the deadline)
  attempts  6
  cost      not known
"""


@pytest.fixture
def plans(tmp_path: Path) -> str:
    path = tmp_path / "plans.yaml"
    path.write_text(PROFILE.replace("{model: groq/llama3, ", "{model: groq/llama3, timeout: 20s, "))
    return str(path)


def test_every_attempt_wait_and_fallback_is_told(lmconf: Lmconf, plans: str) -> None:
    ran = lmconf("plan", plans)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == TOLD


def test_the_worst_case_as_json(lmconf: Lmconf, plans: str) -> None:
    ran = lmconf("plan", f"{plans}:gpt", "--set", "fallbacks=[]", "--json")
    told = ran.json
    assert lmconf("plan", plans, "--set", "fallbacks=[]", "--format", "json").json == told
    assert (told["attempts"], told["seconds"], told["extends"]) == (4, 86.0, True)
    assert told["dollars"] == pytest.approx(4 * (1000 * 2 + 500 * 10) / 1e6)
    [asked] = told["asked"]
    assert [step["kind"] for step in asked["steps"]] == ["attempt", "wait"] * 3 + ["attempt"]
    long = lmconf("plan", f"{plans}:gpt", "--prompt-tokens", "9000", "--json").json
    assert long["asked"][0]["dollars"] == pytest.approx((9000 * 2 + 500 * 10) / 1e6)
    assert long["dollars"] is None


def test_where_servers_may_ask_to_wait_the_deadline_is_told(lmconf: Lmconf, plans: str) -> None:
    out = lmconf("plan", plans, "--set", "fallbacks=[]").out
    assert "  time      86s\n            up to 100s where servers or limits ask to wait\n" in out
    out = lmconf("plan", plans, "--set", "fallbacks=[]", "--set", "num_retries=0").out
    assert "ask to wait" not in out


def test_budgets_are_told(lmconf: Lmconf, tmp_path: Path) -> None:
    path = tmp_path / "two.yaml"
    path.write_text(
        "budget: {tokens: 2000000, per: month}\n"
        "lms:\n"
        "  a: {model: openai/gpt-4o, budget: {cost_usd: 2.5, tokens: 9000, per: day},"
        " fallbacks: b, fallback_on: [budget]}\n"
        "  b: {model: openai/gpt-4o-mini}\n"
    )
    first, _, second = lmconf("plan", f"{path}:a").out.partition("then, after budget:")
    own = "  - sends nothing that may exceed its budget of $2.5 and 9,000 tokens per day\n"
    whole = "  - sends nothing that may exceed the profile's budget of 2,000,000 tokens per month\n"
    assert own + whole in first
    assert own not in second
    assert whole in second


def test_prices_of_the_table_count_without_importing_litellm(
    lmconf: Lmconf, tmp_path: Path
) -> None:
    path = tmp_path / "one.yaml"
    path.write_text("model: openai/gpt-4o-mini\nnum_retries: 0\n")
    before = "litellm" in sys.modules
    told = lmconf("plan", str(path), "--json").json
    assert told["dollars"] == pytest.approx(1000 * 0.15e-6 + 1000 * 0.6e-6)
    assert ("litellm" in sys.modules) is before


def test_nothing_that_a_profile_names_is_imported(lmconf: Lmconf, tmp_path: Path) -> None:
    path = tmp_path / "one.yaml"
    path.write_text(
        "model: openai/gpt-4o-mini\ncallbacks: [{use: 'antigravity:fly'}]\n", encoding="utf-8"
    )
    ran = lmconf("plan", str(path), "--allow-import", "antigravity:fly")
    assert ran.code == 0
    assert "antigravity" not in sys.modules


def test_a_wrong_profile_is_told_as_everywhere(lmconf: Lmconf, tmp_path: Path) -> None:
    path = tmp_path / "one.yaml"
    path.write_text("model: openai/gpt-4o-mini\ndeadline: 1s\ntimeout: 2s\n", encoding="utf-8")
    ran = lmconf("plan", str(path))
    assert ran.code == 1
    assert "contradiction" in ran.err


def test_a_call_does_what_was_foreseen() -> None:
    down = Reply(status=500, json={"error": {"message": "down"}})
    with serving(down) as server:
        settings = {
            "api_base": server.v1,
            "api_key": "",
            "cache": False,
            "retry": {"initial": "1ms", "budget": False, "breaker": False},
        }
        others = [{"model": "openai/b", **settings, "num_retries": 1}]
        said: dict[str, Any] = {
            "model": "openai/a",
            **settings,
            "num_retries": 2,
            "fallbacks": others,
        }
        foreseen = forecast_call(make_lm(said), 10)
        with pytest.raises(ServerError) as caught:
            package.LM(**said)("hi")
        assert len(server.received) == foreseen.attempts == 5
        assert len(caught.value.causes) == 5
        assert sum(cause.waited for cause in caught.value.causes) < foreseen.seconds
    assert json.dumps(caught.value.to_dict())
