"""What answers cost: by the table that comes with litellm, and as litellm reckons."""

from __future__ import annotations

import random
import subprocess
import sys
from typing import Any

import pytest

from lmconf.providers import prices
from lmconf.transports.litellm.patches import import_litellm


def usage(prompt: int, answer: int, **details: int) -> dict[str, Any]:
    said: dict[str, Any] = {"prompt_tokens": prompt, "completion_tokens": answer}
    said["total_tokens"] = prompt + answer
    if "cached" in details:
        said["prompt_tokens_details"] = {"cached_tokens": details["cached"]}
    if "thinking" in details:
        said["completion_tokens_details"] = {"reasoning_tokens": details["thinking"]}
    return said


def test_every_plain_model_costs_what_litellm_says() -> None:
    litellm = import_litellm()
    rng = random.Random(7)
    names = [name for name, entry in litellm.model_cost.items() if entry.get("mode") == "chat"]
    compared = 0
    for name in rng.sample(names, 600):
        provider = litellm.model_cost[name].get("litellm_provider", "")
        model = name.removeprefix(f"{provider}/")
        prompt, answer = rng.choice([0, 10, 130_000, 210_000, 300_000]), rng.choice([0, 7, 5000])
        details = {"cached": rng.randint(0, prompt), "thinking": rng.randint(0, answer)}
        kept = {key: details[key] for key in details if rng.random() < 0.5}
        said = usage(prompt, answer, **kept)
        table = prices._model_prices(provider, model)
        if table is None or not prices._is_plain(table, provider, said):
            continue
        compared += 1
        ours = prices.cost(provider, model, None, {"usage": said})
        theirs = prices._by_litellm(provider, model, said)
        assert ours == pytest.approx(theirs), (name, said)
    assert compared > 300


def test_tokens_of_a_known_model_are_priced_by_the_table() -> None:
    response = {"usage": usage(1000, 100, cached=400)}
    expected = (600 * 0.15 + 400 * 0.075 + 100 * 0.6) / 1e6
    assert prices.cost("openai", "gpt-4o-mini", None, response) == pytest.approx(expected)
    behind = prices.cost("openai", "my-deployment", "openai/gpt-4o-mini", response)
    assert behind == pytest.approx(expected)
    faster = {**response, "service_tier": "priority"}
    assert prices.cost("openai", "gpt-4o-mini", None, faster) == pytest.approx(
        (600 * 0.25 + 400 * 0.125 + 100 * 1.0) / 1e6
    )


def test_a_fine_tuned_model_has_the_price_of_its_kind() -> None:
    found = prices.cost(
        "openai", "ft:gpt-4o-mini-2024-07-18:acme::abc", None, {"usage": usage(1000, 0)}
    )
    assert found == pytest.approx(1000 * 0.3 / 1e6)


@pytest.mark.parametrize("response", [{}, {"usage": None}, {"usage": usage(5, 2)}])
def test_an_unknown_model_and_an_answer_without_usage_have_no_price(response: Any) -> None:
    assert prices.cost("openai", "house-70b", None, response) is None


def test_a_price_is_known_without_importing_litellm() -> None:
    code = (
        "import sys; from lmconf.providers import prices;"
        "said = {'usage': {'prompt_tokens': 10, 'completion_tokens': 0}};"
        "print(prices.cost('openai', 'gpt-4o-mini', None, said), 'litellm' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["1.5e-06", "False"]
