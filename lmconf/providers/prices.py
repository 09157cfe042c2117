"""What an answer cost, by the price table that comes with litellm.

Prices of text are applied here; what only some models
have (prices by the hour, for pictures or sound, in tiers of their own) is left to litellm's own
calculation. A test holds the two together.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from typing import Any

from lmconf.providers.catalogue import record_of
from lmconf.providers.model_table import model_row
from lmconf.system.interrupts import is_interrupt

__all__ = ["cost", "rates"]

# What makes a model's price more than so much for each token of text.
_SPECIAL = ("tiered_pricing", "off_peak_pricing", "input_cost_per_request")
_ABOVE = re.compile(r"input_cost_per_token_above_(\d+)(k?)_tokens\Z")
_TIERS = {"flex": "_flex", "priority": "_priority"}


def cost(
    provider: str, model: str, base_model: str | None, response: Mapping[str, Any]
) -> float | None:
    """Return the US dollars that `response` cost, None if its model has no price."""
    usage = response.get("usage")
    if not isinstance(usage, dict):
        return None
    if base_model:
        named, slash, bare = base_model.partition("/")
        provider, model = (named, bare) if slash else ("", base_model)
    prices = _model_prices(provider, model)
    if prices is not None and _is_plain(prices, provider, usage):
        return _cost_of_usage(prices, usage, _TIERS.get(str(response.get("service_tier")), ""))
    return _by_litellm(provider, model, usage)


def rates(
    provider: str, model: str, base_model: str | None, prompt: int = 0
) -> tuple[float, float] | None:
    """Return the US dollars for a token of a prompt of `prompt` tokens, and for one of its answer.

    None where no price for a token of text is known.
    """
    if base_model:
        named, slash, bare = base_model.partition("/")
        provider, model = (named, bare) if slash else ("", base_model)
    prices = _model_prices(provider, model)
    if prices is None:
        return None
    found = []
    for way in _WAYS:
        price = prices.get(f"{way}_cost_per_token")
        for above in _long_context_suffixes(prices, prompt):
            price = prices.get(f"{way}_cost_per_token{above}") or price
        found.append(float(price) if isinstance(price, float | int) else 0.0)
    # Models of which no price is known are listed with zeros.
    return (found[0], found[1]) if any(found) else None


def _model_prices(provider: str, model: str) -> Mapping[str, Any] | None:
    """Return what the table says of a model, None for nothing."""
    # A fine-tuned model is listed without the owner's part of its name.
    bare = ":".join(model.split(":")[:2]) if model.startswith("ft:") else model
    return model_row(f"{provider}/{model}", model, bare)


def _is_plain(prices: Mapping[str, Any], provider: str, usage: Mapping[str, Any]) -> bool:
    if not all(isinstance(prices.get(f"{way}_cost_per_token"), float | int) for way in _WAYS):
        return False
    if any(name in prices for name in _SPECIAL) or record_of(provider).priced_by_litellm:
        return False
    details = (usage.get("prompt_tokens_details"), usage.get("completion_tokens_details"))
    other = ("audio_tokens", "image_tokens", "video_tokens", "cache_creation_tokens")
    said = any(isinstance(d, Mapping) and any(d.get(name) for name in other) for d in details)
    return not said and not usage.get("cache_creation_input_tokens")


_WAYS = ("input", "output")


def _cost_of_usage(prices: Mapping[str, Any], usage: Mapping[str, Any], tier: str) -> float | None:
    prompt, answer = _count(usage, "prompt_tokens"), _count(usage, "completion_tokens")
    details = usage.get("prompt_tokens_details") or {}
    cached = min(_count(details, "cached_tokens"), prompt)
    thinking = min(_count(usage.get("completion_tokens_details") or {}, "reasoning_tokens"), answer)

    def price(name: str) -> Any:
        return prices.get(name + tier, prices.get(name))

    asked, told = price("input_cost_per_token"), price("output_cost_per_token")
    kept = price("cache_read_input_token_cost")
    for above in _long_context_suffixes(prices, prompt):
        asked = price(f"input_cost_per_token{above}") or asked
        told = price(f"output_cost_per_token{above}") or told
        kept = price(f"cache_read_input_token_cost{above}") or kept
    thought = price("output_cost_per_reasoning_token")
    total = (prompt - cached) * asked + cached * (asked if kept is None else kept)
    total += (answer - thinking) * told + thinking * (told if thought is None else thought)
    # Models of which no price is known are listed with zeros.
    return float(total) or None


def _long_context_suffixes(prices: Mapping[str, Any], prompt: int) -> list[str]:
    """Return the endings of the prices for prompts that are longer than some length, in order."""
    found = []
    for name in prices:
        match = _ABOVE.match(name)
        if match is not None:
            length = int(match[1]) * (1000 if match[2] else 1)
            if prompt > length:
                found.append((length, f"_above_{match[1]}{match[2]}_tokens"))
    return [ending for _, ending in sorted(found)]


def _count(said: Mapping[str, Any], name: str) -> int:
    found = said.get(name)
    return found if isinstance(found, int) else 0


def _by_litellm(provider: str, model: str, usage: Mapping[str, Any]) -> float | None:
    """Return what litellm makes of it, where a call has imported litellm anyway."""
    if "litellm" not in sys.modules:
        return None
    import litellm

    try:
        prompt, answer = litellm.cost_per_token(
            model=model,
            custom_llm_provider=provider or None,
            usage_object=litellm.Usage(**usage),
        )
    except Exception as error:
        # litellm says "unknown model" with several kinds of errors.
        if is_interrupt(error):
            raise
        return None
    return float(prompt) + float(answer) or None
