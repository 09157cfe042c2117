"""From a spec and a call to the request that is sent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from lmconf.providers.catalogue import provider_of
from lmconf.providers.families import wire_max_tokens
from lmconf.runtime.connection import make_connection, resolve_references, stated_fields
from lmconf.runtime.identity import identity_settings
from lmconf.runtime.messages import Messages, as_prompt
from lmconf.schema.declaration import field_names
from lmconf.schema.frozen import freeze
from lmconf.secrets.references import REFERENCES, Public
from lmconf.spec.compiled import CompiledLM
from lmconf.spec.lm import LMSpec
from lmconf.system.tracebacks import hide_frames
from lmconf.transports import Phases, Request

__all__ = ["Plan", "kwargs_of", "plan_of", "request_of"]

_SENT = frozenset(field_names(LMSpec, lambda field: field.sent))
_LABELS = field_names(LMSpec, lambda field: field.sent and field.role != "identity")


class Plan(Struct, frozen=True, eq=False):
    """What all requests with one spec have in common, worked out once.

    `sent` are the settings that stand in the body, by the names under which they are sent;
    `settings` and `extra` are ready for the body, and None where they hold references, which are
    resolved for each request.
    """

    provider: str
    model: str
    sent: Mapping[str, str]
    settings: Mapping[str, Any] | None
    extra: Mapping[str, Any] | None
    stated: tuple[str, ...]


def plan_of(spec: LMSpec) -> Plan:
    """Return what all requests with `spec` have in common."""
    provider, model = provider_of(spec.model)
    tokens_field = wire_max_tokens(spec.model, spec.base_model)
    named = [*(name for name in identity_settings(spec) if name in _SENT), *_LABELS]
    sent = {
        tokens_field if name == "max_tokens" else name: name
        for name in named
        if getattr(spec, name) is not None
    }
    values = {key: getattr(spec, name) for key, name in sent.items()}
    return Plan(
        provider=provider,
        model=model,
        sent=sent,
        settings=None if _refers(values) else freeze(values),
        extra=None if _refers(spec.extra) else spec.extra,
        stated=stated_fields(spec),
    )


@hide_frames
def request_of(
    spec: LMSpec,
    plan: Plan,
    compiled: CompiledLM,
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
    met: list[str] = []
    settings, extra = plan.settings, plan.extra
    if settings is None:
        settings = freeze(
            {
                key: resolve_references(getattr(spec, name), compiled, (name,), met)
                for key, name in plan.sent.items()
            }
        )
    if extra is None:
        extra = freeze(resolve_references(spec.extra, compiled, ("extra",), met))
    text = spec.model_type == "text"
    timeout = spec.timeout
    return Request(
        route=spec.model_type,
        provider=plan.provider,
        model=plan.model,
        connection=make_connection(spec, compiled, base, plan.stated, met),
        messages=() if text else messages,
        prompt=(prompt if prompt is not None else as_prompt(messages)) if text else None,
        settings=settings,
        extra=extra,
        timeout=Phases(
            min(timeout.total, seconds_left), timeout.connect, timeout.first_byte, timeout.idle
        ),
        max_body=spec.max_body,
        name=compiled.name,
    )


def kwargs_of(spec: LMSpec) -> dict[str, Any]:
    """Return the generation settings as `dspy.LM.kwargs` has them: names and plain values.

    References stay references, spelled as a document spells them.
    """
    steering = identity_settings(spec)
    tokens_field = wire_max_tokens(spec.model, spec.base_model)
    kwargs = {
        tokens_field if name == "max_tokens" else name: value
        for name, value in steering.items()
        if name in _SENT
    }
    return {**kwargs, **steering.get("extra", {})}


def _refers(value: object) -> bool:
    """Say whether a reference, or a value marked as public, stands somewhere in `value`."""
    if isinstance(value, Mapping):
        return any(_refers(item) for item in value.values())
    if isinstance(value, tuple):
        return any(_refers(item) for item in value)
    return isinstance(value, (Public, *REFERENCES))
