"""From the arguments of a call in DSPy to those of a call of the LM beneath."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from lmconf.dspy.response_shapes import plain
from lmconf.runtime import LM
from lmconf.schema.declaration import field_names
from lmconf.spec.lm import LMSpec
from lmconf.spec.response_format import format_as_data

__all__ = ["GENERATION", "CallPlan", "changed_settings", "own_kwargs"]

GENERATION = frozenset(
    field_names(LMSpec, lambda field: field.per_call and (field.role == "identity" or field.sent))
)
"""The settings that steer an answer: those that `dspy.LM.kwargs` holds."""

# DSPy passes these on by names of their own, for the request's body.
_BODY = ("prediction",)


class CallPlan(Struct, frozen=True):
    """One call: what is asked, and the settings in which it differs from the LM's own."""

    prompt: str | None
    messages: list[dict[str, Any]] | None
    settings: dict[str, Any]
    logprobs: bool


def own_kwargs(lm: LM) -> dict[str, Any]:
    """Return what `dspy.LM.kwargs` holds for `lm`: the settings that steer its answers."""
    kwargs = dict(lm.kwargs)
    tokens = kwargs.pop("max_completion_tokens", kwargs.get("max_tokens"))
    # Optimisers count on from here.
    rollout = {"rollout_id": lm.spec.rollout_id} if isinstance(lm.spec.rollout_id, int) else {}
    return {**kwargs, "max_tokens": tokens, **rollout}


def changed_settings(own: Mapping[str, Any], target: Mapping[str, Any], lm: LM) -> dict[str, Any]:
    """Return the settings with which `lm`, whose own kwargs are `own`, matches `target`.

    What `own` has and `target` lacks was taken away: it is left to the provider.
    """
    settings: dict[str, Any] = {}
    extra: dict[str, Any] = dict(lm.spec.extra)
    for name, value in target.items():
        if name in own and own[name] == value:
            continue
        if name == "extra":
            extra.update(plain(value))
        elif name in extra or name in _BODY:
            extra[name] = plain(value)
        elif name == "response_format":
            settings[name] = plain(format_as_data(value))
        else:
            field = "max_tokens" if name == "max_completion_tokens" else name
            settings[field] = plain(value)
    for name in own:
        if name not in target:
            if name in lm.spec.extra:
                extra.pop(name, None)
            else:
                settings[name] = None
    if extra != lm.spec.extra:
        settings["extra"] = extra
    return settings
