"""From a spec and a call to the request that is sent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lmconf.frames import without_frames
from lmconf.profile.compiled import Compiled
from lmconf.profile.families import wire_max_tokens
from lmconf.profile.lm import LMSpec
from lmconf.profile.providers import provider_of
from lmconf.runtime.connecting import connection_of, with_values
from lmconf.runtime.identity import settings_of
from lmconf.runtime.messages import Messages, as_prompt
from lmconf.spec.declaring import fields
from lmconf.spec.frozen import freeze
from lmconf.transports import Phases, Request

__all__ = ["kwargs_of", "request_of"]

# Identity fields that never stand in a request's body under their own names.
_NOT_SENT = frozenset(("model_type", "base_model", "rollout_id", "extra"))
# Fields of other roles that the body holds.
_SENT_TOO = ("service_tier", "user", "metadata")


@without_frames
def request_of(
    spec: LMSpec,
    compiled: Compiled,
    messages: Messages,
    prompt: str | None,
    *,
    base: str | None,
    seconds_left: float,
) -> Request:
    """Return the request of one attempt, with every reference resolved.

    Raises:
        CallError: a reference leads nowhere.
        UsageError: messages hold more than text where only text can be sent.
    """
    provider, model = provider_of(spec.model)
    tokens_field = wire_max_tokens(spec.model, spec.base_model)
    met: list[str] = []
    sent = {
        tokens_field if name == "max_tokens" else name: with_values(value, compiled, (name,), met)
        for name, value in _settings(spec).items()
    }
    extra = with_values(spec.extra, compiled, ("extra",), met)
    text = spec.model_type == "text"
    timeout = spec.timeout
    return Request(
        route=spec.model_type,
        provider=provider,
        model=model,
        connection=connection_of(spec, compiled, base, met),
        messages=() if text else messages,
        prompt=(prompt if prompt is not None else as_prompt(messages)) if text else None,
        settings=freeze(sent),
        extra=freeze(extra),
        timeout=Phases(
            min(timeout.total, seconds_left), timeout.connect, timeout.first_byte, timeout.idle
        ),
        name=compiled.name,
    )


def kwargs_of(spec: LMSpec) -> dict[str, Any]:
    """Return the generation settings as `dspy.LM.kwargs` has them: names and plain values.

    References stay references, spelled as a document spells them.
    """
    steering = settings_of(spec)
    tokens_field = wire_max_tokens(spec.model, spec.base_model)
    kwargs = {
        tokens_field if name == "max_tokens" else name: value
        for name, value in steering.items()
        if name not in _NOT_SENT
    }
    return {**kwargs, **steering.get("extra", {})}


def _settings(spec: LMSpec) -> Mapping[str, Any]:
    declared = fields(LMSpec)
    named = [name for name in settings_of(spec) if name not in _NOT_SENT and name in declared]
    values = {name: getattr(spec, name) for name in (*named, *_SENT_TOO)}
    return {name: value for name, value in values.items() if value is not None}
