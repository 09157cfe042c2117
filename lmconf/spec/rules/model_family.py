"""Rules of model families: which temperature, limit of tokens and `top_p` their models take."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from lmconf.providers.catalogue import provider_of, record_of
from lmconf.providers.families import (
    Family,
    default_of,
    family_of,
    takes_any_temperature,
    thinking_budget,
)
from lmconf.schema.check import Fault
from lmconf.schema.declaration import field_names
from lmconf.spec.lm import LMSpec
from lmconf.spec.rules.fields import text_of

__all__ = ["DEFAULTED", "YIELDING", "check_family", "complete_settings"]

Data = Mapping[str, Any]

YIELDING = field_names(LMSpec, lambda field: field.ruled_by_family)
"""Settings of a profile's `defaults` that give way to what a model's family takes."""

DEFAULTED = field_names(LMSpec, lambda field: field.ruled_by_family and field.default is not None)
"""Those of them whose default the family decides."""


def complete_settings(data: dict[str, Any], soft: frozenset[str]) -> None:
    """Put the defaults of the model's family into the data of an LM.

    Args:
        data: plain data whose model is known; it is changed.
        soft: the fields that came from the profile's `defaults`: where a family's rule forbids such
            a value of `YIELDING`, the family's own default takes its place.
    """
    family = family_of(str(data["model"]), text_of(data, "base_model"))
    if "top_p" in soft and not _takes_top_p(family, data, soft):
        del data["top_p"]
    for name in DEFAULTED:
        if name not in data or (name in soft and not _fits(family, name, data)):
            data[name] = default_of(family, name, data)


def check_family(data: Data) -> Iterator[Fault]:
    model = text_of(data, "model")
    if model is None or record_of(provider_of(model)[0]).gateway:
        return
    family = family_of(model, text_of(data, "base_model"))
    model_name = text_of(data, "base_model") or model
    if not _is_allowed(family, "temperature", data):
        yield Fault(
            "family-rule",
            ("temperature",),
            f"`temperature` must be {_allowed_temperatures(family)} for `{model_name}`",
            help=f"leave `temperature` out: {_why(family, data)} ({family.source})",
        )
    if not family.claude:
        return
    both = [_is_number(data.get(name)) for name in ("temperature", "top_p")]
    if family.temperatures is not None and both[1]:
        yield Fault(
            "family-rule",
            ("top_p",),
            f"`{model_name}` does not accept `top_p`",
            help=f"leave `top_p` out ({family.source})",
        )
    elif family.one_of_two and all(both):
        yield Fault(
            "family-rule",
            ("top_p",),
            f"`{model_name}` accepts either `temperature` or `top_p`",
            help="leave one of them out, or `null` it (Anthropic, `Migrating to Claude 4.5`)",
        )
    budget, most = thinking_budget({"thinking": data.get("thinking")}), data.get("max_tokens")
    # Interleaved thinking, a beta, may take more than one answer has.
    headers = data.get("headers")
    beta = isinstance(headers, Mapping) and "anthropic-beta" in {
        str(name).lower() for name in headers
    }
    if budget and isinstance(most, int) and most <= budget and not beta:
        yield Fault(
            "family-rule",
            ("max_tokens",),
            f"`max_tokens` must be more than the {budget} of `thinking.budget_tokens`",
            help="thinking counts as part of the answer (Anthropic, `Extended thinking`)",
        )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_allowed(family: Family, name: str, data: Data) -> bool:
    value = data.get(name)
    if not isinstance(value, int | float) or isinstance(value, bool):
        return True
    if name != "temperature":
        return value >= family.token_floor
    if family.claude and thinking_budget(data) is not None:
        return float(value) == 1.0
    allowed = family.temperatures
    return allowed is None or float(value) in allowed or takes_any_temperature(family, data)


def _fits(family: Family, name: str, data: Data) -> bool:
    """Say whether the value of `name` fits the family and what else `data` states."""
    if name == "temperature" and family.one_of_two and data.get("top_p") is not None:
        return False
    budget, value = thinking_budget(data) if family.claude else None, data.get(name)
    if name == "max_tokens" and budget and isinstance(value, int) and value <= budget:
        return False
    return _is_allowed(family, name, data)


def _takes_top_p(family: Family, data: Data, soft: frozenset[str]) -> bool:
    """Say whether the `top_p` of a profile's `defaults` can be sent beside the LM's own settings."""
    if not family.claude:
        return True
    own = "temperature" not in soft and data.get("temperature") is not None
    return family.temperatures is None and not (family.one_of_two and own)


def _allowed_temperatures(family: Family) -> str:
    """Return the temperatures that a family takes, as a message names them."""
    # Those that take any do so only where they do not think.
    temperatures = (1.0,) if family.temperatures is None else family.temperatures
    return " or ".join([f"{value:g}" for value in temperatures] + ["null"])


def _why(family: Family, data: Data) -> str:
    if family.claude and family.temperatures is None:
        return "while it thinks, it accepts only 1"
    return f"{text_of(data, 'base_model') or data['model']} has a default of its own"
