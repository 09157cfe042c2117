"""Rules of budgets: what one says, and whether what it counts in dollars has a price."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from lmconf.providers.catalogue import provider_of
from lmconf.schema.check import Fault
from lmconf.spec.rules.fields import has_built_in_transport, launches, text_of

__all__ = ["check_budget", "check_profile_budget"]

Data = Mapping[str, Any]


def check_budget(data: Data) -> Iterator[Fault]:
    """Yield what is wrong with the budget of an LM, or of a pool."""
    budget = data.get("budget")
    if not isinstance(budget, Mapping):
        return
    yield from _check_budget(budget)
    if _counts_dollars(budget) and not _is_priced(data):
        yield Fault(
            "no-price",
            ("budget", "cost_usd"),
            f"the price of {_display_name(data)} is not known",
            help="add `pricing: {input: …, output: …}`, in dollars per million tokens, or limit"
            " `tokens`",
        )


def check_profile_budget(budget: Data, lms: Mapping[str, object]) -> Iterator[Fault]:
    """Yield what is wrong with the budget of a whole profile, to which all `lms` are charged."""
    yield from _check_budget(budget)
    names = [lm for name, data in lms.items() for lm in _unpriced_lms(name, data)]
    if _counts_dollars(budget) and names:
        yield Fault(
            "no-price",
            ("budget", "cost_usd"),
            f"the prices of these LMs are not known: {', '.join(names)}",
            help="add `pricing: {input: …, output: …}` to each, in dollars per million tokens, or"
            " limit `tokens`",
        )


def _unpriced_lms(name: str, data: object) -> Iterator[str]:
    """Yield how messages call the LM and those of its fallbacks in place that have no price."""
    if not isinstance(data, Mapping):
        return
    if not _is_priced(data):
        yield f"`{name}`"
    fallbacks = data.get("fallbacks")
    for item in fallbacks if isinstance(fallbacks, list) else ():
        if isinstance(item, Mapping) and not _is_priced(item):
            yield f"{_display_name(item)}, on which `{name}` falls back"


def _check_budget(budget: Data) -> Iterator[Fault]:
    """Yield what is wrong within a budget, wherever it stands."""
    if "cost_usd" not in budget and "tokens" not in budget:
        yield Fault(
            "missing-key",
            ("budget",),
            "`budget` limits neither cost nor tokens",
            help="add `cost_usd: …` or `tokens: …`",
            at_key=True,
        )
    if "store" in budget and budget.get("per", "run") == "run":
        yield Fault(
            "contradiction",
            ("budget", "store"),
            "a run is one process: its spending is not shared with others",
            help="add `per: hour`, `per: day` or `per: month`, or leave `store` out",
            at_key=True,
        )


def _counts_dollars(budget: Data) -> bool:
    return isinstance(budget.get("cost_usd"), int | float)


def _display_name(data: Data) -> str:
    return f"`{text_of(data, 'base_model') or text_of(data, 'model')}`"


def _is_priced(data: Data) -> bool:
    """Say whether it is known what the tokens of an LM cost, or its transport may know."""
    model = text_of(data, "model")
    if model is None or "pricing" in data or not has_built_in_transport(data):
        return True
    if launches(data):
        return False
    from lmconf.providers import prices  # the table is read for budgets alone

    return prices.rates(*provider_of(model), text_of(data, "base_model")) is not None
