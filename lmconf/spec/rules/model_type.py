"""Rules of the API that `model_type` chooses: who has it, what carries it, what it has no place for."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from lmconf.diagnostics.suggest import did_you_mean
from lmconf.providers.catalogue import PROVIDERS, provider_of, record_of
from lmconf.providers.routes import (
    MODEL_PARAMETERS,
    NOT_IN_RESPONSES,
    find_obstacle,
    has_completions,
    is_foreign,
    is_own,
)
from lmconf.schema.check import Fault
from lmconf.spec.rules.fields import has_built_in_transport, launches, text_of, transport_of
from lmconf.transports.specs import BUILT_IN, TransportSpec

__all__ = ["check_extra", "check_model_type", "check_transport"]

Data = Mapping[str, Any]

_FIRST_ON_AZURE = "2025-03-01"
"""Before this date Azure's versions have no Responses API (Microsoft Learn, "API lifecycle")."""


def check_model_type(data: Data) -> Iterator[Fault]:
    """Yield what keeps `model_type: responses` from being carried out as the LM is written."""
    model = text_of(data, "model")
    if data.get("model_type") != "responses" or not has_built_in_transport(data):
        return
    if model is not None:
        yield from _check_provider(provider_of(model)[0])
    for name, parameter in NOT_IN_RESPONSES.items():
        value = data.get(name)
        if value is not None and value != parameter.harmless:
            yield Fault(
                "no-such-parameter",
                (name,),
                f"the Responses API has no `{name}`",
                help=f"leave `{name}` out (null, where `defaults` state it); {parameter.help}",
                at_key=True,
            )
    yield from _check_api_version(data)


def check_transport(data: Data) -> Iterator[Fault]:
    """Yield a fault where the transport cannot carry the requests of the LM, or its `args`."""
    model, use = text_of(data, "model"), transport_of(data)
    if model is None or use not in BUILT_IN:
        return
    provider = provider_of(model)[0]
    route = text_of(data, "model_type") or "chat"
    if provider not in PROVIDERS:
        return
    obstacle = find_obstacle(provider, route, use)
    if obstacle:
        yield Fault(
            "contradiction",
            ("transport", "use"),
            f"`use: {use}` cannot carry these requests: {obstacle}",
            help="write `use: auto`, which chooses the client for each request",
        )
    elif route == "text" and not has_completions(provider):
        yield Fault(
            "no-such-api",
            ("model_type",),
            f"`{provider}` has no API for completions that is known here",
            help="leave `model_type` out; a server that has one is `openai/<model>` with its"
            " `api_base`",
        )
    elif _arguments(data) and is_own(provider, route, use):
        yield Fault(
            "contradiction",
            ("transport", "args"),
            "`args` are for LiteLLM, which does not send these requests",
            help="write `use: litellm` beside them, or leave them out; keys of the request's body go"
            " under `extra`"
            if not find_obstacle(provider, route, "litellm")
            else "leave them out; keys of the request's body go under `extra`",
            at_key=True,
        )


def _arguments(data: Data) -> object:
    transport = data.get("transport")
    if isinstance(transport, TransportSpec):
        return transport.args
    return transport.get("args") if isinstance(transport, Mapping) else None


def check_extra(data: Data) -> Iterator[Fault]:
    """Yield a fault for each key of `extra` that LiteLLM might act on in place of sending it."""
    model, extra = text_of(data, "model"), data.get("extra")
    if model is None or not isinstance(extra, Mapping) or not has_built_in_transport(data):
        return
    provider = provider_of(model)[0]
    route = text_of(data, "model_type") or "chat"
    if launches(data) or provider not in PROVIDERS or not is_foreign(provider, route):
        return
    for name in extra:
        if name not in MODEL_PARAMETERS:
            yield Fault(
                "not-in-body",
                ("extra", name),
                f"LiteLLM sends to {provider}/ by its own client, and might act on `{name}` in place"
                " of sending it",
                help="leave it out; settings for LiteLLM go under `transport: {use: litellm,"
                " args: …}`",
                at_key=True,
            )


def _check_provider(provider: str) -> Iterator[Fault]:
    if provider in PROVIDERS and PROVIDERS[provider].responses is None:
        having = [name for name, record in PROVIDERS.items() if record.responses is not None]
        near = did_you_mean(provider, having)
        yield Fault(
            "no-such-api",
            ("model_type",),
            f"`{provider}` has no known Responses API",
            label=f"`{near}` has one" if near else "",
            help="leave `model_type` out; a server that has one is `openai/<model>` with its"
            " `api_base`",
        )


def _check_api_version(data: Mapping[str, Any]) -> Iterator[Fault]:
    model, version = data.get("model"), data.get("api_version")
    if not isinstance(model, str) or not isinstance(version, str):
        return
    match = re.match(r"\d{4}-\d{2}-\d{2}", version)
    provider = record_of(provider_of(model)[0])
    known = provider.azure and provider.responses is not None
    if known and match and match[0] < _FIRST_ON_AZURE:
        yield Fault(
            "no-such-api",
            ("api_version",),
            f"version `{version}` of Azure's API has no Responses API",
            help="leave `api_version` out: Azure's `/openai/v1` needs none",
        )
