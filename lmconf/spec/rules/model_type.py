"""Rules of the API that `model_type` chooses: who has it, and what it has no place for."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import structs

from lmconf.diagnostics.suggest import did_you_mean
from lmconf.providers.catalogue import PROVIDERS, provider_of
from lmconf.providers.routes import MODEL_PARAMETERS, NOT_IN_RESPONSES, RESPONSES, is_foreign
from lmconf.schema.check import Fault
from lmconf.spec.rules.fields import launches, text_of, transport_of
from lmconf.transports.specs import TransportSpec

__all__ = ["check_extra", "check_model_type"]

_AZURE = ("azure", "azure_ai")
_FIRST_ON_AZURE = "2025-03-01"
"""Before this date Azure's versions have no Responses API (Microsoft Learn, "API lifecycle")."""


def check_model_type(data: Mapping[str, Any]) -> Iterator[Fault]:
    """Yield what keeps `model_type: responses` from being carried out as the LM is written."""
    transport = data.get("transport")
    block = structs.asdict(transport) if isinstance(transport, TransportSpec) else transport
    block = block if isinstance(block, Mapping) else {}
    model = data.get("model")
    if data.get("model_type") != "responses" or block.get("use", "litellm") != "litellm":
        return
    if isinstance(model, str):
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
    if block.get("args"):
        yield Fault(
            "contradiction",
            ("transport", "args"),
            "`args` are LiteLLM's, and `model_type: responses` does not go through it",
            help="leave them out; keys of the request's body go under `extra`",
            at_key=True,
        )
    yield from _check_api_version(data)


def check_extra(data: Mapping[str, Any]) -> Iterator[Fault]:
    """Yield a fault for each key of `extra` that LiteLLM might act on in place of sending it."""
    model, extra = text_of(data, "model"), data.get("extra")
    if model is None or not isinstance(extra, Mapping) or transport_of(data) != "litellm":
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
                help="leave it out; what is meant for LiteLLM goes under `transport: {use: litellm,"
                " args: …}`",
                at_key=True,
            )


def _check_provider(provider: str) -> Iterator[Fault]:
    if provider in PROVIDERS and provider not in RESPONSES:
        near = did_you_mean(provider, RESPONSES)
        yield Fault(
            "no-such-api",
            ("model_type",),
            f"`{provider}` has no Responses API that is known here",
            label=f"`{near}` has one" if near else "",
            help="leave `model_type` out; a server that has one is `openai/<model>` with its"
            " `api_base`",
        )


def _check_api_version(data: Mapping[str, Any]) -> Iterator[Fault]:
    model, version = data.get("model"), data.get("api_version")
    if not isinstance(model, str) or not isinstance(version, str):
        return
    match = re.match(r"\d{4}-\d{2}-\d{2}", version)
    if provider_of(model)[0] in _AZURE and match and match[0] < _FIRST_ON_AZURE:
        yield Fault(
            "no-such-api",
            ("api_version",),
            f"version `{version}` of Azure's API has no Responses API",
            help="leave `api_version` out: Azure's `/openai/v1` needs none",
        )
